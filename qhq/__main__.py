"""``qhq`` and ``python -m qhq``: the command line, and an end in order if it is interrupted."""

from __future__ import annotations

import atexit
import gc
import sys

from qhq.cli.interrupts import INTERRUPTS


def main() -> None:
    """Run the command line."""
    INTERRUPTS.take_over()
    # Both happen last, as they are registered first. Without the second the interpreter would look through
    # all that the libraries left, for 2 s, before the prompt is back.
    atexit.register(INTERRUPTS.over)
    atexit.register(gc.freeze)
    # And in the same way while they are imported, a fifth of that time: what they make is no garbage.
    gc.set_threshold(50_000, 10, 10)
    status: object = 0
    try:
        from qhq.cli.app import main as run

        run()
    except KeyboardInterrupt as error:
        from qhq.cli.command import end_with

        status = end_with(error, as_json="--json" in sys.argv)
    except SystemExit as ended:
        status = ended.code
    code = status if isinstance(status, int) else 0 if status is None else 1
    INTERRUPTS.command_ended(code)
    # An interrupt within code that is executed from a text, as dataclasses do, leaves a mark in CPython, by
    # which "python -m" would end as killed by the signal, whatever the status. The next such code takes it
    # away.
    exec("")
    sys.exit(code)


if __name__ == "__main__":
    main()

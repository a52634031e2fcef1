"""``python -m tests.backends.ibm.crash_client``: a client that is killed where it is told to be.

Each line of standard input is a JSON object: ``env``, ``changes`` to the entry, and ``at``: null, or
[class, method, n] to be killed as the n-th call of the method is over. The process forks for each line, the
child does what it is told, and its exit status is printed: -9 if it was killed. Imports are paid once.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from typing import Any

from qhq.backends.ibm.client import IBMClient
from qhq.backends.ibm.journal import Journal
from qhq.backends.ibm.waiting import WallClock

from .cases import Clock, opened, points

CLASSES = {"IBMClient": IBMClient, "Journal": Journal}


def main() -> None:
    """Serve until standard input ends."""
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def _run(order: dict[str, Any]) -> None:
    os.environ.update(order["env"])
    if order.get("at"):
        _die_after(*order["at"])
    clock = WallClock() if order.get("real_clock") else Clock()
    try:
        opened(clock, **order["changes"]).expectations(*points())
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def _die_after(owner: str, method: str, number: int) -> None:
    real, calls = getattr(CLASSES[owner], method), itertools.count(1)

    def stand_in(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(CLASSES[owner], method, stand_in)


if __name__ == "__main__":
    main()

"""Mirrors runs while they train, in a process of its own: ``python -m qhq.runs.mirror_live``.

It reads the path of a run's folder, a line each, and mirrors the losses that are there by then. MLflow takes
seconds to load, changes warnings and environment of its process, and may wait for a server: none of that may
happen to a process that trains. It says nothing, since what is missed here is mirrored when the run ends, and
it ends with its standard input, which the training holds: a training that is killed leaves nobody behind.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from qhq.runs.mirror import mirror_losses


def serve(lines: Iterable[str]) -> None:
    """Mirror the losses of each run that is named."""
    for line in lines:
        with contextlib.suppress(Exception):  # a store may raise anything; the end of the run says so
            mirror_losses(Path(line.rstrip("\n")))


if __name__ == "__main__":
    # The training has the processors first.
    with contextlib.suppress(OSError, AttributeError):
        os.nice(10)
    serve(sys.stdin)

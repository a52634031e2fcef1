"""``python -m tests.backends.ibm.crash_client``: a client that is killed where it is told to be.

Each line of standard input is a JSON object: ``env``, ``changes`` to the entry, and ``at``: null, or
[class, method, n] to be killed as the n-th call of the method is over. With ``train``, a folder, it trains
there instead (`train_in`). The process forks for each line, the child does what it is told, and its exit
status is printed: -9 if it was killed. Imports are paid once, those of a training by the first that asks.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path
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
        order = json.loads(line)
        if order.get("train"):
            import_training()
        child = os.fork()
        if child == 0:
            _run(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def _run(order: dict[str, Any]) -> None:
    os.environ.update(order["env"])
    if order.get("at"):
        _die_after(*order["at"])
    clock = WallClock() if order.get("real_clock") else Clock()
    try:
        if order.get("train"):
            train_in(Path(order["train"]))
        else:
            opened(clock, **order["changes"]).expectations(*points())
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


ENTRY = """\
ibm_*:
  {kind: ibm, shots: 64, resilience_level: 0, poll_seconds: 0.05, settle_seconds: 0.2, max_qpu_seconds: 60}
"""
TRAINING = (
    "backend=ibm_nairobi",
    "model={kind: features, samples: 8}",
    "data.symbols=[AAPL]",
)
"""What a training on a device changes in ``tiny.yaml``: three jobs, one a split."""


def import_training() -> None:
    """Import what `train_in` needs, before the process forks."""
    import qiskit_ibm_runtime  # noqa: F401
    import qiskit_qasm3_import  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import qhq.experiment.run  # noqa: F401


def train_in(folder: Path) -> None:
    """Train in a folder with a ``tiny.yaml``; go on with the run that is there if it was cut off."""
    from qhq.experiment.config import load_config
    from qhq.experiment.run import resume_run, train_run
    from qhq.runs.run_folder import FINISHED, list_runs
    from qhq.training.loop import Watcher

    os.chdir(folder)
    cut = [run for run in list_runs() if run.read_record().status != FINISHED]
    if cut:
        resume_run(cut[0], Watcher(), agree=lambda _: True)
    else:
        train_run(load_config("tiny.yaml", TRAINING), Watcher(), agree=lambda _: True)


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

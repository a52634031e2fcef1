"""``python -m tests.backends.ibm.random_kills [MOMENTS]``: ``kill -9`` at random moments of six jobs.

Each trial starts a client, kills it, starts it again and kills it again, then resumes, all on the wall clock
against a service in a process of its own, and checks that every job was sent once and the result is whole.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from qhq.backends.ibm.jobs import resume_jobs
from qhq.backends.ibm.journal import Journal
from qhq.backends.ibm.waiting import WallClock
from tests.loopback.remote import Remote

from .cases import exact, opened, points

JOBS, SETTINGS = 6, {"samples_per_job": 1, "poll_seconds": 0.05, "settle_seconds": 1.0, "shots": 1024}


def main() -> None:
    """Run the trials and print one line each."""
    moments = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    generator = np.random.default_rng(0)
    with Remote(noise="none") as service:
        os.environ.update(service.environment())
        *_, longest = (_timed(_fork(_in_fresh_folder())) for _ in range(3))
        print(f"one run takes {longest:.2f} s")  # noqa: T201
        for trial in range(moments):
            folder, before = _in_fresh_folder(), len(service.jobs())
            killed = [_kill_after(generator.uniform(0, longest), folder) for _ in range(2)]
            states = sorted(part.state for part in Journal(folder).parts())
            _timed(_fork(folder, resume=True))
            sent = [job["tags"][0] for job in service.jobs()[before:]]
            assert len(sent) == len(set(sent)) == JOBS, sent
            print(trial, [f"{each:.2f} s" for each in killed], states, "whole,", len(sent), "jobs")  # noqa: T201


def _in_fresh_folder() -> Path:
    folder = tempfile.mkdtemp()
    os.environ |= {"QHQ_RUNS_DIR": folder, "QHQ_CACHE_DIR": str(Path(folder) / "cache")}
    return Path(folder)


def _fork(folder: Path, *, resume: bool = False) -> int:
    """A client in a process of its own; this one never computes, or its threads would be missing there."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if resume:
            resume_jobs(clock=WallClock())
        inputs, weights = (np.tile(points()[0], (2, 1))[:JOBS], points()[1])
        values = opened(WallClock(), **SETTINGS).expectations(inputs, weights)
        wanted = np.tile(exact(), (2, 1))[:JOBS]
        np.testing.assert_allclose(values, wanted, rtol=0, atol=5 / np.sqrt(SETTINGS["shots"]))
        status = 0
    finally:
        os._exit(status)


def _timed(child: int) -> float:
    """Seconds until a client is done, which must end well."""
    start = time.monotonic()
    _, status = os.waitpid(child, 0)
    assert status == 0
    return time.monotonic() - start


def _kill_after(seconds: float, folder: Path) -> float:
    child = _fork(folder)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seconds


if __name__ == "__main__":
    main()

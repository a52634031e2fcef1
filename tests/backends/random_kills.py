"""``python -m tests.backends.random_kills [MOMENTS]``: ``kill -9`` at random moments of a run of six jobs.

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

from qhq.backends.jobs import resume_jobs
from qhq.backends.journal import Journal
from qhq.backends.waiting import WallClock
from tests.loopback.remote import Remote

from .ibm_cases import exact, opened, points

JOBS, SETTINGS = 6, {"samples_per_job": 1, "poll_seconds": 0.05, "settle_seconds": 1.0, "shots": 1024}


def main() -> None:
    """Run the trials and print one line each."""
    moments = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    generator = np.random.default_rng(0)
    with Remote(noise="none") as service:
        os.environ.update(service.environment())
        longest = _duration(service)
        print(f"one run takes {longest:.2f} s")  # noqa: T201
        for trial in range(moments):
            _in_fresh_folder()
            before = len(service.jobs())
            killed = [_kill_after(generator.uniform(0, share * longest)) for share in (1.0, 0.5)]
            states = sorted(part.state for part in Journal().parts())
            _check(service, before, killed, trial, states)


def _check(service: Remote, before: int, killed: list[float], trial: int, states: list[str]) -> None:
    resume_jobs(clock=WallClock())
    values = _run()
    sent = [job["tags"][0] for job in service.jobs()[before:]]
    assert len(sent) == len(set(sent)) == JOBS, sent
    wanted = np.tile(exact(), (2, 1))[:JOBS]
    np.testing.assert_allclose(values, wanted, rtol=0, atol=5 / np.sqrt(SETTINGS["shots"]))
    print(trial, [f"{each:.2f} s" for each in killed], states, "whole,", len(sent), "jobs")  # noqa: T201


def _duration(service: Remote) -> float:
    _in_fresh_folder()
    _run()
    start = time.monotonic()
    _in_fresh_folder()
    _run()
    return time.monotonic() - start


def _in_fresh_folder() -> None:
    folder = tempfile.mkdtemp()
    os.environ |= {"QHQ_RUNS_DIR": folder, "QHQ_CACHE_DIR": str(Path(folder) / "cache")}


def _run() -> np.ndarray:
    inputs, weights = points()
    return opened(WallClock(), **SETTINGS).expectations(np.tile(inputs, (2, 1))[:JOBS], weights)


def _kill_after(seconds: float) -> float:
    child = os.fork()
    if child == 0:
        _run()
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seconds


if __name__ == "__main__":
    main()

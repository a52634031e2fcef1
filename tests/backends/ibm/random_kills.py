"""``python -m tests.backends.ibm.random_kills [MOMENTS] [train]``: ``kill -9`` at random moments of six jobs.

Each trial starts a client, kills it, starts it again and kills it again, then resumes, all on the wall clock
against a service in a process of its own, and checks that every job was sent once and the result is whole.
With ``train`` the client fits a head on what a device gives, in three jobs: resumed, its weights and
forecasts are to the last byte those of a training that the journal answers.
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
from qhq.paths import cache_dir
from qhq.runs.run_folder import RunFolder, list_runs
from tests.conftest import TINY
from tests.loopback.remote import Remote

from .cases import exact, opened, points
from .crash_client import ENTRY, import_training, train_in

JOBS, SETTINGS = 6, {"samples_per_job": 1, "poll_seconds": 0.05, "settle_seconds": 1.0, "shots": 1024}


def main() -> None:
    """Run the trials and print one line each."""
    words = sys.argv[1:]
    moments = int(words[0]) if words and words[0] != "train" else 20
    trial_of = _Training if "train" in words else _Jobs
    generator = np.random.default_rng(0)
    with Remote(noise="none") as service:
        os.environ.update(service.environment())
        *_, longest = (_timed(trial_of(_in_fresh_folder()).fork()) for _ in range(3))
        print(f"one run takes {longest:.2f} s")  # noqa: T201
        for trial in range(moments):
            one, before = trial_of(_in_fresh_folder()), len(service.jobs())
            killed = [_kill_after(generator.uniform(0, longest), one) for _ in range(2)]
            states = sorted(part.state for part in Journal(one.folder).parts())
            _timed(one.fork(resume=True))
            sent = [job["tags"][0] for job in service.jobs()[before:]]
            assert len(sent) == len(set(sent)) == one.jobs, sent
            print(trial, [f"{each:.2f} s" for each in killed], states, "whole,", len(sent), "jobs")  # noqa: T201


def _in_fresh_folder() -> Path:
    folder = Path(tempfile.mkdtemp())
    (folder / "cache").mkdir()
    KERNELS.mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "kernels").symlink_to(KERNELS)  # compiled once, for all trials
    os.environ |= {"QHQ_RUNS_DIR": str(folder), "QHQ_CACHE_DIR": str(folder / "cache")}
    return folder


KERNELS = cache_dir() / "kernels"


class _Jobs:
    """Six jobs of a circuit."""

    jobs = JOBS

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fork(self, *, resume: bool = False) -> int:
        """A client in a process of its own; this one never computes, or its threads would be missing."""
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            self.work(resume=resume)
            status = 0
        finally:
            os._exit(status)

    def work(self, *, resume: bool) -> None:
        """Run the jobs, or what is left of them, and check the values."""
        if resume:
            resume_jobs(clock=WallClock())
        inputs, weights = (np.tile(points()[0], (2, 1))[:JOBS], points()[1])
        values = opened(WallClock(), **SETTINGS).expectations(inputs, weights)
        wanted = np.tile(exact(), (2, 1))[:JOBS]
        np.testing.assert_allclose(values, wanted, rtol=0, atol=5 / np.sqrt(SETTINGS["shots"]))


class _Training(_Jobs):
    """A head that is fitted on a device: a job a split."""

    jobs = 3

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import_training()
        (folder / "tiny.yaml").write_text(TINY)
        (folder / "backends.yaml").write_text(ENTRY)

    def work(self, *, resume: bool) -> None:
        """Train, or go on; a whole training is compared with one that the journal answers."""
        train_in(self.folder)
        if not resume:
            return
        # Two, where the first was whole before it was to be killed; and one that the journal answers.
        train_in(self.folder)
        run, *others = list_runs()
        assert {each.read_record().status for each in (run, *others)} == {"finished"}
        for again in others:
            self.check_same(run, again)

    @staticmethod
    def check_same(run: RunFolder, again: RunFolder) -> None:
        """Weights and forecasts are the same to the last byte."""
        for name in ("model.safetensors", "predictions.csv"):
            assert run.file(name).read_bytes() == again.file(name).read_bytes(), name


def _timed(child: int) -> float:
    """Seconds until a client is done, which must end well."""
    start = time.monotonic()
    _, status = os.waitpid(child, 0)
    assert status == 0
    return time.monotonic() - start


def _kill_after(seconds: float, trial: _Jobs) -> float:
    child = trial.fork()
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seconds


if __name__ == "__main__":
    main()

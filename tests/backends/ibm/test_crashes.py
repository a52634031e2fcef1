"""``kill -9`` of a client at the worst moments, then a resume: the full result, and never a second copy."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from qhq.backends.ibm.jobs import list_jobs, resume_jobs
from qhq.backends.ibm.journal import Journal
from qhq.runs.run_folder import list_runs
from tests.loopback.fixtures import *  # noqa: F403
from tests.loopback.service import KEY

from .cases import Clock, check_each_sent_once, exact, opened, points, run_and_check
from .crash_client import ENTRY

pytestmark = pytest.mark.usefixtures("study", "no_backoff")

ROOT = Path(__file__).parents[3]

MOMENTS = {
    "while the request is being planned": ("Journal", "_add_part", 1),
    "planned, nothing sent": ("Journal", "plan", 1),
    "written down as being sent, not sent": ("Journal", "claim", 1),
    "sent, not written down": ("IBMClient", "submit", 1),
    "sent and written down": ("Journal", "sent", 1),
    "one sent, the other about to be": ("Journal", "claim", 2),
    "both sent": ("Journal", "sent", 2),
    "waiting": ("IBMClient", "job_state", 1),
    "result here, not stored": ("IBMClient", "raw_result", 1),
    "one stored": ("Journal", "store", 1),
    "all stored, not read": ("Journal", "store", 2),
    "all done but the bill": ("Journal", "add_usage", 1),
}
"""Moment -> class, method, and after which of its calls the client is killed."""


@pytest.fixture(scope="module")
def crash():
    """A client that runs two jobs and is killed where it is told; its exit status."""
    command = [sys.executable, "-m", "tests.backends.ibm.crash_client"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        assert process.stdout.readline() == "ready\n"

        def run(at, env, train=None, **changes):
            order = {"at": at, "env": env, "changes": {"samples_per_job": 2, **changes}, "train": train}
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
        process.stdin.close()


@pytest.fixture
def places(noiseless, study):
    """Environment of a client that works with this service and this folder."""
    kept = ("QHQ_RUNS_DIR", "QHQ_CACHE_DIR")
    return {**noiseless.environment(), **{name: os.environ[name] for name in kept}}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_client_is_resumed(noiseless, crash, places, moment):
    assert crash(MOMENTS[moment], places) == -9
    resume_jobs(clock=Clock())
    assert all(row.state == "stored" for row in list_jobs())
    values = run_and_check(opened(samples_per_job=2))
    check_each_sent_once(noiseless.service, jobs=2)
    assert noiseless.service.requests()["POST /jobs"] == 2
    again = opened(samples_per_job=2)
    np.testing.assert_array_equal(again.expectations(*points()), values)
    assert again.report().qpu_seconds == sum(job["seconds"] for job in noiseless.service.jobs())


def test_the_same_command_run_again_resumes_too(noiseless, crash, places):
    for moment in ("written down as being sent, not sent", "sent, not written down", "one stored"):
        assert crash(MOMENTS[moment], places) == -9
    assert crash(None, places) == 0
    check_each_sent_once(noiseless.service, jobs=2)


def test_a_client_killed_while_it_splits_is_resumed(noiseless, crash, places):
    noiseless.service.limit(job_seconds=1.1)
    assert crash(("Journal", "split", 1), places) == -9
    resume_jobs(clock=Clock())
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(noiseless.service, jobs=6)


def test_a_killed_client_leaves_no_key_behind(noiseless, crash, places, study):
    assert crash(MOMENTS["sent, not written down"], places) == -9
    files = [file for file in study.rglob("*") if file.is_file()]
    assert any(file.name == ".jobs.sqlite-wal" for file in files)
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert {file.stat().st_mode & 0o077 for file in files if file.name.startswith(".jobs")} == {0}


TRAINING = {
    "two of three splits sent": ("IBMClient", "submit", 2),
    "all sent, one result stored": ("Journal", "store", 1),
}


def test_a_killed_training_on_a_device_goes_on_to_the_same_bytes(noiseless, crash, places, study):
    """Killed by the system, so that nothing can tidy up: as it sends, as it reads, and then not at all."""
    (study / "backends.yaml").write_text(ENTRY)
    assert [crash(at, places, train=str(study)) for at in (*TRAINING.values(), None)] == [-9, -9, 0]
    assert len(list_runs()) == 1
    assert crash(None, places, train=str(study)) == 0  # a second one, which the journal answers
    first, second = list_runs()
    for name in ("model.safetensors", "predictions.csv"):
        assert first.file(name).read_bytes() == second.file(name).read_bytes()
    assert first.read_record().status == second.read_record().status == "finished"
    check_each_sent_once(noiseless.service, jobs=3)


def test_two_at_once_send_each_part_once(noiseless):
    found, executors = [], [opened(samples_per_job=1) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda each=each: found.append(each.expectations(*points())))
        for each in executors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(*found)
    np.testing.assert_equal(found[0].shape, exact().shape)
    check_each_sent_once(noiseless.service, jobs=4)


def test_two_processes_at_once_send_each_part_once(noiseless, crash, places):
    executor = opened(samples_per_job=2)
    thread = threading.Thread(target=lambda: executor.expectations(*points()))
    thread.start()
    assert crash(None, places) == 0
    thread.join()
    check_each_sent_once(noiseless.service, jobs=2)
    assert {part.state for part in Journal().parts()} == {"stored"}

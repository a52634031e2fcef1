"""Heads that are fitted on what a device gives: the cost said before, each question sent and paid once."""

from __future__ import annotations

import json
from functools import partial

import pytest

import qhq as public
from qhq.backends.ibm.client import IBMClient
from qhq.backends.ibm.journal import Journal
from qhq.errors import ConfigError, JobError
from qhq.experiment import features, run
from qhq.experiment.config import load_config
from qhq.experiment.questions import Questions
from qhq.experiment.run import resume_run, train_run
from qhq.paths import runs_dir
from qhq.runs.run_folder import RunFolder
from qhq.training.loop import Watcher
from tests.backends.ibm.cases import check_each_sent_once
from tests.loopback.fixtures import loopback, no_backoff

__all__ = ["loopback", "no_backoff"]

ENTRIES = """\
ibm_*:
  {kind: ibm, shots: 64, resilience_level: 0, poll_seconds: 0.01, settle_seconds: 0.01, max_qpu_seconds: 60}
aer: {kind: aer, gradient: adjoint}
"""
DEVICE = "ibm_nairobi"
SMALL = {"model": {"kind": "features", "samples": 8}, "data.symbols": ["AAPL"]}
SETTINGS = [f"{key}={json.dumps(value)}" for key, value in SMALL.items()]
JOBS = 3  # a split each


class Killed(BaseException):
    """Caught by nothing, as SIGKILL is not."""


@pytest.fixture(autouse=True)
def registry(study):
    (study / "backends.yaml").write_text(ENTRIES)


def yes(_):
    return True


def train(agree=yes):
    """As ``qhq train`` does, without figures."""
    return train_run(load_config("tiny.yaml", [f"backend={DEVICE}", *SETTINGS]), Watcher(), agree=agree)


def only_run() -> RunFolder:
    (path,) = [path.parent for path in runs_dir().glob("*/run.json")]
    return RunFolder(path)


def test_jobs_shots_and_seconds_are_as_forecast(loopback, no_backoff, study):
    (cost,) = public.forecast_training("tiny.yaml", backend=DEVICE, set=SMALL).costs.to_dict("records")
    assert loopback.service.jobs() == []
    assert not (study / "runs").exists() or not list((study / "runs").glob("*/run.json"))
    used, jobs = train().read_record().device, loopback.service.jobs()
    assert (cost["samples"], cost["jobs"], cost["refusal"]) == (3 * 8, JOBS, None)
    assert len(jobs) == JOBS
    assert sum(job["shots"] for job in jobs) == cost["executions"] == 3 * 8 * 64
    assert used.qpu_seconds == sum(job["seconds"] for job in jobs)
    assert used.qpu_seconds == pytest.approx(cost["qpu_seconds"], rel=0.5)
    assert used.windows == {"train": 8, "validation": 8, "test": 8}
    assert used.job_ids == [job["id"] for job in jobs]
    assert {part.state for part in Journal().parts()} == {"stored"}
    # Held by the journal: nothing is left to be paid, nor to be agreed to.
    assert public.forecast_training("tiny.yaml", backend=DEVICE, set=SMALL).costs["jobs"].tolist() == [0]
    train(agree=None)
    check_each_sent_once(loopback.service, JOBS)


MOMENTS = {
    "before anything is sent": (Questions, "send"),
    "as a job is polled": (IBMClient, "job_state"),
    "after one result is stored": (Journal, "add_usage"),
    "before the head is fitted": (features, "fit_head"),
    "before the record is written": (run, "say_test"),
}


def test_killed_at_five_moments_it_goes_on_and_sends_nothing_twice(loopback, no_backoff, monkeypatch, study):
    def die(*_, **__):
        raise Killed

    cut = None
    for owner, name in MOMENTS.values():
        begin = train if cut is None else partial(resume_run, cut, Watcher(), agree=yes)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, die)
            with pytest.raises(Killed):
                begin()
        cut = only_run()
        assert cut.read_record().status == "running"
    resumed = resume_run(cut, Watcher(), agree=yes)
    again = train(agree=None)
    assert resumed.path != again.path
    for name in ("model.safetensors", "predictions.csv"):
        assert resumed.file(name).read_bytes() == again.file(name).read_bytes()
    check_each_sent_once(loopback.service, JOBS)


def test_one_bad_reply_loses_nothing(loopback, no_backoff):
    loopback.service.doom("failed")
    with pytest.raises(JobError):
        train()
    failed = only_run()
    assert failed.read_record().status == "failed"
    assert resume_run(failed, Watcher(), agree=yes).read_record().status == "finished"
    # The one that failed was sent again, the others were not.
    assert len(loopback.service.jobs()) == JOBS + 1


def test_a_device_is_asked_about_before_a_folder_is_made(qhq, study, loopback):
    words = ["train", "tiny.yaml", "--backend", DEVICE, "--set", "model={kind: features, samples: 8}"]
    refused = qhq(*words)
    assert refused.exit_code == 2
    assert "must be confirmed" in refused.stderr
    forecast = json.loads(qhq(*words, "--dry-run", "--json").stdout)
    assert (forecast["dry_run"], forecast["costs"][0]["jobs"]) == (True, JOBS)
    (study / "backends.yaml").write_text(ENTRIES.replace("max_qpu_seconds: 60", "max_qpu_seconds: 6"))
    beyond = qhq(*words, "--yes")
    assert beyond.exit_code == 4
    assert "max_qpu_seconds" in beyond.stderr
    assert loopback.service.jobs() == []


def test_a_model_with_gradients_is_told_of_those_without(qhq, loopback):
    refused = qhq("train", "tiny.yaml", "--backend", DEVICE)
    assert refused.exit_code == 4
    assert "model.kind features" in refused.stderr
    assert "s on the device a step" in refused.stderr


def test_without_an_account_nothing_is_made(qhq, study, monkeypatch):
    monkeypatch.setenv("HOME", str(study))
    for name in ("QHQ_IBM_URL", "QHQ_IBM_TOKEN", "QHQ_IBM_INSTANCE", "QISKIT_IBM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    refused = qhq("train", "tiny.yaml", "--backend", DEVICE, "--set", "model={kind: features}", "--yes")
    assert refused.exit_code == 4
    assert "account is needed" in refused.stderr
    assert not list(study.glob("runs/*"))


def test_studies_of_several_trainings_ask_no_device(loopback):
    walk = {**SMALL, "data.split": {"scheme": "walk_forward", "folds": 2}}
    with pytest.raises(ConfigError, match="one run at a time"):
        public.train("tiny.yaml", backend=DEVICE, set=walk, yes=True)
    assert loopback.service.jobs() == []

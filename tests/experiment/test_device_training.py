"""Heads that are fitted on what a device gives: the cost said before, each question sent and paid once."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

import qhq as public
from qhq.backends.ibm.client import IBMClient
from qhq.backends.ibm.journal import Journal
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import find_backend, open_backend
from qhq.data.windows import spread_subset
from qhq.errors import ConfigError, JobError
from qhq.evaluation.conformal import fit_conformal
from qhq.experiment import features, run
from qhq.experiment.config import load_config
from qhq.experiment.evaluate import forecast_windows
from qhq.experiment.predict import PredictRequest, forecast_ahead, plan_prediction, prediction_record
from qhq.experiment.questions import Questions
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import resume_run, train_run
from qhq.experiment.words import say_subset
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


FAKE = "fake_fez: {kind: fake, device: fake_fez}\n"


def test_on_a_fake_device_it_is_free_needs_no_journal_and_is_what_evaluating_there_gives(study):
    (study / "backends.yaml").write_text(ENTRIES + FAKE)
    words = [f"data.symbols={json.dumps(SMALL['data.symbols'])}", "model={kind: features, samples: 24}"]
    config = load_config("tiny.yaml", ["backend=fake_fez", *words])
    assert public.forecast_training("tiny.yaml", backend="fake_fez", set=words).costs.empty
    folder = train_run(config, Watcher())  # nobody agrees to anything: there is nothing to agree to
    record = folder.read_record()
    assert record.head.kept
    assert record.device is None
    assert list(Journal().parts()) == []
    opened, entry = open_trained(folder), find_backend("fake_fez")
    some = {
        split: spread_subset(getattr(opened.data, split), 24, config.seed) for split in ("validation", "test")
    }
    executor = open_backend(entry, opened.ansatz, seed=0)
    there, exact = (
        forecast_windows(opened, each, some["test"])
        for each in (executor, StatevectorExecutor(opened.ansatz))
    )
    rows = pd.read_csv(folder.file("predictions.csv"))
    np.testing.assert_allclose(rows["forecast"], there.forecast.ravel(), rtol=1e-6)
    assert np.abs(rows["forecast"] - exact.forecast.ravel()).max() > 1e-4
    assert say_subset(record)[0].startswith("These figures are of 24 of the ")
    assert record.verdict.endswith(say_subset(record)[0])
    # Cut off before its record was whole, it is fitted again to the same bytes.
    kept = {name: folder.file(name).read_bytes() for name in ("model.safetensors", "predictions.csv")}
    folder.weights.unlink()
    folder.write_record(record.updated(status="running"))
    resume_run(folder, Watcher())
    assert {name: folder.file(name).read_bytes() for name in kept} == kept
    check_intervals(
        folder, executor, forecast_windows(opened, executor, some["validation"]).forecast, some["validation"]
    )


def check_intervals(folder, executor, forecast, windows):
    """Those of a forecast on the head's own backend have the errors there; on another, that one's or none."""
    plan = plan_prediction(folder, PredictRequest(levels=(0.8, 0.9)))
    own = forecast_ahead(plan, executor, "fake_fez")
    for level, (low, high) in own.ends.items():
        ends = fit_conformal(windows, forecast, level).interval(plan.ahead.windows, own.forecast)
        np.testing.assert_allclose([low, high], ends, rtol=1e-6)
    record = prediction_record(own, "fake_fez")
    assert record.errors_of == "fake_fez"
    assert "by the errors on fake_fez on 24 windows" in record.intervals
    exact = prediction_record(forecast_ahead(plan, StatevectorExecutor(plan.experiment.ansatz), "aer"), "aer")
    assert exact.errors_of == "exact"
    assert "the head was fitted on fake_fez" in exact.intervals
    widths = [[row.high - row.low for row in each.rows] for each in (record, exact)]
    assert not np.allclose(*widths)
    plan = plan_prediction(folder, PredictRequest(levels=(0.7, 0.9)))
    mixed = prediction_record(forecast_ahead(plan, executor, "fake_fez"), "fake_fez")
    assert mixed.errors_of == "exact"
    assert "at 70 % split conformal, by the errors of the exact engine" in mixed.intervals


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

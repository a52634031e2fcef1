"""Heads that are fitted anew to a backend: nearer to the exact model, all else untouched, paid once."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

import qhq as public
from qhq.backends.ibm.client import IBMClient
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import ConfigError
from qhq.experiment import refit, run
from qhq.experiment.config import load_config
from qhq.experiment.evaluate import forecast_windows
from qhq.experiment.questions import Questions
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import plan_refit, resume_run, run_training, train_run
from qhq.runs.run_folder import RunFolder
from qhq.training.loop import Watcher
from tests.backends.ibm.cases import check_each_sent_once
from tests.conftest import TINY
from tests.experiment.test_device_training import DEVICE, ENTRIES, Killed, yes
from tests.loopback.fixtures import loopback, no_backoff

__all__ = ["loopback", "no_backoff"]

NOISY = "fake_nairobi: {kind: fake, device: fake_nairobi}\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs by seed, for all tests of this module."""
    folder = tmp_path_factory.mktemp("refit")
    (folder / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        few = ["data.symbols=[AAPL]", "training.epochs=1"]
        return [
            train_run(load_config(str(folder / "tiny.yaml"), [f"seed={seed}", *few]), Watcher())
            for seed in range(5)
        ]


@pytest.fixture(autouse=True)
def registry(study):
    (study / "backends.yaml").write_text(ENTRIES + NOISY)


def finetune(origin: RunFolder, backend: str = DEVICE, samples: int = 8, agree=yes) -> RunFolder:
    return run_training(plan_refit(origin, backend, samples, Watcher()), Watcher(), agree)


def test_a_head_takes_back_most_of_what_noise_did_on_five_seeds(trained):
    left = []
    for origin in trained:
        found = finetune(origin, "fake_nairobi", samples=64).read_record().finetuned
        assert found.windows["train"] == 64
        left.append(found.distance_after / found.distance_before)
    assert max(left) < 0.5


def test_the_new_run_differs_in_its_head_alone_and_is_a_run_like_any_other(trained):
    origin = trained[0]
    tuned = finetune(origin, "fake_nairobi", samples=16)
    before, after = (open_trained(each).model.state_dict() for each in (origin, tuned))
    changed = {name for name, tensor in after.items() if not np.array_equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}
    record = tuned.read_record()
    assert (record.backend, record.finetuned.origin) == ("fake_nairobi", origin.name)
    assert len(tuned.file("predictions.csv").read_text().splitlines()) == 17
    opened = open_trained(tuned)
    found = forecast_windows(opened, StatevectorExecutor(opened.ansatz), opened.data.test)
    assert np.isfinite(found.metrics().mae)


MOMENTS = ((Questions, "send"), (IBMClient, "raw_result"), (refit, "refit_head"), (run, "say_test"))


def test_a_refit_on_a_device_is_forecast_killed_and_resumed(
    trained, loopback, no_backoff, monkeypatch, study
):
    def die(*_, **__):
        raise Killed

    tune = {"from_run": trained[0].path, "backend": DEVICE, "freeze": "circuit", "samples": 8}
    (cost,) = public.forecast_training(**tune).costs.to_dict("records")
    assert (cost["jobs"], cost["samples"], loopback.service.jobs()) == (3, 24, [])
    cut = None
    for owner, name in MOMENTS:
        begin = (
            partial(finetune, trained[0]) if cut is None else partial(resume_run, cut, Watcher(), agree=yes)
        )
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, die)
            with pytest.raises(Killed):
                begin()
        (path,) = [path.parent for path in study.glob("runs/*/run.json")]
        cut = RunFolder(path)
    resumed = resume_run(cut, Watcher(), agree=yes)
    again = finetune(trained[0], agree=None)
    for name in ("model.safetensors", "predictions.csv"):
        assert resumed.file(name).read_bytes() == again.file(name).read_bytes()
    assert sum(job["shots"] for job in loopback.service.jobs()) == cost["executions"]
    check_each_sent_once(loopback.service, jobs=3)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"freeze": "encoder"}, "takes 'circuit' alone"),
        ({"freeze": None}, "takes 'circuit' alone"),
        ({"backend": None}, "needs the backend"),
        ({"set": {"seed": 1}}, "as it was configured"),
        ({"samples": 1}, "samples"),
        ({"from_run": None}, "how a run is fine-tuned"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(trained, changes, what):
    asked = {"from_run": trained[0].path, "backend": "fake_nairobi", "freeze": "circuit", "samples": 8}
    with pytest.raises(ConfigError, match=what):
        public.train(**asked | changes)


def test_a_run_without_a_circuit_is_refused(study, qhq):
    few = ["quantum=null", "data.symbols=[AAPL]", "training.epochs=1"]
    plain = train_run(load_config("tiny.yaml", few), Watcher())
    refused = qhq(
        "train", "--from", str(plain.path), "--backend", "fake_nairobi", "--freeze", "circuit", "--json"
    )
    assert refused.exit_code == 2
    assert "without a circuit" in json.loads(refused.stdout)["error"]["message"]

"""The doctor while training, after it and before it: it tells, records, and moves no weight."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qhq.errors import ConfigError
from qhq.experiment.checkup import Doctor, examine_design, examine_run, examine_subject
from qhq.experiment.config import load_config
from qhq.experiment.run import resume_run, train_run
from qhq.runs.run_folder import list_runs
from qhq.training.loop import Watcher

QUICK = ("data.start=2012-12-01", "training.epochs=2")


class Listener(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def warnings(self) -> list[str]:
        return [text for text in self.notes if text.startswith("Doctor")]


def train(*overrides: str, watcher: Watcher | None = None):
    return train_run(load_config("tiny.yaml", (*QUICK, *overrides)), watcher or Listener())


def test_a_healthy_training_is_recorded_without_a_finding(study):
    listener = Listener()
    record = train(watcher=listener).read_record().to_dict()
    assert record["doctor"] == {"epoch": 2, "healthy": True, "findings": []}
    assert listener.warnings == []


def break_relu(monkeypatch) -> None:
    """Build models whose ReLU before the encoding is closed."""
    from qhq.experiment import opening

    build = opening.build_model

    def broken(*arguments, **options):
        model = build(*arguments, **options)
        model.to_latent.bias.data.fill_(-50.0)
        return model

    monkeypatch.setattr(opening, "build_model", broken)


@pytest.mark.parametrize("backend", ["aer", "aer_shots"])
def test_a_dead_layer_is_reported_once_and_recorded(study, monkeypatch, backend):
    break_relu(monkeypatch)
    listener = Listener()
    run = train("model.activation_before=relu", f"backend={backend}", watcher=listener)
    doctor = run.read_record().to_dict()["doctor"]
    assert not doctor["healthy"]
    assert doctor["findings"][0]["code"] == "dead_relu"
    (warning,) = (text for text in listener.warnings if "dead_relu" in text)
    assert warning.startswith(
        "Doctor, after epoch 1: error dead_relu. The ReLU before 'quantum' is closed in"
    )
    assert "Fix: --set model.activation_before=none" in warning
    again = examine_run(run)
    assert again.codes[0] == "dead_relu"
    assert "weights_never_move" in {finding.code for finding in again.findings}


@pytest.mark.parametrize("backend", ["aer", "aer_shots"])
def test_looking_moves_no_weight(study, monkeypatch, backend):
    looked = train(f"backend={backend}", "model.dropout=0.2")
    monkeypatch.setattr(Doctor, "epoch_done", lambda self, state: None)
    blind = train(f"backend={backend}", "model.dropout=0.2")
    assert (looked.path / "predictions.csv").read_bytes() == (blind.path / "predictions.csv").read_bytes()


def test_it_looks_after_the_first_and_the_last_epoch_only(study, monkeypatch):
    epochs = []
    monkeypatch.setattr(Doctor, "_look", lambda self, epoch: epochs.append(epoch))
    monkeypatch.setattr(Doctor, "record", lambda self, state: {})
    train("training.epochs=5")
    assert epochs == [1, 5]
    epochs.clear()
    stopped = train("training.epochs=30", "training.patience=1", "training.learning_rate=0.3")
    assert epochs == [1, stopped.read_record().epochs]


class CutOff(Watcher):
    def epoch_done(self, state):
        raise KeyboardInterrupt


def test_a_run_cut_off_after_its_last_epoch_is_looked_at_when_resumed(study):
    with pytest.raises(KeyboardInterrupt):
        train("training.epochs=1", watcher=CutOff())
    cut = list_runs()[-1]
    assert examine_run(cut).healthy
    # Unfinished, it has not said yet which weights it forecasts with.
    subject = examine_subject(cut.name).subject
    assert subject.startswith(f"run {cut.name}, which is not finished ('qhq train --resume ")
    assert subject.endswith("goes on), with the weights of its last epoch so far")
    assert resume_run(cut, Listener()).read_record().to_dict()["doctor"]["epoch"] == 1


def test_the_trained_weights_are_compared_with_those_of_the_start(study):
    run = train("quantum.frozen=true")
    (finding,) = (each for each in examine_run(run).findings if each.code == "weights_never_move")
    assert (finding.severity, finding.evidence["module"]) == ("info", "quantum")


def test_shots_of_the_entry_are_weighed(study):
    (study / "backends.yaml").write_text("few: {kind: aer, shots: 1, gradient: parameter_shift}\n")
    diagnosis = examine_design(load_config("tiny.yaml", (*QUICK, "backend=few"))).diagnosis
    assert diagnosis.codes == ("shot_noise",)


def test_a_plateau_is_found_before_training_with_its_trend(study):
    deep = (
        "quantum.qubits=8",
        "quantum.depth=16",
        "quantum.overrides={observables: [Z0 Z1], blocks: [{gates: Rot}]}",
    )
    diagnosis = examine_design(load_config("tiny.yaml", (*QUICK, *deep, "model.skip=concat"))).diagnosis
    (finding,) = diagnosis.findings
    assert finding.code == "barren_plateau"
    np.testing.assert_allclose(finding.evidence["log2_slope_per_qubit"], -1, atol=0.3)


def test_a_subject_is_the_latest_run_a_run_or_a_config(study):
    with pytest.raises(ConfigError, match="There must be a finished run"):
        examine_subject(None)
    run = train("training.epochs=1")
    for reference, overrides, reported in (
        (None, (), f"run {run.name}"),
        (run.name, (), f"run {run.name}"),
        (str(run.path), (), f"run {run.name}"),
        (run.name, ("model.skip=concat",), "config tiny, before training"),
        ("tiny.yaml", QUICK, "config tiny, before training"),
    ):
        found = examine_subject(reference, overrides)
        looked_at, diagnosis = found.subject, found.diagnosis
        assert looked_at == reported
        assert diagnosis.healthy
        json.dumps(diagnosis.to_dict(), allow_nan=False)
    with pytest.raises(ConfigError, match="RUN or CONFIG must be a run, a YAML file"):
        examine_subject("nowhere")


def test_a_classical_model_is_looked_at_too(study):
    assert train("quantum=null", "training.epochs=1").read_record().to_dict()["doctor"]["healthy"]

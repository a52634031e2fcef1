"""A circuit that the engine can run trains, is stored, opened again, evaluated, drawn and exported."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from pydantic_core import to_json
from qiskit import qasm3, qpy
from ruamel.yaml import YAML
from safetensors import safe_open

from qhq.ansatz.draw import draw_circuit
from qhq.ansatz.stored import ansatz_fingerprint, load_built
from qhq.errors import ConfigError
from qhq.experiment.config import load_config, without_later_keys
from qhq.experiment.evaluate import forecast_windows
from qhq.experiment.opening import build_circuit
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import train_run
from qhq.runs.run_folder import list_runs
from qhq.training.checkpoint import save_weights
from qhq.training.loop import Watcher
from tests.ansatz.strangers import BEYOND_OPENQASM

SHORT = ("training.epochs=1", "data.start=2012-06-01", "model.skip=none", "training.dtype=float64")


class Notes(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def train(study):
    """Train a stranger's circuit for one epoch."""

    def train(name: str, watcher: Watcher | None = None):
        (study / "own.py").write_text(
            f"from tests.ansatz.strangers import STRANGERS\n\n"
            f"def build(qubits, depth):\n    return STRANGERS[{name!r}]()\n"
        )
        (study / "own.yaml").write_text("qubits: 2\nfile: {path: own.py}\n")
        qubits = 4 if name in ("rare gates", "registers") else 2
        overrides = ["quantum.ansatz=own.yaml", f"quantum.qubits={qubits}", *SHORT]
        return train_run(load_config("tiny.yaml", overrides), watcher or Watcher())

    return train


@pytest.mark.parametrize(
    "name",
    [
        "elements of vectors",
        "one name for two gates",
        "registers",
        "odd metadata",
        "idle parameters",
        "library",
        "rare gates",
        "names in TeX",
        "sine",
    ],
)
def test_a_strangers_circuit_goes_all_the_way(train, name):
    watcher = Notes()
    folder = train(name, watcher=watcher)
    experiment = open_trained(folder)
    evaluation = forecast_windows(experiment, experiment.open_executor("test"), experiment.data.test)
    written = pd.read_csv(folder.path / "predictions.csv")["forecast"].to_numpy()
    np.testing.assert_allclose(evaluation.forecast.ravel(), written, rtol=1e-12)
    assert ansatz_fingerprint(load_built(folder.circuit)) == ansatz_fingerprint(
        build_circuit(experiment.config.quantum)
    )
    assert (folder.path / "circuit.qasm").exists() == (name not in BEYOND_OPENQASM)
    if name in BEYOND_OPENQASM:
        assert [each for each in watcher.notes if "circuit.qasm is left out" in each]
    else:
        qasm3.loads((folder.path / "circuit.qasm").read_text())
    draw_circuit(load_built(folder.circuit), folder.path / "circuit.svg")


def test_a_circuit_that_cannot_be_stored_leaves_nothing_behind(train, monkeypatch):
    def stumble(*arguments):
        raise OSError("no such gate")

    monkeypatch.setattr(qpy, "dump", stumble)
    with pytest.raises(ConfigError, match="must be able to store its circuit"):
        train("library")
    assert list_runs() == []


def test_a_run_from_before_a_key_existed_is_known_by_the_keys_it_has(train):
    folder = train("library")
    experiment = open_trained(folder)
    design = YAML(typ="safe").load(folder.config.read_text())
    del design["quantum"]["frozen"]
    with folder.config.open("w") as stream:
        YAML().dump(design, stream)
    with pytest.raises(ConfigError, match="must belong to the run's config"):
        open_trained(folder)
    known = without_later_keys(design)
    content = to_json({key: value for key, value in known.items() if key != "name"})
    identity = {**experiment.identity(), "config": hashlib.sha256(content).hexdigest()}
    save_weights(experiment.model, folder.weights, identity)
    assert open_trained(folder).config == experiment.config


def test_the_identity_of_a_run_is_that_of_its_config_as_the_first_version_would_write_it(train):
    folder = train("library")
    config = load_config(str(folder.config))
    content = without_later_keys(config.model_dump(mode="json", exclude={"name"}))
    assert "optimizer" not in content["training"]
    assert "learning_rate" in content["training"]
    wanted = hashlib.sha256(to_json(content)).hexdigest()
    with safe_open(folder.weights, framework="pt") as file:
        assert json.loads(file.metadata()["identity"])["config"] == wanted

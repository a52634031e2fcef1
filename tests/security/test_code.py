"""Python runs only where the user's own command or config names it: 20 attempts of a folder or a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import qhq.paths
from qhq.ansatz.stored import load_built, program_digest
from qhq.api.given import read_subject
from qhq.errors import ConfigError
from qhq.experiment.config import load_config
from qhq.experiment.opening import build_circuit
from qhq.experiment.run import train_run
from qhq.runs.run_folder import list_runs
from qhq.studies.ablation.cells import build_variants
from qhq.training.loop import Watcher
from tests.conftest import TINY

EVIL = """\
from pathlib import Path
Path({mark!r}).write_text("ran")
from qiskit.circuit import ParameterVector, QuantumCircuit
def build(qubits, depth):
    x, w = ParameterVector("x", qubits), ParameterVector("w", qubits)
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.ry(x[qubit], qubit)
        circuit.ry(w[qubit], qubit)
    return circuit, x, w
"""
SPEC = "qubits: 2\nfile: {path: evil.py}\n"
QUICK = ("--set", "training.epochs=1", "--set", "data.start=2012-09-01", "--set", "data.symbols=[AAPL]")


@pytest.fixture
def mark(study):
    """A file that appears where the code ran."""
    return study / "mark"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The folder of a run that was made with a Python circuit, which its maker named."""
    folder = tmp_path_factory.mktemp("maker")
    (folder / "tiny.yaml").write_text(TINY)
    plant(folder, folder / "mark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        sets = (*QUICK[1::2], f"quantum.ansatz={folder}/evil.yaml")
        run = train_run(load_config(str(folder / "tiny.yaml"), sets), Watcher())
    assert (folder / "mark").exists()
    return run.path


@pytest.fixture
def trained(original, study, mark):
    """The run in the runs folder of somebody else, and at its circuit's path a program that leaves a mark."""
    (original.parents[1] / "evil.py").write_text(EVIL.format(mark=str(mark)))
    shutil.copytree(original, study / "runs" / original.name)
    return list_runs()[0]


def plant(folder: Path, mark: Path, name: str = "evil") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(SPEC)
    (folder / "evil.py").write_text(EVIL.format(mark=str(mark)))


HIDING = [
    ("train", "tiny.yaml", *QUICK),
    ("train",),
    ("doctor", "tiny.yaml"),
    ("ablate", "tiny.yaml", "--seeds", "1"),
    ("circuit", "info", "reference"),
    ("circuit", "draw", "reference"),
    ("circuit", "export", "reference"),
    ("circuit", "list"),
    ("backends", "check", "aer"),
    ("backends", "list"),
]


@pytest.mark.parametrize("command", HIDING, ids=" ".join)
def test_a_file_of_the_current_folder_runs_no_code_under_a_shipped_name(qhq, study, mark, command):
    plant(study / "circuits", mark, "reference")
    result = qhq(*command)
    assert not mark.exists()
    if command[-1] != "list":
        assert result.exit_code == 2
        assert "must not take the name of a shipped one" in " ".join(result.stderr.split())


def test_a_program_of_another_content_does_not_pass_for_the_shipped_one(qhq, study, mark):
    shutil.copytree(qhq_root := qhq_paths_root() / "circuits", study / "circuits")
    assert qhq("circuit", "info", "brickwork").exit_code == 0
    (study / "circuits" / "brickwork.py").write_text(EVIL.format(mark=str(mark)))
    assert (qhq_root / "brickwork.py").is_file()
    assert qhq("circuit", "info", "brickwork").exit_code == 2
    assert not mark.exists()
    assert qhq("circuit", "info", "circuits/brickwork.yaml", "--qubits", "2").exit_code == 0
    assert mark.exists(), "the command named it"


def qhq_paths_root() -> Path:
    return qhq.paths.shipped_root()


ON_A_RUN = {
    "doctor": (("doctor", "RUN"), None),
    "doctor with keys": (("doctor", "RUN", "--set", "training.learning_rate=0.1"), None),
    "doctor with another width": (("doctor", "RUN", "--set", "quantum.qubits=3"), 2),
    "ablate with another depth": (("ablate", "RUN", "--seeds", "1", "--set", "quantum.depth=2"), 2),
    "eval": (("eval", "RUN", "--backend", "aer", "--samples", "8"), 0),
    "noise": (("noise", "RUN", "--samples", "4", "--seeds", "2", "--scale", "0", "--shots", "64"), 0),
    "compare": (("compare", "RUN"), 0),
    "resume": (("train", "--resume", "RUN"), 0),
    "train": (("train", "RUN", *QUICK), 0),
}


@pytest.mark.parametrize("name", ON_A_RUN)
def test_a_run_folder_runs_no_code(qhq, trained, mark, name):
    words, status = ON_A_RUN[name]
    result = qhq(*(trained.name if word == "RUN" and words[0] != "train" else
                   str(trained.path) if word == "RUN" else word for word in words))  # fmt: skip
    assert not mark.exists(), result.output
    assert result.exit_code in ((status,) if status is not None else (0, 1)), result.output
    if status == 2:
        assert "must be named by your own command" in " ".join(result.stderr.split())


@pytest.mark.parametrize("words", [("ablate", "--seeds", "1"), ("doctor",), ("eval",), ("train", "--resume")])
def test_a_run_without_its_circuit_is_refused_not_rebuilt(qhq, trained, mark, words):
    trained.circuit.unlink()
    record = json.loads((trained.path / "run.json").read_text())
    (trained.path / "run.json").write_text(json.dumps({**record, "status": "finished"}))
    if words[0] == "train":
        (trained.path / "run.json").write_text(json.dumps({**record, "status": "running"}))
    result = qhq(words[0], *(words[1:] if words[0] == "train" else ()), str(trained.path),
                 *(words[1:] if words[0] != "train" else ()))  # fmt: skip
    assert result.exit_code == 2
    assert "stored circuit must exist" in " ".join(result.stderr.split())
    assert not mark.exists()


def test_the_users_own_word_runs_it(qhq, trained, original, mark):
    named = f"quantum.ansatz={original.parents[1]}/evil.yaml"
    result = qhq("doctor", trained.name, "--set", named, "--set", "quantum.qubits=3")
    assert result.exit_code in (0, 1, 2), result.output
    assert mark.exists()


def test_a_plain_file_that_hides_a_shipped_one_is_reported_once(qhq, study):
    (study / "circuits").mkdir()
    (study / "circuits" / "reference.yaml").write_text("qubits: 3\ndescription: mine\n")
    result = qhq("circuit", "info", "reference", "--json")
    assert json.loads(result.stdout)["qubits"] == 3
    printed = [line for line in result.stderr.splitlines() if "stands in for" in line]
    assert printed == [f"Using {study}/circuits/reference.yaml, which stands in for the one that qhq ships."]
    assert "stands in for" not in qhq("circuit", "info", "sim_01").stderr


def test_a_circuit_that_changed_since_does_not_change_a_run(trained, original):
    (original.parents[1] / "evil.py").write_text("raise SystemExit('another')")
    quantum = load_config(str(trained.config), ["training.epochs=1"]).quantum
    assert program_digest(build_circuit(quantum)) == program_digest(load_built(trained.circuit))
    with pytest.raises(ConfigError, match="must be named by your own command"):
        build_circuit(quantum.model_copy(update={"qubits": 3}))
    parts = {"ansatz": "side_by_side", "overrides": {"parts": [{"ansatz": str(original)}]}}
    with pytest.raises(ConfigError, match=f"named by your own command.*Got {original}"):
        build_circuit(quantum.model_copy(update=parts))
    parts["overrides"] = {"parts": [{"ansatz": "brickwork"}]}
    with pytest.raises(ConfigError, match=r"named by your own command.*brickwork.py"):
        build_circuit(quantum.model_copy(update=parts))


def test_every_variant_of_a_runs_ablation_has_its_stored_circuit(trained, mark):
    config = read_subject(trained.name)
    variants = build_variants(config, build_circuit(config.quantum)).configs
    built = {name: build_circuit(each.quantum) for name, each in variants.items() if each.quantum}
    assert built.keys() >= {"hybrid", "frozen"}
    assert {program_digest(each) for each in built.values()} == {program_digest(load_built(trained.circuit))}
    assert not mark.exists()

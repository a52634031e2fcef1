"""docs/architecture.md: its files exist, its diffs apply to the source, and its code does what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.data.spec import SCALINGS
from qhq.diagnostics.doctor.checks import CHECKS, examine
from qhq.errors import ConfigError
from qhq.evaluation.baselines.catalogue import BASELINES
from qhq.experiment.config import load_config
from qhq.experiment.fit import fit
from qhq.experiment.opening import open_experiment
from qhq.models.spec import UNITS, load_unit, unit_names
from qhq.studies.ablation.study import AblationRequest, run_ablation
from qhq.studies.runner import Runner
from qhq.training.loop import Watcher

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


FILES = dict(re.findall(r"`(qhq/[\w/]+\.py)`:\n\n```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
"""The new files of the page, by path."""
DIFFS = {
    block.split("\n", 1)[0].removeprefix("--- "): block.split("@@\n")[1:]
    for block in blocks("diff")
}  # fmt: skip
"""The hunks of each diff, by the path of the file that it changes."""


def applied(path: str) -> str:
    """A file of qhq with its diff; what the diff takes for granted must be there once."""
    source = (ROOT / path).read_text(encoding="utf-8")
    for hunk in DIFFS[path]:
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        assert source.count(before) == 1, f"{path} has no longer one place with:\n{before}"
        source = source.replace(before, after)
    return source


def line_of(path: str, names: dict) -> dict:
    """What the line that a diff adds to a table says."""
    (line,) = re.findall(r'^\+    (".*)$', "".join(DIFFS[path]), re.MULTILINE)
    return eval(f"{{{line}}}", names)


@pytest.fixture
def plant(monkeypatch):
    """Make a new file of the page a module."""

    def make(path: str) -> ModuleType:
        name = path.removesuffix(".py").replace("/", ".")
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(FILES[path], path, "exec"), module.__dict__)
        return module

    return make


@pytest.fixture
def config(study, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(study / "runs"))

    def load(*keys):
        return load_config("tiny.yaml", ["training.epochs=1", "backend=statevector", *keys])

    return load


def test_the_page_names_files_that_are_there():
    named = set(re.findall(r"^\| `(qhq/[\w/]+\.py)` \|", PAGE, re.MULTILINE))
    assert len(named) > 12
    assert all((ROOT / path).is_file() for path in named | DIFFS.keys())
    assert not any((ROOT / path).exists() for path in FILES)


def test_the_page_draws_every_package():
    drawing = blocks("")[0]
    packages = {path.parent.name for path in (ROOT / "qhq").glob("*/__init__.py")}
    assert all(re.search(rf"\b{name}\b", drawing) for name in packages)


def test_the_diffs_apply_and_the_additions_are_found(tmp_path):
    """A copy of qhq with all of them."""
    shutil.copytree(ROOT / "qhq", tmp_path / "qhq", ignore=shutil.ignore_patterns("__pycache__"))
    for path in DIFFS:
        (tmp_path / path).write_text(applied(path), encoding="utf-8")
    for path, text in FILES.items():
        (tmp_path / path).write_text(text, encoding="utf-8")
    use = """
import json
from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.data.spec import SCALINGS
from qhq.diagnostics.doctor.checks import CHECKS
from qhq.evaluation.baselines.catalogue import BASELINES
from qhq.models.spec import ModelSpec
from qhq.models.spec import load_unit
from qhq.studies.seeds import SeedStudy
ModelSpec.model_validate({"recurrent": [{"unit": "mgu"}]})
ansatz = build(AnsatzSpec.model_validate({"qubits": 2, "depth": 1, "encoding": {"kind": "phase"}}))
found = [load_unit("mgu").__name__, "window_range" in SCALINGS, "inputs_constant" in CHECKS,
         "window_median" in BASELINES, ansatz.num_inputs, sorted(ansatz.circuit.count_ops().items())]
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", use],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    gates = [["cx", 1], ["h", 2], ["p", 2], ["ry", 2]]
    assert json.loads(done.stdout) == ["MGU", True, True, True, 2, gates]


def test_a_scaler_scales_and_trains(plant, config, monkeypatch):
    plant("qhq/data/scaling/window_range.py")
    from qhq.data.spec import ScalingFacts

    for name, facts in line_of("qhq/data/spec.py", {"ScalingFacts": ScalingFacts}).items():
        monkeypatch.setitem(SCALINGS, name, facts)
    experiment = open_experiment(config("data.scaling=window_range", "quantum=null"))
    fit(experiment, Watcher())
    windows, scaler = experiment.data.test, experiment.data.scaler
    inputs = scaler.inputs(windows)
    assert np.abs(inputs).max() <= 1
    np.testing.assert_array_equal(inputs[:, -1], 0)
    np.testing.assert_allclose(scaler.to_raw_units(scaler.targets(windows), windows), windows.targets)


def test_a_baseline_is_a_rival_of_an_ablation(plant, config, monkeypatch):
    from qhq.evaluation.baselines import catalogue

    made = plant("qhq/evaluation/baselines/window_median.py")
    for name, baseline in line_of(
        "qhq/evaluation/baselines/catalogue.py", {**vars(catalogue), **vars(made)}
    ).items():
        monkeypatch.setitem(BASELINES, name, baseline)
    record = run_ablation(config(), AblationRequest(seeds=2)).to_dict()
    (row,) = [row for row in record["rows"] if row["variant"] == "window_median"]
    assert row["mae"] > 0
    windows = open_experiment(config("quantum=null")).data.train
    median = np.exp(np.median(np.log(windows.along("adj_close")), axis=1))
    np.testing.assert_allclose(baseline.fit(windows)(windows)[:, 0, 0], median)


def trains_a_unit(config):
    experiment = open_experiment(config("model.recurrent=[{unit: mgu, hidden: 4}]", "quantum=null"))
    before = [each.detach().clone() for each in experiment.model.encoder.parameters()]
    assert len(before) == 4
    fit(experiment, Watcher())
    pairs = zip(before, experiment.model.encoder.parameters(), strict=True)
    assert any((one != each).any() for one, each in pairs)


def test_a_recurrent_unit_trains(plant, config, monkeypatch):
    plant("qhq/models/mgu.py")
    for name, place in line_of("qhq/models/spec.py", {}).items():
        monkeypatch.setitem(UNITS, name, place)
    trains_a_unit(config)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of one module with an entry point, as pip would lay it out."""

    def write(source: str, point: str, group: str = "qhq.models") -> None:
        package = point.partition("= ")[2].partition(":")[0]
        facts = tmp_path / "site" / f"{package}-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts.parent / f"{package}.py").write_text(source, encoding="utf-8")
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
        monkeypatch.syspath_prepend(str(facts.parent))
        monkeypatch.delitem(sys.modules, package, raising=False)

    return write


def phase_package() -> str:
    """The encoding of the page as a module of another package."""
    added = re.findall(r"^\+(.*)$", "".join(DIFFS["qhq/ansatz/encodings.py"]), re.MULTILINE)
    lines = [each for each in added if "Tag(" not in each]
    head = "from typing import Literal\nfrom qhq.ansatz.encodings import InputEncoding\n"
    return "from __future__ import annotations\n" + head + "\n".join(lines)


def test_an_encoding_of_another_package_is_built_by_name_and_as_an_object(install):
    (point,) = re.findall(r'"qhq.encodings"\]\n(\w+) = "(.*)"', PAGE)
    install(phase_package(), " = ".join(point), "qhq.encodings")
    spec = AnsatzSpec.model_validate({"qubits": 2, "encoding": {"kind": "phase", "repeat": True}, "depth": 2})
    assert build(spec).circuit.count_ops()["p"] == 4
    from qhq_phase import PhaseEncoding

    assert AnsatzSpec(qubits=2, depth=2, encoding=PhaseEncoding(kind="phase", repeat=True)) == spec
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        AnsatzSpec.model_validate({"encoding": {"kind": "phase", "speed": 3}})


@pytest.mark.parametrize(
    ("kind", "source", "got"),
    [
        ("phase", "PhaseEncoding = 3\n", "a int from qhq_phase:PhaseEncoding of qhq_phase"),
        ("phase", "1 / 0\n", "ZeroDivisionError"),
        ("other", "", "does not match any of the expected tags"),
    ],
)
def test_an_encoding_that_cannot_be_used_is_named(install, kind, source, got):
    install(source, "phase = qhq_phase:PhaseEncoding", "qhq.encodings")
    with pytest.raises((ConfigError, ValidationError), match=got):
        AnsatzSpec.model_validate({"encoding": {"kind": kind}})


def test_no_package_stands_in_for_an_encoding_of_qhq(install):
    install("AngleEncoding = None\n", "angle = qhq_phase:AngleEncoding", "qhq.encodings")
    assert AnsatzSpec.model_validate({"encoding": {"kind": "angle"}}) == AnsatzSpec()


def test_a_recurrent_unit_of_another_package_trains(install, config):
    assert any('[project.entry-points."qhq.models"]' in each for each in blocks("toml"))
    install(FILES["qhq/models/mgu.py"], "mgu = qhq_mgu:MGU")
    assert unit_names() == [*UNITS, "mgu"]
    trains_a_unit(config)


@pytest.mark.parametrize(
    ("source", "got"),
    [("MGU = 3\n", "a int from qhq_mgu:MGU of qhq_mgu, entry point 'mgu'"), ("1 / 0\n", "ZeroDivisionError")],
)
def test_a_unit_that_cannot_be_used_is_named_with_its_package(install, config, source, got):
    install(source, "mgu = qhq_mgu:MGU")
    with pytest.raises(ConfigError, match=f"{got}.*Update or uninstall qhq_mgu"):
        open_experiment(config("model.recurrent=[{unit: mgu, hidden: 4}]", "quantum=null"))


def test_no_package_stands_in_for_a_unit_of_qhq(install):
    install("GRU = None\n", "gru = qhq_mgu:GRU")
    assert load_unit("gru") is torch.nn.GRU
    assert unit_names() == list(UNITS)


def test_an_unknown_unit_is_refused_with_the_nearest_name(config):
    with pytest.raises(ConfigError, match="'gruu' is no recurrent unit. Did you mean 'gru'"):
        config("model.recurrent=[{unit: gruu}]")


def test_a_check_of_the_doctor_finds_its_fault(plant, monkeypatch):
    made = plant("qhq/diagnostics/doctor/inputs.py")
    for code, check in line_of("qhq/diagnostics/doctor/checks.py", {"inputs": made}).items():
        monkeypatch.setitem(CHECKS, code, check)
    model = torch.nn.Linear(3, 1)
    assert "inputs_constant" in examine(model, torch.ones(8, 3)).codes
    varied = torch.arange(24.0).reshape(8, 3)
    assert "inputs_constant" not in examine(model, varied).codes


def test_a_study_measures_its_cells(plant, config):
    study = plant("qhq/studies/seeds.py")
    record = Runner().run(study.SeedStudy(config("quantum=null"), seeds=2))
    assert record["mae"] > 0
    assert record["spread"] > 0

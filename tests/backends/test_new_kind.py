"""The worked example of docs/backends.md: one file and one line make a kind of backend."""

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import load_ansatz
from qhq.backends import registry
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import (
    as_run,
    backend_from_record,
    check_entry,
    find_backend,
    load_backends,
    open_backend,
    open_parity_reference,
    open_training_backend,
    read_calibration,
    registry_schema,
)
from qhq.errors import ConfigError
from qhq.quantum.layer import QuantumLayer
from tests.ansatz.circuits import random_values

PAGE = (Path(__file__).parents[2] / "docs" / "backends.md").read_text(encoding="utf-8")


def block(language):
    """The one code block of the page in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "backends.yaml").write_text("mine: {kind: estimator, description: By Qiskit}\n")
    return tmp_path


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Install a package of one module with entry points of the group, as pip would lay it out."""

    def install(module, source, points):
        site = tmp_path / "site"
        facts = site / f"{module}-1.0.dist-info"
        facts.mkdir(parents=True)
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (facts / "entry_points.txt").write_text("\n".join(["[qhq.backends]", *lines, ""]))
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


@pytest.fixture
def estimator(study, plant):
    points = tomllib.loads(block("toml"))["project"]["entry-points"][registry.GROUP]
    plant("qhq_estimator", block("python"), points)


def same_as_the_engine(backend):
    ansatz = build(load_ansatz("reference"))
    inputs, weights = random_values(ansatz, 3)
    cotangent = np.linspace(-1, 1, 3 * ansatz.num_outputs).reshape(3, -1)
    mine, exact = open_backend(backend, ansatz), StatevectorExecutor(ansatz)
    np.testing.assert_allclose(
        mine.expectations(inputs, weights), exact.expectations(inputs, weights), rtol=0, atol=1e-10
    )
    pairs = zip(mine.vjp(inputs, weights, cotangent), exact.vjp(inputs, weights, cotangent), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)
    assert mine.report().depth > 1


def test_a_kind_of_another_package_runs_and_trains(estimator):
    same_as_the_engine("mine")
    layer = QuantumLayer("reference", "mine", qubits=2, depth=1, seed=0)
    layer(torch.zeros(2, 2)).sum().backward()
    assert layer.weight.grad.abs().max() > 0


def test_a_kind_of_another_package_is_listed_checked_stored_and_in_the_schema(estimator):
    entry = find_backend("mine")
    assert (entry.kind, entry.description, entry.name) == ("estimator", "By Qiskit", "mine")
    assert backend_from_record(entry.model_dump(mode="json"), "a run") == entry
    assert len(check_entry("mine", "reference").values_at_zero) > 0
    assert "EstimatorSpec" in registry_schema()["$defs"]


def test_what_a_kind_does_not_have_it_says_by_itself(estimator):
    ansatz = build(load_ansatz("reference"))
    with pytest.raises(ConfigError, match="'mine', which has none"):
        read_calibration("mine")
    with pytest.raises(ConfigError, match="'mine', which runs the circuit as it stands"):
        as_run(ansatz, "mine")
    assert open_parity_reference("mine", ansatz, seed=0) is None
    assert type(open_training_backend("mine", ansatz, seed=0)) is type(open_backend("mine", ansatz))
    entry = find_backend("mine")
    assert (entry.is_template, entry.is_noisy, entry.can_sample, entry.files) == (False, False, False, ())


def test_in_qhq_a_kind_is_one_line_of_the_registry(study, monkeypatch):
    (line,) = re.findall(r"^\+ +(.*)$", block("diff"), re.MULTILINE)
    made = {}
    exec(compile(block("python"), "docs/backends.md", "exec"), made)
    added = eval(f"{{{line}}}", made)
    assert list(added) == ["estimator"]
    monkeypatch.setattr(registry, "KINDS", registry.KINDS | added)
    same_as_the_engine("mine")


def test_no_package_stands_in_for_a_kind_of_qhq(study, plant):
    (study / "backends.yaml").write_text("aer: {kind: aer}\n")
    plant("qhq_thief", "AER = None\n", {"aer": "qhq_thief:AER"})
    assert find_backend("aer").kind == "aer"
    assert registry.kind_names() == list(registry.KINDS)


@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("ESTIMATOR = 3\n", "a int from qhq_broken:ESTIMATOR of qhq_broken, entry point 'estimator'"),
        ("raise RuntimeError('no licence')\n", "RuntimeError: no licence from qhq_broken:ESTIMATOR"),
        ("", "AttributeError: .* from qhq_broken:ESTIMATOR"),
    ],
)
def test_a_kind_that_cannot_be_used_is_named_with_its_package(study, plant, source, got):
    plant("qhq_broken", source, {"estimator": "qhq_broken:ESTIMATOR"})
    with pytest.raises(ConfigError, match=f"{got}.*Update or uninstall qhq_broken"):
        load_backends()


def test_without_the_package_the_kind_is_unknown(study):
    with pytest.raises(ConfigError, match="kind 'estimator' in entry 'mine'"):
        load_backends()


def test_a_misspelt_kind_is_named_though_a_package_is_broken(study, plant):
    plant("qhq_broken", "ESTIMATOR = 3\n", {"estimators": "qhq_broken:ESTIMATOR"})
    with pytest.raises(ConfigError, match="Did you mean 'estimators'"):
        load_backends()

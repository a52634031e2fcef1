"""Each Python snippet of the README and of docs/ runs as it stands, warnings being errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from qhq.ansatz import build, load_ansatz
from qhq.quantum import AdjointNetwork, QuantumLayer
from qhq.quantum.layer import AngleScaling
from tests.ansatz.circuits import statevector_expectations
from tests.loopback.fixtures import loopback, no_backoff

__all__ = ["loopback", "no_backoff"]

ROOT = Path(__file__).parents[1]


def snippets() -> dict[str, str]:
    """Snippets by file and number; the pages are those of the repository, not of an installed package."""
    found = {}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))):
        blocks = re.findall(
            r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        found |= {f"{page.relative_to(ROOT)}:{number}": block for number, block in enumerate(blocks, 1)}
    return found


SNIPPETS = snippets()


def run(name: str, **given) -> dict:
    # A module of its own: a dataclass of the snippet looks for its module there.
    module = ModuleType("snippet")
    vars(module).update(given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "snippet", module)
        exec(compile(SNIPPETS[name], name, "exec"), vars(module))
    return vars(module)


def a_model() -> dict:
    """What the page of the doctor takes for granted."""
    layer = QuantumLayer("reference", qubits=2, depth=1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), layer, torch.nn.Linear(2, 1))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(32, 3, generator=generator)
    return {"model": model, "inputs": inputs, "targets": torch.randn(32, 1, generator=generator)}


GIVEN = {"docs/doctor.md:1": a_model}


TOUR = [name for name in SNIPPETS if name.startswith("docs/python.md")]
"""Snippets of a page that is read from top to bottom, each of which goes on from the one before."""


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A folder of its own: nothing of a snippet reaches the user's home or a service."""
    from qiskit_ibm_runtime.accounts import management

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(tmp_path / "accounts.json"))


@pytest.mark.parametrize("name", [name for name in SNIPPETS if name not in TOUR])
def test_a_snippet_runs(name, away):
    run(name, **GIVEN.get(name, dict)())


def test_the_page_of_python_runs_from_top_to_bottom(away, capsys, loopback, no_backoff):
    names: dict = {}
    for name in TOUR:
        names = run(name, **names)
    assert "1 of 1: loss" in capsys.readouterr().out


def test_there_are_snippets():
    assert {"README.md:1", "README.md:2", "docs/python.md:1"} <= set(SNIPPETS)


def of_readme(word: str) -> str:
    (name,) = [name for name, text in SNIPPETS.items() if name.startswith("README.md") and word in text]
    return name


def test_the_layer_of_the_readme_is_exact_scaled_and_trains_what_stands_before_it(away):
    names = run(of_readme("QuantumLayer"))
    layer, model = names["layer"], names["model"]
    assert all(each.grad.abs().max() > 0 for each in model.parameters())
    assert layer.neural_network.backend == "aer_shots"
    layer.open("statevector")
    ansatz = build(load_ansatz("reference", {"qubits": 4, "depth": 2}))
    inputs = 4 * torch.randn(8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    angles, weights = (
        AngleScaling(ansatz.angle_scaling)(inputs).numpy(),
        layer.weight.detach().double().numpy(),
    )
    expected = statevector_expectations(ansatz, angles, weights)
    np.testing.assert_allclose(layer(inputs).detach(), expected, atol=1e-10)


def test_what_stands_before_the_network_of_the_readme_learns(away):
    names = run(of_readme("AdjointNetwork"))
    assert isinstance(names["network"], AdjointNetwork)
    names["model"](torch.ones(3, 8)).sum().backward()
    assert all(each.grad.abs().max() > 0 for each in names["model"].parameters())

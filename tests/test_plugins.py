"""The public names that users import without the command line."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

NAMES = [
    ("qhq.ansatz", "Ansatz"),
    ("qhq.ansatz", "AnsatzSpec"),
    ("qhq.ansatz", "build"),
    ("qhq.ansatz", "load_ansatz"),
    ("qhq.backends", "open_backend"),
    ("qhq.pricing", "price"),
    ("qhq.quantum", "AdjointNetwork"),
    ("qhq.quantum", "QuantumLayer"),
    ("qhq.engine", "StatevectorEngine"),
    ("qhq.engine", "StateEngine"),
    ("qhq.engine", "TorchEngine"),
    ("qhq.engine.compile", "lower"),
    ("qhq.models", "ModelSpec"),
    ("qhq.models", "build_model"),
]


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_public_names_are_there(package, name):
    assert getattr(importlib.import_module(package), name).__name__ == name


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'qhq.ansatz' has no attribute 'nothing'"):
        importlib.import_module("qhq.ansatz").__getattr__("nothing")


def test_packages_import_nothing_heavy():
    packages = ", ".join(sorted({package for package, _ in NAMES}))
    program = f"import sys, {packages}; print([n for n in ('torch', 'qiskit', 'numba') if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"

"""A script of plain Qiskit: it gives the same expectations in a process that has no qhq."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit

from qhq.ansatz.assemble import build_ansatz
from qhq.ansatz.script import to_python
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import ConfigError
from tests.ansatz.circuits import SPECS, built, random_values, statevector_expectations

ALONE = """
import sys
sys.modules["qhq"] = None  # importing it fails
import numpy as np
scope = {"__name__": "script"}
exec(open("script.py").read(), scope)
np.save("values.npy", scope["expectations"](np.load("inputs.npy")))
"""


def run_alone(folder, script: str, inputs: np.ndarray) -> np.ndarray:
    (folder / "script.py").write_text(script, encoding="utf-8")
    np.save(folder / "inputs.npy", inputs)
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "values.npy")


def in_process(script: str, inputs: np.ndarray) -> np.ndarray:
    scope = {"__name__": "script"}
    exec(script, scope)
    return scope["expectations"](inputs)


def write(ansatz, weights, title="one") -> str:
    return to_python(ansatz, weights, title=title, version="0")


def test_a_process_without_qhq_has_the_same_expectations(tmp_path):
    ansatz = built("reuploading")
    inputs, weights = random_values(ansatz, 4)
    found = run_alone(tmp_path, write(ansatz, weights), inputs)
    np.testing.assert_allclose(found, statevector_expectations(ansatz, inputs, weights), atol=1e-10)


@pytest.mark.parametrize("name", SPECS)
def test_every_kind_of_circuit_keeps_its_expectations(name):
    ansatz = built(name)
    inputs, weights = random_values(ansatz, 3)
    found = in_process(write(ansatz, weights), inputs)
    np.testing.assert_allclose(found, statevector_expectations(ansatz, inputs, weights), atol=1e-10)


def test_functions_of_angles_and_odd_gates_are_written_out():
    x, w = Parameter("x"), Parameter("import os")
    circuit = QuantumCircuit(3)
    circuit.rx(x.sin() * w - 2 / (1 + w**2), 0)
    circuit.rzz(w.exp(), 0, 1)
    circuit.unitary(np.array([[0, 1j], [1, 0]]), [2])
    circuit.ccx(0, 1, 2)
    circuit.iswap(1, 2)
    ansatz = build_ansatz(circuit, inputs=["x"])
    inputs, weights = random_values(ansatz, 3)
    script = write(ansatz, weights)
    assert "import os" not in script
    found = in_process(script, inputs)
    np.testing.assert_allclose(found, statevector_expectations(ansatz, inputs, weights), atol=1e-10)


def test_a_circuit_that_resets_and_measures_has_exact_expectations():
    """Not those of one outcome, which Qiskit draws where a Statevector is reset."""
    x, w = ParameterVector("x", 2), Parameter("w")
    circuit = QuantumCircuit(2, 1)
    for angle in x:
        circuit.ry(angle, 0)
        circuit.cx(0, 1)
        circuit.reset(0)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.rx(w, 1)
    ansatz = build_ansatz(circuit, inputs="x")
    inputs, weights = random_values(ansatz, 3)
    wanted = StatevectorExecutor(ansatz).expectations(inputs, weights)
    np.testing.assert_allclose(in_process(write(ansatz, weights), inputs), wanted, atol=1e-10)


def test_a_title_is_a_comment_and_nothing_else():
    script = write(built("ry"), None, title='x"""\nraise SystemExit\r\u2028raise SystemExit')
    assert in_process(script, np.zeros((1, 3))).shape == (1, 3)


def test_too_few_weights_are_refused():
    with pytest.raises(ConfigError, match="one finite value for each weight"):
        write(built("ry"), [1.0])

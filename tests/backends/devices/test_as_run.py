"""An ansatz in the gates of a device, as `qhq circuit draw --isa` and `export --isa` take it."""

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import CRYGate
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.draw import draw_text
from qhq.ansatz.program import Ansatz
from qhq.backends import open_backend
from qhq.backends.registry import as_run

X, V, W = Parameter("x"), Parameter("v"), Parameter("w")
OBSERVABLES = (SparsePauliOp("IZ"), SparsePauliOp("XY"))


def with_phase(circuit):
    circuit.global_phase = V * W


def with_delay(circuit):
    circuit.delay(V, 0)
    circuit.global_phase = W


def that_cancels(circuit):
    circuit.rz(V, 1)
    circuit.rz(-V, 1)
    circuit.rz(W, 0)


def in_a_difference(circuit):
    circuit.rx(V - V, 0)
    circuit.ry(W, 1)


def curved(circuit):
    circuit.ry(2**V, 0)
    circuit.rz((V * W).sin(), 0)
    circuit.append(CRYGate(W**2 / 3, ctrl_state=0), [1, 0])


@pytest.mark.parametrize("more", [with_phase, with_delay, that_cancels, in_a_difference, curved])
def test_each_parameter_stays_one_and_the_values_stay(more):
    circuit = QuantumCircuit(2)
    circuit.ry(X, 0)
    circuit.h(1)
    circuit.cx(0, 1)
    more(circuit)
    ansatz = Ansatz(circuit, (X, V), (W,), OBSERVABLES)
    written, layout = as_run(ansatz, "fake_nairobi")
    assert len(layout) == 2
    assert [each.name for each in written.parameters] == ["x", "v", "w"]
    assert "x" in draw_text(written)
    values = [
        open_backend("statevector", each, seed=0).expectations([[0.3, -0.8], [1.1, 0.5]], [0.6])
        for each in (written, ansatz)
    ]
    np.testing.assert_allclose(*values, rtol=0, atol=1e-12)

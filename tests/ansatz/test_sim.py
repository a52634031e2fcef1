"""The 19 circuits of Sim, Johnson and Aspuru-Guzik beside the sizes of the paper, n qubits and L layers.

What their gates do is tested by expressibility and entanglement, see tests/diagnostics.
"""

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import Operator

from qhq.ansatz.assemble import build
from qhq.ansatz.program import count_facts
from qhq.ansatz.spec import load_ansatz
from tests.ansatz.circuits import matrix

SIZES = {
    # number: weights and two-qubit gates of a layer on n qubits
    1: lambda n: (2 * n, 0),
    2: lambda n: (2 * n, n - 1),
    3: lambda n: (3 * n - 1, n - 1),
    4: lambda n: (3 * n - 1, n - 1),
    5: lambda n: (n * n + 3 * n, n * n - n),
    6: lambda n: (n * n + 3 * n, n * n - n),
    7: lambda n: (5 * n - 1, n - 1),
    8: lambda n: (5 * n - 1, n - 1),
    9: lambda n: (n, n - 1),
    10: lambda n: (2 * n, n),
    11: lambda n: (4 * n - 4, n - 1),
    12: lambda n: (4 * n - 4, n - 1),
    13: lambda n: (4 * n, 2 * n),
    14: lambda n: (4 * n, 2 * n),
    15: lambda n: (2 * n, 2 * n),
    16: lambda n: (3 * n - 1, n - 1),
    17: lambda n: (3 * n - 1, n - 1),
    18: lambda n: (3 * n, n),
    19: lambda n: (3 * n, n),
}


def sim(number, **overrides):
    return build(load_ansatz(f"sim_{number:02}", overrides))


@pytest.mark.parametrize("number", SIZES)
@pytest.mark.parametrize(("qubits", "layers"), [(4, 1), (4, 3), (6, 2)])
def test_sizes_are_the_papers(number, qubits, layers):
    facts = count_facts(sim(number, qubits=qubits, depth=layers))
    expected = tuple(layers * each for each in SIZES[number](qubits))
    assert (facts.weights, facts.two_qubit_gates) == expected


def test_the_thirteenth_gate_by_gate():
    ansatz, circuit = sim(13), QuantumCircuit(4)
    weights = iter(np.linspace(0.1, 6, 16))
    values = np.concatenate([np.zeros(4), np.linspace(0.1, 6, 16)])
    for pairs in (((3, 0), (2, 3), (1, 2), (0, 1)), ((3, 2), (0, 3), (1, 0), (2, 1))):
        for qubit in range(4):
            circuit.ry(next(weights), qubit)
        for control, target in pairs:
            circuit.crz(next(weights), control, target)
    np.testing.assert_allclose(matrix(ansatz, values), Operator(circuit).data, atol=1e-12)


def test_the_ninth_has_hadamards_in_each_layer():
    gates = count_facts(sim(9, depth=3)).gates
    assert (gates["h"], gates["cz"], gates["rx"]) == (12, 9, 12)


def test_the_eleventh_turns_its_inner_qubits_alone():
    circuit = sim(11).circuit
    touched = [circuit.find_bit(step.qubits[0]).index for step in circuit.data if step.operation.name == "rz"]
    assert touched == [0, 1, 2, 3, 1, 2]

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import StatevectorSampler
from qiskit.quantum_info import SparsePauliOp, Statevector, random_pauli_list

from qhq.backends.local.aer import measured_groups


def observables(*terms):
    return [SparsePauliOp.from_list(each) for each in terms]


def test_commuting_operators_share_one_setting():
    groups = measured_groups(observables([("ZII", 1)], [("IZI", 1)], [("ZIZ", 2), ("III", 3)]))
    assert [group.letters for group in groups] == ["ZZZ"]


@pytest.mark.parametrize(
    ("labels", "settings"), [(("XX", "XI", "ZI"), 2), (("XY", "YX", "ZZ"), 3), (("IX", "ZI"), 1)]
)
def test_operators_that_clash_on_a_qubit_are_measured_apart(labels, settings):
    assert len(measured_groups([SparsePauliOp(label) for label in labels])) == settings


@pytest.mark.parametrize("seed", range(3))
def test_groups_together_estimate_every_observable(seed):
    generator = np.random.default_rng(seed)
    circuit = QuantumCircuit(3)
    for qubit in range(3):
        circuit.u(*generator.uniform(-3, 3, 3), qubit)
        circuit.cx(qubit, (qubit + 1) % 3)
    operators = [
        SparsePauliOp(random_pauli_list(3, 4, seed=10 * seed + index, phase=False), generator.normal(size=4))
        for index in range(3)
    ]
    shots = 20_000
    total = np.zeros((1, 3))
    for group in measured_groups(operators):
        job = StatevectorSampler(seed=seed).run([(group.measure(circuit), np.zeros((1, 0)))], shots=shots)
        total += group.contribution(job.result()[0].data.meas)
    exact = [Statevector(circuit).expectation_value(each).real for each in operators]
    scale = max(np.abs(each.coeffs).sum() for each in operators)
    np.testing.assert_allclose(total[0], exact, atol=5 * scale / np.sqrt(shots))

"""What an ansatz takes: roles, observables, and circuits that a transpiler has written."""

import numpy as np
import pytest
from qiskit import transpile
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import CouplingMap

from qhq.ansatz.program import Ansatz
from qhq.backends import open_backend
from qhq.errors import ConfigError
from qhq.quantum import AdjointNetwork

X, W = Parameter("x"), Parameter("w")
Z0, X1 = SparsePauliOp("IZ"), SparsePauliOp(["XI", "YZ"], [0.5, -1.0])


def circuit(*, measured=False):
    made = QuantumCircuit(2)
    made.ry(X, 0)
    made.cx(0, 1)
    made.swap(0, 1)
    made.rx(W * X, 1)
    if measured:
        made.measure_all()
    return made


def values(ansatz):
    return open_backend("statevector", ansatz, seed=0).expectations([[0.7]], [0.4])


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_observables_that_are_narrower_than_a_transpiled_circuit_follow_its_layout(level, measured):
    wide = transpile(
        circuit(measured=measured),
        GenericBackendV2(5, seed=1),
        initial_layout=[3, 1],
        optimization_level=level,
        seed_transpiler=2,
    )
    ansatz = Ansatz(wide, (X,), (W,), (Z0, X1))
    assert {each.num_qubits for each in ansatz.observables} == {ansatz.num_qubits} <= {2, 3, 4, 5}
    np.testing.assert_allclose(values(ansatz), values(Ansatz(circuit(), (X,), (W,), (Z0, X1))), atol=1e-12)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_observables_that_are_as_wide_as_it_are_on_its_own_qubits(level):
    moved = transpile(circuit(), basis_gates=["rz", "sx", "cx"], optimization_level=level)
    laid = tuple(each.apply_layout(moved.layout) for each in (Z0, X1))
    ansatz = Ansatz(moved, (X,), (W,), laid)
    np.testing.assert_allclose(values(ansatz), values(Ansatz(circuit(), (X,), (W,), (Z0, X1))), atol=1e-12)


def test_an_observable_of_a_third_width_is_refused():
    wide = transpile(circuit(), GenericBackendV2(5, seed=1))
    with pytest.raises(ConfigError, match="must act on all qubits"):
        Ansatz(wide, (X,), (W,), (SparsePauliOp("ZZZ"),))


@pytest.mark.parametrize("name", ["statevector", "aer"])
@pytest.mark.parametrize("level", [0, 3])
def test_a_circuit_transpiled_for_a_large_device_runs_on_the_qubits_in_use(level, name):
    wide = transpile(circuit(), GenericBackendV2(60, seed=1), optimization_level=level, seed_transpiler=2)
    wide.barrier()
    wide.delay(10, 59)
    laid = tuple(each.apply_layout(wide.layout) for each in (Z0, X1))
    for observables in ((Z0, X1), laid):
        ansatz = Ansatz(wide, (X,), (W,), observables)
        assert 2 <= ansatz.num_qubits <= 6
        found = open_backend(name, ansatz, seed=0).expectations([[0.7]], [0.4])
        np.testing.assert_allclose(found, values(Ansatz(circuit(), (X,), (W,), (Z0, X1))), atol=1e-12)
        network = AdjointNetwork(circuit=wide, observables=observables, input_params=[X], weight_params=[W])
        np.testing.assert_allclose(network.forward([0.7], [0.4]), found, atol=1e-12)


def test_a_qubit_that_an_observable_reads_stays_and_so_does_a_delay_with_a_parameter():
    wide = transpile(
        circuit(),
        GenericBackendV2(9, seed=1, coupling_map=CouplingMap.from_line(9)),
        initial_layout=[2, 1],
        optimization_level=0,
    )
    delay = Parameter("d")
    wide.delay(delay, 5)
    z = SparsePauliOp.from_sparse_list([("Z", [8], 0.5)], 9)  # the rest acts on 1 and 2
    ansatz = Ansatz(wide, (X, delay), (W,), (z,))
    assert ansatz.num_qubits == 4
    found = open_backend("statevector", ansatz, seed=0).expectations([[0.7, 3.0]], [0.4])
    np.testing.assert_allclose(found, [[0.5]])

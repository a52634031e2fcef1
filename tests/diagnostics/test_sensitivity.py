import numpy as np
import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit

from qhq.ansatz.assemble import pauli_observables
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.sampling import Sampling
from qhq.diagnostics.sensitivity import input_sensitivity, input_sensitivity_at, light_cone
from qhq.errors import ConfigError

from .circuits import ansatz_of, shipped


def test_a_known_slope():
    x, w, circuit = ParameterVector("x", 1), ParameterVector("w", 1), QuantumCircuit(1)
    circuit.ry(x[0], 0)
    circuit.ry(w[0], 0)
    found = input_sensitivity(ansatz_of(circuit, x, w), Sampling(5000, confidence=0.999))
    assert found.norm.holds(2 / np.pi)  # |sin| of a uniform angle
    np.testing.assert_allclose(found.slopes[0][0], np.sqrt(0.5), rtol=0.02)
    np.testing.assert_allclose(found.quantiles, np.sin(np.pi / 2 * np.array([0.05, 0.5, 0.95])), atol=0.03)


def test_it_measures_a_trained_circuit_where_it_works():
    ansatz = shipped("reference")
    generator = np.random.default_rng(0)
    inputs, weights = 0.012 * generator.normal(size=(20, 4)), np.zeros(4)
    found = input_sensitivity_at(ansatz, inputs, weights)
    executor, norms = StatevectorExecutor(ansatz), np.zeros(20)
    for output in np.eye(4):
        slopes, _ = executor.vjp(inputs, weights, np.tile(output, (20, 1)))
        norms += (slopes**2).sum(axis=1)
    np.testing.assert_allclose(found.norm.value, np.sqrt(norms).mean(), rtol=1e-12)
    assert found.norm.high < 0.1  # the dead band: angles of 0.012 rad have slopes of 0.012


def test_products_of_qubits_see_their_own_input_alone():
    found = input_sensitivity(shipped("sim_01"), Sampling(20))
    others = tuple((output, index) for output in range(4) for index in range(4) if output != index)
    assert found.unseen == found.outside_cone == others
    assert (found.ignored_inputs, found.constant_outputs) == ((), ())


def test_ignored_inputs_and_constant_outputs_are_named():
    x, w, circuit = ParameterVector("x", 3), ParameterVector("w", 1), QuantumCircuit(3)
    circuit.ry(x[0], 0)
    circuit.rz(x[1], 1)  # does nothing to |0>
    circuit.ry(x[2], 2)
    circuit.ry(w[0], 0)
    ansatz = ansatz_of(circuit, x, w, pauli_observables(["Z0", "Z1", "X0 Z2"], 3))
    found = input_sensitivity(ansatz, Sampling(20))
    assert found.ignored_inputs == (1,)
    assert found.constant_outputs == (1,)
    assert set(found.unseen) - set(found.outside_cone) == {(1, 1)}


def test_what_lies_outside_the_light_cone_is_never_seen():
    for name in ("reference", "efficient_su2", "sim_07", "sim_16", "brickwork", "zz_feature_map"):
        found = input_sensitivity(shipped(name, qubits=5), Sampling(20))
        assert set(found.outside_cone) <= set(found.unseen)


def test_a_cone_grows_by_one_neighbour_a_brick():
    cone = light_cone(shipped("brickwork", qubits=6, depth=1))
    assert [row.tolist().index(True) for row in cone] == [0, 0, 2, 2, 4, 4]
    assert cone.sum() == 12


def test_a_barrier_joins_nothing_and_a_gate_of_ones_own_does():
    x, circuit, inner = ParameterVector("x", 3), QuantumCircuit(3), QuantumCircuit(2)
    inner.ry(x[0] + x[1], 0)
    inner.cx(0, 1)
    circuit.append(inner.to_gate(), [0, 1])
    circuit.ry(x[2], 2)
    circuit.barrier()
    expected = [[True, True, False], [True, True, False], [False, False, True]]
    assert light_cone(ansatz_of(circuit, x, [])).tolist() == expected


def test_one_sample_has_no_statistics():
    with pytest.raises(ConfigError, match="at least two samples"):
        input_sensitivity_at(shipped("reference"), np.zeros((1, 4)), np.zeros(4))

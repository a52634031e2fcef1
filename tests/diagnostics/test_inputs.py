import numpy as np
import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit

from qhq.ansatz.assemble import pauli_observables
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.inputs import input_sensitivity, input_sensitivity_at, light_cone, reach_of, spectra
from qhq.diagnostics.sampling import Probe, Sampling
from qhq.errors import ConfigError

from .circuits import ansatz_of, shipped


def encoded(qubits, repeats, gate="ry", scales=None):
    """One input on each of ``qubits``, ``repeats`` times, weights and couplings in between."""
    x, w = ParameterVector("x", 1), ParameterVector("w", qubits * repeats * 2)
    circuit, unused = QuantumCircuit(qubits), iter(w)
    for _ in range(repeats):
        for qubit in range(qubits):
            getattr(circuit, gate)((scales[qubit] if scales else 1) * x[0], qubit)
        for qubit in range(qubits):
            circuit.rx(next(unused), qubit)
            circuit.rz(next(unused), qubit)
        for qubit in range(qubits - 1):
            circuit.cx(qubit, qubit + 1)
    circuit.h(0)
    return ansatz_of(circuit, x, w)


@pytest.mark.parametrize(("qubits", "repeats"), [(1, 1), (1, 4), (2, 1), (2, 2), (3, 2), (4, 1)])
@pytest.mark.parametrize("gate", ["rx", "ry"])
def test_n_parallel_and_l_repeated_encodings_reach_n_l_and_nothing_above(qubits, repeats, gate):
    [found] = spectra(encoded(qubits, repeats, gate), Sampling(20))
    assert found.frequencies == tuple(range(qubits * repeats + 1))
    assert found.beyond < 1e-12
    assert found.highest_used == found.highest


def test_the_series_carries_all_of_the_variance():
    ansatz = encoded(2, 2)
    sampling = Sampling(300, confidence=0.999)
    [found] = spectra(ansatz, sampling)
    values = Probe(ansatz).expectations(Sampling(20_000, seed=5).draw(ansatz, "all"))
    np.testing.assert_allclose(sum(each.value for each in found.power), (values**2).mean(), rtol=0.1)


def test_scaled_encodings_reach_their_sums():
    [found] = spectra(encoded(2, 1, scales=[1, 3]), Sampling(20))
    assert found.frequencies == (0, 1, 2, 3, 4)
    [found] = spectra(encoded(2, 1, scales=[1, 4]), Sampling(20))
    assert found.frequencies == (0, 1, 3, 4, 5)  # 2 cannot be made
    assert found.beyond < 1e-12


def test_half_frequencies_of_controlled_rotations():
    x, w, circuit = ParameterVector("x", 1), ParameterVector("w", 2), QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.crx(x[0], 0, 1)
    circuit.ry(w[0], 0)
    circuit.ry(w[1], 1)
    circuit.cz(0, 1)
    circuit.h(0)
    [found] = spectra(ansatz_of(circuit, x, w), Sampling(20))
    assert found.frequencies == (0, 0.5, 1)
    assert found.beyond < 1e-12


def test_a_known_series():
    x, w, circuit = ParameterVector("x", 2), ParameterVector("w", 1), QuantumCircuit(1)
    circuit.ry(x[0], 0)
    circuit.ry(w[0], 0)
    circuit.rz(x[1], 0)
    found, idle = spectra(ansatz_of(circuit, x, w), Sampling(50))  # <Z> = cos(x0 + w0)
    np.testing.assert_allclose([each.value for each in found.power], [0, 0.5], atol=1e-12)
    assert found.power[1].high - found.power[1].low < 1e-12
    assert (idle.highest, idle.highest_used) == (1, 0)


def test_repeating_the_encoding_adds_a_wave_a_layer():
    for depth in (1, 2, 3):
        reach = reach_of(shipped("reuploading", depth=depth))
        assert [each.frequencies[-1] for each in reach] == [depth] * 4


def test_products_of_inputs_have_no_period():
    assert reach_of(shipped("zz_feature_map")) == (None,) * 4
    assert spectra(shipped("zz_feature_map"), Sampling(5)) == (None,) * 4


def test_scales_without_a_common_measure_have_no_period():
    assert reach_of(encoded(2, 1, scales=[1, np.sqrt(2)])) == (None,)


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

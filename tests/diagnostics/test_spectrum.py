import numpy as np
import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit

from qhq.diagnostics.probe import Probe
from qhq.diagnostics.sampling import Sampling
from qhq.diagnostics.spectrum import reach_of, spectra

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

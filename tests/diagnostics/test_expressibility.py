import numpy as np
import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit

from qhq.diagnostics.expressibility import (
    divergence,
    fidelities,
    haar_log_masses,
    histogram,
    measure_expressibility,
)
from qhq.diagnostics.sampling import Sampling

from .circuits import ansatz_of, haar_states, shipped
from .sim import SIM

CASES = [(number, layers, place) for number in SIM for layers, place in ((1, 0), (3, 1))]
FLOOR = 0.0035
"""Divergence of as many pairs of Haar states, published with the reference values as +- 0.0010."""


@pytest.mark.parametrize(("number", "layers", "place"), CASES)
def test_sims_circuits_have_their_divergence(number, layers, place):
    expected = SIM[number][place]
    ansatz = shipped(f"sim_{number:02}", depth=layers)
    runs = [
        measure_expressibility(ansatz, Sampling(5000, seed=seed).with_inputs_at_zero()) for seed in range(4)
    ]
    found = np.mean([run.divergence.value for run in runs])
    if expected > 0.01:
        # Few pairs in bins of next to no Haar mass: at three layers means of four runs scatter by 10 %.
        np.testing.assert_allclose(found, expected, rtol=0.2 if layers == 1 else 0.35)
    else:
        assert abs(found - expected) < 0.004


def test_one_state_is_fifteen_times_the_logarithm_of_the_bins():
    w, x, circuit = ParameterVector("w", 4), ParameterVector("x", 1), QuantumCircuit(4)
    circuit.rx(x[0], 0)
    for qubit in range(4):
        circuit.rz(w[qubit], qubit)
    found = measure_expressibility(ansatz_of(circuit, x, w), Sampling(200).with_inputs_at_zero())
    np.testing.assert_allclose(found.divergence.value, 15 * np.log(75), rtol=0, atol=1e-10)
    assert found.counts[-1] == 200


@pytest.mark.parametrize("qubits", [1, 2, 4, 7])
def test_the_masses_are_those_of_the_formula(qubits):
    edges, size = np.arange(76) / 75, 2**qubits
    expected = (1 - edges[:-1]) ** (size - 1) - (1 - edges[1:]) ** (size - 1)
    np.testing.assert_allclose(np.exp(haar_log_masses(qubits)), expected, atol=1e-13)
    np.testing.assert_allclose(expected.sum(), 1)


def test_the_masses_of_wide_circuits_do_not_underflow():
    assert np.isfinite(haar_log_masses(12)).all()
    assert np.isfinite(divergence(np.eye(75, dtype=np.int64)[-1], haar_log_masses(12)))


def test_haar_states_are_at_the_floor():
    counts = histogram(fidelities(haar_states(4, 20_000, seed=1), haar_states(4, 20_000, seed=2)))
    found = divergence(counts, haar_log_masses(4))
    floor = measure_expressibility(shipped("reference"), Sampling(20_000, confidence=0.999)).floor
    assert floor.holds(found)


def test_the_floor_of_five_thousand_pairs_is_the_published_one():
    floor = measure_expressibility(shipped("reference"), Sampling(5000)).floor
    np.testing.assert_allclose(floor.value, FLOOR, atol=0.0010)


def test_the_interval_covers_a_larger_sample():
    ansatz = shipped("sim_08")
    few = measure_expressibility(ansatz, Sampling(5000, seed=5, confidence=0.99).with_inputs_at_zero())
    many = measure_expressibility(ansatz, Sampling(50_000, seed=6).with_inputs_at_zero())
    assert few.divergence.holds(many.divergence.value + few.floor.value - many.floor.value)


def test_a_histogram_equals_the_obvious_one():
    values = np.random.default_rng(0).uniform(size=1000)
    np.testing.assert_array_equal(histogram(values, 10), np.histogram(values, 10, (0, 1))[0])


def test_the_same_seed_gives_the_same_figure():
    ansatz = shipped("sim_02")
    assert measure_expressibility(ansatz, Sampling(50)) == measure_expressibility(ansatz, Sampling(50))

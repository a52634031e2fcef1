"""Trajectories as an engine: along fixed choices all is exact, and the choices are what the seed says."""

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import PTM, Kraus, SparsePauliOp, SuperOp
from qiskit_aer.noise import depolarizing_error, thermal_relaxation_error

from qhq.engine import DensityEngine, StatevectorEngine, TrajectoryEngine
from qhq.engine.compile import AngleMap

Z = {1: np.array([[1.0], [-1.0]]), 2: np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])}
"""What an outcome is worth: Z of each qubit."""


def circuit(qubits):
    """Rotations of all kinds before, between and behind gates on two qubits, in both directions."""
    x, w = Parameter("x"), Parameter("w")
    made = QuantumCircuit(qubits)
    made.ry(x, 0)
    made.sx(0)
    if qubits == 2:
        made.rx(w, 1)
        made.cx(1, 0)
        made.rzz(x, 0, 1)
        made.rz(w, 0)
        made.sx(0)
        made.rzx(w, 1, 0)
        made.cx(0, 1)
    made.ry(w, 0)
    return made, [x, w]


def channels(qubits):
    relaxed = thermal_relaxation_error(50.0, 40.0, 3.0)
    one = [np.asarray(each) for each in Kraus(SuperOp(relaxed)).data]
    found = {("sx", (0,)): one, ("ry", (0,)): one}
    if qubits == 2:
        error = depolarizing_error(0.1, 2).compose(relaxed.tensor(relaxed))
        found[("cx", (1, 0))] = [np.asarray(each) for each in Kraus(SuperOp(error)).data]
        found[("cx", (0, 1))] = found[("cx", (1, 0))]
    return found


def engine(qubits, *, trajectories=3, seed=0, noise=None):
    made, parameters = circuit(qubits)
    generator = np.random.default_rng(seed)
    noise = channels(qubits) if noise is None else noise
    angle_map = AngleMap(parameters, parameters[:1], parameters[1:])
    return TrajectoryEngine(
        [(made, Z[qubits])], noise, parameters, angle_map, trajectories=trajectories, generator=generator
    )


def rows(batch, dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.uniform(-2, 2, (batch, 1)).astype(dtype), rng.uniform(-2, 2, 1).astype(dtype)


@pytest.mark.parametrize("qubits", [1, 2])
@pytest.mark.parametrize("batch", [1, 5, 17])
def test_along_fixed_choices_the_gradient_is_the_slope_of_the_values(qubits, batch):
    inputs, weights = rows(batch)
    cotangent = np.random.default_rng(1).normal(size=(batch, qubits))

    def value(inputs, weights):
        return float((engine(qubits).expectations(inputs, weights) * cotangent).sum())

    followed = engine(qubits)
    by_inputs, by_weights = followed.backward(followed.forward(inputs, weights)[1], cotangent)
    step = 1e-5
    for row in range(batch):
        moved = np.zeros_like(inputs)
        moved[row] = step
        slope = (value(inputs + moved, weights) - value(inputs - moved, weights)) / (2 * step)
        np.testing.assert_allclose(by_inputs[row, 0], slope, rtol=0, atol=1e-7)
    slope = (value(inputs, weights + step) - value(inputs, weights - step)) / (2 * step)
    np.testing.assert_allclose(by_weights[0], slope, rtol=0, atol=1e-6)


@pytest.mark.parametrize("qubits", [1, 2])
def test_without_noise_one_trajectory_is_the_exact_value(qubits):
    made, parameters = circuit(qubits)
    labels = ["Z"] if qubits == 1 else ["IZ", "ZI"]
    exact = StatevectorEngine(made, [SparsePauliOp(each) for each in labels], parameters[:1], parameters[1:])
    inputs, weights = rows(9)
    found = engine(qubits, trajectories=1, noise={}).expectations(inputs, weights)
    np.testing.assert_allclose(found, exact.expectations(inputs, weights), rtol=0, atol=1e-12)


def test_the_mean_is_the_value_of_the_density_matrix():
    made, parameters = circuit(2)
    transfer = {place: PTM(Kraus(list(each))).data.real for place, each in channels(2).items()}
    observables = np.zeros((2, 16))
    observables[0, 3] = observables[1, 12] = 1
    exact = DensityEngine(
        made, transfer, observables, parameters, AngleMap(parameters, parameters[:1], parameters[1:])
    )
    inputs, weights = rows(3)
    values, errors = engine(2, trajectories=5000).estimate(inputs, weights)
    np.testing.assert_array_less(np.abs(values - exact.expectations(inputs, weights)), 4 * errors)
    # Errors that were too large would let anything pass: a value lies in [-1, 1], about.
    np.testing.assert_array_less(errors, 2 / np.sqrt(5000))


def test_the_seed_says_which_choices_and_each_call_draws_anew():
    inputs, weights = rows(4)
    one, same, other = engine(2), engine(2), engine(2, seed=1)
    first = one.expectations(inputs, weights)
    np.testing.assert_array_equal(first, same.expectations(inputs, weights))
    assert (first != one.expectations(inputs, weights)).any()
    assert (first != other.expectations(inputs, weights)).any()


def test_single_precision_follows_the_same_trajectories():
    inputs, weights = rows(20)
    double = engine(2).expectations(inputs, weights)
    single = engine(2).expectations(inputs.astype(np.float32), weights.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-5)


def test_one_trajectory_has_no_standard_error():
    _, errors = engine(2, trajectories=1).estimate(*rows(2))
    assert np.isnan(errors).all()

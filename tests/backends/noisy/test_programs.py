import itertools

import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.local.shots import flip_probabilities, measured_groups, outcome_values
from qhq.backends.noisy.programs import shot_values

QUBITS = 3
GROUP = measured_groups(
    [SparsePauliOp(["IIZ", "ZZI"], [1.0, -0.5]), SparsePauliOp("ZZZ"), SparsePauliOp("III")]
)[0]


def drawn(seed):
    """Flip probabilities (Q, 2) and outcome probabilities (4, 2**Q)."""
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 0.4, (QUBITS, 2)), generator.dirichlet(np.ones(2**QUBITS), size=4)


def slow_flips(probabilities, flips):
    """Every true outcome to every outcome read, bit by bit."""
    read = np.zeros_like(probabilities)
    for true, seen in itertools.product(range(2**QUBITS), repeat=2):
        chance = 1.0
        for qubit in range(QUBITS):
            one, other = true >> qubit & 1, seen >> qubit & 1
            chance *= flips[qubit, one] if one != other else 1 - flips[qubit, one]
        read[:, seen] += chance * probabilities[:, true]
    return read


@pytest.mark.parametrize("seed", range(3))
def test_flipped_probabilities_are_those_of_flipping_bit_by_bit(seed):
    flips, probabilities = drawn(seed)
    np.testing.assert_allclose(
        flip_probabilities(probabilities, flips), slow_flips(probabilities, flips), atol=1e-15
    )


@pytest.mark.parametrize("seed", range(3))
def test_values_under_readout_errors_are_the_ideal_ones_of_what_is_read(seed):
    flips, probabilities = drawn(seed)
    ideal = outcome_values(GROUP, np.zeros((QUBITS, 2)))
    expected = slow_flips(probabilities, flips) @ ideal
    np.testing.assert_allclose(probabilities @ outcome_values(GROUP, flips), expected, atol=1e-15)


def test_a_single_z_shrinks_and_shifts():
    (group,) = measured_groups([SparsePauliOp("Z")])
    values = outcome_values(group, np.array([[0.02, 0.07]]))[:, 0]
    np.testing.assert_allclose(values, (1 - 0.02 - 0.07) * np.array([1, -1]) + (0.07 - 0.02))


def test_shots_average_to_the_values_of_their_outcomes():
    flips, _ = drawn(0)
    outcomes = np.random.default_rng(1).integers(2**QUBITS, size=(2, 50))
    bits = (outcomes[..., None] >> np.arange(QUBITS) & 1).astype(np.uint8)
    expected = outcome_values(GROUP, flips)[outcomes].mean(axis=1)
    np.testing.assert_allclose(shot_values(GROUP, bits, flips), expected, atol=1e-14)

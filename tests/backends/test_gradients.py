import numpy as np
import pytest

from qhq.backends.backend import SpsaSpec
from qhq.backends.noisy import AerSpec, FakeSpec
from qhq.backends.registry import open_backend
from tests.ansatz.circuits import built, random_values

MANY = SpsaSpec(perturbations=400, step=0.05)


def executors(spec, seed=0):
    ansatz = built("rot")
    by_rule = open_backend(spec.model_copy(update={"gradient": "parameter_shift"}), ansatz, seed=seed)
    return ansatz, by_rule, open_backend(spec.model_copy(update={"gradient": "spsa"}), ansatz, seed=seed)


@pytest.mark.parametrize(
    "spec",
    [AerSpec(kind="aer", threads=1, spsa=MANY), FakeSpec(kind="fake", device="fake_manila", spsa=MANY)],
)
def test_the_mean_of_many_estimates_is_the_gradient(spec):
    ansatz, by_rule, estimated = executors(spec)
    inputs, weights = random_values(ansatz, 2)
    cotangent = np.random.default_rng(1).normal(size=(2, ansatz.num_outputs))
    exact = by_rule.vjp(inputs, weights, cotangent)
    estimate = estimated.vjp(inputs, weights, cotangent)
    # Each estimate is off by the length of the sample's gradient at most.
    spread = 5 * np.linalg.norm(np.concatenate([each.ravel() for each in exact])) / np.sqrt(400)
    for one, other in zip(estimate, exact, strict=True):
        np.testing.assert_allclose(one, other, atol=spread)


def test_a_seed_repeats_the_directions_call_by_call():
    ansatz = built("rot")
    values = *random_values(ansatz, 2), np.ones((2, ansatz.num_outputs))

    def two_calls(seed):
        _, _, executor = executors(AerSpec(kind="aer", threads=1), seed)
        return [executor.vjp(*values)[1] for _ in range(2)]

    first, again, other = two_calls(1), two_calls(1), two_calls(2)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()


def test_an_empty_batch_has_no_gradient():
    ansatz, _, executor = executors(AerSpec(kind="aer", threads=1))
    by_inputs, by_weights = executor.vjp(
        np.zeros((0, ansatz.num_inputs)), np.zeros(ansatz.num_weights), np.zeros((0, ansatz.num_outputs))
    )
    assert by_inputs.shape == (0, ansatz.num_inputs)
    np.testing.assert_array_equal(by_weights, np.zeros(ansatz.num_weights))

import math
from typing import get_args

import numpy as np
import pytest

from qhq.ansatz.spec import AngleScalingKind
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.sampling import (
    _INPUT_RANGES,
    Estimate,
    Probe,
    Sampling,
    check_has_weights,
    mean_of,
    positive_mean_of,
    spread_of,
)
from qhq.errors import ConfigError

from .circuits import shipped


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = [mean_of(generator.normal(3.0, 2.0, 20), 0.9).holds(3.0) for _ in range(2000)]
    assert abs(np.mean(held) - 0.9) < 3 * np.sqrt(0.09 / 2000)


def test_the_mean_lies_in_its_interval_and_the_interval_narrows_with_the_root_of_the_samples():
    values = np.random.default_rng(1).exponential(size=40_000)
    few, many = mean_of(values[:400], 0.95), mean_of(values, 0.95)
    assert few.holds(few.value)
    np.testing.assert_allclose((few.high - few.low) / (many.high - many.low), 10, rtol=0.15)


def test_an_interval_of_what_is_never_negative_is_not_either():
    assert positive_mean_of([0.0, 0.0, 0.0, 1.0], 0.99).low == 0
    assert spread_of(0.1, np.array([0.0, 1.0]), 2, 0.95).low == 0


def test_resampled_figures_give_the_interval_that_the_formula_gives():
    generator = np.random.default_rng(2)
    values = generator.exponential(size=500)
    means = values[generator.integers(500, size=(4000, 500))].mean(axis=1)
    found, expected = spread_of(values.mean(), means, 500, 0.95), mean_of(values, 0.95)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], rtol=0.01)


def test_scaling_an_estimate_scales_its_interval():
    assert Estimate(2.0, 1.0, 4.0, 9).scaled(0.5) == Estimate(1.0, 0.5, 2.0, 9)


def test_one_sample_has_no_interval():
    with pytest.raises(ConfigError, match="at least two samples"):
        mean_of([1.0], 0.95)


def test_a_seed_and_a_purpose_give_the_same_values():
    ansatz, sampling = shipped("reference"), Sampling(5, seed=3)
    np.testing.assert_array_equal(sampling.draw(ansatz, "a"), sampling.draw(ansatz, "a"))
    assert not np.array_equal(sampling.draw(ansatz, "a"), sampling.draw(ansatz, "b"))
    assert not np.array_equal(sampling.draw(ansatz, "a"), Sampling(5, seed=4).draw(ansatz, "a"))


def test_inputs_and_weights_fill_their_ranges():
    values = Sampling(2000).for_inputs_of(shipped("zz_feature_map")).draw(shipped("reference"), "a")
    np.testing.assert_allclose(
        [values[:, :4].min(), values[:, :4].max()], [-math.pi / 2, math.pi / 2], atol=0.01
    )
    np.testing.assert_allclose([values[:, 4:].min(), values[:, 4:].max()], [0, 2 * math.pi], atol=0.01)


def test_inputs_can_be_held_at_zero():
    values = Sampling(10).with_inputs_at_zero().draw(shipped("reference"), "a")
    assert not values[:, :4].any()
    assert values[:, 4:].all()


def test_each_angle_scaling_has_its_range():
    assert set(_INPUT_RANGES) == set(get_args(AngleScalingKind))


@pytest.mark.parametrize("wrong", [{"samples": 1}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_a_sampling_that_gives_no_interval_is_refused(wrong):
    with pytest.raises(ConfigError, match="at least 2 samples"):
        Sampling(**wrong)


NAMES = ["reference", "efficient_su2", "zz_feature_map", "sim_06", "sim_13"]


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_executor(name):
    ansatz = shipped(name)
    values = Sampling(3).draw(ansatz, "probe")
    executor, split = StatevectorExecutor(ansatz), ansatz.num_inputs
    expected = [executor.expectations(row[None, :split], row[split:])[0] for row in values]
    np.testing.assert_allclose(Probe(ansatz).expectations(values), expected, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name):
    probe = Probe(shipped(name))
    values = Sampling(2).draw(probe.ansatz, "probe")
    found = probe.gradients(values)
    for place in range(values.shape[1]):
        step = 1e-5 * np.eye(values.shape[1])[place]
        slope = (probe.expectations(values + step) - probe.expectations(values - step)) / 2e-5
        np.testing.assert_allclose(found[:, :, place], slope, atol=1e-8)


def test_gradients_come_apart_into_those_of_inputs_and_of_weights():
    probe = Probe(shipped("reference", depth=2))
    values = Sampling(2).draw(probe.ansatz, "probe")
    parts = [probe.input_gradients(values), probe.weight_gradients(values)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), probe.gradients(values))


def test_states_have_the_expectations():
    probe = Probe(shipped("sim_14"))
    values = Sampling(4).draw(probe.ansatz, "probe")
    shares = np.abs(probe.states(values)) ** 2
    signs = 1 - 2 * (np.arange(16)[:, None] >> np.arange(4) & 1)
    np.testing.assert_allclose(shares @ signs, probe.expectations(values), atol=1e-12)


def test_an_encoding_alone_has_no_weights():
    with pytest.raises(ConfigError, match="must have weights"):
        check_has_weights(shipped("reference", depth=0))

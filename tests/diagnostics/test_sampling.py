import math
from typing import get_args

import numpy as np
import pytest

from qhq.ansatz.spec import AngleScalingKind
from qhq.diagnostics.sampling import INPUT_RANGES, Sampling
from qhq.errors import ConfigError

from .circuits import shipped


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
    assert set(INPUT_RANGES) == set(get_args(AngleScalingKind))


@pytest.mark.parametrize("wrong", [{"samples": 1}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_a_sampling_that_gives_no_interval_is_refused(wrong):
    with pytest.raises(ConfigError, match="at least 2 samples"):
        Sampling(**wrong)

"""Directions of a landscape: as long as the weights, filter by filter."""

from __future__ import annotations

import pytest
import torch

from qhq.errors import ConfigError
from qhq.experiment.config import load_config
from qhq.experiment.landscape import _direction, measure_landscape
from qhq.experiment.opening import open_design


def test_a_direction_is_as_long_as_the_weights_filter_by_filter():
    weights = {"matrix": torch.randn(3, 4) * 5, "vector": torch.randn(7), "zeros": torch.zeros(2)}
    drawn = _direction(weights, 0, "first")
    torch.testing.assert_close(drawn["matrix"].norm(dim=1), weights["matrix"].norm(dim=1))
    torch.testing.assert_close(drawn["vector"].norm(), weights["vector"].norm())
    assert not drawn["zeros"].any()
    assert not torch.equal(drawn["vector"], _direction(weights, 0, "second")["vector"])
    torch.testing.assert_close(drawn, _direction(weights, 0, "first"), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "part", "match"),
    [
        ("quantum=null", "circuit", "needs a circuit with weights"),
        ("model={kind: features}", "all", "fitted at once"),
    ],
)
def test_a_model_without_such_weights_has_no_landscape(study, change, part, match):
    experiment = open_design(load_config("tiny.yaml", [change]))
    with pytest.raises(ConfigError, match=match):
        measure_landscape(experiment, points=3, span=1.0, samples=4, seed=0, part=part, weights="kept")

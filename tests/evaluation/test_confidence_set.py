"""The Model Confidence Set and the test of superior predictive ability: laws, and what `arch` says."""

import json

import numpy as np
import pytest
from arch.bootstrap import MCS, SPA
from numpy.testing import assert_allclose

from qhq.errors import DataError
from qhq.evaluation.confidence_set import ConfidenceSet, confidence_set, say_set
from qhq.seeding import child_seed


def make_losses(count=100, **shifts):
    rng = np.random.default_rng(0)
    day = rng.exponential(size=count)
    return {name: day + shift + 0.2 * rng.normal(size=count) for name, shift in shifts.items()}


def test_both_are_those_of_arch_with_blocks_of_the_data():
    losses = make_losses(a=0.0, b=0.02, c=0.05, naive=0.1)
    found = confidence_set(losses, "naive", seed=7)
    table = np.column_stack(list(losses.values()))
    expected = MCS(table, 0.1, reps=1000, block_size=found.block, method="max", seed=child_seed(7, "set"))
    expected.compute()
    p_values = expected.pvalues["Pvalue"].sort_index()
    assert_allclose(list(found.p_values.values()), p_values, atol=1e-10)
    assert found.members == tuple(name for name, value in zip(losses, p_values, strict=True) if value > 0.1)
    spa = SPA(table[:, 3], table[:, :3], found.block, 1000, seed=child_seed(7, "superior"))
    spa.compute()
    assert_allclose(found.superior_p, spa.pvalues["consistent"], atol=1e-10)
    assert confidence_set(losses, "naive", seed=7) == found
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_worse_are_left_out_and_the_best_beats_the_benchmark():
    found = confidence_set(make_losses(a=0.0, naive=0.3, b=0.0, c=0.3), "naive")
    assert (found.members, found.is_superior) == (("a", "b"), True)
    turned = confidence_set(make_losses(a=0.3, naive=0.0, b=0.3), "naive")
    assert (turned.members, turned.is_superior) == (("naive",), False)


def test_the_set_does_not_know_the_order_or_the_unit():
    losses = make_losses(a=0.0, b=0.3, c=0.0)
    found = confidence_set(losses)
    turned = confidence_set({name: 1e6 * losses[name] for name in "cba"})
    assert set(turned.members) == set(found.members) == {"a", "c"}
    assert found.superior_p is None


def test_the_best_of_many_that_are_equal_is_seldom_called_better():
    rng = np.random.default_rng(1)
    calls = 0
    for _ in range(15):
        losses = {str(n): rng.exponential(size=60) for n in range(8)}
        calls += bool(confidence_set(losses, "0").is_superior)
    assert calls <= 4


def test_two_names_of_one_forecast_share_a_place():
    losses = make_losses(a=0.0, b=0.3)
    found = confidence_set({**losses, "again": losses["a"], "naive": losses["b"]}, "naive")
    assert found.members == ("a", "again")
    assert found.p_values["again"] == found.p_values["a"]


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ({"a": np.ones(9), "b": np.arange(9.0)}, "9 dates, fewer than 10"),
        ({"a": np.arange(20.0), "b": np.arange(20.0)}, "all losses are the same"),
        ({"a": np.arange(20.0)}, "all losses are the same"),
        ({"a": np.arange(20.0), "b": np.full(20, np.nan)}, "not finite"),
        ({}, "0 dates"),
    ],
)
def test_what_makes_no_set_is_said(losses, reason):
    found = confidence_set(losses)
    assert reason in found.reason
    assert (found.members, found.superior_p, found.is_superior) == ((), None, None)
    assert say_set(found, "points", "the last value").endswith(found.reason)


def test_the_benchmark_and_the_dates_must_be_there():
    with pytest.raises(DataError, match="one of the forecasts. Got 'naive'"):
        confidence_set(make_losses(a=0.0, b=0.1), "naive")
    with pytest.raises(DataError, match="same dates"):
        confidence_set({"a": np.ones(20), "b": np.ones(21)})


def test_the_sentence_names_what_was_shown():
    found = ConfidenceSet(("a",), {"a": 1.0, "b": 0.0}, "b", 0.004)
    said = say_set(found, "points", "the last value")
    assert said.startswith("Model Confidence Set (90 %): 1 of 2; some points shown to be better than")
    assert said.endswith("the last value (SPA, p 0.004)")

"""Forward adjustment: the future changes nothing before it, and returns are the classical ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.yahoo.history import forward_adjusted, later_splits

ROW = st.tuples(
    st.floats(1.0, 1000.0),
    st.sampled_from([0.0, 0.0, 0.0, 0.2]) | st.floats(0.0, 0.5),
    st.sampled_from([0.0, 0.0, 1.0, 2.0, 4.0, 0.1, 1.5]),
)
"""Close, dividend over the close before it in new shares, split."""


def rows_of(table):
    close, part, split = (np.array(column) for column in zip(*table, strict=True))
    before = np.concatenate([close[:1], close[:-1]]) / np.where(split > 0, split, 1.0)
    return close, part * before, split


def backward_adjusted(close, dividend, split):
    """The slow, obvious one: the last row as it is, and each action divides all rows before it."""
    adjusted = close.copy()
    for row in range(1, len(close)):
        ratio = split[row] or 1.0
        adjusted[:row] *= (1 - dividend[row] * ratio / close[row - 1]) / ratio
    return adjusted


@given(st.lists(ROW, min_size=1, max_size=30), st.lists(ROW, min_size=1, max_size=5))
def test_a_later_action_moves_nothing_before_it(past, future):
    close, dividend, split = rows_of(past + future)
    count = len(past)
    now = forward_adjusted(close[:count], dividend[:count], split[:count])
    assert_array_equal(forward_adjusted(close, dividend, split)[:count], now)


@given(st.lists(ROW, min_size=2, max_size=40))
def test_log_returns_are_those_of_the_backward_adjustment(table):
    close, dividend, split = rows_of(table)
    forward = np.diff(np.log(forward_adjusted(close, dividend, split)))
    assert_allclose(forward, np.diff(np.log(backward_adjusted(close, dividend, split))), rtol=0, atol=1e-12)


@given(st.lists(ROW, min_size=1, max_size=30))
def test_without_actions_nothing_is_adjusted(table):
    close, _, _ = rows_of(table)
    assert_array_equal(forward_adjusted(close, 0 * close, 0 * close), close)


@given(st.lists(ROW, min_size=1, max_size=30))
def test_later_splits_undo_a_split_adjustment(table):
    close, _, split = rows_of(table)
    adjusted = close.copy()
    for row in range(1, len(close)):
        adjusted[:row] /= split[row] or 1.0
    assert_allclose(adjusted * later_splits(split), close, rtol=1e-12)


def test_an_owner_who_reinvests_gets_the_adjusted_return():
    close, dividend, split = np.array([100.0, 48.0]), np.array([0, 1.0]), np.array([0, 2.0])
    # Two new shares at 50 before; each pays 1, which buys at 49; two shares become 2 * 50 / 49.
    assert_allclose(forward_adjusted(close, dividend, split)[1], 48 * 2 * 50 / 49)


@pytest.mark.parametrize("dividend", [50.0, 60.0, 5000.0], ids=["all", "liquidation", "in pence"])
def test_what_a_dividend_not_below_the_price_earns_cannot_be_said(dividend):
    close = np.array([40.0, 50.0, 5.0, 6.0])
    adjusted = forward_adjusted(close, np.array([0, 0, dividend, 0]), np.zeros(4))
    assert_allclose(adjusted, [40.0, 50.0, np.nan, 50.0 * 6 / 5])


@pytest.mark.parametrize("missing", [0.0, np.nan])
def test_a_dividend_is_paid_on_the_last_price_before_it(missing):
    close = np.array([100.0, missing, 99.0, 99.0])
    adjusted = forward_adjusted(close, np.array([0, 0, 1.0, 0]), np.zeros(4))
    assert_allclose(adjusted, [100.0, missing, 100.0, 100.0])


@pytest.mark.parametrize("large", [15.0, 45.0, 99.0], ids=["special", "return of capital", "spin-off"])
def test_a_large_dividend_below_the_price_is_one_like_any_other(large):
    close = np.array([100.0, 100.0 - large])
    assert_allclose(forward_adjusted(close, np.array([0, large]), np.zeros(2)), 100.0)


@pytest.mark.parametrize("split", [0.0, -2.0, np.nan, np.inf, 1.0])
def test_a_ratio_that_is_none_is_no_split(split):
    close = np.array([10.0, 11.0, 12.0])
    assert_allclose(forward_adjusted(close, np.zeros(3), np.array([0, split, 0])), close, rtol=0)

"""The controls: nothing but the last value to know on the one, a signal of known size in the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qhq.data.prepare import prepare
from qhq.data.sources.control import STEP, best_skill, log_returns, make_control
from qhq.data.spec import DataSpec

CONTROLS = ("random_walk", "planted")


@pytest.mark.parametrize("control", CONTROLS)
def test_the_same_seed_gives_the_same_rows_and_another_does_not(control):
    one, same, other = (make_control(control, seed=seed) for seed in (1, 1, 2))
    assert one.equals(same)
    assert not np.array_equal(one["close"], other["close"])


@pytest.mark.parametrize("control", CONTROLS)
def test_a_symbol_has_the_same_rows_whatever_stands_beside_it(control):
    three = make_control(control)
    alone = make_control(control, ["B"])
    np.testing.assert_array_equal(three.loc[three["symbol"] == "B", "close"], alone["close"])


@given(st.sampled_from(CONTROLS), st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_later_sessions_change_none_before(control, sessions, more, seed):
    short = log_returns(control, "A", sessions, seed=seed)
    long = log_returns(control, "A", sessions + more, seed=seed)
    np.testing.assert_allclose(long[:sessions], short, rtol=1e-12)


@pytest.mark.parametrize(("control", "part"), [("random_walk", 0.0), ("planted", 0.5)])
def test_a_return_comes_again_by_its_part(control, part):
    returns = log_returns(control, "A", 100_000)
    now, before = returns[1:], returns[:-1]
    np.testing.assert_allclose(now @ before / (before @ before), part, atol=5 / np.sqrt(100_000))
    np.testing.assert_allclose((now - part * before).std(), STEP, rtol=0.02)


@pytest.mark.parametrize(("control", "part"), [("random_walk", 0.0), ("planted", 0.5)])
def test_best_skill_is_that_of_the_best_forecast(control, part):
    returns = log_returns(control, "A", 200_000, seed=3)
    now, before = returns[1:], returns[:-1]
    skill = 1 - np.abs(now - part * before).mean() / np.abs(now).mean()
    np.testing.assert_allclose(best_skill(control), skill, atol=5e-3)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_config_names_it_and_its_seed(control):
    spec = DataSpec(source=control, symbols=None, end="2001-12-31", panel_seed=4)
    data = prepare(spec)
    assert data.test.panel.symbols == ("A", "B", "C")
    rows = make_control(control, seed=4)
    first = rows.loc[rows["symbol"] == "A", "adj_close"].to_numpy()[:20]
    np.testing.assert_allclose(data.train.inputs[0, :, 0], first)
    assert data.fingerprint != prepare(spec.model_copy(update={"panel_seed": 5})).fingerprint


@pytest.mark.parametrize("control", CONTROLS)
def test_the_rows_keep_every_rule_of_a_stock_panel(control):
    spec = DataSpec(source=control, symbols=("X",), features=("adj_close", "open", "high", "low", "close"))
    assert len(prepare(spec).train)

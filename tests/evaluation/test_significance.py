import json
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from qhq.errors import DataError
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.losses import date_losses, loss_unit
from qhq.evaluation.significance import (
    Comparison,
    compare_groups,
    compare_pairs,
    diebold_mariano,
)
from tests.evaluation.panels import option_windows, random_walks, stock_windows


def test_a_difference_that_is_there_is_found():
    rng = np.random.default_rng(0)
    first, second = rng.exponential(1.0, 400), rng.exponential(1.5, 400)
    statistic, p_value = diebold_mariano(first, second)
    assert statistic < 0
    assert p_value < 1e-3
    assert_allclose(diebold_mariano(second, first), (-statistic, p_value))


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_statistic_has_no_unit(unit):
    first, second = np.random.default_rng(0).exponential(size=(2, 30))
    assert_allclose(diebold_mariano(unit * first, unit * second, 2), diebold_mariano(first, second, 2))


@pytest.mark.parametrize(
    ("first", "horizon", "reason"),
    [
        (np.arange(9.0), 1, "9 dates, fewer than 10"),
        (np.arange(15.0), 8, "15 dates, fewer than 16"),
        (np.ones(20), 1, "the same losses on all dates"),
        (np.ones(20) * (1 + 1e-14 * np.arange(20)), 1, "the same losses on all dates"),
        (np.full(20, 3.0), 1, "differ by the same on all dates"),
        (np.append(np.ones(19), np.nan), 1, "not finite"),
        (np.ones((20, 2)), 1, r"shapes \(20, 2\)"),
    ],
)
def test_what_cannot_be_tested_is_said(first, horizon, reason):
    second = np.ones(len(first))
    with pytest.raises(DataError, match=reason):
        diebold_mariano(first, second, horizon)
    if first.ndim == 1:
        (found,) = compare_pairs({"a": first, "b": second}, horizon)
        assert (found.statistic, found.p_value, found.adjusted) == (None, None, None)
        assert found.verdict() == "not tested"


def make_losses():
    rng = np.random.default_rng(0)
    common = rng.exponential(size=120)
    return {name: common + rng.normal(shift, 0.1, 120) for name, shift in (("a", 1), ("b", 1.2), ("c", 1.0))}


FAMILY = [("a", "b"), ("a", "c")]


def test_pairs_of_the_family_are_adjusted_by_holm_and_others_are_exploratory():
    losses = make_losses()
    found = compare_pairs(losses, 1, combinations(losses, 2), FAMILY)
    assert [(each.first, each.second) for each in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    expected = multipletests([each.p_value for each in found[:2]], method="holm")[1]
    assert_allclose([each.adjusted for each in found[:2]], expected, atol=1e-15)
    assert [each.verdict() for each in found] == ["better", "not shown", "not shown"]
    assert [each.exploratory for each in found] == [False, False, True]
    assert (found[2].adjusted, found[2].suggests()) == (None, "worse")
    for each in found:
        expected = diebold_mariano(losses[each.first], losses[each.second])
        assert_allclose((each.statistic, each.p_value), expected)
        assert_allclose(each.gain, 1 - losses[each.first].mean() / losses[each.second].mean())
        assert (each.dates, each.reason) == (120, "")
    json.dumps([asdict(each) for each in found], allow_nan=False)


def test_holm_is_that_of_statsmodels_in_any_order_and_with_ties():
    rng = np.random.default_rng(5)
    for count in (1, 2, 3):
        losses = {str(each): rng.normal(1 + 0.05 * each, 0.3, 60) ** 2 for each in range(count + 1)}
        losses["copy"] = losses["1"]
        family = [("0", name) for name in losses if name != "0"]
        found = compare_pairs(losses, 1, family, family)
        expected = multipletests([each.p_value for each in found], method="holm")[1]
        assert_allclose([each.adjusted for each in found], expected, rtol=1e-14)


def test_an_exploratory_pair_has_no_verdict_however_small_its_p_value():
    losses = {"a": np.zeros(60), "b": np.random.default_rng(0).exponential(size=60)}
    (found,) = compare_pairs(losses, 1)
    assert found.p_value < 1e-4
    assert (found.exploratory, found.verdict(), found.suggests()) == (True, "not shown", "better")


def test_what_cannot_be_tested_costs_the_family_nothing():
    losses = make_losses()
    losses["same"] = losses["a"]
    alone = compare_pairs(losses, 1, family=FAMILY[:1])
    both = compare_pairs(losses, 1, family=[*FAMILY[:1], ("a", "same")])
    assert both[0] == alone[0]
    assert both[1].verdict() == "not tested"


def test_a_family_is_small_and_among_the_pairs():
    losses = make_losses()
    with pytest.raises(DataError, match="name forecasts. Got 'd'"):
        compare_pairs(losses, 1, [("a", "d")])
    with pytest.raises(DataError, match=r"among the pairs. Got \('a', 'c'\)"):
        compare_pairs(losses, 1, [("a", "b")], FAMILY)
    with pytest.raises(DataError, match="at most 5 pairs. Got 6"):
        compare_pairs(losses, 1, family=[("a", each) for each in "bcdefg"])


def test_over_a_family_of_equal_forecasts_few_tables_call_any_unequal():
    rng, repeats = np.random.default_rng(0), 20
    calls = 0
    for _ in range(repeats):
        losses = dict(zip("abcd", rng.exponential(size=(4, 60)), strict=True))
        found = compare_pairs(losses, 1, family=[("a", each) for each in "bcd"])
        calls += any(each.verdict() != "not shown" for each in found)
    assert calls <= binom.ppf(1 - 1e-3, repeats, 0.05)


def test_what_is_detectable_is_found_four_times_in_five():
    """The gain that one draw calls detectable, planted in fresh draws of the same kind."""
    rng, repeats, count = np.random.default_rng(0), 100, 60
    found = 0
    sizes = []
    for _ in range(20):
        losses = {name: rng.exponential(size=count) for name in "ab"}
        sizes.append(compare_pairs(losses, 1, family=[("a", "b")])[0].detectable)
    for _ in range(repeats):
        losses = {"a": rng.exponential(size=count) - np.median(sizes), "b": rng.exponential(size=count)}
        statistic, p_value = diebold_mariano(losses["a"], losses["b"])
        found += statistic < 0 and p_value < 0.05
    low, high = binom.ppf([1e-3, 1 - 1e-3], repeats, 0.8)
    assert low <= found <= high


def test_so_many_dates_would_show_what_was_seen():
    rng = np.random.default_rng(1)
    first, second = rng.exponential(size=(2, 80))
    found = compare_pairs({"a": first, "b": second}, 1, family=[("a", "b")])[0]
    assert found.verdict() == "not shown"
    assert_allclose(found.dates_needed, 80 * (found.detectable / found.gain) ** 2, atol=1.0)
    equal = compare_pairs({"a": np.tile([1.0, 2.0], 20), "b": np.tile([2.0, 1.0], 20)}, 1)[0]
    assert (equal.gain, equal.dates_needed) == (0.0, None)


def test_a_forecast_good_for_one_group_and_bad_for_another_is_found_in_the_groups():
    rng = np.random.default_rng(0)
    losses = {name: (1 + shift + rng.normal(size=200) / 2, 1 + rng.normal(size=200) / 2)
              for name, shift in (("up", -0.4), ("down", 0.4), ("flat", 0.0))}  # fmt: skip
    losses["short"] = (np.ones(5), np.zeros(5))
    found = compare_groups(losses, 1)
    assert (found.tested, found.better, found.worse) == (3, ("up",), ("down",))
    together = {name: np.mean([losses[key][place] for key in ("up", "down")], axis=0)
                for place, name in enumerate("ab")}  # fmt: skip
    assert compare_pairs(together, 1, family=[("a", "b")])[0].verdict() == "not shown"
    assert compare_groups({"short": losses["short"]}, 1).p_value is None


def test_equal_forecasts_differ_in_few_sets_of_groups_that_move_together():
    rng, repeats = np.random.default_rng(0), 20
    calls = 0
    for _ in range(repeats):
        common = rng.normal(size=(2, 60))
        groups = {str(n): tuple(common + 0.5 * rng.normal(size=(2, 60))) for n in range(5)}
        calls += compare_groups(groups, 1).p_value <= 0.05
    assert calls <= binom.ppf(1 - 1e-3, repeats, 0.05)


def test_a_forecast_that_never_errs_leaves_no_gain_to_tell():
    found = compare_pairs({"a": np.arange(20.0) % 3, "b": np.zeros(20)}, 1, family=[("a", "b")])[0]
    assert (found.gain, found.verdict()) == (None, "worse")


def test_a_verdict_is_at_its_level():
    found = Comparison("a", "b", 0.1, 50, -2.1, 0.03, 0.06)
    assert (found.verdict(), found.verdict(0.1)) == ("not shown", "better")


def test_losses_are_averaged_by_date_over_symbols_horizons_and_targets():
    windows = stock_windows({"close": random_walks(), "open": random_walks(seed=1)}, horizon=2)
    forecast = last_value(windows)
    unit = np.where(windows.code == 0, 1.0, 5.0)
    for loss, power in (("absolute", 1), ("squared", 2)):
        found = date_losses(windows, forecast, unit, loss)
        dates = np.unique(windows.dates[:, 0])
        assert found.shape == dates.shape
        for date in (0, 31, len(dates) - 1):
            own = windows.dates[:, 0] == dates[date]
            assert np.count_nonzero(own) == 2
            errors = np.abs(forecast - windows.targets)[own] / unit[own, None, None]
            assert_allclose(found[date], (errors**power).mean())


def test_a_symbol_that_stands_there_twice_gives_no_more_evidence():
    walk, rng = random_walks(("A",), sessions=60)["A"], np.random.default_rng(0)
    alone, twice = (stock_windows({"close": dict.fromkeys(names, walk)}) for names in ("A", "AB"))
    noise = rng.normal(0, 0.5, alone.targets.shape)
    found = []
    for windows in (alone, twice):
        errors = np.tile(noise, (len(windows) // len(alone), 1, 1))
        forecasts = {"naive": last_value(windows), "model": windows.targets + errors}
        unit = np.ones(len(windows))
        found.append(
            compare_pairs({name: date_losses(windows, each, unit) for name, each in forecasts.items()}, 1)
        )
    assert_allclose(found[1][0].p_value, found[0][0].p_value)
    assert found[0][0].dates == found[1][0].dates == len(alone)


def test_every_group_weighs_alike():
    windows = stock_windows({"close": random_walks()})
    scale = symbol_scale(windows, in_sample_naive_mae(windows))
    assert_allclose(loss_unit(windows, scale), scale)
    # Of the same windows, a group never trained on gets the unit that it would have had.
    assert_allclose(loss_unit(windows, np.where(windows.code[:, None] == 0, scale, np.nan)), scale)
    assert_allclose(loss_unit(option_windows(), np.full(len(option_windows()), np.nan)),
                    option_windows().known("strike")[:, None])  # fmt: skip


@given(st.floats(1e-6, 1e6), st.sampled_from(["symbol", "target"]))
def test_the_losses_of_a_date_do_not_know_the_unit_of_a_symbol_or_target(factor, which):
    columns = {"close": random_walks(), "volume": random_walks(seed=1)}
    if which == "symbol":
        other = {name: {**each, "BBB": factor * each["BBB"]} for name, each in columns.items()}
    else:
        other = {**columns, "volume": {name: factor * each for name, each in columns["volume"].items()}}
    found = []
    for each in (columns, other):
        windows = stock_windows(each)
        scale = symbol_scale(windows, in_sample_naive_mae(windows))
        forecast = windows.targets + 0.3 * (windows.last[:, None] - windows.targets)
        held_out = np.where(windows.code[:, None] == 1, np.nan, scale)
        found.append(
            [date_losses(windows, forecast, loss_unit(windows, known)) for known in (scale, held_out)]
        )
    assert_allclose(found[1], found[0])

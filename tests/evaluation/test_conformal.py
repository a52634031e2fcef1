"""Intervals that follow a drift, and know nothing of what comes."""

import json
from dataclasses import asdict
from math import ceil

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom

from qhq.errors import ConfigError, DataError
from qhq.evaluation.baselines.persistence import last_value
from qhq.evaluation.conformal import (
    Regimes,
    conformal_radius,
    coverage_of,
    fit_conformal,
    follow_conformal,
)
from qhq.experiment.words import say_coverage
from tests.evaluation.panels import option_windows, random_walks, stock_windows


def covered(conformal, windows, forecast, regimes=None):
    """How often its intervals hold what came, of each horizon."""
    ends = conformal.interval(windows, forecast)
    return coverage_of(ends, windows, conformal.level, windows.targets, regimes)


def make_windows(**kwargs):
    return stock_windows({"close": random_walks(**kwargs)}, horizon=2)


@pytest.mark.parametrize(("count", "level"), [(9, 0.9), (19, 0.9), (100, 0.8), (57, 0.95), (999, 0.9)])
def test_the_radius_is_the_error_of_the_rank_that_is_asked_for(count, level):
    error = np.random.default_rng(0).exponential(size=(count, 2, 3))
    rank = next(k for k in range(1, count + 1) if k >= round((count + 1) * level, 9))
    assert_allclose(conformal_radius(error, level), np.sort(error, axis=0)[rank - 1])


@pytest.mark.parametrize(("count", "level"), [(9, 0.9), (19, 0.9), (30, 0.8), (40, 0.95)])
def test_the_coverage_of_exchangeable_errors_is_the_exact_one(count, level):
    # Of continuous exchangeable errors it is rank / (n + 1), whatever their distribution.
    repeats, exact = 4000, ceil(round((count + 1) * level, 9)) / (count + 1)
    errors = np.abs(np.random.default_rng(count).standard_t(2, (count + 1, repeats)))
    held = np.count_nonzero(errors[-1] <= conformal_radius(errors[:-1], level))
    assert exact >= level - 1e-9
    low, high = binom.ppf([1e-3, 1 - 1e-3], repeats, exact)
    assert low <= held <= high


@pytest.mark.parametrize("unit", ["none", "series", "window"])
def test_intervals_hold_the_part_they_were_made_on(unit):
    windows = make_windows(sessions=200)
    conformal = fit_conformal(windows, last_value(windows), 0.9, unit)
    rank = ceil((len(windows) + 1) * 0.9)
    for step, coverage in enumerate(covered(conformal, windows, last_value(windows)), start=1):
        assert (coverage.horizon, coverage.level) == (step, 0.9)
        assert_allclose(coverage.held.value, rank / len(windows))


def test_a_wider_level_is_a_wider_interval_about_the_forecast():
    windows = make_windows()
    forecast = last_value(windows)
    narrow, wide = (
        fit_conformal(windows, forecast, level).interval(windows, forecast) for level in (0.5, 0.9)
    )
    assert np.all((wide[0] < narrow[0]) & (narrow[1] < wide[1]))
    for low, high in (narrow, wide):
        assert_allclose((low + high) / 2, forecast)


@pytest.mark.parametrize("unit", ["series", "window"])
def test_symbols_of_other_prices_are_held_as_often(unit):
    windows = make_windows(sessions=400)
    forecast = last_value(windows)
    fitted, plain = (fit_conformal(windows, forecast, 0.9, each) for each in (unit, "none"))
    held, bare = (
        [
            covered(each, windows.select(own), forecast[own])[0].held.value
            for own in (windows.code == 0, windows.code == 1)
        ]
        for each in (fitted, plain)
    )
    assert_allclose(held, 0.9, atol=0.03)
    assert bare[0] - bare[1] > 0.1


def test_another_currency_gives_the_same_intervals_in_it():
    walks = random_walks()
    windows, other = (
        stock_windows({"close": {name: unit * walk for name, walk in walks.items()}}) for unit in (1, 9)
    )
    ends = [
        fit_conformal(each, last_value(each)).interval(each, last_value(each)) for each in (windows, other)
    ]
    assert_allclose(ends[1], 9 * np.array(ends[0]))


def test_where_the_window_moves_more_the_interval_is_wider():
    quiet = np.repeat([0.002, 0.02], 150)
    walk = {"A": 50 * np.exp(np.cumsum(quiet * np.random.default_rng(0).normal(size=300)))}
    windows = stock_windows({"close": walk}, window=20)
    low, high = fit_conformal(windows, last_value(windows)).interval(windows, last_value(windows))
    width = (high - low)[:, 0, 0] / windows.last[:, 0]
    assert np.median(width[150:]) > 5 * np.median(width[:120])


def test_options_that_are_priced_have_their_strike_for_a_unit():
    windows = option_windows()
    conformal = fit_conformal(windows, last_value(windows))
    assert conformal.unit == "series"
    low, high = conformal.interval(windows, last_value(windows))
    assert_allclose((high - low)[:, 0, 0] / 2, conformal.radius[0, 0] * windows.at_last("strike"))
    assert fit_conformal(option_windows(task="forecast"), last_value(windows)).unit == "window"


def test_prices_that_stand_still_have_intervals_too():
    walk = {"A": np.concatenate([np.full(60, 5.0), random_walks(("A",))["A"]])}
    windows = stock_windows({"close": walk})
    low, high = fit_conformal(windows, last_value(windows)).interval(windows, last_value(windows))
    assert np.all(high > low)


def test_too_few_windows_and_impossible_levels_are_refused():
    with pytest.raises(DataError, match="at 90 % need 9 validation windows. Got 8"):
        conformal_radius(np.ones(8), 0.9)
    for level in (0.0, 1.0, 1.5):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            conformal_radius(np.ones(8), level)


def test_intervals_are_plain_json():
    windows = make_windows()
    content = fit_conformal(windows, last_value(windows)).to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_thousands_of_windows_of_twelve_dates_are_twelve_observations():
    """Coverage of .88 over 36,000 windows said .877 to .884, and came from dates of .48 to 1.00."""
    generator = np.random.default_rng(0)
    rates = np.array([0.48, 1.0, 0.99, 0.97, 1.0, 0.75, 0.9, 0.98, 0.6, 1.0, 0.95, 0.94])
    names = [f"S{place}" for place in range(300)]
    walks = {name: 100 + generator.normal(0, 1, 17) for name in names}
    windows = stock_windows({"iv": walks})
    inside = (
        generator.random((len(windows), 1, 1)) < rates[(windows.dates[:, 0].astype(int) - 5)][:, None, None]
    )
    low = np.where(inside, windows.targets - 1, windows.targets + 1)
    (found,) = coverage_of((low, windows.targets + 2), windows, 0.9, windows.targets)
    assert (found.held.count, found.held.dates) == (3600, 12)
    assert found.held.high - found.held.low > 0.1
    assert_allclose((found.by_date.lowest, found.by_date.highest), (0.48, 1.0), atol=0.06)
    text = say_coverage([asdict(found)])
    assert "(3,600 values on 12 dates, 95 % interval " in text
    ends = f"{100 * found.held.low:.1f} to {100 * found.held.high:.1f} %"
    assert f"95 % interval {ends})" in text
    assert "one step ahead" not in text
    assert "held, one step ahead, " in say_coverage([asdict(found), asdict(found)])
    assert f"single dates from {100 * found.by_date.lowest:.0f} to 100 %" in text
    assert text.endswith("The values of a date hold or fail together: these are 12 observations, not more.")


def test_coverage_is_reported_by_regime():
    quiet = np.repeat([0.002, 0.02], 150)
    walk = {"A": 50 * np.exp(np.cumsum(quiet * np.random.default_rng(0).normal(size=300)))}
    windows = stock_windows({"close": walk}, window=20)
    regimes, forecast = Regimes.fit(windows), last_value(windows)
    conformal = fit_conformal(windows, forecast, 0.9, "series")
    (found,) = covered(conformal, windows, forecast, regimes=regimes)
    held = {name: part.value for name, part in found.by_regime.items()}
    assert list(held) == ["calm", "usual", "turbulent"]
    assert held["calm"] == 1.0 > held["turbulent"]
    counts = [part.count for part in found.by_regime.values()]
    assert sum(counts) == len(windows)
    assert max(counts) - min(counts) <= 1
    late = windows.select(slice(200, None))
    (rest,) = covered(conformal, late, forecast[200:], regimes=regimes)
    assert "calm" not in rest.by_regime


LEVEL, BORDERS = 0.9, (200, 400)


def drifting(kind, seed=0, sessions=800, horizon=1):
    """Errors about 100 whose size changes; validation and test windows with the forecast 100."""
    scale = {
        "none": np.ones(sessions),
        "jump": np.repeat([1.0, 3.0], sessions // 2),
        "ramp": np.exp(np.linspace(0, np.log(4), sessions)),
        "shrink": np.repeat([3.0, 1.0], sessions // 2),
    }[kind]
    generator = np.random.default_rng(seed)
    values = {name: 100 + scale * generator.normal(size=sessions) for name in ("AAA", "BBB")}
    windows = stock_windows({"iv": values}, horizon=horizon)
    days = windows.dates[:, -1].astype(int)
    parts = [
        windows.select(rows) for rows in ((days >= BORDERS[0]) & (days < BORDERS[1]), days >= BORDERS[1])
    ]
    return [(part, np.full(part.targets.shape, 100.0)) for part in parts]


def coverage(ends, windows):
    return np.mean((ends[0] <= windows.targets) & (windows.targets <= ends[1]))


@pytest.mark.parametrize(("kind", "split"), [("none", 0.9), ("jump", 0.42), ("ramp", 0.65), ("shrink", 1.0)])
def test_coverage_is_kept_where_split_conformal_loses_it(kind, split):
    validation, test = drifting(kind)
    conformal = fit_conformal(*validation, LEVEL, "none")
    np.testing.assert_allclose(coverage(conformal.interval(*test), test[0]), split, atol=0.06)
    followed = follow_conformal(conformal, validation, test)
    np.testing.assert_allclose(coverage(followed.ends, test[0]), LEVEL, atol=0.015)
    assert json.loads(json.dumps(followed.to_dict(), allow_nan=False)) == followed.to_dict()


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_future_moves_no_interval(horizon):
    """An interval may know what came until its window's last input row, and nothing after."""
    validation, test = drifting("jump", sessions=500, horizon=horizon)
    conformal = fit_conformal(*validation, LEVEL, "none")
    before = follow_conformal(conformal, validation, test).ends
    windows, border = test[0], np.datetime64("1971-03-26")
    panel = windows.panel
    later = panel.dates > border
    panel.values[later] = 100 + 50 * (panel.values[later] - 100)
    after = follow_conformal(conformal, validation, test).ends
    known = windows.input_dates[:, -1] <= border
    assert 0 < known.sum() < len(windows)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[known], other[known])
    assert not np.allclose(before[0][~known], after[0][~known])


def test_each_symbol_is_followed_on_its_own():
    """Errors of one symbol move no interval of another's."""
    validation, test = drifting("none", sessions=500)
    conformal = fit_conformal(*validation, LEVEL, "none")
    before = follow_conformal(conformal, validation, test)
    panel = test[0].panel
    panel.values[(panel.code == 1) & (panel.dates > np.datetime64("1971-03-01"))] *= 2
    after = follow_conformal(conformal, validation, test)
    first = test[0].group == "AAA"
    np.testing.assert_array_equal(before.ends[0][first], after.ends[0][first])
    assert after.alpha["BBB"] < before.alpha["BBB"]

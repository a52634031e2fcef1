"""Intervals that follow a drift, and know nothing of what comes."""

import json

import numpy as np
import pytest

from qhq.evaluation.adaptive import follow_conformal
from qhq.evaluation.conformal import fit_conformal
from tests.evaluation.panels import stock_windows

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

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from qhq.evaluation.baselines.last_value import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.groups import has_percent, largest_share, score_by_group, score_held_out, score_windows
from qhq.evaluation.metrics import score
from qhq.evaluation.significance import date_losses, loss_unit
from tests.evaluation.panels import option_panel, option_windows, random_walks, stock_windows


def make_case(targets=("mid",)):
    windows = option_windows(targets=targets)
    forecast = windows.targets + np.random.default_rng(0).normal(0, 0.1, windows.targets.shape)
    scale = symbol_scale(windows, {"AAA": in_sample_naive_mae(windows)["AAA"]})
    return windows, forecast, last_value(windows), scale


def test_each_underlying_is_measured_with_all_of_its_contracts():
    windows, forecast, naive, scale = make_case()
    rows = score_by_group(windows, forecast, naive, scale)
    assert list(rows) == ["AAA", "BBB"]
    own = windows.group == "AAA"
    assert rows["AAA"] == score(windows.targets[own], forecast[own], naive[own], scale[own])


def test_held_out_underlyings_are_measured_apart_and_have_no_mase():
    windows, forecast, naive, scale = make_case(("bid", "ask"))
    both = score_held_out(windows, forecast, naive, scale, ("BBB",))
    by_group = score_by_group(windows, forecast, naive, scale)
    assert both == {"seen": by_group["AAA"], "held_out": by_group["BBB"]}
    assert both["held_out"].mase is None
    assert both["seen"].mase is not None
    json.dumps({name: asdict(metrics) for name, metrics in both.items()}, allow_nan=False)


def test_without_held_out_underlyings_all_is_seen():
    case = make_case()
    assert score_held_out(*case, ()) == {"seen": score_windows(*case), "held_out": None}


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (("adj_close",), True),
        (("garman_klass",), True),
        (("mid", "iv"), True),
        (("log_return",), False),
        (("garman_klass", "log_garman_klass"), False),
    ],
)
def test_errors_in_percent_are_reported_where_zero_means_nothing_left(targets, told):
    assert has_percent(targets) is told


@pytest.mark.parametrize(("factor", "least"), [(1.0, 0.0), (1e3, 0.999)])
def test_the_symbol_or_target_that_makes_up_the_loss_is_named(factor, least):
    walks = random_walks(("AAA", "BBB", "CCC"))
    dear = stock_windows({"close": {**walks, "BBB": 25 * factor * walks["BBB"]}})
    name, share = largest_share(dear, dear.targets)
    assert (name == "BBB" or factor == 1, share > least, share <= 1) == (True, True, True)
    two = stock_windows({"close": walks, "volume": {key: 1e6 * factor * each for key, each in walks.items()}})
    assert largest_share(two, two.targets)[0] == "volume"
    # Over its own last value a symbol's size is gone.
    same = (dear.targets / dear.last[:, None]) - 1
    assert largest_share(dear, same)[1] < 0.6
    alone = stock_windows({"close": {"AAA": walks["AAA"]}})
    assert largest_share(alone, alone.targets) is None


@pytest.mark.parametrize("targets", [("mid",), ("bid", "ask"), ("mid", "iv")])
def test_no_underlying_decides_by_the_size_of_its_prices(targets):
    found = []
    for factor in (1.0, 2.0**20):
        panel = option_panel()
        dear = np.array(panel.groups)[panel.code] == "BBB"
        prices = panel.positions(("spot", "strike", "forward", "mid", "bid", "ask"))
        values = panel.values.copy()
        values[np.ix_(dear, prices)] *= factor
        windows = option_windows(replace(panel, values=values), targets=targets)
        noise = np.random.default_rng(0).normal(0, 0.5, windows.targets.shape)
        forecast = windows.targets + noise * (windows.targets - windows.last[:, None])
        scale = symbol_scale(windows, in_sample_naive_mae(windows))
        metrics = score_windows(windows, forecast, last_value(windows), scale)
        losses = date_losses(windows, forecast, loss_unit(windows, scale))
        found.append([metrics.mase, metrics.skill, metrics.mape, *losses])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)

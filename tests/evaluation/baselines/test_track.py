import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.evaluation.baselines.track import LEAST_WINDOWS, ByGroup, tracks
from tests.evaluation.panels import option_panel, option_windows, random_walks, stock_windows


def make_windows(name, horizon=2):
    if name in ("mid", "iv", "spot"):
        return option_windows(targets=(name,), task="forecast", horizon=horizon)
    return stock_windows({name: random_walks()}, horizon=horizon)


@pytest.mark.parametrize(
    ("name", "kind", "differenced"),
    [
        ("close", "log", True),
        ("spot", "log", True),
        ("mid", "strike", True),
        ("iv", "plain", False),
        ("volume", "count", False),
        ("log_return", "plain", False),
        ("log_garman_klass", "plain", False),
        ("sentiment", "plain", False),
    ],
)
def test_each_unit_has_its_scale_and_the_way_back_is_exact(name, kind, differenced):
    windows = make_windows(name)
    (track,) = tracks(windows)
    assert (track.kind, track.differenced) == (kind, differenced)
    assert_allclose(track.back(track.future(windows), windows), windows.targets[:, :, 0], rtol=1e-12)
    assert_allclose(track.back(track.past(windows), windows), windows.inputs[:, :, 0], rtol=1e-12)
    rows = slice(int(windows.starts[3]), int(windows.starts[3]) + windows.cut.window)
    assert_allclose(track.series(windows, rows), track.past(windows)[3], rtol=1e-12)


@pytest.mark.parametrize("name", ["close", "mid", "volume", "iv"])
def test_the_slope_is_the_derivative_of_the_way_back(name):
    windows = make_windows(name)
    (track,) = tracks(windows)
    last = track.past(windows)[:, -1:]
    finite = (track.back(last + 1e-6, windows) - track.back(last - 1e-6, windows)) / 2e-6
    assert_allclose(track.slope(windows), finite[:, 0], rtol=1e-5)


def test_a_quote_is_not_forecast_below_zero():
    windows = make_windows("mid")
    (track,) = tracks(windows)
    assert_allclose(track.back(np.full((len(windows), 2), -0.1), windows), 0)


def test_numbers_are_of_the_group_or_of_all_where_it_was_not_trained_on():
    windows = stock_windows({"close": random_walks(("A", "B"), sessions=LEAST_WINDOWS + 5)})
    windows = windows.select(np.flatnonzero((windows.code == 0) | (windows.starts % 2 == 0)))
    found = ByGroup.fit(windows, lambda mask: np.array([mask.sum()]))
    assert found.names == ("A",)
    expected = np.where(windows.symbol == "A", LEAST_WINDOWS, len(windows))
    assert_allclose(found.of(windows)[:, 0], expected)
    assert_allclose(found.of(stock_windows({"close": random_walks(("C",))})), len(windows))


def test_all_contracts_of_an_underlying_are_one_group():
    windows = option_windows(option_panel(sessions=120))
    found = ByGroup.fit(windows, lambda mask: np.array(mask.sum()))
    assert found.names == ("AAA", "BBB")
    assert_allclose(found.values, [len(windows) / 2, len(windows) / 2, len(windows)])

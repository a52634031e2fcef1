"""Figures of panels: what they must say, read from the figure itself."""

from __future__ import annotations

import numpy as np
import pytest

from qhq.data.panel import describe_panel
from qhq.report.data_figures import Surroundings, _ratio, draw_smile, draw_stock, draw_underlying, latest_day
from tests.data.test_panel import options, stocks

SPANS = {
    "train": (np.datetime64("2020-01-01"), np.datetime64("2020-03-01")),
    "test": (np.datetime64("2020-03-02"), np.datetime64("2020-05-01")),
}


def test_the_chart_of_a_stock_shows_both_kinds_of_splits_and_gaps():
    panel = stocks()
    facts = describe_panel(panel)[0]
    figure = draw_stock(panel, Surroundings(facts, SPANS), "close")
    (axes,) = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "test", "gap", "split"]
    assert [text.get_text() for text in axes.texts] == ["2:1"]
    assert axes.get_ylabel() == "close (price)"
    assert figure.get_suptitle() == "ONE: close, 2020-01-01 to 2020-04-21, 76 sessions"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), panel.values[:76, 0])


def test_a_wide_range_is_logarithmic_and_nothing_to_tell_has_no_legend():
    panel = stocks()
    facts = describe_panel(panel)[1] | {"gaps": []}
    figure = draw_stock(panel, Surroundings(facts, {}), "close")
    assert figure.axes[0].get_yscale() == "log"
    assert not figure.legends


def test_the_chart_of_an_underlying_counts_quotes():
    panel = options()
    apple, amd = describe_panel(panel)
    spot, count = draw_underlying(panel, Surroundings(apple, {})).axes
    np.testing.assert_allclose(spot.lines[0].get_ydata(), [195, 195])
    np.testing.assert_allclose(count.lines[0].get_ydata(), [4, 4])
    assert [label.get_text() for label in count.get_xticklabels()] == ["2026-11-19", "2026-11-20"]
    np.testing.assert_allclose(
        draw_underlying(panel, Surroundings(amd, {})).axes[1].lines[0].get_ydata(), [0]
    )


def test_a_smile_has_a_line_for_each_expiry_and_right_and_names_its_quotes():
    panel, day = options(), np.datetime64("2026-11-20")
    figure = draw_smile(panel, "AAPL", day)
    axes = figure.axes[0]
    assert "AAPL on 2026-11-20" in axes.get_title()
    assert "traded" in axes.get_title()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["2026-12-18 (28)"]
    calls, puts = axes.lines[:2]
    rows = (panel.dates == day) & (np.asarray(panel.groups)[panel.code] == "AAPL")
    rows &= np.isfinite(panel.column("iv"))
    up, down = (rows & (panel.column("right") == side) for side in (1, -1))
    np.testing.assert_allclose(calls.get_ydata(), 100 * panel.column("iv")[up])
    np.testing.assert_allclose(calls.get_xdata(), panel.column("log_moneyness")[up])
    assert len(puts.get_xdata()) == down.sum() > 0


def test_a_smile_of_nothing_says_so():
    panel = options()
    panel.column("iv")[np.asarray(panel.groups)[panel.code] == "AMD"] = np.nan
    figure = draw_smile(panel, "AMD", np.datetime64("2026-11-20"))
    assert figure.axes[0].texts[0].get_text() == "no implied volatility on this day"
    assert latest_day(panel, "AMD") is None
    assert latest_day(panel, "AAPL") == np.datetime64("2026-11-20")
    assert latest_day(panel, "AAPL", [np.datetime64("2026-11-19")]) == np.datetime64("2026-11-19")
    assert latest_day(panel, "AAPL", [np.datetime64("2026-11-18")]) is None


@pytest.mark.parametrize(
    ("ratio", "words"), [(2.0, "2:1"), (1.5, "3:2"), (0.1, "1:10"), (1.9999, "2:1"), (7.0, "7:1")]
)
def test_ratios_read_as_brokers_write_them(ratio, words):
    assert _ratio(ratio) == words

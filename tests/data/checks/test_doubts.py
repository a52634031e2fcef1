"""Prices that may mean something else than they seem to: slips, weeks for days, days of another zone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qhq.data.checks.breaches import find_breaches
from qhq.data.checks.stocks import check_panel
from qhq.data.quarantine import RowPolicy


def told(days, close, **columns):
    frame = pd.DataFrame(
        {"symbol": "A", "date": pd.DatetimeIndex(days).strftime("%Y-%m-%d"), "close": close, **columns}
    )
    panel = check_panel(frame, "prices.csv", columns=("close",), policy=RowPolicy(None))
    checked = {breach.rule for breach in find_breaches(frame, "prices.csv", "stocks", RowPolicy(None))}
    assert {doubt.rule for doubt in panel.doubts} <= checked
    return {doubt.rule: doubt for doubt in panel.doubts}


def walk(rows):
    return 100 * np.exp(0.01 * np.random.default_rng(3).standard_normal(rows).cumsum())


@pytest.mark.parametrize("factor", [100, 10, 0.1, 0.01])
def test_a_slip_of_the_decimal_point_is_told_with_its_row(factor):
    close = walk(40)
    close[17] *= factor
    doubt = told(pd.bdate_range("2024-01-02", periods=40), close)["slip"]
    assert (doubt.count, doubt.rows) == (1, (18,))


def test_a_slip_is_no_split():
    close = walk(40)
    close[17] *= 100
    days = pd.bdate_range("2024-01-02", periods=40).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"symbol": "A", "date": days, "close": close})
    assert {breach.rule for breach in find_breaches(frame, "prices.csv", "stocks", RowPolicy(None))} == {
        "slip"
    }


def test_a_split_is_no_slip():
    close = walk(40)
    close[17:] /= 20
    assert "slip" not in told(pd.bdate_range("2024-01-02", periods=40), close)


@pytest.mark.parametrize(
    ("step", "bars"), [("W-FRI", "bars of a week"), ("ME", "bars of a month"), ("QE", "a row every")]
)
def test_bars_of_weeks_and_months_are_told(step, bars):
    assert bars in told(pd.date_range("2014-01-03", periods=30, freq=step), walk(30))["frequency"].example


@pytest.mark.parametrize(
    "days", [pd.bdate_range("2024-01-02", periods=40), pd.date_range("2024-01-02", periods=40)]
)
def test_sessions_of_stocks_and_of_coins_raise_no_doubt(days):
    assert told(days, walk(40)) == {}


def test_days_shifted_by_a_time_zone_are_told():
    days = pd.bdate_range("2024-01-02", periods=40) - pd.Timedelta("1D")
    assert told(days, walk(40))["shifted"].count == 8


@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_slip_in_an_options_quotes_is_told(factor):
    days = pd.bdate_range("2024-01-02", periods=9).strftime("%Y-%m-%d")
    quotes = np.full(9, 8.0)
    quotes[4] *= factor
    contract = {"contract_id": "c", "underlying": "A", "expiry": "2024-06-21", "strike": 100.0, "right": "C"}
    frame = pd.DataFrame({**contract, "date": days, "bid": quotes, "ask": quotes * 1.01, "spot": 100.0})
    found = find_breaches(frame, "options.csv", "options", RowPolicy(None))
    assert [breach.rows for breach in found if breach.rule == "slip"] == [(5,)]

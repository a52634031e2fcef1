"""What a panel holds, in figures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qhq.data.checks.options import check_options
from qhq.data.checks.stocks import check_panel
from qhq.data.formulas import complete_market, compute_columns
from qhq.data.panel import Panel, describe_panel, find_gaps
from tests.data.chains import make_chain


def stocks() -> Panel:
    days = pd.bdate_range("2020-01-01", periods=80).delete([40, 41, 42, 43])
    close = np.where(np.arange(len(days)) < 20, 200.0, 100.0) + np.arange(len(days))
    split = np.where(np.arange(len(days)) == 20, 2.0, 0.0)
    one = pd.DataFrame({"symbol": "ONE", "date": days, "close": close, "split": split})
    two = pd.DataFrame(
        {"symbol": "TWO", "date": days.delete(5), "close": 1.5 ** np.arange(len(days) - 1), "split": 0}
    )
    return check_panel(pd.concat([one, two]), "prices")


def options() -> Panel:
    chains = [
        make_chain(),
        make_chain(session="2026-11-19"),
        make_chain("AMD", bid=np.nan).assign(ask=np.nan),
    ]
    panel = check_options(pd.concat(chains), "chains")
    return compute_columns(complete_market(panel, 0.0), "options", ["log_moneyness"])


def test_description_of_stocks():
    one, two = describe_panel(stocks())
    assert (one["symbol"], one["rows"], one["sessions"]) == ("ONE", 76, 76)
    assert one["splits"] == [{"date": "2020-01-29", "ratio": 2.0}]
    assert one["gaps"] == [{"after": "2020-02-25", "before": "2020-03-03", "sessions": 0, "weekdays": 4}]
    assert two["gaps"][0] == {"after": "2020-01-07", "before": "2020-01-09", "sessions": 1, "weekdays": 1}


def test_description_of_options():
    apple, amd = describe_panel(options())
    assert (apple["rows"], apple["contracts"], apple["expiries"], apple["sessions"]) == (8, 4, 1, 2)
    assert (apple["kind"], apple["without_quote"], amd["without_quote"]) == ("traded", 0, 4)


def test_a_weekend_is_no_gap():
    days = np.array(["2020-01-03", "2020-01-06"], dtype="datetime64[D]")
    assert find_gaps(days, days) == []
    assert find_gaps(days[:0], days) == []

"""Every broken rule of a file with its rows, and the doubts beside them.

Nothing is an error that the training itself would take.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qhq.data.checks import find_breaches
from qhq.data.checks.options import check_options
from qhq.data.checks.stocks import check_panel
from qhq.data.file_format import FileFormat
from qhq.data.quarantine import RowPolicy
from qhq.data.sessions import find_calendar
from qhq.data.sources.files import Asked, understand_file
from qhq.errors import DataError
from tests.data.panels import make_frame, option_frame


def by_rule(breaches):
    return {(breach.rule, breach.severity): breach for breach in breaches}


def test_sound_tables_break_no_rule():
    assert find_breaches(make_frame(), "test", "stocks") == []
    assert find_breaches(option_frame(), "test", "options") == []


def test_every_broken_rule_of_stocks_is_reported_with_its_rows():
    frame = make_frame().astype({"date": object, "close": object})
    frame.loc[3, "date"] = "someday"
    frame.loc[7, "date"] = frame.loc[6, "date"]
    frame.loc[range(20, 40), "close"] = "abc"
    frame.loc[50, "open"] = -1.0
    frame.loc[60, "low"] = frame.loc[60, "high"] + 1
    frame.loc[70, "volume"] = -5
    found = by_rule(find_breaches(frame, "test", "stocks"))
    errors = {rule: breach for (rule, severity), breach in found.items() if severity == "error"}
    assert list(errors) == [
        "date",
        "cell",
        "below_zero",
        "amount",
        "range",
        "duplicate",
    ]
    assert errors["date"].rows == (4,)
    assert errors["duplicate"].rows == (8,)
    assert (errors["cell"].count, errors["cell"].rows) == (20, tuple(range(21, 31)))
    assert errors["below_zero"].example.startswith("-1 for AAA on ")
    assert errors["amount"].must == "'volume' must be zero or more"


def test_every_broken_rule_of_options_is_reported():
    frame = option_frame().astype({name: object for name in ("right", "quote_time", "expiry")})
    cells = {
        ("contract_id", 0): "",
        ("date", 5): "someday",
        ("right", 10): "x",
        ("spot", 15): np.nan,
        ("strike", 20): -1.0,
        ("open_interest", 25): -1,
        ("iv", 30): 35.0,
        ("expiry", 35): "soon",
        ("expiry", 40): "2019-01-01",
        ("bid", 45): 999.0,
        ("quote_time", 50): "2021-01-01",
        ("date", 61): frame.loc[60, "date"],
    }
    for (name, row), value in cells.items():
        frame.loc[row, name] = value
    frame.loc[70, "date"] = str(np.datetime64("today") + 5)
    errors = [breach.rule for breach in find_breaches(frame, "test", "options") if breach.severity == "error"]
    from_cells = {"name", "date", "cell", "number", "price", "amount", "fraction", "bound"}
    from_dates = {"duplicate", "expiry", "future", "quote_time"}
    assert set(errors) == from_cells | from_dates | {"crossed", "contract"}


@pytest.mark.parametrize("kind", ["stocks", "options"])
def test_the_first_error_is_the_one_that_checking_raises(kind):
    frame = make_frame() if kind == "stocks" else option_frame()
    name = "close" if kind == "stocks" else "spot"
    frame.loc[[4, 9], name] = -2.0
    frame.loc[30, "date"] = frame.loc[29, "date"]
    first = find_breaches(frame, "test", kind)[0]
    with pytest.raises(DataError) as raised:
        (check_panel if kind == "stocks" else check_options)(frame, "test")
    assert (raised.value.must, raised.value.got, raised.value.fix) == (first.must, first.example, first.fix)


@pytest.mark.parametrize("kind", ["stocks", "options"])
def test_missing_columns_cannot_be_checked(kind):
    with pytest.raises(DataError, match="date"):
        find_breaches(make_frame().drop(columns="date"), "test", kind)


def filled():
    frame = make_frame()
    frame.loc[10:16, ["open", "high", "low", "close"]] = frame.loc[
        10, ["open", "high", "low", "close"]
    ].values
    frame.loc[11:16, "volume"] = 0
    return frame


def with_gap():
    return make_frame().drop(index=range(20, 31))


def with_jump(split=0.0):
    frame = make_frame().assign(split=0.0)
    frame.loc[100:199, ["open", "high", "low", "close"]] *= 0.5
    frame.loc[100, "split"] = split
    return frame


def until_today():
    days = pd.bdate_range("2015-01-01", periods=199).strftime("%Y-%m-%d")
    return make_frame(symbols=("AAA",)).assign(date=[*days, str(np.datetime64("today"))])


@pytest.mark.parametrize(
    ("frame", "rules", "rows"),
    [
        (filled(), {"filled", "volume"}, (12, 13, 14, 15, 16, 17)),
        (with_gap(), {"gap"}, (21,)),
        (make_frame().drop(index=range(20, 30)), set(), ()),
        (with_jump(), {"jump"}, (101,)),
        (with_jump(2.0), set(), ()),
        (until_today(), {"today", "gap"}, (200,)),
    ],
    ids=["filled", "gap", "short gap", "jump", "split", "today"],
)
def test_doubtful_stocks_are_warned_of(frame, rules, rows):
    found = find_breaches(frame, "test", "stocks")
    assert {breach.rule for breach in found} == rules
    assert all(breach.severity == "warning" and breach.rows == rows for breach in found)
    check_panel(frame, "test")


def over_christmas(days):
    """Twelve weekdays missing of a year in New York; of which the 25th and New Year's Day were holidays."""
    own = days.difference(pd.bdate_range("2019-12-17", "2020-01-01"))
    frame = make_frame(symbols=("AAA",))
    return frame.iloc[: len(own)].assign(date=own[: len(frame)].strftime("%Y-%m-%d"))


def test_holidays_of_new_york_are_no_missing_sessions_where_the_table_fits_its_calendar():
    days = pd.bdate_range("2019-10-01", "2020-06-01")
    autumn, winter = ["2019-11-28", "2019-12-25"], ["2020-01-01", "2020-01-20", "2020-02-17"]
    closed = pd.to_datetime([*autumn, *winter, "2020-04-10", "2020-05-25"])
    rules = [
        {breach.rule for breach in find_breaches(over_christmas(each), "test", "stocks")}
        for each in (days.difference(closed), days)
    ]
    assert rules == [set(), {"gap"}]


@pytest.mark.parametrize(
    ("exchange", "named", "holiday", "found"),
    [
        ("XNYS", None, "2015-05-25", ["closed"]),  # New York's is known by its fit
        ("XLON", None, "2015-05-25", []),  # of another one a file says nothing
        ("XLON", "XLON", "2015-05-25", ["closed"]),
        ("XLON", "XLON", None, []),
        ("24/7", "24/7", None, []),
    ],
)
def test_a_row_of_a_holiday_is_told_where_the_exchange_is_known(exchange, named, holiday, found):
    own = find_calendar(np.array(["2014-12-31"], dtype="datetime64[D]"), exchange).after(200).astype(str)
    frame = make_frame(symbols=("AAA",)).assign(date=[*own[:-1], holiday or own[-1]])
    breaches = find_breaches(frame, "test", "stocks", RowPolicy(calendar=named))
    assert [breach.rule for breach in breaches] == found
    assert all("Monday for AAA on 2015-05-25 (row 200" in breach.example for breach in breaches)


def test_a_calendar_that_the_rows_do_not_fit_is_an_error_as_it_is_for_a_training():
    york = find_calendar(np.array(["2014-12-31"], dtype="datetime64[D]")).after(200).astype(str)
    frame = make_frame(symbols=("AAA",)).assign(date=york)
    breach, doubt = find_breaches(frame, "test", "stocks", RowPolicy(calendar="XLON"))
    assert (doubt.rule, doubt.severity) == ("closed", "warning")
    assert (breach.rule, breach.severity, breach.count) == ("calendar", "error", 3)
    assert breach.must == "Rows must lie on the sessions of data.calendar XLON"
    assert york[breach.rows[0] - 1] == "2015-04-06"  # Easter Monday
    assert find_breaches(frame, "test", "stocks", RowPolicy(calendar="XNYS")) == []


def still(frame):
    frame.loc[3:9, ["bid", "ask", "last", "mid"]] = frame.loc[3, ["bid", "ask", "last", "mid"]].to_numpy()


def no_volume(frame):
    frame.loc[3, "volume"] = 0


def old_trade(frame):
    frame.loc[3, "last_trade"] = "2019-12-31"


def below_zero(frame):
    frame.loc[3, "bid"] = -1.0


def cheap_put(frame):
    rows = frame.index[(frame["right"] == "put") & (frame["strike"] > frame["spot"] * 1.03)][:2]
    frame.loc[rows, ["bid", "ask", "mid"]] = [0.1, 0.2, 0.15]


def moving_spot(frame):
    frame.loc[5, "spot"] *= 2


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (still, {"filled", "intrinsic"}),
        (no_volume, {"volume", "stale"}),
        (old_trade, {"stale"}),
        (below_zero, {"negative"}),
        (cheap_put, {"early_exercise"}),
        (moving_spot, {"jump", "spot", "intrinsic"}),
    ],
)
def test_doubtful_options_are_warned_of(change, rules):
    frame = option_frame()
    change(frame)
    found = find_breaches(frame, "test", "options")
    assert {breach.rule for breach in found} == rules
    assert {breach.severity for breach in found} == {"warning"}
    check_options(frame, "test")


def test_quotes_of_a_worthless_option_may_stand_still():
    frame = option_frame()
    worthless = frame.query("right == 'call' and strike > 1.08 * spot").groupby("contract_id").get_group
    name = frame.query("right == 'call' and strike > 1.08 * spot")["contract_id"].iloc[0]
    frame.loc[worthless(name).index[:7], ["bid", "ask", "last", "mid"]] = [0.0, 0.05, 0.02, 0.025]
    assert find_breaches(frame, "test", "options") == []


POLICY = RowPolicy(bad_rows=None)
READ = {"close", "adj_close"}


def table(folder, header, row, count=200):
    days = pd.bdate_range("2022-01-03", periods=count).strftime("%Y-%m-%d")
    path = folder / "x.csv"
    path.write_text("\n".join([header, *(row(place, day) for place, day in enumerate(days))]) + "\n")
    return path


def breaches(path, read=READ):
    frame = understand_file(path, path.name).frame
    return frame, {each.rule: each for each in find_breaches(frame, path.name, "stocks", POLICY, read=read)}


@pytest.mark.parametrize("cell", ["", "-", "N/A"])
def test_a_column_without_a_value_is_an_error_only_where_it_is_read(tmp_path, cell):
    path = table(tmp_path, "Date,Close,Volume", lambda place, day: f"{day},{100 + place},{cell}")
    frame, found = breaches(path)
    assert found["number"].severity == "warning"
    assert "a config that reads volume" in found["number"].fix
    assert f"'{cell}'" in found["number"].example or not cell
    assert breaches(path, {"close", "volume"})[1]["number"].severity == "error"
    assert len(check_panel(frame, "x", columns=("close",), policy=POLICY).code) == 200


def test_a_row_that_is_bad_in_an_unread_column_is_left_out_by_configs_that_read_it(tmp_path):
    row = lambda place, day: f"{day},{0 if place in (5, 6) else 100},100"  # noqa: E731
    path = table(tmp_path, "Date,Open,Close", row)
    assert "a config that reads open leaves these rows out" in breaches(path)[1]["price"].fix
    assert "training leaves these rows out" in breaches(path, {"open", "close"})[1]["price"].fix


def test_a_line_that_was_cut_off_names_no_symbol_and_is_left_out(tmp_path):
    path = table(
        tmp_path, "Date,Close,Symbol", lambda place, day: f"{day},{100 + place},{'A' * (place < 199)}"
    )
    frame, found = breaches(path)
    assert (found["name"].severity, found["name"].count) == ("aside", 1)
    assert "line 201" in found["name"].example
    assert "cut off" in found["name"].fix
    for symbols in (None, ("A",)):
        panel = check_panel(frame, "x", symbols=symbols, columns=("close",), policy=POLICY)
        assert (panel.symbols, len(panel.code), panel.quarantine.count) == (("A",), 199, 1)


def test_two_rows_of_a_day_that_differ_are_shown_with_the_difference(tmp_path):
    path = table(tmp_path, "Date,Close", lambda place, day: f"{day},{100 + place}")
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].split(",")[0] + ",7\n")
    assert "close 299 and 7" in breaches(path)[1]["duplicate"].example


CBOE = (
    "underlying_symbol,quote_date,root,expiration,strike,option_type,close,bid_1545,ask_1545,"
    "underlying_bid_1545,underlying_ask_1545,bid_eod,ask_eod,underlying_bid_eod,underlying_ask_eod"
)


@pytest.mark.parametrize("zero", [0, "", 100])
def test_a_file_of_daily_prices_wins_over_zeros_and_over_nothing_else(tmp_path, zero):
    path = table(
        tmp_path, CBOE, lambda place, day: f"A,{day},A,2023-12-15,90,C,1,5,6,{zero},{zero},5,6,99,101", 5
    )
    spot = tmp_path / "spot.csv"
    spot.write_text("Date,Close\n" + "".join(f"2022-01-0{day},50\n" for day in range(3, 8)))
    frame = understand_file(path, "x", asked=Asked(FileFormat(spot=str(spot)))).frame
    assert set(frame["spot"]) == {50.0 if zero != 100 else 100.0}
    if zero == 100:
        return
    with pytest.raises(DataError, match=r"underlying_bid_1545.*data.format.spot=FILE.*form=cboe_eod"):
        understand_file(path, "x")
    assert set(understand_file(path, "x", asked=Asked(FileFormat(form="cboe_eod"))).frame["spot"]) == {100.0}


def doubts(days, close, **columns):
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
def test_a_slip_of_the_decimal_point_is_reported_with_its_row(factor):
    close = walk(40)
    close[17] *= factor
    doubt = doubts(pd.bdate_range("2024-01-02", periods=40), close)["slip"]
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
    assert "slip" not in doubts(pd.bdate_range("2024-01-02", periods=40), close)


@pytest.mark.parametrize(
    ("step", "bars"), [("W-FRI", "bars of a week"), ("ME", "bars of a month"), ("QE", "a row every")]
)
def test_bars_of_weeks_and_months_are_reported(step, bars):
    assert bars in doubts(pd.date_range("2014-01-03", periods=30, freq=step), walk(30))["frequency"].example


@pytest.mark.parametrize(
    "days", [pd.bdate_range("2024-01-02", periods=40), pd.date_range("2024-01-02", periods=40)]
)
def test_sessions_of_stocks_and_of_coins_raise_no_doubt(days):
    assert doubts(days, walk(40)) == {}


def test_days_shifted_by_a_time_zone_are_reported():
    days = pd.bdate_range("2024-01-02", periods=40) - pd.Timedelta("1D")
    assert doubts(days, walk(40))["shifted"].count == 8


@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_slip_in_an_options_quotes_is_reported(factor):
    days = pd.bdate_range("2024-01-02", periods=9).strftime("%Y-%m-%d")
    quotes = np.full(9, 8.0)
    quotes[4] *= factor
    contract = {"contract_id": "c", "underlying": "A", "expiry": "2024-06-21", "strike": 100.0, "right": "C"}
    frame = pd.DataFrame({**contract, "date": days, "bid": quotes, "ask": quotes * 1.01, "spot": 100.0})
    found = find_breaches(frame, "options.csv", "options", RowPolicy(None))
    assert [breach.rows for breach in found if breach.rule == "slip"] == [(5,)]

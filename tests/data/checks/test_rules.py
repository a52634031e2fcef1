import numpy as np
import pandas as pd
import pytest

from qhq.data.checks.breaches import find_breaches
from qhq.data.checks.options import check_options
from qhq.data.checks.stocks import check_panel
from qhq.errors import DataError
from tests.data.panels import make_frame, option_frame


def told(breaches):
    return {(breach.rule, breach.severity): breach for breach in breaches}


def test_sound_tables_break_no_rule():
    assert find_breaches(make_frame(), "test", "stocks") == []
    assert find_breaches(option_frame(), "test", "options") == []


def test_every_broken_rule_of_stocks_is_told_with_its_rows():
    frame = make_frame().astype({"date": object, "close": object})
    frame.loc[3, "date"] = "someday"
    frame.loc[7, "date"] = frame.loc[6, "date"]
    frame.loc[range(20, 40), "close"] = "abc"
    frame.loc[50, "open"] = -1.0
    frame.loc[60, "low"] = frame.loc[60, "high"] + 1
    frame.loc[70, "volume"] = -5
    found = told(find_breaches(frame, "test", "stocks"))
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


def test_every_broken_rule_of_options_is_told():
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

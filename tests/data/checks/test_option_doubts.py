"""An option file that seems to mean something else is refused or doubted, until the config says which."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks import find_breaches
from qhq.data.checks.option_rules import is_adjusted, product_of, read_symbols
from qhq.data.checks.options import check_options
from qhq.data.file_format import OptionUnits
from qhq.data.formulas import complete_market
from qhq.data.load import load_panel
from qhq.data.quarantine import RowPolicy
from qhq.data.spec import DataSpec
from qhq.errors import DataError
from tests.data.panels import option_frame

OWN = RowPolicy(None)
QUOTES = ["bid", "ask", "last", "mid"]


def years(frame):
    return (pd.to_datetime(frame["expiry"]) - pd.to_datetime(frame["date"])).dt.days / 365


def without_quotes(frame):
    return frame.drop(columns=QUOTES)


def calm(frame):
    """Volatilities of an index of 12 %, without prices beside them."""
    return without_quotes(frame).assign(iv=0.12 + 0.1 * (frame["iv"] - 0.3))


def breaches_of(frame, **more):
    return {breach.rule: breach for breach in find_breaches(frame, "test", "options", OWN, **more)}


# --- Volatilities ---

WRITTEN = {
    "percent": lambda frame: frame["iv"] * 100,
    "basis_points": lambda frame: frame["iv"] * 10_000,
    "variance": lambda frame: frame["iv"] ** 2,
    "total_variance": lambda frame: frame["iv"] ** 2 * years(frame),
}


@pytest.mark.parametrize("unit", WRITTEN)
def test_a_unit_that_the_prices_contradict_is_refused_until_it_is_named(unit):
    frame = option_frame(underlyings=("AAA",))
    written = frame.assign(iv=WRITTEN[unit](frame))
    with pytest.raises(DataError, match=rf"the file's own prices imply.* data.format.volatility: {unit}\."):
        check_options(written, "test", policy=OWN)
    breach = breaches_of(written)["volatility_unit"]
    assert (breach.severity, breach.count) == ("error", (years(frame) > 7 / 365).sum())
    panel = check_options(written, "test", policy=OWN, units=OptionUnits(volatility=unit))
    assert_allclose(panel.column("iv"), check_options(frame, "test").column("iv"), rtol=1e-12)
    assert panel.doubts == ()
    assert_array_equal(panel.quarantine.reasons, ())


@pytest.mark.parametrize("unit", ["percent", "basis_points"])
@pytest.mark.parametrize("change", [without_quotes, calm], ids=["30 percent", "12 percent"])
def test_volatilities_alone_of_an_impossible_size_are_refused_until_named(unit, change):
    frame = change(option_frame(underlyings=("AAA",)))
    written = frame.assign(iv=WRITTEN[unit](frame))
    with pytest.raises(DataError, match=rf"'iv'.*set data.format.volatility: {unit}\."):
        check_options(written, "test", policy=OWN)
    panel = check_options(written, "test", policy=OWN, units=OptionUnits(volatility=unit))
    assert_allclose(panel.column("iv"), check_options(frame, "test").column("iv"), rtol=1e-12)


@pytest.mark.parametrize("unit", ["variance", "total_variance"])
def test_variances_alone_are_doubted(unit):
    frame = calm(option_frame(underlyings=("AAA",)))
    panel = check_options(frame.assign(iv=WRITTEN[unit](frame)), "test", policy=OWN)
    doubt = next(each for each in panel.doubts if each.rule == "volatility")
    assert "data.format.volatility" in doubt.fix
    assert "variances" in doubt.example
    assert doubt.rows


def test_a_user_who_says_that_they_are_fractions_is_believed():
    frame = without_quotes(option_frame(underlyings=("AAA",)))
    wild = frame.assign(iv=frame["iv"] * 15)  # 450 % a year
    with pytest.raises(DataError, match=r"5\d\d% a year"):
        check_options(wild, "test", policy=OWN)
    panel = check_options(wild, "test", policy=OWN, units=OptionUnits(volatility="fraction"))
    assert_allclose(np.median(panel.column("iv")), np.median(wild["iv"]))
    assert panel.doubts == ()


def test_rows_of_another_unit_than_the_others_are_doubted():
    frame = without_quotes(option_frame(underlyings=("AAA",)))
    late = frame.index[years(frame) > 0.1][:3]
    frame.loc[late, "iv"] *= 60
    assert breaches_of(frame)["volatility"].rows == tuple(late + 1)


def test_volatilities_as_they_should_be_raise_no_doubt():
    for frame in (option_frame(), without_quotes(option_frame()), calm(option_frame())):
        assert breaches_of(frame) == {}
    crypto = without_quotes(option_frame())
    assert breaches_of(crypto.assign(iv=crypto["iv"] * 3)) == {}


def test_the_case_of_a_calm_index_in_percent_through_a_config(tmp_path):
    path = tmp_path / "nifty.csv"
    rows = [
        {"contract_id": f"C{k}", "underlying": "NIFTY", "date": f"2024-01-0{day}", "expiry": "2024-01-25",
         "strike": 21000 + 100 * k, "right": "CE", "iv": 11.9 + 0.1 * k, "spot": 21665}
        for k in range(10) for day in (2, 3)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(path, index=False)
    given = {
        "source": "csv",
        "path": str(path),
        "panel": "options",
        "symbols": None,
        "scaling": "over_strike",
    }
    given |= {"features": ("mid",), "targets": ("mid",)}
    with pytest.raises(DataError, match="percent"):
        load_panel(DataSpec(**given))
    panel = load_panel(DataSpec(**given, format={"volatility": "percent"}))
    assert_allclose(panel.column("iv"), (panel.column("strike") - 21000) / 1e5 + 0.119)


# --- Rates, prices, strikes, rights ---


@pytest.mark.parametrize("rate", [1.75, 2.0, 5.25])
def test_rates_in_percent_are_refused_until_named(rate):
    frame = option_frame(underlyings=("AAA",)).assign(rate=rate)
    with pytest.raises(DataError, match=r"'rate'.*set data.format.rates: percent"):
        check_options(frame, "test", policy=OWN)
    panel = check_options(frame, "test", policy=OWN, units=OptionUnits(rates="percent"))
    assert_allclose(panel.column("rate"), rate / 100)


@pytest.mark.parametrize("rate", [0.15, 0.25, 0.99])
def test_rates_that_are_high_as_fractions_are_doubted(rate):
    frame = option_frame(underlyings=("AAA",)).assign(rate=rate)
    assert breaches_of(frame)["rate"].severity == "warning"
    assert "rate" not in breaches_of(frame, units=OptionUnits(rates="fraction"))


def test_a_config_cannot_name_a_rate_in_percent():
    with pytest.raises(ValueError, match="less than 1"):
        DataSpec(rate=5.0)


@pytest.mark.parametrize("shares", [None, 100, 10])
def test_prices_per_contract_are_refused_until_named(shares):
    frame = option_frame(underlyings=("AAA",))
    more = {} if shares is None else {"multiplier": shares}
    written = frame.assign(**{name: frame[name] * (shares or 100) for name in QUOTES}, **more)
    units = OptionUnits(prices="per_contract")
    panel = check_options(written, "test", policy=OWN, units=units)
    assert_allclose(panel.column("mid"), frame.loc[: len(frame), "mid"])
    if shares != 10:
        with pytest.raises(DataError, match="set data.format.prices: per_contract"):
            check_options(written, "test", policy=OWN)


@pytest.mark.parametrize(("factor", "unit"), [(1000, "thousandths"), (100, "hundredths")])
def test_strikes_in_another_unit_are_refused_until_named(factor, unit):
    frame = option_frame(underlyings=("AAA",))
    written = frame.assign(strike=frame["strike"] * factor)
    with pytest.raises(DataError, match=rf"set data.format.strikes: {unit}"):
        check_options(written, "test", policy=OWN)
    panel = check_options(written, "test", policy=OWN, units=OptionUnits(strikes=unit))
    assert_allclose(panel.column("strike"), check_options(frame, "test").column("strike"))


def test_calls_and_puts_the_wrong_way_round_are_refused():
    frame = option_frame(strikes=4)
    with pytest.raises(DataError, match="Swap the words or codes in the column 'right'"):
        check_options(
            frame.assign(right=np.where(frame["right"] == "call", "put", "call")), "test", policy=OWN
        )


@pytest.mark.parametrize(
    "words", [("C", "P"), ("CE", "PE"), ("call", "put"), ("Calls", "Puts"), (1, -1), ("+1", "-1"), ("c", "p")]
)
def test_every_way_to_write_a_right_that_has_one_meaning_is_read(words):
    frame = option_frame(underlyings=("AAA",))
    right = np.where(frame["right"] == "call", *(np.array(word, dtype=object) for word in words))
    assert_array_equal(
        check_options(frame.assign(right=right), "t").column("right"),
        check_options(frame, "t").column("right"),
    )


def test_zero_and_one_have_two_meanings_and_are_refused():
    frame = option_frame(underlyings=("AAA",))
    with pytest.raises(DataError, match=r"'right' must be call or put \(.*never 0"):
        check_options(frame.assign(right=(frame["right"] == "call").astype(int)), "test", policy=OWN)


# --- Days of expiry ---


SATURDAY = pd.DataFrame(
    {
        "contract_id": np.repeat([f"X{k}" for k in range(5)], 3),
        "underlying": "XYZ",
        "date": ["2012-03-14", "2012-03-15", "2012-03-16"] * 5,
        "expiry": "2012-03-17",
        "strike": np.repeat([96.0, 98.0, 100.0, 102.0, 104.0], 3),
        "right": "put",
        "style": "european",
        "iv": 0.2,
        "spot": 100.0,
    }
)


def test_expiries_on_saturdays_are_doubted_and_days_counted_to_the_friday_when_asked():
    doubt = {each.rule: each for each in check_options(SATURDAY, "test", policy=OWN).doubts}["expiry_day"]
    assert (doubt.count, doubt.rows) == (15, tuple(range(1, 11)))
    assert "Saturday 2012-03-17" in doubt.example
    assert "data.format.expiries: last_trading_day" in doubt.fix
    for expiries, days in (("as_written", [3, 2, 1]), ("last_trading_day", [2, 1, 0])):
        panel = check_options(SATURDAY, "test", policy=OWN, units=OptionUnits(expiries=expiries))
        assert panel.doubts == ()
        assert_allclose(complete_market(panel, 0.0).column("years")[:3] * 365, days)


@pytest.mark.parametrize("expiry", ["2019-04-19", "2019-12-25", "2019-07-06", "2022-06-20"])
def test_expiries_on_other_days_without_trading_are_doubted(expiry):
    date = str(np.datetime64(expiry) - 3)
    frame = SATURDAY.iloc[::3].assign(expiry=expiry, date=date)
    assert [each.rule for each in check_options(frame, "test", policy=OWN).doubts] == ["expiry_day"]


@pytest.mark.parametrize(
    ("days", "cause"),
    [
        (np.busday_count, "trading days"),
        (lambda dates, expiry: (expiry - dates).astype(int) / 365, "years"),
        (lambda dates, expiry: (expiry - dates).astype(int) - 1, "a day more or less"),
        (lambda dates, expiry: (expiry - dates).astype(int) + 30, "not what the file's own days say"),
    ],
    ids=["trading", "years", "off by one", "another expiry"],
)
def test_days_to_expiry_that_contradict_the_dates_are_doubted(days, cause):
    frame = option_frame(underlyings=("AAA",))
    dates, expiry = (frame[name].to_numpy().astype("datetime64[D]") for name in ("date", "expiry"))
    assert cause in breaches_of(frame.assign(DTE=days(dates, expiry)))["days_to_expiry"].example
    assert breaches_of(frame.assign(DTE=(expiry - dates).astype(int))) == {}


# --- Contracts and products ---


def test_names_of_contracts_are_read_by_the_rule_of_the_occ():
    names = [
        "SPY   230616C00410000",
        "AAPL7150117P00110500",
        "O:TSLA210903C00700000",
        ".SPXW230616P4100",
        "C12",
    ]
    found = read_symbols(names)
    assert found.root == ("SPY", "AAPL", "TSLA", "", "")
    assert_allclose(found.strike, [410, 110.5, 700, np.nan, np.nan])
    assert_array_equal(found.known, [True, True, True, False, False])
    assert_array_equal(is_adjusted(found), [False] * 5)
    adjusted = read_symbols(["AAPL1140621C00645000", "GOOG2140321C00600000", "BRKB7140321C00100000"])
    assert_array_equal(is_adjusted(adjusted), [True] * 3)


def occ(frame, root="AAA"):
    expiry = pd.to_datetime(frame["expiry"]).dt.strftime("%y%m%d")
    strike = (frame["strike"] * 1000).round().astype(int).map("{:08d}".format)
    return frame.assign(contract_id=root + expiry + frame["right"].str[0].str.upper() + strike)


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ({"strike": 91.7}, "strike"),
        ({"expiry": "2020-02-21"}, "expiry"),
        ({"right": "put"}, "right"),
    ],
)
def test_a_row_that_contradicts_its_own_symbol_is_set_aside(cells, match):
    frame = occ(option_frame(underlyings=("AAA",)))
    for name, value in cells.items():
        frame.loc[3, name] = value
    panel = check_options(frame, "test", policy=OWN)
    assert [(each.rule, each.rows) for each in panel.quarantine.reasons] == [("symbol", (4,))]
    assert match in panel.quarantine.reasons[0].must


def test_a_saturday_in_the_symbol_and_the_friday_in_the_row_are_one_expiry():
    saturday = occ(SATURDAY, "XYZ")
    assert check_options(saturday.assign(expiry="2012-03-16"), "test", policy=OWN).quarantine.count == 0


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (lambda frame: occ(frame, "AAA1"), "all"),
        (lambda frame: occ(frame).assign(multiplier=150), "all"),
        (lambda frame: occ(frame).assign(contract_size="REGULAR"), "none"),
        (lambda frame: occ(frame).assign(contract_size="MINI"), "none"),
        (lambda frame: occ(frame).assign(multiplier=""), "none"),
    ],
    ids=["adjusted root", "150 shares", "regular", "mini", "not said"],
)
def test_adjusted_contracts_are_set_aside_whatever_their_number(change, rows):
    both = pd.concat(
        [change(option_frame(underlyings=("AAA",))), option_frame(underlyings=("BBB",))], ignore_index=True
    )
    panel = check_options(both, "test", policy=OWN)
    count = len(option_frame(underlyings=("AAA",))) if rows == "all" else 0
    assert (panel.quarantine.count, panel.quarantine.counted) == (count, 0)


@pytest.mark.parametrize(
    ("name", "style"),
    [("^SPX", "european"), ("SPXW", "european"), ("^GSPC", "european"), ("NDX", "european"),
     ("^VIX", "european"), ("OEX", "american"), ("XEO", "european"),
     ("RUT.XO", "european"), ("AAPL", None), ("SPY", None)],
)  # fmt: skip
def test_what_the_exchanges_rules_say_of_a_product(name, style):
    product = product_of(name)
    assert (product and product.style) == style


@pytest.mark.parametrize(("name", "style"), [("SPX", "american"), ("^NDX", "american"), ("OEX", "european")])
def test_a_style_against_the_exchanges_rules_is_doubted(name, style):
    frame = option_frame(underlyings=("AAA",)).assign(underlying=name, style=style)
    assert breaches_of(frame)["style"].count == len(frame)
    other = {"american": "european", "european": "american"}[style]
    assert "style" not in breaches_of(frame.assign(style=other))


@pytest.mark.parametrize(
    ("underlying", "root", "doubted"),
    [
        ("SPX", "SPX", True),
        ("^RUT", "RUT", True),
        ("SPX", "SPXW", False),
        ("XSP", "XSP", False),
        ("SPY", "SPY", False),
    ],
)
def test_quotes_at_the_end_of_options_settled_at_the_open_are_doubted(underlying, root, doubted):
    frame = pd.DataFrame(
        {
            "underlying": underlying,
            "date": ["2023-06-14", "2023-06-15", "2023-06-16"],
            "expiry": "2023-06-16",
            "strike": 100.0,
            "right": "call",
            "iv": 0.2,
            "spot": 100.0,
            "kind": "traded",
        }
    )
    found = breaches_of(occ(frame, root))
    assert ("morning" in found) == doubted
    if doubted:
        assert found["morning"].rows == (2, 3)


def test_a_few_odd_strikes_are_doubted():
    grid = option_frame(underlyings=("AAA",), strikes=8)
    grid = grid.assign(strike=grid["strike"].round() / 2 * 2)
    odd = grid["contract_id"] == grid["contract_id"].iloc[0]
    grid.loc[odd, "strike"] = 67.63
    assert breaches_of(grid)["odd_strike"].count == odd.sum()


# --- Prices that contradict each other ---


@pytest.mark.parametrize("change", [1.01, 1.2, 0.9])
def test_an_underlying_with_two_prices_a_day_is_doubted(change):
    frame = option_frame(underlyings=("AAA",))
    frame.loc[3, "spot"] *= change
    assert breaches_of(frame)["spot"].rows == (4,)


@pytest.mark.parametrize("factor", [10, 4, 0.1, 0.25], ids=["SPX", "split", "SPY", "reverse split"])
def test_a_spot_of_another_product_or_adjusted_for_a_split_is_doubted(factor):
    frame = without_quotes(option_frame(underlyings=("AAA",)))
    breach = breaches_of(frame.assign(spot=frame["spot"] * factor))["spot"]
    assert breach.count == len(frame)
    assert "unadjusted spot" in breach.fix


@pytest.mark.parametrize("style", ["european", "american"])
def test_asks_below_intrinsic_value_are_doubted(style):
    frame = option_frame(underlyings=("AAA",)).assign(style=style)
    rows = frame.index[(frame["right"] == "call") & (frame["strike"] < 0.93 * frame["spot"])][:2]
    frame.loc[rows, ["bid", "mid", "ask", "last"]] = [1.0, 1.05, 1.1, 1.05]
    assert breaches_of(frame)["intrinsic"].rows == tuple(rows + 1)


def test_doubts_of_a_file_go_with_its_panel():
    frame = option_frame(underlyings=("AAA",))
    frame.loc[3, "spot"] *= 0.9
    panel = check_options(frame, "test", policy=OWN)
    assert [doubt.rule for doubt in panel.doubts] == ["spot"]
    assert panel.keep(panel.dates > panel.dates.min()).doubts == panel.doubts


@pytest.mark.parametrize(("name", "doubted"), [("XYZ", True), ("NIFTY", False), ("INFY.NS", False)])
def test_a_holiday_of_the_us_is_a_day_like_any_other_elsewhere(name, doubted):
    frame = SATURDAY.iloc[::3].assign(underlying=name, expiry="2023-11-23", date="2023-11-20")
    found = [each.rule for each in check_options(frame, "test", policy=OWN).doubts]
    assert ("expiry_day" in found) == doubted

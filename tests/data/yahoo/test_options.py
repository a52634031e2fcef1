"""Option chains and single contracts."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from qhq.data.yahoo.history import check_symbol
from qhq.data.yahoo.options import (
    _CHAIN_COLUMNS,
    _CONTRACT_COLUMNS,
    OptionSymbol,
    fetch_chain,
    fetch_contract,
    fetch_expiries,
    parse_occ,
)
from qhq.errors import DataError

EXPIRY = date(2024, 7, 19)
OPTIONS = "/v7/finance/options/AAPL"


@pytest.fixture
def yahoo(yahoo_loopback):
    return yahoo_loopback.open()


def test_expiries_ascend(yahoo):
    assert fetch_expiries("AAPL", yahoo=yahoo) == tuple(
        date(2024, month, day) for month, day in ((6, 28), (7, 5), (7, 12), (7, 19))
    )


def test_a_chain_has_every_contract_once(yahoo_loopback, yahoo):
    chain = fetch_chain("AAPL", EXPIRY, yahoo=yahoo)
    assert tuple(chain.columns) == _CHAIN_COLUMNS
    assert len(chain) == 10
    assert chain["contract_id"].is_unique
    for row in chain.itertuples():
        option = parse_occ(row.contract_id)
        assert (option.root, option.expiry) == ("AAPL", EXPIRY)
        assert (option.right, option.strike) == (row.right, row.strike)
    assert chain["right"].tolist() == ["call"] * 5 + ["put"] * 5
    assert (chain["bid"] < chain["ask"]).all()
    assert set(chain["iv"]) == {0.3}
    assert set(chain["style"]) == {"american"}
    assert_allclose(chain["spot"], yahoo_loopback.market.listings["AAPL"].close[389])
    assert chain["volume"].isna().any()


def test_the_date_is_the_session_and_the_stamp_is_ours(yahoo_loopback, yahoo):
    yahoo_loopback.market.now = datetime(2024, 6, 30, 12, 0, tzinfo=UTC)
    chain = fetch_chain("AAPL", EXPIRY, yahoo=yahoo)
    assert {str(stamp.date()) for stamp in chain["date"]} == {"2024-06-28"}
    assert {str(stamp) for stamp in chain["quote_time"]} == {"2024-06-30 12:00:00+00:00"}
    assert {str(stamp) for stamp in chain["last_trade"]} == {"2024-06-28 19:59:00+00:00"}
    stamped = fetch_chain("AAPL", EXPIRY, datetime(2024, 6, 30, 13, 0, tzinfo=UTC), yahoo=yahoo)
    assert {str(stamp) for stamp in stamped["quote_time"]} == {"2024-06-30 13:00:00+00:00"}


def test_zero_quotes_are_none(yahoo_loopback, yahoo):
    yahoo_loopback.market.quoted = False
    chain = fetch_chain("AAPL", EXPIRY, yahoo=yahoo)
    assert chain[["bid", "ask", "iv"]].isna().all(axis=None)
    assert chain["last"].notna().all()


def test_an_index_option_is_european(yahoo):
    assert set(fetch_chain("^GSPC", EXPIRY, yahoo=yahoo)["style"]) == {"european"}


def test_one_session_for_all_expiries_asks_once_for_each(yahoo_loopback, yahoo):
    for expiry in fetch_expiries("AAPL", yahoo=yahoo):
        fetch_chain("AAPL", expiry, yahoo=yahoo)
    assert yahoo_loopback.market.asked(OPTIONS) == 5


def test_an_unlisted_expiry_names_the_nearest(yahoo):
    with pytest.raises(DataError, match="listed for AAPL. Got 2024-07-18. Did you mean '2024-07-1"):
        fetch_chain("AAPL", date(2024, 7, 18), yahoo=yahoo)


def test_a_symbol_without_options_is_an_error(yahoo):
    with pytest.raises(DataError, match="Yahoo must have option expiries of NOPE. Got no listed option"):
        fetch_expiries("NOPE", yahoo=yahoo)


def test_an_empty_chain_is_an_error(yahoo_loopback, yahoo):
    listed = fetch_expiries("AAPL", yahoo=yahoo)
    yahoo_loopback.market.now = datetime(2024, 7, 22, 18, 0, tzinfo=UTC)  # all of them have expired
    with pytest.raises(
        DataError, match="Yahoo must have option chain of 2024-07-05 of AAPL. Got an empty chain"
    ):
        fetch_chain("AAPL", listed[1], yahoo=yahoo)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"do": "half"}, "reply with option chain of 2024-07-19 of AAPL must be whole"),
        ({"do": "cut"}, "connection must hold while option chain of 2024-07-19 of AAPL arrive"),
        ({"status": 500, "message": "{}"}, "Got HTTP status 500"),
        ({"status": 401, "message": "{}"}, "Got HTTP status 401"),
        (
            {"status": 429, "message": "Too Many Requests"},
            "429 Too Many Requests for option chain .* of AAPL",
        ),
    ],
)
def test_a_broken_chain_is_asked_for_again(yahoo_loopback, yahoo, changes, match):
    yahoo_loopback.market.fault(OPTIONS, times=3, **changes)
    assert len(fetch_chain("AAPL", EXPIRY, yahoo=yahoo)) == 10
    yahoo_loopback.market.fault(OPTIONS, times=None, **changes)
    with pytest.raises(DataError, match=f"{match}.*, 5 times"):
        fetch_chain("AAPL", EXPIRY, yahoo=yahoo)


@pytest.mark.parametrize(
    "name", ["AAPL240719C00200000", "AAPL  240719C00200000"], ids=["plain", "padded as the OCC does"]
)
def test_a_contract_has_its_trades(yahoo_loopback, yahoo, name):
    frame = fetch_contract(name, date(2024, 4, 1), date(2024, 6, 14), yahoo=yahoo)
    listing = yahoo_loopback.market.listings["AAPL240719C00200000"]
    rows = [row for row, day in enumerate(listing.days) if date(2024, 4, 1) <= day <= date(2024, 6, 14)]
    assert tuple(frame.columns) == _CONTRACT_COLUMNS
    assert_allclose(frame["last"], listing.close[rows], rtol=1e-6)
    assert [stamp.date() for stamp in frame["date"]] == [listing.days[row] for row in rows]
    only = frame.drop_duplicates(["contract_id", "underlying", "expiry", "strike", "right", "style", "kind"])
    assert len(only) == 1
    assert (only["right"].item(), only["strike"].item()) == ("call", 200.0)


def test_a_contract_that_yahoo_no_longer_has_is_an_error(yahoo):
    with pytest.raises(DataError, match="Yahoo must have daily prices of AAPL230120P00100000"):
        fetch_contract("AAPL230120P00100000", yahoo=yahoo)


# --- Names ---


@given(
    st.from_regex(r"[A-Z]{1,6}", fullmatch=True),
    st.dates(date(2000, 1, 1), date(2068, 12, 31)),
    st.sampled_from(["call", "put"]),
    st.integers(1, 99_999_999),
)
def test_a_contract_is_read_back(root, expiry, right, thousandths):
    name = f"{root}{expiry:%y%m%d}{right[0].upper()}{thousandths:08d}"
    assert parse_occ(name) == OptionSymbol(root, expiry, right, thousandths / 1000)
    assert parse_occ(f"{root:<6}{name[len(root) :]}") == parse_occ(name)


@pytest.mark.parametrize(
    "name",
    ["", "AAPL", "AAPL240119X00190000", "AAPL241319C00190000", "AAPL240119C190", "TOOLONG240119C00190000"],
)
def test_a_malformed_contract_is_refused(name):
    with pytest.raises(DataError, match=f"as the OCC does.* Got '{name}'. Write it like AAPL240119C00192500"):
        parse_occ(name)


@pytest.mark.parametrize(
    "symbol",
    [
        "AAPL",
        "^GSPC",
        "BRK-B",
        "EURUSD=X",
        "0700.HK",
        "ES=F",
        "AAPL240119C00190000",
        "M&M.NS",
        "J&KBANK.NS",
        "BRK.B",
        "BTC-USD",
        "DX-Y.NYB",
        "VOLV-B.ST",
        "^NSEI",
    ],
)
def test_yahoos_symbols_pass(symbol):
    check_symbol(symbol)


@pytest.mark.parametrize("symbol", ["", "aapl", "../x", "A B", "A/B", ".X", "US0378331005"])
def test_others_do_not(symbol):
    with pytest.raises(DataError, match="must be Yahoo's, in capitals"):
        check_symbol(symbol)

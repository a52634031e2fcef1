"""Names."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhq.data.yahoo.symbols import OptionSymbol, check_symbol, parse_occ
from qhq.errors import DataError


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

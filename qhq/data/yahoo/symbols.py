"""Names: Yahoo's symbols, and those of option contracts after the Options Clearing Corporation (OCC)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

from qhq.errors import DataError

_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=_&-]{0,31}")
_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_OCC = re.compile(r"([A-Z0-9]{1,6}) *(\d{6})([CP])(\d{8})")


@dataclass(frozen=True)
class OptionSymbol:
    """What an OCC symbol says.

    Attributes:
        root: Of the symbol; the underlying's ticker, but for weeklies of indices and adjusted contracts.
        expiry: Last day.
        right: ``call`` or ``put``.
        strike: Price per share.
    """

    root: str
    expiry: date
    right: str
    strike: float


def check_symbol(symbol: str) -> None:
    """Check that a symbol is one of Yahoo's.

    Raises:
        DataError: If it has other characters, or is an ISIN, which yfinance would look up elsewhere.
    """
    if not _SYMBOL.fullmatch(symbol) or _ISIN.fullmatch(symbol):
        raise DataError(
            "A symbol must be Yahoo's, in capitals",
            got=f"the ISIN {symbol}" if _ISIN.fullmatch(symbol) else f"'{symbol}'",
            fix="Look it up at https://finance.yahoo.com; examples are AAPL, BRK-B, ^GSPC and EURUSD=X",
        )


def parse_occ(symbol: str) -> OptionSymbol:
    """Read an OCC symbol: root, expiry as YYMMDD, C or P, the strike in thousandths as eight digits.

    Raises:
        DataError: If it is none.

    >>> parse_occ("AAPL240119C00192500")
    OptionSymbol(root='AAPL', expiry=datetime.date(2024, 1, 19), right='call', strike=192.5)
    """
    match = _OCC.fullmatch(symbol)
    try:
        if match is None:
            raise ValueError("another form")
        root, day, right, strike = match.groups()
        expiry = datetime.strptime(day, "%y%m%d").date()
        return OptionSymbol(root, expiry, "call" if right == "C" else "put", int(strike) / 1000)
    except ValueError as error:
        raise DataError(
            "A contract must be named as the OCC does: root, YYMMDD, C or P, strike x 1000 in eight digits",
            got=f"'{symbol}'",
            fix="Write it like AAPL240119C00192500, Apple's call of 2024-01-19 at 192.50",
        ) from error

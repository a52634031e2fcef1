"""What a contract's own name says of it, and what the exchanges' rules say of its product."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray, Mask

_OCC = re.compile(r"(?:O:)?\.?([A-Z^][A-Z.^]{0,5})(\d?)[ _]*(\d{6})([CP])(\d{8})")
"""Root of at most six signs, expiry YYMMDD, C or P, strike in thousandths: ``SPY   230616C00410000``."""

MINI_DIGIT = "7"
MINIS = frozenset(("AAPL", "AMZN", "GOOG", "GOOGL", "GLD", "SPY"))
"""Stocks of which contracts of 10 shares were listed in 2013 and 2014, their roots ending in 7."""


@dataclass(frozen=True, eq=False)
class Named:
    """What the names of S contracts say, NaN where a name is not one of the OCC's.

    Attributes:
        known: Whether the name could be read, shape (S,).
        root: Letters of the root, without the digit of an adjustment, S of them.
        digit: That digit, or nothing, S of them.
        expiry: Days since 1970-01-01, shape (S,).
        right: Call +1, put -1, shape (S,).
        strike: Shape (S,).
    """

    known: Mask
    root: tuple[str, ...]
    digit: tuple[str, ...]
    expiry: FloatArray
    right: FloatArray
    strike: FloatArray


def read_symbols(names: Sequence[str]) -> Named:
    """Read names of contracts by the rule of the Options Clearing Corporation.

    >>> told = read_symbols(["AAPL  150117C00110000", "AAPL7150117P00110500", "weekly 5"])
    >>> told.root, told.digit, told.strike.tolist()
    (('AAPL', 'AAPL', ''), ('', '7', ''), [110.0, 110.5, nan])
    """
    found = [_OCC.fullmatch(name.strip().upper()) for name in names]
    parts = [match.groups() if match else ("", "", "", "", "") for match in found]
    days: npt.NDArray[np.datetime64] = np.array([_day(part[2]) for part in parts], dtype="datetime64[D]")
    expiry = np.where(np.isnat(days), np.nan, days.astype(np.float64))
    return Named(
        known=np.array([match is not None for match in found], dtype=np.bool_) & ~np.isnan(expiry),
        root=tuple(part[0] for part in parts),
        digit=tuple(part[1] for part in parts),
        expiry=expiry,
        right=np.array([{"C": 1.0, "P": -1.0}.get(part[3], np.nan) for part in parts]),
        strike=np.array([int(part[4]) / 1000 if part[4] else np.nan for part in parts]),
    )


def _day(text: str) -> np.datetime64:
    try:
        return np.datetime64(f"20{text[:2]}-{text[2:4]}-{text[4:]}", "D")
    except ValueError:
        return np.datetime64("NaT", "D")


def is_adjusted(told: Named) -> Mask:
    """Whether each contract was adjusted: its root ends in a digit, and it is no mini, shape (S,)."""
    pairs = zip(told.root, told.digit, strict=True)
    return np.array(
        [bool(digit) and not (digit == MINI_DIGIT and root in MINIS) for root, digit in pairs], dtype=np.bool_
    )


@dataclass(frozen=True)
class Product:
    """What the exchange's rules say of the options on an index.

    Attributes:
        style: How they are exercised.
        morning: Roots that are settled at the open of the day of expiry; they last trade on the session
            before.
        home: Country of the exchange.
    """

    style: Literal["european", "american"]
    morning: frozenset[str] = frozenset()
    home: str = "US"


PRODUCTS: dict[str, Product] = {
    "SPX": Product("european", frozenset({"SPX"})),
    "NDX": Product("european", frozenset({"NDX"})),
    "RUT": Product("european", frozenset({"RUT"})),
    "DJX": Product("european", frozenset({"DJX"})),
    "VIX": Product("european", frozenset({"VIX", "VIXW"})),
    "RUI": Product("european", frozenset({"RUI"})),
    "XSP": Product("european"),
    "MRUT": Product("european"),
    "XND": Product("european"),
    "NANOS": Product("european"),
    "OEX": Product("american"),
    "XEO": Product("european"),
    "NIFTY": Product("european", home="IN"),
    "BANKNIFTY": Product("european", home="IN"),
    "SX5E": Product("european", home="EU"),
    "STOXX50E": Product("european", home="EU"),
    "DAX": Product("european", home="DE"),
    "GDAXI": Product("european", home="DE"),
    "FTSE": Product("european", home="GB"),
    "N225": Product("european", home="JP"),
    "HSI": Product("european", home="HK"),
    "KOSPI200": Product("european", home="KR"),
}
"""By underlying, or by a root of its own (SPXW and NDXP are settled at the close)."""

_ROOTS = {"SPXW": "SPX", "SPXPM": "SPX", "NDXP": "NDX", "RUTW": "RUT", "VIXW": "VIX"}


def product_of(name: str) -> Product | None:
    """Look up an underlying or a root as a vendor writes it: ``^SPX``, ``SPX.XO``, ``$VIX``.

    >>> product_of("^SPX").style, product_of("SPXW").style, product_of("AAPL")
    ('european', 'european', None)
    """
    plain = re.sub(r"[^A-Z0-9].*$", "", name.strip().upper().lstrip("^$."))
    if plain in ("GSPC", "INX"):
        plain = "SPX"
    return PRODUCTS.get(_ROOTS.get(plain, plain))


def trades_in_us(name: str) -> bool:
    """Whether options on an underlying trade on US exchanges, as far as its name tells.

    >>> trades_in_us("AAPL"), trades_in_us("BRK.B"), trades_in_us("RELIANCE.NS"), trades_in_us("NIFTY")
    (True, True, False, False)
    """
    product = product_of(name)
    return product.home == "US" if product else re.fullmatch(r".*\.[A-Z]{2,3}", name.strip().upper()) is None

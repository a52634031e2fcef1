"""The rules that rows of an option panel must keep; what a contract's name and its exchange say of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from qhq.data.checks.draft import (
    DROP_ROW,
    ROUNDED,
    Draft,
    RowFinding,
    Rules,
    check_bounds,
    check_dates,
    check_duplicates,
    check_future,
    check_letters,
    check_order,
    find_rows,
)
from qhq.data.file_format import OptionUnits
from qhq.data.panel import FloatArray, Mask
from qhq.errors import apart

# Root of at most six signs, expiry YYMMDD, C or P, strike in thousandths: ``SPY   230616C00410000``.
_OCC = re.compile(r"(?:O:)?\.?([A-Z^][A-Z.^]{0,5})(\d?)[ _]*(\d{6})([CP])(\d{8})")

_MINI_DIGIT = "7"
# Stocks of which contracts of 10 shares were listed in 2013 and 2014, their roots ending in 7.
_MINIS = frozenset(("AAPL", "AMZN", "GOOG", "GOOGL", "GLD", "SPY"))


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

    >>> named = read_symbols(["AAPL  150117C00110000", "AAPL7150117P00110500", "weekly 5"])
    >>> named.root, named.digit, named.strike.tolist()
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
        # The OCC took this form up in 2010, when no listed contract expired in 19xx.
        return np.datetime64(f"20{text[:2]}-{text[2:4]}-{text[4:]}", "D")
    except ValueError:
        return np.datetime64("NaT", "D")


def is_adjusted(named: Named) -> Mask:
    """Whether each contract was adjusted: its root ends in a digit, and it is no mini, shape (S,)."""
    pairs = zip(named.root, named.digit, strict=True)
    return np.array(
        [bool(digit) and not (digit == _MINI_DIGIT and root in _MINIS) for root, digit in pairs],
        dtype=np.bool_,
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
    # Yahoo's and others' endings of exchanges have two letters or more; one alone, as in BRK.B, is a class of
    # shares.
    return product.home == "US" if product else re.fullmatch(r".*\.[A-Z]{2,3}", name.strip().upper()) is None


QUOTE_KINDS = ("traded", "surface", "model")
_MOST_IV = 20.0
# Of nanos, minis, standard and large contracts; all of them are quoted per share.
_STANDARD_SHARES = (1.0, 10.0, 100.0, 1000.0)
# A chain recorded on a Monday holiday still has Friday's quotes.
_LATEST_QUOTE_DAYS = 4


@dataclass(frozen=True, eq=False)
class OptionDraft(Draft):
    """Rows on their way into an option panel, R rows by contract and date, not yet to be trusted.

    Attributes:
        groups: Underlyings that ``group`` points into.
        group: Index into ``groups`` of each row, shape (R,).
        kind: Index into ``QUOTE_KINDS``, NaN where it is none of them, shape (R,).
        quoted: Day of quote_time, NaT without one, shape (R,).
        untimed: Whether a quote_time is there and cannot be read, shape (R,).
        negative: Whether a quote below zero was dropped, shape (R,).
        stale: Whether a last price of an earlier day was dropped, shape (R,).
        shares: Shares that the contract delivers, NaN where the file does not say, shape (R,).
        days: Days to expiry as the file says them, NaN where it does not, shape (R,).
        units: What the config says of the file's units; the values are in the panel's already.
    """

    groups: tuple[str, ...]
    group: npt.NDArray[np.intp]
    kind: FloatArray
    quoted: npt.NDArray[np.datetime64]
    untimed: Mask
    negative: Mask
    stale: Mask
    shares: FloatArray
    days: FloatArray
    units: OptionUnits


def _check_names(draft: OptionDraft) -> Iterator[RowFinding]:
    """Every row names its contract and its underlying."""
    for name, names, code in (
        ("contract_id", draft.symbols, draft.code),
        ("underlying", draft.groups, draft.group),
    ):
        empty = np.array([not each.strip() for each in names], dtype=np.bool_)
        yield from find_rows(
            empty[code],
            f"Every row must have its {name}",
            lambda row: f"none in {draft.place(row)}",
        )
        yield from check_letters(draft, names, code, name)


def _check_text(draft: OptionDraft) -> Iterator[RowFinding]:
    """What stands in a cell can be read; kind is one of three words."""
    for column, name in enumerate(draft.columns):
        must = f"'{name}' must be {_READABLE.get(name, 'a finite number in every row, or empty')}"
        rows = np.flatnonzero(draft.unreadable[:, column])
        if len(rows):
            first = int(rows[0])
            fix = f"{draft.cure(first, name)} ({len(rows):,} in all)"
            yield RowFinding(must, rows, draft.show(first, name), fix, misread=True)
    yield from find_rows(
        np.isnan(draft.kind),
        f"'kind' must be {', '.join(QUOTE_KINDS[:-1])} or {QUOTE_KINDS[-1]}",
        lambda row: f"'{draft.cell(row, 'kind')}' for {draft.at(row)}",
        misread=True,
    )


_READABLE = {
    "expiry": "a date written YYYY-MM-DD",
    "right": "call or put (C, P, CE, PE, +1, -1; never 0, which means the one or the other)",
    "style": "european or american",
}


def _check_present(draft: OptionDraft) -> Iterator[RowFinding]:
    """Strike and spot are in every row."""
    for name in ("strike", "spot"):
        yield from find_rows(
            np.isnan(draft.column(name)),
            f"'{name}' must be a finite number in every row",
            lambda row: f"none for {draft.at(row)}",
        )


def _check_fractions(draft: OptionDraft) -> Iterator[RowFinding]:
    """Volatilities and rates are fractions, not percent."""
    for name, least, most in (("iv", 0.0, _MOST_IV), ("rate", -1.0, 1.0)):
        values = draft.column(name)
        yield from find_rows(
            (values <= least) | (values >= most),
            f"'{name}' must be a fraction between {least:g} and {most:g}",
            lambda row, values=values: f"{values[row]:g} for {draft.at(row)}",  # type: ignore[misc]
            f"If they are percent, set data.format.{_UNIT_KEYS[name]}: percent; else correct or drop that"
            f" row",
        )


_UNIT_KEYS = {"iv": "volatility", "rate": "rates"}


def _check_expiry(draft: OptionDraft) -> Iterator[RowFinding]:
    """No row lies after its expiry."""
    expiry = draft.column("expiry").astype("datetime64[D]")
    return find_rows(
        draft.dates > expiry,
        "'date' must not lie after 'expiry'",
        lambda row: f"expiry {expiry[row]} for {draft.at(row)}",
    )


def _check_bound(draft: OptionDraft) -> Iterator[RowFinding]:
    """Nobody bids more for a call than the share costs, or for a put than it can ever pay."""
    # The bid, since a wide ask breaks no bound: nobody need pay it.
    bid = np.where(np.isnan(draft.column("bid")), draft.column("mid"), draft.column("bid"))
    call = draft.column("right") == 1
    with np.errstate(all="ignore"):
        # With rates above dividends a European call may cost more than the spot; fmax takes the spot where no
        # forward is given, where maximum would be NaN.
        forward = np.fmax(draft.column("spot"), draft.column("forward"))
        most = np.where(call, forward, draft.column("strike"))
        broken = bid > most * (1 + ROUNDED)
    return find_rows(
        broken,
        "An option must not cost more than the share (a call) or the strike (a put)",
        lambda row: f"{' > '.join(apart(bid[row], most[row], digits=6))} for {draft.at(row)}",
    )


def _check_symbols(draft: OptionDraft) -> Iterator[RowFinding]:
    """A contract_id written by the OCC's rule says the same of its contract as the row does."""
    named = read_symbols(draft.symbols)
    if not named.known.any():
        return
    code = draft.code
    for name, values, others in (
        ("right", named.right[code], draft.column("right")),
        ("strike", named.strike[code], draft.column("strike")),
        ("expiry", named.expiry[code], draft.column("expiry")),
    ):
        # Until 2015 one vendor writes the Saturday of expiry where another writes the Friday.
        slack = _LATEST_QUOTE_DAYS if name == "expiry" else ROUNDED * np.abs(values)
        broken = np.abs(values - others) > slack
        fix = DROP_ROW
        # If all strikes are off by one factor, it is the unit of the column and no fault of the rows.
        ratio = np.nanmedian(others / values) if name == "strike" and broken.any() else 1.0
        if np.isclose(ratio, 1000):
            fix = "Set data.format.strikes: thousandths"
        elif np.isclose(ratio, 100):
            fix = "Set data.format.strikes: hundredths"
        yield from find_rows(
            broken,
            f"A row must have the {name} that its contract_id names",
            lambda row, values=values, others=others, name=name: (  # type: ignore[misc]
                f"{_say(name, others[row])} where the symbol says {_say(name, values[row])}, for"
                f" {draft.at(row)}"
            ),
            fix,
        )


def _say(name: str, value: float) -> str:
    if name == "expiry":
        return str(np.datetime64(int(value), "D"))
    return f"{value:g}" if name == "strike" else ("call" if value > 0 else "put")


def _check_deliverable(draft: OptionDraft) -> Iterator[RowFinding]:
    """A contract delivers shares that the spot is the price of; one adjusted for a split or merger does not.

    Its root ends in a digit (AAPL1), or it delivers another number of shares. Such rows are set aside
    whatever their number: they are right, but no formula of strike and spot prices them. Minis of 10 shares
    are quoted per share and stay.
    """
    adjusted = is_adjusted(read_symbols(draft.symbols))[draft.code]
    odd = ~np.isnan(draft.shares) & ~np.isin(draft.shares, _STANDARD_SHARES)
    for finding in find_rows(
        adjusted | odd,
        "A contract must deliver what the spot is the price of; one adjusted after a split, merger or special"
        " dividend delivers something else",
        lambda row: (
            f"{'an adjusted root' if adjusted[row] else f'{draft.shares[row]:g} shares'} for {draft.at(row)}"
        ),
        "Drop the adjusted contracts, or leave data.bad_rows at quarantine, which does",
    ):
        yield replace(finding, counted=False)


def _check_one_contract(draft: OptionDraft) -> Iterator[RowFinding]:
    """A contract stays what its first row says; only a point of a surface moves its expiry and strike."""
    surface = draft.kind == QUOTE_KINDS.index("surface")
    # Of each row the first row of its own series.
    first = np.searchsorted(draft.code, draft.code)
    for name, values in (
        ("underlying", draft.group),
        ("kind", draft.kind),
        *((name, draft.column(name)) for name in ("right", "style")),
        *((name, np.where(surface, 0.0, draft.column(name))) for name in ("expiry", "strike")),
    ):
        # NaN differs from itself; what a cell does not say contradicts nothing.
        changed = (values != values[first]) & ~np.isnan(values) & ~np.isnan(values[first])
        yield from find_rows(
            changed,
            f"A contract_id must have one {name}",
            lambda row: f"another for {draft.at(row)} than in row {draft.rows[first[row]]}",
            "Correct the row, or give each contract its own contract_id"
            + (" (kind surface lets expiry and strike move)" if name in ("expiry", "strike") else ""),
        )


def _check_quote_time(draft: OptionDraft) -> Iterator[RowFinding]:
    """Quotes are those of the row's session; over a long weekend they can still be taken after it."""
    yield from find_rows(
        draft.untimed,
        "'quote_time' must be written YYYY-MM-DD HH:MM:SS, or be empty",
        lambda row: f"'{draft.cell(row, 'quote_time')}' for {draft.at(row)}",
        misread=True,
    )
    yield from find_rows(
        draft.quoted > draft.dates + np.timedelta64(_LATEST_QUOTE_DAYS, "D"),
        f"'quote_time' must not lie more than {_LATEST_QUOTE_DAYS} days after 'date'",
        lambda row: f"{draft.quoted[row]} for {draft.at(row)}",
    )


OPTION_RULES: Rules[OptionDraft] = {
    "name": _check_names,
    "date": check_dates,
    "cell": _check_text,
    "number": _check_present,
    "price": lambda draft: check_bounds(draft, ("strike", "spot", "forward"), zero=False),
    "amount": lambda draft: check_bounds(draft, ("volume", "open_interest", "split"), zero=True),
    "fraction": _check_fractions,
    "expiry": _check_expiry,
    "future": check_future,
    "crossed": lambda draft: check_order(draft, "bid", "ask"),
    "bound": _check_bound,
    "symbol": _check_symbols,
    "deliverable": _check_deliverable,
    "contract": _check_one_contract,
    "duplicate": lambda draft: check_duplicates(draft, "contract"),
    "quote_time": _check_quote_time,
}
"""What every row of an option panel keeps, in the order in which it is checked."""

"""What other columns of an option file say: a contract of its parts, its parts of its symbol, the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from qhq.data.columns import plain_name
from qhq.data.panel import FloatArray
from qhq.data.sources.meaning import TableMeaning
from qhq.data.tables import is_empty, read_days, read_numbers
from qhq.errors import DataError

# How a contract's symbol says its parts, the form of the day, and the unit of the strike: OCC, Deribit,
# Binance.
_SYMBOLS = (
    (
        r"^(?:O:)?\.?(?P<root>[A-Z0-9^.]{1,6}?)[\s_]*(?P<day>\d{6})(?P<right>[CP])(?P<strike>\d{8})$",
        "%y%m%d",
        1000.0,
    ),
    (
        r"^(?P<root>[A-Z0-9_]+)-(?P<day>\d{1,2}[A-Z]{3}\d{2})-(?P<strike>[\dd]+)-(?P<right>[CP])$",
        "%d%b%y",
        1.0,
    ),
    (r"^(?P<root>[A-Z0-9]+)-(?P<day>\d{6})-(?P<strike>[\d.]+)-(?P<right>[CP])$", "%y%m%d", 1.0),
)
_PARTS = ("underlying", "expiry", "right", "strike")


def convert_units(frame: pd.DataFrame, meaning: TableMeaning) -> pd.DataFrame:
    """Bring the numbers of a form into the units of the schema."""
    form = meaning.form
    if form is None:
        return frame
    numeric = {str(name) for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])}
    changed: dict[str, pd.Series] = {name: frame[name] for name in numeric}
    for name in numeric.intersection(form.missing):
        changed[name] = changed[name].where(~changed[name].isin(form.missing[name]))
    for name in numeric.intersection(form.absolute):
        changed[name] = changed[name].abs()
    for name in numeric.intersection(form.scale):
        # 1005 * 0.001 is 1.0049999999999999, and a strike is a part of its contract's name.
        changed[name] = (changed[name] * form.scale[name]).round(6)
    for name in numeric.intersection(form.percent):
        changed[name] = changed[name] / 100
    for name in numeric.intersection(form.in_spot):
        changed[name] = changed[name] * changed["spot"]
    return frame.assign(**changed)


def complete_options(frame: pd.DataFrame, meaning: TableMeaning, prices: pd.DataFrame | None) -> pd.DataFrame:
    """Add the columns that an option file needs and other columns tell.

    Args:
        frame: Its rows.
        meaning: What is known of the file; notes are added.
        prices: Daily prices of the underlyings, symbol, date and close, where a config names a file of them.

    Raises:
        DataError: If the file is of a form that lacks what no other column tells.
    """
    if "contract_id" in frame.columns:
        frame = _split_symbols(frame)
    if "expiry" not in frame.columns and {"date", "days_to_expiry"} <= set(frame.columns):
        frame = _add_expiries(frame, meaning)
    if "right" in frame.columns and not pd.api.types.is_numeric_dtype(frame["right"]):
        # NSE India's words: call or put, European or American.
        words = frame["right"].astype("str").str.strip()
        frame = frame.assign(right=words.replace({"CE": "C", "PE": "P", "CA": "C", "PA": "P"}))
    if {"spot_bid", "spot_ask"} <= set(frame.columns):
        middle = ((frame["spot_bid"] + frame["spot_ask"]) / 2).to_numpy()
        middle = np.where(middle > 0, middle, np.nan)
        spot = frame["spot"].to_numpy() if "spot" in frame.columns else np.full(len(frame), np.nan)
        frame = frame.assign(spot=np.where(np.isnan(spot), middle, spot))
    frame = frame.drop(columns=["spot_bid", "spot_ask"], errors="ignore")
    if {"underlying", "date"} <= set(frame.columns):
        frame = _fill_spot(frame, meaning, prices)
    absent = [name for name in ("date", "underlying", "spot") if name not in frame.columns]
    if absent and meaning.form is not None and meaning.form.lacks:
        raise DataError(
            f"{meaning.origin} must have the columns date, underlying and spot",
            got=f"a file of {meaning.form.title}, which lacks {' and '.join(absent)}",
            fix=f"It does not hold {meaning.form.lacks}",
        )
    if "contract_id" not in frame.columns and set(_PARTS) <= set(frame.columns):
        frame = frame.assign(contract_id=_contracts(frame, meaning))
    return frame


def _add_expiries(frame: pd.DataFrame, meaning: TableMeaning) -> pd.DataFrame:
    """Count the days to expiry on from the dates, as calendar days."""
    days, bad = read_numbers(frame["days_to_expiry"])
    dates = read_days(frame["date"])
    if bad.any() or np.isnan(days).any() or np.isnat(dates).any():
        return frame
    meaning.notes.append(
        f"no expiry: '{meaning.column('date')}' and '{meaning.column('days_to_expiry')}', taken for calendar"
        " days, make it"
    )
    return frame.assign(expiry=dates + np.rint(days).astype("timedelta64[D]"))


def _split_symbols(frame: pd.DataFrame) -> pd.DataFrame:
    """Take underlying, expiry, right and strike from the contracts' symbols, where no column has them."""
    absent = [name for name in _PARTS if name not in frame.columns]
    if not absent:
        return frame
    codes, found = pd.factorize(frame["contract_id"])
    symbols = pd.Series(pd.Index(found).astype("str"))
    for pattern, form, unit in _SYMBOLS:
        parts = symbols.str.extract(pattern)
        if len(parts) and parts.notna().all().all():
            made: dict[str, pd.Series] = {
                "underlying": parts["root"],
                "expiry": pd.to_datetime(parts["day"].str.title(), format=form),
                "right": parts["right"],
                # Deribit writes the decimal point of a strike as d: 0d625.
                "strike": parts["strike"].str.replace("d", ".").astype("float64") / unit,
            }
            return frame.assign(**{name: made[name].to_numpy()[codes] for name in absent})
    return frame


def _contracts(frame: pd.DataFrame, meaning: TableMeaning) -> pd.Series:
    """Name each contract by its root (or underlying), expiry, right and strike, each name made once."""
    root = next((str(name) for name in frame.columns if plain_name(name) == "root"), "underlying")
    coded = [pd.factorize(frame[name]) for name in (root, "expiry", "right", "strike")]
    words = [
        [str(text) for text in coded[0][1]],
        [str(text)[:10] for text in coded[1][1]],
        [str(text).strip()[:1].upper() for text in coded[2][1]],
        [f"{text:g}" if isinstance(text, float | int) else str(text) for text in coded[3][1]],
    ]
    number = np.zeros(len(frame), dtype=np.int64)
    # One number a contract, in mixed radix; the code -1 of an empty cell is the digit 0.
    for codes, found in coded:
        number = number * (len(found) + 1) + codes + 1
    _, first, again = np.unique(number, return_index=True, return_inverse=True)
    names = []
    for row in first:
        said = [
            word[codes[row]] if codes[row] >= 0 else "" for word, (codes, _) in zip(words, coded, strict=True)
        ]
        names.append(f"{said[0]} {said[1]} {said[2]}{said[3]}")
    meaning.notes.append(f"contracts are named by {root}, expiry, right and strike, such as '{names[0]}'")
    return pd.Series(np.asarray(names, dtype=object)[again], index=frame.index, dtype="str")


def _fill_spot(frame: pd.DataFrame, meaning: TableMeaning, prices: pd.DataFrame | None) -> pd.DataFrame:
    """Put the close of ``prices`` where the file has no price of the underlying: nothing, or a zero.

    Raises:
        DataError: If ``prices`` lack a row that is needed, or there are none and no row has a price.
    """
    held = "spot" in frame.columns
    spot = read_numbers(frame["spot"])[0] if held else np.full(len(frame), np.nan)
    # Not spot <= 0, which NaN fails.
    absent = ~(spot > 0)
    if prices is not None and absent.any():
        found = spot.copy()
        found[absent] = _spots(frame[absent], meaning, prices)
        return frame.assign(spot=found)
    if held and (is_empty(frame["spot"]) | (spot == 0)).all():
        there = [meaning.column(name) for name in ("spot", "spot_bid", "spot_ask") if name in meaning.columns]
        at_close = meaning.form_name == "cboe_1545" and "underlying_bid_eod" in meaning.header
        raise DataError(
            f"{meaning.origin} must have a price of the underlying",
            got=f"0 or nothing in every row of {', '.join(there) or 'spot'}",
            fix="Set data.format.spot=FILE, a file of daily prices of the underlyings"
            + (", or data.format.form=cboe_eod, which reads the closing quotes" if at_close else ""),
        )
    return frame


def _spots(frame: pd.DataFrame, meaning: TableMeaning, prices: pd.DataFrame) -> FloatArray:
    """Price of the underlying of each row, from the closes of a file of daily prices."""
    origin = prices.attrs["origin"]
    symbols, days = prices["symbol"].astype("str"), read_days(prices["date"])
    closes = pd.Series(read_numbers(prices["close"])[0], index=pd.MultiIndex.from_arrays([symbols, days]))
    # pandas reindexes no index that holds a label twice.
    closes = closes[~closes.index.duplicated()]
    wanted = pd.MultiIndex.from_arrays([frame["underlying"].astype("str"), read_days(frame["date"])])
    found: FloatArray = np.asarray(closes.reindex(wanted).to_numpy(), dtype=np.float64)
    missing = np.flatnonzero(np.isnan(found))
    if len(missing):
        symbol, day = wanted[int(missing[0])]
        raise DataError(
            f"data.format.spot ({origin}) must have a close for every underlying and session of"
            f" {meaning.origin}",
            got=f"none for {symbol} on {str(day)[:10]}, and {len(missing):,} rows without one in all",
            fix=f"It has {', '.join(dict.fromkeys(symbols))[:60]} from {days.min()} to {days.max()}: add"
            " the rows,"
            " or name the symbol of a file of one in data.format.symbol of that file's own name",
        )
    rows = "" if len(frame) == len(meaning.raw.frame) else f" in {len(frame):,} rows"
    meaning.notes.append(f"the price of the underlying{rows} is the close of {Path(origin).name}")
    return found

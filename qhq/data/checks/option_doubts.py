"""What an option file may hold but ought to be looked at: no rule is broken, and training goes on.

Most doubts are about the reading: whether units, days of expiry, products and prices mean what they seem to.
Each tells its rows, their likely cause and what to set.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from qhq.data.checks.draft import RowFinding, Rules, find_rows
from qhq.data.checks.option_rules import (
    PRODUCTS,
    QUOTE_KINDS,
    OptionDraft,
    product_of,
    read_symbols,
    trades_in_us,
)
from qhq.data.checks.option_units import (
    HIGHEST_MEDIAN_IV,
    NEAR,
    hint_of_prices,
    mid_of,
    value_bounds,
    years_of,
)
from qhq.data.checks.stocks import (
    SLIP,
    doubt_closed,
    doubt_gaps,
    doubt_jumps,
    doubt_slips,
    doubt_today,
    doubt_volume,
    repeats,
    tell_filled,
)
from qhq.data.panel import FloatArray, Mask
from qhq.data.sessions import as_days, is_closed
from qhq.errors import apart

# Median implied volatilities that are possible, but seldom, lie outside.
_DOUBTFUL_IV = (0.03, 1.5)
# No US Treasury bill has yielded more since 1984; 0.15 % that is taken for a fraction does.
_DOUBTFUL_RATE = 0.1
# Relative difference of spots of one day that is more than rounding.
_SPOT_SPREAD = 0.005
# A chain's median strike over the spot; beyond it, or below its inverse, one of the two is another thing.
_FAR = 3.0
# From then on contracts expire on the Friday itself.
_SATURDAYS_END = np.datetime64("2015-02-01", "D").astype(np.int64)
# Relative error of a price that is no fault of the data.
_ROUNDING = 1e-6
# Share of the spot below which an option's quote may be any multiple of yesterday's.
_LEAST_QUOTE = 1e-3
_SLIP_OF_QUOTES = 5.0


def _doubt_volatility(draft: OptionDraft) -> Iterator[RowFinding]:
    """Volatilities of a size that is possible, but seldom; that prices contradict; or of two units."""
    iv, years = draft.column("iv"), years_of(draft)
    known = (iv > 0) & (years > NEAR)
    if draft.units.volatility is not None or np.count_nonzero(known) < 5:
        return
    median, hint = float(np.median(iv[known])), hint_of_prices(draft)
    cause = ""
    if hint is not None:
        if hint.as_fraction > np.log(2.0):
            cause = "the file's own prices imply others; quotes are used, and 'iv' is found from them"
    elif median > _DOUBTFUL_IV[1]:
        cause = "percent or basis points are read as fractions unless data.format.volatility says so"
    elif median < _DOUBTFUL_IV[0]:
        cause = "variances are read as volatilities unless data.format.volatility says so"
    elif _grows_with_time(iv[known], years[known]):
        cause = (
            "they grow with years to expiry as total variances do (data.format.volatility: total_variance)"
        )
    if cause:
        yield from find_rows(
            known,
            "'iv' should be a volatility of usual size, and that of the prices beside it",
            lambda row: f"a median of {median:.3g}, such as {iv[row]:g} for {draft.at(row)}: {cause}",
            "Set data.format.volatility to what they are (fraction if they are right)",
        )
    mixed = known & (iv > HIGHEST_MEDIAN_IV) & (iv > 30 * median) & (years > 4 * NEAR)
    yield from find_rows(
        mixed,
        "'iv' should have one unit in all rows",
        lambda row: f"{iv[row]:g} for {draft.at(row)}, where the median is {median:.3g}",
        "Look whether some rows are percent; data.format.volatility is for all rows",
    )


def _grows_with_time(iv: FloatArray, years: FloatArray) -> bool:
    """Whether volatilities are proportional to years to expiry, over a wide span of them."""
    logs = np.log(years)
    if np.ptp(logs) < np.log(4):
        return False
    slope = np.polyfit(logs, np.log(iv), 1)[0]
    return bool(slope > 0.7)


def _doubt_rates(draft: OptionDraft) -> Iterator[RowFinding]:
    rate = draft.column("rate")
    known = np.isfinite(rate)
    if draft.units.rates is None and known.any():
        yield from find_rows(
            known & (np.abs(rate) > _DOUBTFUL_RATE) & (np.abs(rate) < 1),
            f"'rate' should be a fraction per year below {_DOUBTFUL_RATE:g}",
            lambda row: f"{rate[row]:g}, that is {rate[row]:.0%}, for {draft.at(row)}",
            "Set data.format.rates: percent if they are percent (0.15 %), fraction if they are right",
        )


def _doubt_expiries(draft: OptionDraft) -> Iterator[RowFinding]:
    """Expiries on days without trading: days to expiry count on past the last trade."""
    expiry = draft.column("expiry")
    if draft.units.expiries is not None or "expiry" not in draft.columns:
        return
    # The cast of a NaN warns and gives the lowest integer; `listed` leaves these rows out.
    whole = np.nan_to_num(expiry).astype(np.int64)
    listed = np.isfinite(expiry) & (draft.kind == QUOTE_KINDS.index("traded"))
    # Monday is 0, as 1970-01-01 was a Thursday.
    weekday = (whole + 3) % 7
    saturday = listed & (weekday == 5) & (whole < _SATURDAYS_END)
    # Other exchanges have holidays of their own: of their contracts only weekends are doubted.
    home = np.array([trades_in_us(name) for name in draft.groups], dtype=np.bool_)[draft.group]
    other = listed & np.where(home, is_closed(whole), weekday > 4) & ~saturday
    fix = "Set data.format.expiries: last_trading_day to count to the day before, as_written to keep them"
    yield from find_rows(
        saturday,
        "Expiries should be the last trading day",
        lambda row: (
            f"Saturday {np.datetime64(int(whole[row]), 'D')} for {draft.at(row)}: until 2015 contracts"
            f" expired on the"
            " Saturday after the Friday on which they last traded, so every row counts a day too many"
        ),
        fix,
    )
    yield from find_rows(
        other,
        "Expiries should be trading days of the US exchanges",
        lambda row: (
            f"{pd.Timestamp(int(whole[row]), unit='D'):%A %Y-%m-%d}, a weekend or holiday, for"
            f" {draft.at(row)}"
        ),
        fix,
    )


def _doubt_days(draft: OptionDraft) -> Iterator[RowFinding]:
    """A column of days to expiry that the dates contradict."""
    days = np.rint(draft.column("expiry") - as_days(draft.dates))
    off = draft.days - days
    broken = np.abs(off) > 0.5
    if not broken.any():
        return
    dated = np.isfinite(days) & ~np.isnat(draft.dates)
    sessions = np.full(len(days), np.nan)
    expiry = draft.column("expiry")[dated].astype(np.int64).astype("datetime64[D]")
    sessions[dated] = np.busday_count(draft.dates[dated].astype("datetime64[D]"), expiry)
    with np.errstate(all="ignore"):
        if np.nanmedian(np.abs(draft.days - sessions)) <= 1:
            cause = "they count trading days; qhq counts calendar days from the dates"
        elif np.nanmedian(np.abs(draft.days * 365 - days)) <= 1:
            cause = "they are years"
        elif np.nanmax(np.abs(off)) <= 1.5:
            cause = "a day more or less: the last trading day and the day of expiry differ, or today counts"
        else:
            cause = "the expiry or the date is not what the file's own days say"
    yield from find_rows(
        broken,
        "Days to expiry should be those from 'date' to 'expiry'",
        lambda row: f"{draft.days[row]:g} where the dates say {days[row]:g}, for {draft.at(row)}: {cause}",
        "Nothing if the dates are right: they are used; else correct 'expiry'",
    )


def _doubt_spots(draft: OptionDraft) -> Iterator[RowFinding]:
    """More than one price of an underlying on a day, or one of another size than the strikes."""
    spot, strike = draft.column("spot"), draft.column("strike")
    # One number for each underlying and day: there are fewer than 2^31 days.
    day = pd.factorize(
        (draft.group.astype(np.int64) << 32) + draft.dates.astype("datetime64[D]").astype(np.int64)
    )[0]
    table = pd.DataFrame({"day": day, "spot": np.where(spot > 0, spot, np.nan), "ratio": strike / spot})
    by_day = table.groupby("day")
    middle = by_day["spot"].median().to_numpy()[day]
    surface = draft.kind == QUOTE_KINDS.index("surface")
    yield from find_rows(
        (np.abs(spot / middle - 1) > _SPOT_SPREAD) & ~surface,
        "An underlying should have one price a day",
        lambda row: f"{spot[row]:g} for {draft.at(row)}, where the day's median is {middle[row]:g}",
        "Take spot and quotes of one moment (one quote_time), or correct the rows",
    )
    if draft.units.strikes is None:
        ratio = by_day["ratio"].median().to_numpy()[day]
        yield from find_rows(
            (ratio > _FAR) | (ratio < 1 / _FAR),
            f"Strikes should lie around the spot: a day's median within a factor of {_FAR:g}",
            lambda row: (
                f"a median of {ratio[row]:.3g} spots on the day of {draft.at(row)}, spot {spot[row]:g}"
            ),
            "Take the unadjusted spot (one adjusted for later splits does not fit the strikes of its"
            " day), and that of"
            " the same product (SPY is a tenth of SPX); data.format.strikes if the strikes have another unit",
        )


def _doubt_intrinsic(draft: OptionDraft) -> Iterator[RowFinding]:
    """Asks below what the option is worth at once or, if European, held to expiry."""
    ask = draft.column("ask")
    price = np.where(np.isnan(ask), mid_of(draft), ask)
    least, _ = value_bounds(draft)
    american = _is_american(draft)
    with np.errstate(all="ignore"):
        now = np.maximum(draft.column("right") * (draft.column("spot") - draft.column("strike")), 0)
        # American puts below it are found by early_exercise.
        worth = np.where(american & (draft.column("right") == 1), np.fmax(least, now), least)
        broken = (price < worth * (1 - 1e-6) - 0.01) & ~(american & (draft.column("right") == -1))
    yield from find_rows(
        broken,
        "Options should not be offered below their intrinsic value",
        lambda row: f"{' < '.join(apart(price[row], worth[row], digits=6))} for {draft.at(row)}",
        "Take spot and quotes of one moment, give 'forward' or 'rate' where there are dividends, or leave"
        " the rows out:"
        " their implied volatility is missing",
    )


def _doubt_style(draft: OptionDraft) -> Iterator[RowFinding]:
    """A style that the exchange's rules contradict."""
    style = draft.column("style")
    products = [product_of(name) for name in draft.groups]
    wanted = np.array([np.nan if each is None else float(each.style == "american") for each in products])[
        draft.group
    ]
    yield from find_rows(
        np.isfinite(wanted) & np.isfinite(style) & (style != wanted),
        "'style' should be what the exchange's rules say of the product",
        lambda row: (
            f"{_style(style[row])} for {draft.at(row)}, where options on {draft.groups[draft.group[row]]} are"
            f" {_style(wanted[row])}"
        ),
        "Correct 'style'; options on shares and funds are american, on most indices european (not OEX)",
    )


def _style(code: float) -> str:
    return "american" if code == 1 else "european"


def _doubt_morning(draft: OptionDraft) -> Iterator[RowFinding]:
    """Index options that are settled at the open: they last trade on the session before their expiry."""
    expiry = np.nan_to_num(draft.column("expiry")).astype(np.int64)
    weekday, day = (expiry + 3) % 7, pd.DatetimeIndex(expiry.astype("datetime64[D]")).day.to_numpy()
    third_friday = (weekday == 4) & (day >= 15) & (day <= 21)
    named = read_symbols(draft.symbols)
    products = [product_of(name) for name in draft.groups]
    has_morning = np.array([each is not None and bool(each.morning) for each in products], dtype=np.bool_)
    if not has_morning.any():
        return
    morning = frozenset().union(*(each.morning for each in PRODUCTS.values()))
    # A root of its own (SPXW) says how it is settled; a name without one leaves it open.
    root = np.array(
        [not known or name in morning for known, name in zip(named.known, named.root, strict=True)]
    )
    last_day = expiry - as_days(draft.dates) <= 1
    yield from find_rows(
        has_morning[draft.group] & third_friday & root[draft.code] & last_day & (draft.kind == 0),
        "Index options that are settled at the open should have no quotes on their day of expiry, nor a"
        " whole day left"
        " on the one before",
        lambda row: f"{draft.at(row)}, which expires on {np.datetime64(int(expiry[row]), 'D')}",
        "Leave the last days out with data.where: {years: [0.006, null]}; contracts of a root settled at"
        " the close"
        " (SPXW) are as dated",
    )


def _doubt_eighths(draft: OptionDraft) -> Iterator[RowFinding]:
    """A few strikes off the grid of the others: contracts adjusted for a split, their deliverable another."""
    first = np.flatnonzero(~draft.follows())
    strike = draft.column("strike")
    with np.errstate(all="ignore"):
        # Listed strikes are multiples of five cents; splits leave eighths and thirds.
        off = np.isfinite(strike) & (np.abs(strike * 20 - np.rint(strike * 20)) > 1e-6) & (draft.kind == 0)
    few = 0 < np.count_nonzero(off[first]) <= 0.1 * len(first)
    yield from find_rows(
        off & few,
        "Strikes should lie on the exchange's grid; odd ones are those of contracts adjusted after a"
        " split or a special"
        " dividend",
        lambda row: f"{strike[row]:g} for {draft.at(row)}",
        "Look at what they deliver: give 'multiplier', and contracts of other than 100 shares are set aside",
    )


def _is_american(draft: OptionDraft) -> Mask:
    """As the file says; else by the rules of an index; else traded options are taken to be on US stocks."""
    if "style" in draft.columns:
        return np.asarray(draft.column("style") == 1)
    products = [product_of(name) for name in draft.groups]
    european = np.array([each is not None and each.style == "european" for each in products], dtype=np.bool_)
    return np.asarray((draft.kind == QUOTE_KINDS.index("traded")) & ~european[draft.group])


def _doubt_filled_options(draft: OptionDraft) -> Iterator[RowFinding]:
    """Quotes that stand still while the spot moves; those of a worthless option, bid zero, may."""
    names = [name for name in ("bid", "ask", "last") if name in draft.columns]
    if {"bid", "ask"} <= set(names):
        quoted = (draft.column("bid") > 0) & np.isfinite(draft.column("ask"))
        still = repeats(draft, ["spot"])
        yield from tell_filled(draft, repeats(draft, names) & quoted & ~still, " and ".join(names))


def _doubt_slipped_quotes(draft: OptionDraft) -> Iterator[RowFinding]:
    """Spots and quotes; options may double and halve, and are not five times as dear for one day."""
    yield from doubt_slips(draft, "spot", draft.column("spot"), SLIP)
    middle = (draft.column("bid") + draft.column("ask")) / 2
    middle = np.where(middle > draft.column("spot") * _LEAST_QUOTE, middle, np.nan)
    yield from doubt_slips(draft, "bid and ask", middle, _SLIP_OF_QUOTES)


def _doubt_stale(draft: OptionDraft) -> Iterator[RowFinding]:
    return find_rows(
        draft.stale,
        "'last' should be a price of the row's own day, with a volume or a last_trade to show it",
        lambda row: f"an older or unproven one for {draft.at(row)}",
        "Nothing to do: it is taken as no price",
    )


def _doubt_negative(draft: OptionDraft) -> Iterator[RowFinding]:
    return find_rows(
        draft.negative,
        "Quotes should not be below zero",
        lambda row: f"one for {draft.at(row)}",
        "Leave the cell empty; it is taken as no quote",
    )


def _doubt_early_exercise(draft: OptionDraft) -> Iterator[RowFinding]:
    """American puts in the money that are worth less than any European one could be."""
    mid, (least, _) = mid_of(draft), value_bounds(draft)
    put = (draft.column("right") == -1) & (least > 0) & _is_american(draft)
    return find_rows(
        put & (mid < least * (1 - _ROUNDING)),
        "American puts should be worth their European intrinsic value; early exercise is not handled",
        lambda row: f"{' < '.join(apart(mid[row], least[row], digits=6))} for {draft.at(row)}",
        "Their implied volatility is missing; keep to data.where on log_moneyness to leave them out",
    )


READING_DOUBTS: Rules[OptionDraft] = {
    "volatility": _doubt_volatility,
    "rate": _doubt_rates,
    "expiry_day": _doubt_expiries,
    "days_to_expiry": _doubt_days,
    "spot": _doubt_spots,
    "intrinsic": _doubt_intrinsic,
    "style": _doubt_style,
    "morning": _doubt_morning,
    "odd_strike": _doubt_eighths,
}
"""Ways in which an option file may mean something else than it seems to."""
OPTION_DOUBTS: Rules[OptionDraft] = {
    "filled": _doubt_filled_options,
    "gap": doubt_gaps,
    "closed": doubt_closed,
    "jump": lambda draft: doubt_jumps(draft, "spot"),
    "slip": _doubt_slipped_quotes,
    "today": doubt_today,
    "volume": doubt_volume,
    "stale": _doubt_stale,
    "negative": _doubt_negative,
    "early_exercise": _doubt_early_exercise,
}
OPTION_READING_DOUBTS: Rules[OptionDraft] = {**READING_DOUBTS, "slip": _doubt_slipped_quotes}
"""Those of the reading, and slips: shown at training too."""

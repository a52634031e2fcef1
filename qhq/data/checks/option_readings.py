"""Whether an option file means what it seems to: units, days of expiry, products, prices that contradict.

Evidence that leaves no other explanation refuses the file until the config says which it is (``UNIT_RULES``,
each settled by a key of ``data.format``). Everything else is a doubt: training goes on, and its rows, its
likely cause and what to set are told (``READING_DOUBTS``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qhq.data.checks.contracts import PRODUCTS, product_of, read_symbols, trades_in_us
from qhq.data.checks.option_rules import KINDS, OptionDraft
from qhq.data.checks.rules import Finding, FloatArray, Mask, Rules, find_rows
from qhq.data.checks.units import VOLATILITIES, as_days, is_closed
from qhq.data.option_units import Volatility
from qhq.pricing.implied_volatility import implied_volatility

SAMPLE = 2000
"""Quotes of which the implied volatility is found, evenly over the file."""
AGREES = 0.25
"""Median log distance below which volatilities are those of the prices."""
DIFFERS = np.log(3.0)
"""Median log distance above which they are something else."""
HIGHEST_MEDIAN_IV = 3.0
"""No market's median implied volatility is 300 %."""
DOUBTFUL_IV = (0.03, 1.5)
"""Median implied volatilities that are possible, but seldom, lie outside."""
DOUBTFUL_RATE = 0.1
NEAR = 7 / 365
"""Years to expiry below which an implied volatility says little."""
SPOT_SPREAD = 0.005
"""Relative difference of spots of one day that is more than rounding."""
FAR = 3.0
"""A chain's median strike over the spot; beyond it, or below its inverse, one of the two is another thing."""
SATURDAYS_END = np.datetime64("2015-02-01", "D").astype(np.int64)
"""From then on contracts expire on the Friday itself."""


def years_of(draft: OptionDraft) -> FloatArray:
    """Calendar days to expiry over 365, shape (R,)."""
    return (draft.column("expiry") - as_days(draft.dates)) / 365


def mid_of(draft: OptionDraft) -> FloatArray:
    """The file's mid, else that of bid and ask, shape (R,)."""
    mid, both = draft.column("mid"), (draft.column("bid") + draft.column("ask")) / 2
    return np.where(np.isnan(mid), both, mid)


def _bounds(draft: OptionDraft) -> tuple[FloatArray, FloatArray]:
    """Value at least of each option if it is European, and at most of any, shape (R,) each."""
    with np.errstate(all="ignore"):
        discount = np.exp(-np.nan_to_num(draft.column("rate")) * years_of(draft))
        forward = draft.column("forward")
        forward = np.where(np.isnan(forward), draft.column("spot") / discount, forward)
        right, strike = draft.column("right"), draft.column("strike")
        least = np.maximum(discount * right * (forward - strike), 0)
        return least, np.where(right == 1, np.fmax(draft.column("spot"), forward), strike)


# --- Units: refused until the config says which
# -----------------------------------------------------------------


@dataclass(frozen=True)
class _Hint:
    """Which unit explains the volatilities best, and how far each reading lies from the prices' own."""

    unit: Volatility
    distance: float
    as_fraction: float

    @property
    def contradicts(self) -> bool:
        """Whether another unit explains them: closely where fractions are far, or exactly."""
        closely = self.distance < AGREES and self.as_fraction > DIFFERS
        exactly = self.distance < AGREES / 10 and self.as_fraction > DIFFERS / 2
        return self.unit != "fraction" and (closely or exactly)


def _hint_of_prices(draft: OptionDraft) -> _Hint | None:
    """Compare the file's volatilities with those that its prices imply; None where there are too few."""
    iv, mid, years = draft.column("iv"), mid_of(draft), years_of(draft)
    least, most = _bounds(draft)
    with np.errstate(all="ignore"):
        usable = np.flatnonzero((iv > 0) & (mid > least * 1.001) & (mid < most) & (years > NEAR))
    if len(usable) < 5:
        return None
    rows = usable[:: max(1, len(usable) // SAMPLE)]
    strike, spot = draft.column("strike")[rows], draft.column("spot")[rows]
    discount = np.exp(-np.nan_to_num(draft.column("rate"))[rows] * years[rows])
    forward = draft.column("forward")[rows]
    forward = np.where(np.isnan(forward), spot / discount, forward)
    with np.errstate(all="ignore"):
        implied = implied_volatility(
            mid[rows], forward, strike, years[rows], discount, draft.column("right")[rows]
        )
        known = (implied > 0.01) & (implied < 5)
        if np.count_nonzero(known) < 5:
            return None
        distance = {
            unit: float(np.median(np.abs(np.log(read(iv[rows], years[rows])[known] / implied[known]))))
            for unit, read in VOLATILITIES.items()
        }
    best = min(distance, key=distance.__getitem__)
    return _Hint(best, distance[best], distance["fraction"])


def _check_volatility(draft: OptionDraft) -> Iterator[Finding]:
    """Volatilities in percent, basis points or as variances, as the prices or their size tell."""
    iv = draft.column("iv")
    known = (iv > 0) & (years_of(draft) > NEAR) if np.any(years_of(draft) > NEAR) else iv > 0
    if draft.units.volatility is not None or not known.any():
        return
    median, hint = float(np.median(iv[known])), _hint_of_prices(draft)
    if hint is not None and hint.contradicts:
        unit = hint.unit
        why = f"where the file's own prices imply volatilities that they are only as {_NAMES[unit]}"
    elif median > HIGHEST_MEDIAN_IV and (hint is None or hint.as_fraction > DIFFERS):
        unit = "percent" if median < 300 else "basis_points"
        why = f"which would be {median:.0%} a year"
    else:
        return
    yield from find_rows(
        known,
        "Implied volatilities ('iv') must be fractions per square root of a year (0.2), or"
        " data.format.volatility"
        " must name their unit",
        lambda row: f"a median of {median:.4g}, {why} ({iv[row]:g} for {draft.at(row)})",
        f"They look like {_NAMES[unit]}: set data.format.volatility: {unit}. If they are fractions all"
        f" the same, set it"
        " to fraction",
    )


_NAMES: dict[Volatility, str] = {
    "fraction": "fractions",
    "percent": "percent",
    "basis_points": "basis points",
    "variance": "variances",
    "total_variance": "total variances (variance times years)",
}


def _check_rates(draft: OptionDraft) -> Iterator[Finding]:
    """Rates in percent."""
    rate = draft.column("rate")
    known = np.isfinite(rate)
    if draft.units.rates is not None or not known.any() or np.median(np.abs(rate[known])) < 1:
        return
    yield from find_rows(
        known,
        "Interest rates ('rate') must be fractions per year (0.05), or data.format.rates must name their"
        " unit",
        lambda row: f"{rate[row]:g} for {draft.at(row)}, which would be {rate[row]:.0%} a year",
        "They look like percent: set data.format.rates: percent. If they are fractions all the same, set"
        " it to fraction",
    )


def _check_prices(draft: OptionDraft) -> Iterator[Finding]:
    """Prices of a contract of 100 shares."""
    if draft.units.prices is not None:
        return
    mid, (_, most) = mid_of(draft), _bounds(draft)
    known = (mid > 0) & (most > 0)
    over = known & (mid > most)
    if not over.any() or np.count_nonzero(over) < 0.2 * np.count_nonzero(known):
        return
    if np.count_nonzero(known & (mid / 100 > most)) > 0.01 * np.count_nonzero(known):
        return
    yield from find_rows(
        over,
        "Prices of options must be per share, or data.format.prices must say that they are per contract",
        lambda row: (
            f"{mid[row]:g}, more than the {most[row]:g} that it can be worth, for {draft.at(row)}; so are"
            f" {np.count_nonzero(over):,} of {np.count_nonzero(known):,}"
        ),
        "They look like those of a contract of 100 shares: set data.format.prices: per_contract. If they"
        " are per share"
        " all the same, set it to per_share",
    )


def _check_strikes(draft: OptionDraft) -> Iterator[Finding]:
    """Strikes in thousandths or hundredths of the spot's unit."""
    strike, spot = draft.column("strike"), draft.column("spot")
    known = (strike > 0) & (spot > 0)
    if draft.units.strikes is not None or not known.any():
        return
    ratio = float(np.median(strike[known] / spot[known]))
    unit = next((name for name, factor in _FACTORS.items() if factor / 2 < ratio < factor * 2), None)
    if unit is None:
        return
    yield from find_rows(
        known,
        "Strikes must be in the unit of the spot, or data.format.strikes must name theirs",
        lambda row: (
            f"{strike[row]:g} with a spot of {spot[row]:g} for {draft.at(row)}; the median is {ratio:.0f}"
            f" spots"
        ),
        f"They look like {unit}: set data.format.strikes: {unit}. If they are in the spot's unit all the"
        f" same, set it"
        " to spot_unit",
    )


_FACTORS = {"hundredths": 100.0, "thousandths": 1000.0}


def _check_rights(draft: OptionDraft) -> Iterator[Finding]:
    """Calls that are priced as puts and puts as calls: a coding read the wrong way round."""
    mid, strike, spot, right = (
        mid_of(draft),
        draft.column("strike"),
        draft.column("spot"),
        draft.column("right"),
    )
    with np.errstate(all="ignore"):
        worth = right * (spot - strike)
        apart = np.isfinite(mid) & (np.abs(worth) > 0.03 * spot)
        swapped = apart & (mid < worth - 0.02 * spot)
        straight = apart & (mid < -worth - 0.02 * spot)
    count = np.count_nonzero(apart)
    if count < 10 or np.count_nonzero(swapped) < 0.3 * count or np.count_nonzero(straight) > 0.05 * count:
        return
    yield from find_rows(
        swapped,
        "Calls must be priced as calls and puts as puts",
        lambda row: (
            f"{mid[row]:g} for the {'call' if right[row] > 0 else 'put'} with strike {strike[row]:g} and spot"
            f" {spot[row]:g}, {draft.at(row)}; read the other way round, the prices fit"
        ),
        "Swap the words or codes in the column 'right': the file's vendor means the reverse",
    )


UNIT_RULES: Rules[OptionDraft] = {
    "volatility_unit": _check_volatility,
    "rate_unit": _check_rates,
    "strike_unit": _check_strikes,
    "price_unit": _check_prices,
    "right_swapped": _check_rights,
}
"""What an option file must say before it is read; no row is set aside for it, as every row is concerned."""


# --- Doubts: told, and trained on all the same
# --------------------------------------------------------------------


def _doubt_volatility(draft: OptionDraft) -> Iterator[Finding]:
    """Volatilities of a size that is possible, but seldom; that prices contradict; or of two units."""
    iv, years = draft.column("iv"), years_of(draft)
    known = (iv > 0) & (years > NEAR)
    if draft.units.volatility is not None or np.count_nonzero(known) < 5:
        return
    median, hint = float(np.median(iv[known])), _hint_of_prices(draft)
    cause = ""
    if hint is not None:
        if hint.as_fraction > np.log(2.0):
            cause = "the file's own prices imply others; quotes are used, and 'iv' is found from them"
    elif median > DOUBTFUL_IV[1]:
        cause = "percent or basis points are read as fractions unless data.format.volatility says so"
    elif median < DOUBTFUL_IV[0]:
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


def _doubt_rates(draft: OptionDraft) -> Iterator[Finding]:
    rate = draft.column("rate")
    known = np.isfinite(rate)
    if draft.units.rates is None and known.any():
        yield from find_rows(
            known & (np.abs(rate) > DOUBTFUL_RATE) & (np.abs(rate) < 1),
            f"'rate' should be a fraction per year below {DOUBTFUL_RATE:g}",
            lambda row: f"{rate[row]:g}, that is {rate[row]:.0%}, for {draft.at(row)}",
            "Set data.format.rates: percent if they are percent (0.15 %), fraction if they are right",
        )


def _doubt_expiries(draft: OptionDraft) -> Iterator[Finding]:
    """Expiries on days without trading: days to expiry count on past the last trade."""
    expiry = draft.column("expiry")
    if draft.units.expiries is not None or "expiry" not in draft.columns:
        return
    whole = np.nan_to_num(expiry).astype(np.int64)
    listed = np.isfinite(expiry) & (draft.kind == KINDS.index("traded"))
    weekday = (whole + 3) % 7
    saturday = listed & (weekday == 5) & (whole < SATURDAYS_END)
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


def _doubt_days(draft: OptionDraft) -> Iterator[Finding]:
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


def _doubt_spots(draft: OptionDraft) -> Iterator[Finding]:
    """More than one price of an underlying on a day, or one of another size than the strikes."""
    spot, strike = draft.column("spot"), draft.column("strike")
    # One number for each underlying and day: there are fewer than 2^31 days.
    day = pd.factorize(
        (draft.group.astype(np.int64) << 32) + draft.dates.astype("datetime64[D]").astype(np.int64)
    )[0]
    table = pd.DataFrame({"day": day, "spot": np.where(spot > 0, spot, np.nan), "ratio": strike / spot})
    by_day = table.groupby("day")
    middle = by_day["spot"].median().to_numpy()[day]
    surface = draft.kind == KINDS.index("surface")
    yield from find_rows(
        (np.abs(spot / middle - 1) > SPOT_SPREAD) & ~surface,
        "An underlying should have one price a day",
        lambda row: f"{spot[row]:g} for {draft.at(row)}, where the day's median is {middle[row]:g}",
        "Take spot and quotes of one moment (one quote_time), or correct the rows",
    )
    if draft.units.strikes is None:
        ratio = by_day["ratio"].median().to_numpy()[day]
        yield from find_rows(
            (ratio > FAR) | (ratio < 1 / FAR),
            f"Strikes should lie around the spot: a day's median within a factor of {FAR:g}",
            lambda row: (
                f"a median of {ratio[row]:.3g} spots on the day of {draft.at(row)}, spot {spot[row]:g}"
            ),
            "Take the unadjusted spot (one adjusted for later splits does not fit the strikes of its"
            " day), and that of"
            " the same product (SPY is a tenth of SPX); data.format.strikes if the strikes have another unit",
        )


def _doubt_intrinsic(draft: OptionDraft) -> Iterator[Finding]:
    """Asks below what the option is worth at once or, if European, held to expiry."""
    ask = draft.column("ask")
    price = np.where(np.isnan(ask), mid_of(draft), ask)
    least, _ = _bounds(draft)
    american = is_american(draft)
    with np.errstate(all="ignore"):
        now = np.maximum(draft.column("right") * (draft.column("spot") - draft.column("strike")), 0)
        # American puts below it are told by early_exercise.
        worth = np.where(american & (draft.column("right") == 1), np.fmax(least, now), least)
        broken = (price < worth * (1 - 1e-6) - 0.01) & ~(american & (draft.column("right") == -1))
    yield from find_rows(
        broken,
        "Options should not be offered below their intrinsic value",
        lambda row: f"{price[row]:g} < {worth[row]:g} for {draft.at(row)}",
        "Take spot and quotes of one moment, give 'forward' or 'rate' where there are dividends, or leave"
        " the rows out:"
        " their implied volatility is missing",
    )


def _doubt_style(draft: OptionDraft) -> Iterator[Finding]:
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


def _doubt_morning(draft: OptionDraft) -> Iterator[Finding]:
    """Index options that are settled at the open: they last trade on the session before their expiry."""
    expiry = np.nan_to_num(draft.column("expiry")).astype(np.int64)
    weekday, day = (expiry + 3) % 7, pd.DatetimeIndex(expiry.astype("datetime64[D]")).day.to_numpy()
    third_friday = (weekday == 4) & (day >= 15) & (day <= 21)
    told = read_symbols(draft.symbols)
    products = [product_of(name) for name in draft.groups]
    has_morning = np.array([each is not None and bool(each.morning) for each in products], dtype=np.bool_)
    if not has_morning.any():
        return
    morning = frozenset().union(*(each.morning for each in PRODUCTS.values()))
    # A root of its own (SPXW) says how it is settled; a name without one leaves it open.
    root = np.array([not known or name in morning for known, name in zip(told.known, told.root, strict=True)])
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


def _doubt_eighths(draft: OptionDraft) -> Iterator[Finding]:
    """A few strikes off the grid of the others: contracts adjusted for a split, their deliverable another."""
    first = np.flatnonzero(~draft.follows())
    strike = draft.column("strike")
    with np.errstate(all="ignore"):
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


def is_american(draft: OptionDraft) -> Mask:
    """As the file says; else by the rules of an index; else traded options are taken to be on US stocks."""
    if "style" in draft.columns:
        return np.asarray(draft.column("style") == 1)
    products = [product_of(name) for name in draft.groups]
    european = np.array([each is not None and each.style == "european" for each in products], dtype=np.bool_)
    return np.asarray((draft.kind == KINDS.index("traded")) & ~european[draft.group])


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

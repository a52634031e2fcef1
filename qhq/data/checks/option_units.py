"""In which units an option file is: brought into the panel's, or refused until the config says which.

The file is refused on evidence that leaves no other explanation (``UNIT_RULES``, each settled by a key of
``data.format``): no row is set aside for it, as every row is concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from qhq.data.checks.draft import RowFinding, Rules, find_rows
from qhq.data.checks.option_rules import OptionDraft
from qhq.data.columns import OPTION_PRICES
from qhq.data.file_format import OptionUnits, Volatility
from qhq.data.panel import DateArray, FloatArray
from qhq.data.sessions import as_days, last_trading_day
from qhq.pricing.black_scholes import implied_volatility

# Quotes of which the implied volatility is found, evenly over the file.
_SAMPLE = 2000
# Median log distance below which volatilities are those of the prices.
_AGREES = 0.25
# Median log distance above which they are something else.
_DIFFERS = np.log(3.0)
HIGHEST_MEDIAN_IV = 3.0
"""No market's median implied volatility is 300 %."""
NEAR = 7 / 365
"""Years to expiry below which an implied volatility says little."""

# Shares that a standard contract on a US stock delivers.
_SHARES = 100.0

_STRIKES = {"hundredths": 100.0, "thousandths": 1000.0}


def convert(
    columns: Mapping[str, FloatArray], dates: DateArray, shares: FloatArray, units: OptionUnits
) -> None:
    """Bring the columns of an option file into the panel's units, in place.

    Args:
        columns: Value columns by name, R rows each; ``expiry`` as days since 1970-01-01.
        dates: Session of each row, shape (R,).
        shares: Shares that each row's contract delivers, NaN where the file does not say, shape (R,).
        units: What the config says of them.
    """
    if units.expiries == "last_trading_day" and "expiry" in columns:
        columns["expiry"][:] = last_trading_day(columns["expiry"])
    if units.volatility is not None and "iv" in columns:
        years = (columns["expiry"] - as_days(dates)) / 365
        with np.errstate(all="ignore"):  # a negative variance is no volatility: NaN
            columns["iv"][:] = _VOLATILITIES[units.volatility](columns["iv"], years)
    if units.rates == "percent" and "rate" in columns:
        columns["rate"][:] /= 100
    if units.prices == "per_contract":
        for name in columns.keys() & OPTION_PRICES:
            columns[name][:] /= np.where(np.isnan(shares), _SHARES, shares)
    if units.strikes in _STRIKES:
        columns["strike"][:] /= _STRIKES[units.strikes]


# From what a file calls volatility, and years to expiry, to a fraction per square root of a year.
_VOLATILITIES: dict[Volatility, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "fraction": lambda iv, years: iv,  # noqa: ARG005
    "percent": lambda iv, years: iv / 100,  # noqa: ARG005
    "basis_points": lambda iv, years: iv / 10_000,  # noqa: ARG005
    "variance": lambda iv, years: np.sqrt(iv),  # noqa: ARG005
    "total_variance": lambda iv, years: np.sqrt(iv / years),
}


def years_of(draft: OptionDraft) -> FloatArray:
    """Calendar days to expiry over 365, shape (R,)."""
    return (draft.column("expiry") - as_days(draft.dates)) / 365


def mid_of(draft: OptionDraft) -> FloatArray:
    """The file's mid, else that of bid and ask, shape (R,)."""
    mid, both = draft.column("mid"), (draft.column("bid") + draft.column("ask")) / 2
    return np.where(np.isnan(mid), both, mid)


def value_bounds(draft: OptionDraft) -> tuple[FloatArray, FloatArray]:
    """Value at least of each option if it is European, and at most of any, shape (R,) each."""
    with np.errstate(all="ignore"):
        discount = np.exp(-np.nan_to_num(draft.column("rate")) * years_of(draft))
        forward = draft.column("forward")
        forward = np.where(np.isnan(forward), draft.column("spot") / discount, forward)
        right, strike = draft.column("right"), draft.column("strike")
        least = np.maximum(discount * right * (forward - strike), 0)
        return least, np.where(right == 1, np.fmax(draft.column("spot"), forward), strike)


@dataclass(frozen=True)
class Hint:
    """Which unit explains the volatilities best, and how far each reading lies from the prices' own."""

    unit: Volatility
    distance: float
    as_fraction: float

    @property
    def contradicts(self) -> bool:
        """Whether another unit explains them: closely where fractions are far, or exactly."""
        # Two thresholds: what lies between says nothing, and nothing is refused on a guess.
        closely = self.distance < _AGREES and self.as_fraction > _DIFFERS
        exactly = self.distance < _AGREES / 10 and self.as_fraction > _DIFFERS / 2
        return self.unit != "fraction" and (closely or exactly)


def hint_of_prices(draft: OptionDraft) -> Hint | None:
    """Compare the file's volatilities with those that its prices imply; None where there are too few."""
    iv, mid, years = draft.column("iv"), mid_of(draft), years_of(draft)
    least, most = value_bounds(draft)
    with np.errstate(all="ignore"):
        # Just above what exercise is worth a cent of the price is many points of volatility.
        usable = np.flatnonzero((iv > 0) & (mid > least * 1.001) & (mid < most) & (years > NEAR))
    if len(usable) < 5:
        return None
    rows = usable[:: max(1, len(usable) // _SAMPLE)]
    strike, spot = draft.column("strike")[rows], draft.column("spot")[rows]
    discount = np.exp(-np.nan_to_num(draft.column("rate"))[rows] * years[rows])
    forward = draft.column("forward")[rows]
    forward = np.where(np.isnan(forward), spot / discount, forward)
    with np.errstate(all="ignore"):
        implied = implied_volatility(
            mid[rows], forward, strike, years[rows], discount, draft.column("right")[rows]
        )
        # Outside of 1 to 500 % it is a price at a bound that implies a volatility, and not the market.
        known = (implied > 0.01) & (implied < 5)
        if np.count_nonzero(known) < 5:
            return None
        distance = {
            unit: float(np.median(np.abs(np.log(read(iv[rows], years[rows])[known] / implied[known]))))
            for unit, read in _VOLATILITIES.items()
        }
    best = min(distance, key=distance.__getitem__)
    return Hint(best, distance[best], distance["fraction"])


def _check_volatility(draft: OptionDraft) -> Iterator[RowFinding]:
    """Volatilities in percent, basis points or as variances, as the prices or their size tell."""
    iv = draft.column("iv")
    known = (iv > 0) & (years_of(draft) > NEAR) if np.any(years_of(draft) > NEAR) else iv > 0
    if draft.units.volatility is not None or not known.any():
        return
    median, hint = float(np.median(iv[known])), hint_of_prices(draft)
    if hint is not None and hint.contradicts:
        unit = hint.unit
        why = f"where the file's own prices imply volatilities that they are only as {_NAMES[unit]}"
    elif median > HIGHEST_MEDIAN_IV and (hint is None or hint.as_fraction > _DIFFERS):
        # 300 in percent would be HIGHEST_MEDIAN_IV again, so from there on it is the smaller unit.
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


def _check_rates(draft: OptionDraft) -> Iterator[RowFinding]:
    """Rates in percent."""
    rate = draft.column("rate")
    known = np.isfinite(rate)
    # Below 1 it may be either: 0.05 is 5 %, or in percent a rate near zero.
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


def _check_prices(draft: OptionDraft) -> Iterator[RowFinding]:
    """Prices of a contract of 100 shares."""
    if draft.units.prices is not None:
        return
    mid, (_, most) = mid_of(draft), value_bounds(draft)
    known = (mid > 0) & (most > 0)
    over = known & (mid > most)
    # A fifth and not all: out of the money a hundred times the price is still less than a share.
    if not over.any() or np.count_nonzero(over) < 0.2 * np.count_nonzero(known):
        return
    # Over a hundred nearly all must be possible, or the unit is not what is wrong.
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


def _check_strikes(draft: OptionDraft) -> Iterator[RowFinding]:
    """Strikes in thousandths or hundredths of the spot's unit."""
    strike, spot = draft.column("strike"), draft.column("spot")
    known = (strike > 0) & (spot > 0)
    if draft.units.strikes is not None or not known.any():
        return
    ratio = float(np.median(strike[known] / spot[known]))
    unit = next((name for name, factor in _STRIKES.items() if factor / 2 < ratio < factor * 2), None)
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


def _check_rights(draft: OptionDraft) -> Iterator[RowFinding]:
    """Calls that are priced as puts and puts as calls: a coding read the wrong way round."""
    mid, strike, spot, right = (
        mid_of(draft),
        draft.column("strike"),
        draft.column("spot"),
        draft.column("right"),
    )
    with np.errstate(all="ignore"):
        worth = right * (spot - strike)
        # Only far enough from the money for a call and a put to differ by more than a spread, a dividend and
        # the rate can make of it.
        apart = np.isfinite(mid) & (np.abs(worth) > 0.03 * spot)
        swapped = apart & (mid < worth - 0.02 * spot)
        straight = apart & (mid < -worth - 0.02 * spot)
    count = np.count_nonzero(apart)
    # Of contracts away from the money about half are in it, and those alone can be priced below their worth:
    # a third of all is most of them. A file that is read right has none but slips.
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

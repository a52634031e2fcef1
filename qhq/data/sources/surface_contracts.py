"""Contracts of fixed strike and expiry, marked to a surface of standardised points session by session.

Interpolated from standardised points, not traded contracts: nobody quoted them, and a price made of their
``iv`` has no bid and no ask. ``kind`` stays 'surface'.

The points themselves are no series to price. A point of constant delta and maturity moves its strike every
session, and today's strike, forward and days give today's volatility away, since the delta is known: the
answer would stand among the inputs. Nor has yesterday's volatility a meaning at a strike that was another
one yesterday. So strike and expiry are fixed here, listed from the spots up to that session:

- Expiries are third Fridays. A contract lives while 30 to 91 days are left, the maturities of the points.
- Strikes are multiples of a round step, 2.5 to 6.25 % of the spot when the expiry comes into range, within
  15 % of the spot; more are listed as the spot moves, none is taken away.
- A strike below the spot when it is listed is a put, else a call, and stays one.

Volatility is linear in log-moneyness ln(K/F) along the out-of-the-money points of a maturity, total variance
iv^2 T linear in T between two maturities at equal log-moneyness, and so are the log carry ln(F/S) and the log
discount. Nothing is extrapolated: a strike beyond the points of either maturity has no row on that session,
so that a row being there tells that its delta lay within about 0.1 to 0.9.

A dividend that falls between two maturities is spread over the time between them, since the points do not
tell its day: the forward, and the volatility with it, may be off by a part of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.sources.exchange import LIFE, Dates, Floats, third_fridays

SHORTEST = np.timedelta64(30, "D")
"""Days to expiry of a contract's last row, or a few more."""
WIDTH = 0.15
"""How far from the spot strikes are listed, as a part of it."""

_LEAST_STEP = 0.025
_STEPS = np.outer(10.0 ** np.arange(-2, 5), [1.0, 2.5, 5.0]).ravel()


@dataclass(frozen=True, eq=False)
class Smile:
    """The out-of-the-money points of one underlying, session and maturity, P of them.

    Attributes:
        days: Days to expiry.
        spot: Price of the underlying.
        forward: Its forward price.
        rate: Interest, continuously compounded, a fraction a year.
        moneyness: ln(strike / forward), ascending, shape (P,).
        volatility: Implied volatility, a fraction per square root of a year, shape (P,).
    """

    days: int
    spot: float
    forward: float
    rate: float
    moneyness: Floats
    volatility: Floats

    def variance(self, moneyness: Floats) -> Floats:
        """Total variance iv^2 days / 365 at any moneyness (J,), NaN beyond the points, shape (J,)."""
        found = np.interp(moneyness, self.moneyness, self.volatility, left=np.nan, right=np.nan)
        return np.asarray(found**2 * self.days / 365)


@dataclass(frozen=True, eq=False)
class Marks:
    """What one session's surface says of J strikes of one expiry; all NaN where it does not reach.

    Attributes:
        iv: Implied volatility, a fraction per square root of a year, shape (J,).
        forward: Forward price at expiry.
        rate: Interest until expiry, continuously compounded, a fraction a year.
    """

    iv: Floats
    forward: float
    rate: float


def surface_contracts(points: pd.DataFrame) -> pd.DataFrame:
    """Mark contracts of fixed strike and expiry to each session's points.

    Rows of a session come of that session's points alone, and its strikes of the spots until then.

    Args:
        points: Rows as of ``qhq.data.sources.surface.read_points``.

    Returns:
        Columns contract_id, underlying, date, expiry, strike, right, style, iv, spot, forward, rate, kind, by
        underlying, expiry, strike and date. A contract_id such as '12490-20230616-P-130' tells underlying,
        expiry, right and strike. Style is 'european'. Interpolated, not traded: see the top of this file.
    """
    listings = [
        _mark_expiry(str(underlying), expiry, smiles)
        for underlying, rows in points.groupby("underlying", sort=True)
        for expiry, smiles in _list_expiries(read_smiles(rows))
    ]
    return pd.concat(listings, ignore_index=True)


def read_smiles(points: pd.DataFrame) -> dict[np.datetime64, list[Smile]]:
    """Sort the out-of-the-money points of one underlying, ``{session: smiles by days}``, oldest first.

    Puts count below the forward, calls from the forward on. Of the 18 deltas 16 to 18 are left: the put of
    delta -50 lies mostly just above the forward.
    """
    put = (points["right"] == "put").to_numpy()
    kept = points[put == (points["strike"] < points["forward"]).to_numpy()]
    numbers = kept[["strike", "forward", "iv", "spot", "rate"]].to_numpy(dtype=np.float64)
    dates = kept["date"].to_numpy().astype("datetime64[D]")
    days = (kept["expiry"].to_numpy().astype("datetime64[D]") - dates).astype(np.intp)
    moneyness = np.log(numbers[:, 0] / numbers[:, 1])
    order = np.lexsort((moneyness, days, dates))
    numbers, dates, days, moneyness = numbers[order], dates[order], days[order], moneyness[order]
    borders = np.flatnonzero((np.diff(dates) != np.timedelta64(0, "D")) | (np.diff(days) != 0)) + 1
    sessions: dict[np.datetime64, list[Smile]] = {}
    for rows in np.split(np.arange(len(days)), borders):
        first = rows[0]
        _, forward, _, spot, rate = numbers[first].tolist()
        smile = Smile(int(days[first]), spot, forward, rate, moneyness[rows], numbers[rows, 2])
        sessions.setdefault(dates[first], []).append(smile)
    return sessions


def mark_strikes(smiles: Sequence[Smile], days: int, strikes: Floats) -> Marks:
    """Interpolate one session's smiles, by days, to the strikes (J,) of an expiry that is ``days`` away.

    Total variance, log carry and log discount are linear in the days between the two nearest maturities, so
    that F = S exp(rate T) holds in between where it holds at both.
    """
    after = bisect_left([smile.days for smile in smiles], days)
    before = after if after < len(smiles) and smiles[after].days == days else after - 1
    if before < 0 or after == len(smiles):
        return Marks(np.full(len(strikes), np.nan), np.nan, np.nan)
    near, far = smiles[before], smiles[after]
    share = (days - near.days) / (far.days - near.days) if near is not far else 0.0
    carry = (1 - share) * np.log(near.forward / near.spot) + share * np.log(far.forward / far.spot)
    interest = (1 - share) * near.rate * near.days + share * far.rate * far.days
    forward = near.spot * float(np.exp(carry))
    moneyness = np.log(strikes / forward)
    variance = (1 - share) * near.variance(moneyness) + share * far.variance(moneyness)
    return Marks(np.sqrt(variance * 365 / days), forward, interest / days)


def _list_expiries(
    sessions: dict[np.datetime64, list[Smile]],
) -> Iterator[tuple[np.datetime64, dict[np.datetime64, list[Smile]]]]:
    """Every expiry, with the sessions on which its contracts live."""
    dates: Dates = np.array(list(sessions), dtype="datetime64[D]")
    for expiry in third_fridays(dates[0], dates[-1] + LIFE):
        alive = dates[(expiry - dates >= SHORTEST) & (expiry - dates <= LIFE)]
        if len(alive):
            yield expiry, {day: sessions[day] for day in alive}


def _mark_expiry(
    underlying: str, expiry: np.datetime64, sessions: dict[np.datetime64, list[Smile]]
) -> pd.DataFrame:
    """Rows of all contracts of one expiry, by strike, then date."""
    dates: Dates = np.array(list(sessions), dtype="datetime64[D]")
    spot = np.array([smiles[0].spot for smiles in sessions.values()])
    strikes, listed = _list_strikes(spot)
    put = strikes < spot[listed.argmax(axis=1)]
    days = (expiry - dates).astype(np.intp).tolist()
    marks = [
        mark_strikes(smiles, left, strikes) for smiles, left in zip(sessions.values(), days, strict=True)
    ]
    iv = np.stack([mark.iv for mark in marks], axis=1)
    strike, session = np.nonzero(listed & np.isfinite(iv))
    stem = f"{underlying}-{str(expiry).replace('-', '')}"
    names = [f"{stem}-{'P' if low else 'C'}-{level:g}" for level, low in zip(strikes, put, strict=True)]
    return pd.DataFrame(
        {
            "contract_id": np.array(names, dtype=object)[strike],
            "underlying": underlying,
            "date": dates[session].astype("datetime64[s]"),
            "expiry": np.full(len(strike), expiry.astype("datetime64[s]")),
            "strike": strikes[strike],
            "right": np.where(put, "put", "call")[strike],
            "style": "european",
            "iv": iv[strike, session],
            "spot": spot[session],
            "forward": np.array([mark.forward for mark in marks])[session],
            "rate": np.array([mark.rate for mark in marks])[session],
            "kind": "surface",
        }
    )


def _list_strikes(spot: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Strikes (J,) around the spots (D,), and which are listed by when (J, D)."""
    step = _STEPS[np.searchsorted(_STEPS, _LEAST_STEP * spot[0])]
    low = np.minimum.accumulate(np.maximum(np.ceil(spot * (1 - WIDTH) / step), 1))
    high = np.maximum.accumulate(np.floor(spot * (1 + WIDTH) / step))
    numbers = np.arange(low[-1], high[-1] + 1)
    listed = (numbers[:, None] >= low) & (numbers[:, None] <= high)
    return np.asarray(numbers * step, dtype=np.float64), listed

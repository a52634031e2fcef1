"""The option surface of the PyPI package qmoms (extra `data`), as contracts of fixed strike and expiry.

Its two CSV files hold, for five US stocks (named by number) and the 250 sessions of 2023, the implied
volatility at 30, 60 and 91 days to expiry and at deltas from -50 to -10 (puts) and 10 to 50 (calls), and the
zero-coupon rates of these days. Each point was interpolated by its maker from that day's traded options, so
it has neither bid nor ask, volume nor open interest, and nobody could have traded it: ``kind`` is 'surface'.
The delta in the file is near the Black-Scholes delta of the point, not equal to it (mean difference 0.0004,
standard deviation 0.008): the options behind it are American.

What the numbers say about the conventions, checked by the tests:

- The rates are percent a year, continuously compounded, actual/365: for the stock without dividends (93436)
  ``f = s exp(rate days / 365)`` holds to 1e-7, and no other reading of the rates gives that.
- The forward takes off the dividends until expiry undiscounted, ``f = (s - D) exp(rate days / 365)``, where D
  is 0 or a sum of quarterly dividends (0.23 or 0.24 for 14593, 1.65 or 1.66 for 12490). The file does not
  say whether each was declared by then, so ``forward`` may know a dividend a little early.

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
tell its day: the forward, and the volatility with it, may be off by a fraction of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.panel import DateArray, FloatArray
from qhq.data.sessions import third_fridays
from qhq.errors import DataError

# Days to expiry of a contract's first row: the longest maturity of the points.
_LIFE = np.timedelta64(91, "D")
# Days to expiry of a contract's last row, or a few more.
_SHORTEST = np.timedelta64(30, "D")
# How far from the spot strikes are listed, as a fraction of it.
_WIDTH = 0.15

# Of the first spot: with the width above, twelve strikes on the first day at most.
_LEAST_STEP = 0.025
# As exchanges space their strikes: by 1, 2.5 or 5 of a power of ten.
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
    moneyness: FloatArray
    volatility: FloatArray

    def variance(self, moneyness: FloatArray) -> FloatArray:
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

    iv: FloatArray
    forward: float
    rate: float


def surface_contracts(points: pd.DataFrame) -> pd.DataFrame:
    """Mark contracts of fixed strike and expiry to each session's points.

    Rows of a session come of that session's points alone, and its strikes of the spots until then.

    Args:
        points: Rows as of ``read_points``.

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
    # Sorted by session and maturity, so the next smile begins where either changes. All points of one have
    # the same forward, spot and rate: those of its first row.
    borders = np.flatnonzero((np.diff(dates) != np.timedelta64(0, "D")) | (np.diff(days) != 0)) + 1
    sessions: dict[np.datetime64, list[Smile]] = {}
    for rows in np.split(np.arange(len(days)), borders):
        first = rows[0]
        _, forward, _, spot, rate = numbers[first].tolist()
        smile = Smile(int(days[first]), spot, forward, rate, moneyness[rows], numbers[rows, 2])
        sessions.setdefault(dates[first], []).append(smile)
    return sessions


def mark_strikes(smiles: Sequence[Smile], days: int, strikes: FloatArray) -> Marks:
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
    dates: DateArray = np.array(list(sessions), dtype="datetime64[D]")
    for expiry in third_fridays(dates[0], dates[-1] + _LIFE):
        alive = dates[(expiry - dates >= _SHORTEST) & (expiry - dates <= _LIFE)]
        if len(alive):
            yield expiry, {day: sessions[day] for day in alive}


def _mark_expiry(
    underlying: str, expiry: np.datetime64, sessions: dict[np.datetime64, list[Smile]]
) -> pd.DataFrame:
    """Rows of all contracts of one expiry, by strike, then date."""
    dates: DateArray = np.array(list(sessions), dtype="datetime64[D]")
    spot = np.array([smiles[0].spot for smiles in sessions.values()])
    strikes, listed = _list_strikes(spot)
    # By the spot of the first session that lists it: a later one would let the right of a contract know how
    # the market went on.
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


def _list_strikes(spot: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Strikes (J,) around the spots (D,), and which are listed by when (J, D)."""
    step = _STEPS[np.searchsorted(_STEPS, _LEAST_STEP * spot[0])]
    # Once listed a strike stays, and no session lists one for a spot that is still to come. The lowest
    # multiple is 1, since no strike is zero.
    low = np.minimum.accumulate(np.maximum(np.ceil(spot * (1 - _WIDTH) / step), 1))
    high = np.maximum.accumulate(np.floor(spot * (1 + _WIDTH) / step))
    numbers = np.arange(low[-1], high[-1] + 1)
    listed = (numbers[:, None] >= low) & (numbers[:, None] <= high)
    return np.asarray(numbers * step, dtype=np.float64), listed


_POINTS = {
    "id": "str",
    "date": "str",
    "k": "float64",
    "impl_volatility": "float64",
    "delta": "float64",
    "f": "float64",
    "s": "float64",
    "days": "float64",
}
_RATES = {"date": "str", "days": "float64", "rate": "float64"}


def read_surface() -> pd.DataFrame:
    """Read the points as contracts of fixed strike and expiry, interpolated session by session, not traded.

    Returns:
        Rows of the option schema, as of ``surface_contracts``.

    Raises:
        DataError: If the package is not installed, or its files are not the ones known here.
    """
    return surface_contracts(read_points())


def read_points() -> pd.DataFrame:
    """Read all points as rows of the option schema, 67,500 in qmoms 0.1.3.

    Returns:
        Columns contract_id, underlying, date, expiry, strike, right, style, iv, spot, forward, rate, kind, by
        series, then date. A contract_id such as '12490-30d-P10' tells the id, the days to expiry, the right
        and the absolute delta in percent. Style is 'european': a point has no early exercise of its own.

    Raises:
        DataError: If the package is not installed, or its files are not the ones known here.
    """
    folder = _find_package() / "data"
    points = _read_table(folder / "surface.csv", _POINTS)
    rates = _read_table(folder / "zerocd.csv", _RATES)
    rows = _name_columns(points)
    rows["rate"] = _match_rates(points, rates)
    rows["kind"] = "surface"
    # Stable, so that of two rows of a day the one that the file has first stays first.
    return rows.sort_values(["contract_id", "date"], kind="stable", ignore_index=True)


def _find_package() -> Path:
    """Find the folder of qmoms without importing it: an import runs all of its code."""
    spec = find_spec("qmoms")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "data.source surface must have the package qmoms",
            got="an environment without it",
            fix="Install it with: pip install 'qhq[data]'",
        )
    return Path(spec.submodule_search_locations[0])


def _read_table(path: Path, dtypes: dict[str, str]) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pd.read_csv(path, usecols=list(dtypes), dtype=dtypes)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The package qmoms must hold data/{path.name} with the columns {', '.join(dtypes)}",
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0].rstrip('.')}",
            fix="Install the version that qhq knows: pip install 'qmoms==0.1.3'",
        ) from error
    return table


def _name_columns(points: pd.DataFrame) -> pd.DataFrame:
    put = points["delta"].to_numpy() < 0
    days = points["days"].astype(int)
    dates = pd.to_datetime(points["date"], format="%Y-%m-%d")
    tails = np.where(put, "P", "C") + points["delta"].abs().astype(int).astype(str).to_numpy(dtype=object)
    return pd.DataFrame(
        {
            "contract_id": points["id"] + "-" + days.astype(str) + "d-" + tails,
            "underlying": points["id"],
            "date": dates,
            "expiry": dates + pd.to_timedelta(days, unit="D"),
            "strike": points["k"],
            "right": np.where(put, "put", "call"),
            "style": "european",
            "iv": points["impl_volatility"],
            "spot": points["s"],
            "forward": points["f"],
        }
    )


def _match_rates(points: pd.DataFrame, rates: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Interpolate the day's rates to each point's days; a fraction a year, NaN on a day without rates."""
    found = np.full(len(points), np.nan)
    curves = {str(day): curve.sort_values("days") for day, curve in rates.groupby("date")}
    for day, rows in points.groupby("date").indices.items():
        if str(day) in curves:
            curve = curves[str(day)]
            found[rows] = np.interp(points["days"].to_numpy()[rows], curve["days"], curve["rate"])
    # The file has percent.
    return found / 100

"""The option surface of the PyPI package qmoms (extra `data`): standardised points, not traded contracts.

Its two CSV files hold, for five US stocks (named by number) and the 250 sessions of 2023, the implied
volatility at 30, 60 and 91 days to expiry and at deltas from -50 to -10 (puts) and 10 to 50 (calls), and the
zero-coupon rates of these days. Each point was interpolated by its maker from that day's traded options, so
it has neither bid nor ask, volume nor open interest, and nobody could have traded it: ``kind`` is 'surface'.

A series of points is one (id, days, delta) and keeps its days and its delta, as a contract does not: expiry
and strike move along with the date. ``read_surface`` therefore gives contracts of fixed strike and expiry,
interpolated from the points (``surface_contracts``, which says why). The delta in the file is near the
Black-Scholes delta of the point, not equal to it (mean difference 0.0004, standard deviation 0.008): the
options behind it are American.

What the numbers say about the conventions, checked by the tests:

- The rates are percent a year, continuously compounded, actual/365: for the stock without dividends (93436)
  ``f = s exp(rate days / 365)`` holds to 1e-7, and no other reading of the rates gives that.
- The forward takes off the dividends until expiry undiscounted, ``f = (s - D) exp(rate days / 365)``, where D
  is 0 or a sum of quarterly dividends (0.23 or 0.24 for 14593, 1.65 or 1.66 for 12490). The file does not
  say whether each was declared by then, so ``forward`` may know a dividend a little early.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.sources.surface_contracts import surface_contracts
from qhq.errors import DataError

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
    return found / 100

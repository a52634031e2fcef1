"""HAR and log-HAR: volatility from its last day, week and month.

Corsi, "A simple approximate long-memory model of realized volatility" (2009), regresses a volatility on its
own last value and its means over a week and a month. Andersen, Bollerslev and Diebold, "Roughing it up"
(2007), do it in logarithms: ln v on the logarithms of the same three means. Which of them is the harder to
beat depends on the loss, so both stand beside a model.

On a target that is a logarithm already, HAR regresses it on means of logarithms, and log-HAR on logarithms of
means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhq.data.columns import unit_of
from qhq.data.panel import FloatArray
from qhq.data.windows import Cut, Windows
from qhq.errors import DataError

_WEEK, MONTH = 5, 22
"""Sessions that the two longer means reach back."""

VOLATILITIES = {
    "garman_klass": False,
    "parkinson": False,
    "realised_volatility": False,
    "log_garman_klass": True,
    "log_parkinson": True,
    "log_realised_volatility": True,
}
"""Columns that hold the realised volatility of a row, and whether it is the logarithm that they hold."""


@dataclass(frozen=True, eq=False)
class Har:
    """A fitted HAR regression, one for each target and horizon, the same for all series.

    Attributes:
        coefficients: Of 1, the last value, and the means of the last 5 and 22 input rows of the target's
            own column, shape (K, H, 4).
    """

    coefficients: FloatArray

    def __call__(self, windows: Windows) -> FloatArray:
        """Forecast, shape (N, H, K), in the unit of the targets."""
        pairs = zip(windows.cut.targets, self.coefficients, strict=True)
        return np.stack([_with_constant(_means(windows, name)) @ rows.T for name, rows in pairs], axis=2)


@dataclass(frozen=True, eq=False)
class LogHar:
    """A fitted HAR regression of logarithms, one for each target and horizon, the same for all series.

    Attributes:
        coefficients: Of 1 and of the logarithms of the three means of the volatility, shape (K, H, 4).
        variance: Of its errors in training, in logarithms, shape (K, H).
        floor: Least volatility above zero in training, shape (K,): the logarithm of a session that did not
            move is taken to be that of this one.
    """

    coefficients: FloatArray
    variance: FloatArray
    floor: FloatArray

    def __call__(self, windows: Windows) -> FloatArray:
        """Forecast, shape (N, H, K), in the unit of the targets: of a volatility the mean of a log-normal."""
        forecasts = []
        for place, name in enumerate(windows.cut.targets):
            logarithm = _log_regressors(windows, name, self.floor[place]) @ self.coefficients[place].T
            # An exponent of 700 is the last that is finite.
            mean = np.exp(np.minimum(logarithm + self.variance[place] / 2, 700.0))
            forecasts.append(logarithm if VOLATILITIES[name] else mean)
        return np.stack(forecasts, axis=2)


def suits_har(windows: Windows) -> bool:
    """Whether every target is a volatility or a logarithm, and the windows reach back 22 rows."""
    units = {unit_of(name) for name in windows.cut.targets}
    return units <= {"volatility", "log"} and windows.cut.window >= MONTH


def suits_log_har(windows: Windows) -> bool:
    """Whether every target is a realised volatility or its logarithm, and the windows reach back 22 rows."""
    return is_judged_by_har(windows.cut)


def is_judged_by_har(cut: Cut) -> bool:
    """Whether a realised volatility is forecast from as many rows as HAR reads."""
    return VOLATILITIES.keys() >= set(cut.targets) and cut.window >= MONTH


def fit_har(train: Windows) -> Har:
    """Fit by ordinary least squares on the windows of all series together, each horizon directly.

    Raises:
        DataError: If the windows are shorter than 22 rows.
    """
    _check_length(train)
    targets = train.targets
    fits = [
        _least_squares(_with_constant(_means(train, name)), targets[:, :, place])
        for place, name in enumerate(train.cut.targets)
    ]
    return Har(np.stack(fits))


def fit_log_har(train: Windows) -> LogHar:
    """Fit by ordinary least squares on the windows of all series together, each horizon directly.

    Raises:
        DataError: If the windows are shorter than 22 rows.
    """
    _check_length(train)
    fits, variances, floors = [], [], []
    for place, name in enumerate(train.cut.targets):
        values, is_log = train.targets[:, :, place], VOLATILITIES[name]
        moved = values[values > 0]
        # A target that is a logarithm needs no floor: its exponential is above zero.
        floor = float(moved.min()) if moved.size and not is_log else float(np.finfo(float).tiny)
        regressors = _log_regressors(train, name, floor)
        actual = values if is_log else np.log(np.maximum(values, floor))
        rows = _least_squares(regressors, actual)
        fits.append(rows)
        variances.append((actual - regressors @ rows.T).var(axis=0))
        floors.append(floor)
    return LogHar(np.stack(fits), np.stack(variances), np.array(floors))


def _least_squares(regressors: FloatArray, actual: FloatArray) -> FloatArray:
    """Coefficients (H, 4) of regressors (N, 4) for each of the columns of actual (N, H)."""
    return np.asarray(np.linalg.lstsq(regressors, actual, rcond=None)[0].T, dtype=np.float64)


def _check_length(train: Windows) -> None:
    if train.cut.window < MONTH:
        raise DataError(
            f"HAR needs windows of at least {MONTH} rows",
            got=f"data.window {train.cut.window}",
            fix=f"Set data.window to {MONTH}",
        )


def _means(windows: Windows, name: str, *, exponential: bool = False) -> FloatArray:
    """Last value, weekly and monthly mean of a column, or of its exponential, shape (N, 3)."""
    past = windows.along(name)
    past = np.exp(past) if exponential else past
    return np.column_stack([past[:, -length:].mean(axis=1) for length in (1, _WEEK, MONTH)])


def _log_regressors(windows: Windows, name: str, floor: float) -> FloatArray:
    """1 and the logarithms of the three means of the volatility, shape (N, 4)."""
    means = _means(windows, name, exponential=VOLATILITIES[name])
    return _with_constant(np.log(np.maximum(means, floor)))


def _with_constant(columns: FloatArray) -> FloatArray:
    return np.column_stack([np.ones(len(columns)), columns])

"""HAR: volatility from its last day, week and month.

Corsi, "A simple approximate long-memory model of realized volatility" (2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.schema import unit_of
from qhq.data.windows import Windows
from qhq.errors import DataError

WEEK, MONTH = 5, 22
"""Sessions that the two longer means reach back."""


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
        return np.stack([_regressors(windows, name) @ rows.T for name, rows in pairs], axis=2)


def suits_har(windows: Windows) -> bool:
    """Whether every target is a volatility or a logarithm, and the windows reach back 22 rows."""
    units = {unit_of(name) for name in windows.cut.targets}
    return units <= {"volatility", "log"} and windows.cut.window >= MONTH


def fit_har(train: Windows) -> Har:
    """Fit by ordinary least squares on the windows of all series together, each horizon directly.

    Raises:
        DataError: If the windows are shorter than 22 rows.
    """
    if train.cut.window < MONTH:
        raise DataError(
            f"HAR needs windows of at least {MONTH} rows",
            got=f"data.window {train.cut.window}",
            fix=f"Set data.window to {MONTH}",
        )
    targets = train.targets
    fits = [
        np.linalg.lstsq(_regressors(train, name), targets[:, :, place], rcond=None)[0].T
        for place, name in enumerate(train.cut.targets)
    ]
    return Har(np.stack(fits))


def _regressors(windows: Windows, name: str) -> FloatArray:
    """1, last value, weekly and monthly mean, shape (N, 4)."""
    past = windows.along(name)
    means = [past[:, -length:].mean(axis=1) for length in (1, WEEK, MONTH)]
    return np.column_stack([np.ones(len(past)), *means])

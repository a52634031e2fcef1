"""What studies of a checkpoint share: the exact entry, a seeded subset of the test windows, its errors."""

from __future__ import annotations

import numpy as np

from qhq.backends.noisy import AerSpec
from qhq.data.windows import Windows, spread_subset
from qhq.errors import ConfigError
from qhq.experiment.evaluate import Evaluation

EXACT = AerSpec(kind="aer", name="exact")
"""What every backend is compared with: the exact simulator, whatever `backends.yaml` says."""


def choose_windows(windows: Windows, samples: int | None, seed: int) -> Windows:
    """Draw a seeded subset of windows, stratified by symbol, in order of time.

    Raises:
        ConfigError: If more are asked for than there are.
    """
    count = len(windows)
    if samples is None:
        return windows
    if samples > count:
        raise ConfigError(
            "--samples must not exceed the test split",
            got=f"{samples} of {count} windows",
            fix="Ask for fewer",
        )
    return spread_subset(windows, samples, seed)


def sampling_error(evaluation: Evaluation, population: int) -> float | None:
    """Standard error of the MAE for having evaluated a subset, in the unit of the prices.

    That of simple random sampling without replacement (Cochran, Sampling Techniques, 1977, eq. 2.20);
    drawing equal shares of each symbol makes it smaller, so this is an upper bound. 0 for the whole split,
    None for a single window, which says nothing of the spread.
    """
    errors = np.abs(evaluation.forecast - evaluation.windows.targets).mean(axis=(1, 2))
    count = len(errors)
    if count == population:
        return 0.0
    if count == 1:
        return None
    return float(errors.std(ddof=1) * np.sqrt((1 - count / population) / count))


def expectation_error(evaluation: Evaluation, exact: Evaluation) -> float | None:
    """Mean |<O> - exact| over windows and observables; None where the model has no circuit."""
    if evaluation.expectations is None or exact.expectations is None:
        return None
    return float(np.abs(evaluation.expectations - exact.expectations).mean())

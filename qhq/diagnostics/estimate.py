"""A measured figure and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from qhq.errors import ConfigError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        samples: Independent samples it rests on.
    """

    value: float
    low: float
    high: float
    samples: int

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the interval.

        >>> Estimate(0.5, low=0.4, high=0.6, samples=100).holds(0.45)
        True
        """
        return self.low <= value <= self.high

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit; ``factor`` is positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.samples)


def mean_of(values: npt.ArrayLike, confidence: float) -> Estimate:
    """Mean of independent samples (S,), its interval by Student's t.

    Raises:
        ConfigError: If there are fewer than two.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise ConfigError(
            "An interval needs at least two samples", got=str(len(values)), fix="Ask for more samples"
        )
    mean, error = float(values.mean()), float(values.std(ddof=1)) / np.sqrt(len(values))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * float(error)
    return Estimate(mean, mean - reach, mean + reach, len(values))


def positive_mean_of(values: npt.ArrayLike, confidence: float) -> Estimate:
    """``mean_of`` samples that are never negative: nor is the interval."""
    estimate = mean_of(values, confidence)
    return Estimate(estimate.value, max(0.0, estimate.low), estimate.high, estimate.samples)


def spread_of(value: float, resampled: Array, samples: int, confidence: float) -> Estimate:
    """The normal bootstrap interval of a figure that is never negative.

    Its width is the spread of the resampled figures; their own bias, which comes on top of that of the
    figure, is not carried over (Davison and Hinkley, Bootstrap Methods, 1997, 5.2).

    Args:
        value: The figure of the data.
        resampled: The figure of each resampled set of data.
        samples: Size of the data.
        confidence: Such as 0.95.
    """
    reach = float(stats.norm.ppf((1 + confidence) / 2) * resampled.std(ddof=1))
    return Estimate(value, max(0.0, value - reach), value + reach, samples)

"""Whether the mean of a series is zero, when the series remembers its past.

The differences of two losses are such a series: a calm month is calm for both forecasts, and errors that lean
to one side lean so for weeks. A test that takes the dates as independent then finds a difference in every
second pair of equal forecasts. Three steps keep the size here:

1. The long-run variance is the equal-weighted cosine estimate of Lazarus, Lewis, Stock and Watson ("HAR
   inference: recommendations for practice", 2018): the mean square of the B lowest cosine transforms,

       L_j = sqrt(2 / n) sum_t cos(pi j (t - 1/2) / n) d_t
       V = mean(L_1^2 ... L_B^2),   statistic = mean(d) / sqrt(V / n)

   For independent dates it has Student's distribution with B degrees of freedom, at any n; with B = n - 1 the
   test is the t-test of a mean, to the last digit.
2. B is chosen by the data: where the square of the bias that the estimated persistence implies plus the
   variance of V is least (Andrews's rule for this kernel), and never more than n / 2H for forecasts H rows
   ahead, whose errors overlap.
3. The p-value is that under the estimated persistence, not under independence, and allows for the few B: it
   is exact for a Gaussian series of that persistence. So a series that hardly moves over its dates needs an
   overwhelming statistic.

``python -m benchmarks.verdicts --tests`` measures this against the alternatives (Newey and West's variance
with and without fixed-b critical values, prewhitening, a fixed B).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from qhq.data.panel import FloatArray

# More add nothing to the power; with fewer a test needs a statistic above 2.8 at 5 %.
_MOST_COSINES, _LEAST_COSINES = 64, 4

# Autocorrelation at which a series of some thousand dates looks like one without a mean.
_MOST_PERSISTENT = 0.995

# Of the effects that are called detectable.
# As studies are planned since Cohen (1988).
_POWER = 0.8

# Gauss and Legendre's nodes over the angles 0 to pi / 2 of Craig's formula (see `MeanTest._exceeds`), the
# same for every test.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_SINES = np.sin((_NODES + 1) * np.pi / 4) ** 2


@dataclass(frozen=True)
class MeanTest:
    """A series' mean against zero.

    Attributes:
        mean: Of the series, in its unit.
        error: Its standard error, from the long-run variance.
        count: Length of the series, n.
        cosines: Degrees of freedom of the variance, B.
        persistence: Autocorrelation of neighbours, its small-sample bias taken off; 0 to `_MOST_PERSISTENT`.
    """

    mean: float
    error: float
    count: int
    cosines: int
    persistence: float
    _root: np.ndarray = field(repr=False, compare=False)

    @property
    def statistic(self) -> float:
        """The mean over its standard error."""
        return self.mean / self.error

    @cached_property
    def p_value(self) -> float:
        """Probability of a statistic as far from zero as this, if the mean is zero."""
        return self._exceeds(self.statistic)

    def critical(self, level: float) -> float:
        """Size of the statistic that is exceeded with this probability if the mean is zero."""
        from scipy.optimize import newton
        from scipy.special import stdtrit

        def excess(size: float) -> float:
            # In logarithms it is nearly straight; far out the p-value is no longer a number above zero.
            return math.log(max(self._exceeds(math.exp(size)), 1e-300) / level)

        # Student's value, made larger as the mean's variance is beside the cosines', is close to it.
        covariance = np.diag(self._root @ self._root.T)
        middle = math.log(stdtrit(self.cosines, 1 - level / 2))
        middle += math.log(covariance[0] / covariance[1:].mean()) / 2
        # Without a derivative this is the secant method. The p-value falls ever faster: it cannot go astray.
        return math.exp(newton(excess, middle, x1=middle + 0.05, tol=1e-7))

    def detectable(self, level: float) -> float:
        """Size of the mean, in its unit, that is found at this level with a probability of 80 %.

        The mean must lie above the critical value even if it comes out low: as low as it does in one of five
        draws, which is the two-sided level of 40 % on one side.
        """
        return (self.critical(level) + self.critical(2 * (1 - _POWER))) * self.error

    def _exceeds(self, statistic: float) -> float:
        """P(|t| > statistic) for a Gaussian series of mean zero and this persistence.

        t^2 > s^2 says that L_0^2 - s^2/B (L_1^2 + ...) > 0: a quadratic form with one eigenvalue above zero.
        Over that one the others are -k_i, and by Craig's formula for the normal tail, with x = sin^2 of the
        angle, P(Z_0^2 > sum k_i Z_i^2) is the mean over the angles of prod (1 + k_i / x)^(-1/2).
        """
        form = np.full(self.cosines + 1, -(statistic**2) / self.cosines)
        form[0] = 1.0
        values = np.linalg.eigvalsh(self._root.T @ (form[:, None] * self._root))
        ratios = np.maximum(-values[:-1] / values[-1], 0.0)
        logs = np.log1p(ratios[:, None] / _SINES).sum(axis=0)
        return float(_WEIGHTS @ np.exp(-logs / 2) / 2)


def mean_test(series: FloatArray, horizon: int = 1) -> MeanTest:
    """Test a series' mean against zero.

    Args:
        series: In the order of time, shape (n,); n at least twice the horizon and ten, not constant.
        horizon: Rows ahead of the forecasts that it is of, H.
    """
    # scipy takes half a second to import, which whoever only sends to hardware need not wait for.
    from scipy.fft import dct

    count = len(series)
    persistence = _persistence(series)
    cosines = _choose_cosines(count, persistence, horizon)
    transforms = dct(series - series.mean(), type=2, norm="ortho")[1 : cosines + 1]
    variance = float(np.mean(transforms**2))
    # Kept as a root: the quadratic form of any statistic then needs eigenvalues of a symmetric matrix only.
    root = np.linalg.cholesky(_covariance(count, cosines, persistence))
    return MeanTest(float(series.mean()), math.sqrt(variance / count), count, cosines, persistence, root)


def _persistence(series: FloatArray) -> float:
    """First autocorrelation, without the bias of small samples; of n dates it comes out (1 + 3 r)/n too low.

    Kendall, "Note on bias in the estimation of autocorrelation" (1954). Below zero it is taken as zero: that
    a difference swings to and fro is no reason to be surer of its mean.
    """
    count, centred = len(series), series - series.mean()
    found = float(centred[1:] @ centred[:-1] / (centred @ centred))
    return float(np.clip((count * found + 1) / (count - 3), 0.0, _MOST_PERSISTENT))


def _choose_cosines(count: int, persistence: float, horizon: int) -> int:
    """How many cosines are averaged, B.

    The spectrum at the j-th cosine is below that at zero by about (pi j / n)^2 q of it, q = r / (1 - r)^2 of
    an autoregression; averaged over B, by a third of that at B. Its square plus 2/B, the variance, is least
    at B^5 = n^4 / (2 (pi^2 q / 3)^2).
    """
    most = min(count ** (2 / 3), _MOST_COSINES, count / (2 * horizon))
    curvature = math.pi**2 / 3 * persistence / (1 - persistence) ** 2
    best = (count**4 / (2 * curvature**2)) ** 0.2 if curvature > 0 else most
    return max(_LEAST_COSINES, int(min(best, most)))


def _covariance(count: int, cosines: int, persistence: float) -> FloatArray:
    """Covariance of L_0 ... L_B under an autoregression with unit variance, shape (B + 1, B + 1)."""
    from scipy.fft import idct
    from scipy.linalg import matmul_toeplitz

    basis = idct(np.eye(count, cosines + 1), type=2, norm="ortho", axis=0)
    covariance: FloatArray = basis.T @ matmul_toeplitz(persistence ** np.arange(count), basis)
    # Rounding leaves it a little unsymmetric.
    return (covariance + covariance.T) / 2

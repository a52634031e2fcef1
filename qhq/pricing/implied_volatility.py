"""The volatility at which Black's formula gives a quoted price.

A quote becomes two numbers: the spread k = |ln(F / K)| and the value c of the out-of-the-money option (by
put-call parity) over the smaller of F and K. Sought is the deviation s = volatility * sqrt(years) at which
``time_value(k, s)`` is c. As a function of s that is nearly flat at both ends, where Newton's method fails,
so it is straightened first (the idea of Jaeckel 2015, "Let's be rational"; these two functions are our own):

- wing, below the c of d1 = -1: 1 / sqrt(2 (ln c* - ln c)), about s / k, with c* = c at d1 = -1 times sqrt(e);
- centre, above it: 2 sqrt(2) erfinv(c), which at the money is s itself.

Halley's method then takes two to four steps. Each step narrows a bracket; one that would leave it, or that is
not finite, is replaced by bisection.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfinv, ndtri

from qhq.pricing.black_scholes import TINY, Floats, checked, tails_of, time_value

MOST_STEPS = 64
"""Enough to bisect where rounding keeps Halley's method from settling."""

SETTLED = 1e-6
"""Relative size of a last step; convergence is cubic, so what then remains is rounding."""

HIGHEST_D1 = 9.0
"""Beyond it c is 1 in double precision."""

Step = Callable[..., tuple[Floats, Floats]]
"""(deviation, *facts) -> Newton's correction, and f'' / f', of a function with f' > 0."""


def implied_volatility(
    price: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    discount: ArrayLike,
    right: ArrayLike,
) -> Floats:
    """Implied volatility of European options; never raises because of a quote.

    Early exercise is not handled: for an American option this is the volatility of the European one of the
    same price, too high by the worth of early exercise.

    The error is what rounding of the price means for the volatility, eps * price / vega, and about 1e-15 /
    sqrt(years) at the least. Deep in the money, where the time value is a small part of the price, that can
    be much.

    Args:
        price: Price today, in the unit of the forward.
        forward: Forward price of the underlying at expiry.
        strike: Strike, in the unit of the forward.
        years: Time to expiry, years (days / 365).
        discount: exp(-rate * years), rate continuously compounded per year.
        right: +1 call, -1 put.

    Returns:
        Volatility per square root of a year, a fraction, in the broadcast shape. NaN where no positive one
        exists: at or below the discounted intrinsic value, at or above the discounted forward (call) or
        strike (put), years <= 0, or an argument that ``black_scholes`` calls invalid.

    >>> float(implied_volatility(7.965567, 100.0, 100.0, 1.0, 1.0, 1).round(6))
    0.2
    """
    given = checked(forward, strike, years, 0.0, discount, right)
    with np.errstate(all="ignore"):
        paid = np.asarray(price, dtype=np.float64) / given.discount
        value = paid - np.maximum(given.right * (given.forward - given.strike), 0.0)
        value = value / np.minimum(given.forward, given.strike)
        spread, value, years = np.broadcast_arrays(
            np.abs(np.log(given.forward / given.strike)), value, given.years
        )
        found = np.full(value.shape, np.nan)
        exists = (value > 0) & (value < 1) & (years > 0)
        found[exists] = implied_deviation(spread[exists], value[exists]) / np.sqrt(years[exists])
    return found[()]


def implied_deviation(spread: Floats, value: Floats) -> Floats:
    """The deviation s with ``time_value(spread, s) = value``, shape (N,).

    Args:
        spread: |ln(F / K)|, shape (N,).
        value: Strictly between 0 and 1, shape (N,).
    """
    spread = np.maximum(spread, TINY)
    border = deviation_at(spread, -1.0)
    at_border = time_value(spread, border)
    wing = value < at_border
    found = np.empty_like(value)
    found[wing] = _in_wing(spread[wing], value[wing], border[wing], at_border[wing])
    centre = ~wing
    found[centre] = _in_centre(spread[centre], value[centre], border[centre], at_border[centre])
    return found


def deviation_at(spread: Floats, d1: float | Floats) -> Floats:
    """The deviation s at which s / 2 - spread / s is d1, without cancellation for d1 <= 0."""
    root = np.sqrt(np.square(d1) + 2 * spread)
    return np.where(np.less_equal(d1, 0), 2 * spread / (root - d1), root + d1)


def _in_wing(spread: Floats, value: Floats, border: Floats, at_border: Floats) -> Floats:
    offset = np.log(at_border) + 0.5
    target = np.sqrt(2 * (offset - np.log(value)))
    return _solve(_wing_step, deviation_at(spread, -target), border, (spread, offset, target))


def _in_centre(spread: Floats, value: Floats, border: Floats, at_border: Floats) -> Floats:
    target = _straight(value)
    ceiling = deviation_at(spread, HIGHEST_D1)
    start = np.minimum(border + target - _straight(at_border), ceiling)
    return _solve(_centre_step, start, ceiling, (spread, target))


def _straight(value: Floats) -> Floats:
    return np.asarray(2 * np.sqrt(2) * erfinv(value))


def _wing_step(deviation: Floats, spread: Floats, offset: Floats, target: Floats) -> tuple[Floats, Floats]:
    """For f = 1 / w, w = sqrt(2 (offset - ln c)), where c' / c = slope."""
    d1, d2, _, near, far = tails_of(spread, deviation)
    slope = 1 / (np.sqrt(2 * np.pi) * (near - far))
    square = 2 * (offset + d1 * d1 / 2 - np.log(near - far))
    newton = square * (1 - np.sqrt(square) / target) / slope
    return newton, d1 * d2 / deviation - slope + 3 * slope / square


def _centre_step(deviation: Floats, spread: Floats, target: Floats) -> tuple[Floats, Floats]:
    """For f = -2 ndtri((1 - c) / 2), which is 2 sqrt(2) erfinv(c) with all digits where c is near 1."""
    d1, d2, density, near, far = tails_of(spread, deviation)
    straight = -2 * ndtri(np.where(d1 < 0, 1 - density * (near - far), density * (near + far)) / 2)
    slope = np.exp(straight * straight / 8 - d1 * d1 / 2)
    return (straight - target) / slope, straight * slope / 4 + d1 * d2 / deviation


def _solve(step: Step, start: Floats, ceiling: Floats, facts: tuple[Floats, ...]) -> Floats:
    """Halley's method in the bracket (0, ceiling), each element until it settles."""
    found, low, high = start.copy(), np.zeros_like(start), ceiling.copy()
    active = np.arange(start.size)
    for _ in range(MOST_STEPS):
        if not active.size:
            break
        at = found[active]
        newton, curve = step(at, *(each[active] for each in facts))
        # Not finite only where the wing underflows: there the deviation is too low.
        above = newton > 0
        low[active] = np.where(above, low[active], at)
        high[active] = np.where(above, at, high[active])
        moved = at - newton / (1 - newton * curve / 2)
        inside = (low[active] <= moved) & (moved <= high[active])
        found[active] = np.where(inside, moved, (low[active] + high[active]) / 2)
        active = active[np.abs(found[active] - at) > SETTLED * at]
    return found

"""Prices, greeks and implied volatility of European options (Black 1976, The pricing of commodity contracts).

One convention for all functions. With forward F, strike K, years T, volatility v (per square root of a year),
discount D = exp(-rate T) and right r (+1 call, -1 put)::

    price = D r (F N(r d1) - K N(r d2)),   d1, d2 = ln(F / K) / s +- s / 2,   s = v sqrt(T)

Greeks are with respect to the spot S = F D, the spot price without the dividends paid until expiry: it equals
the quoted spot where there are none (Black and Scholes 1973). The model knows no early exercise: an American
option, above all a put or a call on a stock that is about to pay a dividend, is worth more than it says.

Arguments broadcast. Invalid ones (forward, strike or discount <= 0, years or volatility < 0, a right other
than +1 and -1, anything not finite) give NaN.

The way back, from a quote to its volatility:

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
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, erfinv, ndtr, ndtri

Floats = NDArray[np.float64]

# Stands for a standard deviation of zero, so that 0 / 0 at the money does not arise.
_TINY = 1e-300


class _Arguments(NamedTuple):
    """The six arguments as arrays that broadcast, float64; forwards are NaN where any of them is invalid."""

    forward: Floats
    strike: Floats
    years: Floats
    volatility: Floats
    discount: Floats
    right: Floats


def price(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    discount: ArrayLike,
    right: ArrayLike,
) -> Floats:
    """Price of a European option today, in the unit of the forward.

    Calls and puts are the discounted intrinsic value plus the same time value, which is computed without
    cancellation: put-call parity holds to rounding, and prices far out of the money keep their digits.

    Args:
        forward: Forward price of the underlying at expiry.
        strike: Strike, in the unit of the forward.
        years: Time to expiry, years (days / 365).
        volatility: Per square root of a year, a fraction.
        discount: exp(-rate * years), rate continuously compounded per year.
        right: +1 call, -1 put.

    Returns:
        Prices in the broadcast shape; the discounted intrinsic value where years or volatility is 0.

    >>> float(price(100.0, 100.0, 1.0, 0.2, 1.0, 1).round(6))
    7.965567
    """
    given = _checked(forward, strike, years, volatility, discount, right)
    with np.errstate(all="ignore"):
        spread = np.abs(np.log(given.forward / given.strike))
        value = np.minimum(given.forward, given.strike) * time_value(spread, _deviation(given))
        intrinsic = np.maximum(given.right * (given.forward - given.strike), 0.0)
        return np.asarray(given.discount * (intrinsic + value))[()]


def delta(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    discount: ArrayLike,
    right: ArrayLike,
) -> Floats:
    """Change of the price with the spot, between -1 and 1; arguments as for ``price``."""
    given = _checked(forward, strike, years, volatility, discount, right)
    with np.errstate(all="ignore"):
        return np.asarray(given.right * ndtr(given.right * _d1(given)))[()]


def gamma(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    discount: ArrayLike,
    right: ArrayLike,
) -> Floats:
    """Change of delta with the spot, per unit of price; arguments as for ``price``.

    Infinite exactly at the money where years or volatility is 0.
    """
    given = _checked(forward, strike, years, volatility, discount, right)
    with np.errstate(all="ignore"):
        density = _density(_d1(given))
        spot = given.forward * given.discount
        scale = spot * given.volatility * np.sqrt(given.years)
        return np.asarray(np.where(density == 0, 0.0, density / scale))[()]


def vega(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    discount: ArrayLike,
    right: ArrayLike,
) -> Floats:
    """Change of the price per unit of volatility (not per point); arguments as for ``price``."""
    given = _checked(forward, strike, years, volatility, discount, right)
    with np.errstate(all="ignore"):
        return np.asarray(given.forward * given.discount * _density(_d1(given)) * np.sqrt(given.years))[()]


def theta(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    discount: ArrayLike,
    right: ArrayLike,
) -> Floats:
    """Change of the price per year that passes, at the same spot, rate and volatility.

    The rate is that of the discount, -ln(D) / T, so there is none, and NaN comes back, at expiry. Divide by
    365 for what a day takes. Arguments as for ``price``.
    """
    given = _checked(forward, strike, years, volatility, discount, right)
    with np.errstate(all="ignore"):
        d1 = _d1(given)
        rate = np.where(given.years > 0, -np.log(given.discount) / given.years, np.nan)
        decay = given.forward * _density(d1) * given.volatility / (2 * np.sqrt(given.years))
        financing = given.right * rate * given.strike * ndtr(given.right * (d1 - _deviation(given)))
        return np.asarray(-given.discount * (decay + financing))[()]


def _checked(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    discount: ArrayLike,
    right: ArrayLike,
) -> _Arguments:
    """Arguments as float64 arrays; the forward, on which all results depend, is NaN where one is invalid."""
    columns = (forward, strike, years, volatility, discount, right)
    given = _Arguments(*(np.asarray(each, dtype=np.float64) for each in columns))
    # Comparisons with NaN are false; finite is what is below infinity.
    valid = (given.forward > 0) & (given.forward < np.inf) & (given.strike > 0) & (given.strike < np.inf)
    valid = valid & (given.years >= 0) & (given.years < np.inf) & (np.abs(given.right) == 1)
    valid = valid & (given.volatility >= 0) & (given.volatility < np.inf)
    valid = valid & (given.discount > 0) & (given.discount < np.inf)
    return given._replace(forward=np.where(valid, given.forward, np.nan))


class _Tails(NamedTuple):
    """An out-of-the-money option in normalised coordinates, see ``_tails_of``."""

    d1: Floats
    d2: Floats
    density: Floats
    near: Floats
    far: Floats


def _tails_of(spread: Floats, deviation: Floats) -> _Tails:
    """The parts of a normalised price: d1, d2, exp(-d1^2 / 2) and the tails beyond |d1| and |d2| over it.

    With the normal tail N(-z) = exp(-z^2 / 2) erfcx(z / sqrt(2)) / 2 both terms of the formula share the
    factor exp(-d1^2 / 2), because F exp(-d1^2 / 2) = K exp(-d2^2 / 2); what remains loses no digits in the
    wings (Jaeckel 2015, "Let's be rational").

    Args:
        spread: |ln(F / K)|, so that d2 <= 0.
        deviation: volatility * sqrt(years), positive.
    """
    # erfcx rather than ndtr twice: the difference of two tails loses all digits far from the money.
    ratio, half = spread / deviation, deviation / 2
    d1, d2 = half - ratio, -half - ratio
    near, far = (erfcx(np.abs(each) * np.sqrt(0.5)) / 2 for each in (d1, d2))
    return _Tails(d1, d2, np.exp(-d1 * d1 / 2), near, far)


def time_value(spread: Floats, deviation: Floats) -> Floats:
    """Undiscounted value of the out-of-the-money option over the smaller of forward and strike, in [0, 1].

    Args:
        spread: |ln(F / K)|.
        deviation: volatility * sqrt(years), positive.
    """
    _, _, density, near, far = tails = _tails_of(spread, deviation)
    return np.where(tails.d1 < 0, density * (near - far), 1 - density * (near + far))


def _deviation(given: _Arguments) -> Floats:
    return np.maximum(given.volatility * np.sqrt(given.years), _TINY)


def _d1(given: _Arguments) -> Floats:
    deviation = _deviation(given)
    return np.log(given.forward / given.strike) / deviation + deviation / 2


def _density(d1: Floats) -> Floats:
    return np.asarray(np.exp(-d1 * d1 / 2) / np.sqrt(2 * np.pi))


# Enough to bisect where rounding keeps Halley's method from settling.
_MOST_STEPS = 64

# Relative size of a last step; convergence is cubic, so what then remains is rounding.
_SETTLED = 1e-6

# Beyond it c is 1 in double precision.
_HIGHEST_D1 = 9.0

# (deviation, *facts) -> Newton's correction, and f'' / f', of a function with f' > 0.
_Step = Callable[..., tuple[Floats, Floats]]


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
    given = _checked(forward, strike, years, 0.0, discount, right)
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
    # At the money d1 = -1 has no solution but 0; the smallest spread keeps logarithms finite.
    spread = np.maximum(spread, _TINY)
    border = _deviation_at(spread, -1.0)
    at_border = time_value(spread, border)
    # Either function is nearly straight on its own side alone; at the border both are good.
    wing = value < at_border
    found = np.empty_like(value)
    found[wing] = _in_wing(spread[wing], value[wing], border[wing], at_border[wing])
    centre = ~wing
    found[centre] = _in_centre(spread[centre], value[centre], border[centre], at_border[centre])
    return found


def _deviation_at(spread: Floats, d1: float | Floats) -> Floats:
    """The deviation s at which s / 2 - spread / s is d1, without cancellation for d1 <= 0."""
    root = np.sqrt(np.square(d1) + 2 * spread)
    return np.where(np.less_equal(d1, 0), 2 * spread / (root - d1), root + d1)


def _in_wing(spread: Floats, value: Floats, border: Floats, at_border: Floats) -> Floats:
    offset = np.log(at_border) + 0.5
    # + 0.5 in the offset is c* = c(d1 = -1) sqrt(e): it makes w = 1 at the border, so that 1 / w is finite.
    target = np.sqrt(2 * (offset - np.log(value)))
    return _solve(_wing_step, _deviation_at(spread, -target), border, (spread, offset, target))


def _in_centre(spread: Floats, value: Floats, border: Floats, at_border: Floats) -> Floats:
    target = _straight(value)
    ceiling = _deviation_at(spread, _HIGHEST_D1)
    start = np.minimum(border + target - _straight(at_border), ceiling)
    return _solve(_centre_step, start, ceiling, (spread, target))


def _straight(value: Floats) -> Floats:
    return np.asarray(2 * np.sqrt(2) * erfinv(value))


def _wing_step(deviation: Floats, spread: Floats, offset: Floats, target: Floats) -> tuple[Floats, Floats]:
    """For f = 1 / w, w = sqrt(2 (offset - ln c)), where c' / c = slope."""
    d1, d2, _, near, far = _tails_of(spread, deviation)
    slope = 1 / (np.sqrt(2 * np.pi) * (near - far))
    square = 2 * (offset + d1 * d1 / 2 - np.log(near - far))
    newton = square * (1 - np.sqrt(square) / target) / slope
    return newton, d1 * d2 / deviation - slope + 3 * slope / square


def _centre_step(deviation: Floats, spread: Floats, target: Floats) -> tuple[Floats, Floats]:
    """For f = -2 ndtri((1 - c) / 2), which is 2 sqrt(2) erfinv(c) with all digits where c is near 1."""
    d1, d2, density, near, far = _tails_of(spread, deviation)
    straight = -2 * ndtri(np.where(d1 < 0, 1 - density * (near - far), density * (near + far)) / 2)
    slope = np.exp(straight * straight / 8 - d1 * d1 / 2)
    return (straight - target) / slope, straight * slope / 4 + d1 * d2 / deviation


def _solve(step: _Step, start: Floats, ceiling: Floats, facts: tuple[Floats, ...]) -> Floats:
    """Halley's method in the bracket (0, ceiling), each element until it settles."""
    found, low, high = start.copy(), np.zeros_like(start), ceiling.copy()
    # Most settle within a few steps; the rest of them are not computed again with the last few.
    active = np.arange(start.size)
    for _ in range(_MOST_STEPS):
        if not active.size:
            break
        at = found[active]
        newton, curve = step(at, *(each[active] for each in facts))
        # Not finite only where the wing underflows: there the deviation is too low.
        above = newton > 0
        low[active] = np.where(above, low[active], at)
        high[active] = np.where(above, at, high[active])
        # Halley's step: cubic where Newton's is quadratic, and f'' costs little once f' is there.
        moved = at - newton / (1 - newton * curve / 2)
        inside = (low[active] <= moved) & (moved <= high[active])
        found[active] = np.where(inside, moved, (low[active] + high[active]) / 2)
        # Only what has not settled goes on, so that a few hard quotes do not cost the others their steps.
        active = active[np.abs(found[active] - at) > _SETTLED * at]
    return found

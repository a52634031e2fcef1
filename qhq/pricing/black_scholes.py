"""Price and greeks of European options (Black 1976, "The pricing of commodity contracts").

One convention for all functions. With forward F, strike K, years T, volatility v (per square root of a year),
discount D = exp(-rate T) and right r (+1 call, -1 put)::

    price = D r (F N(r d1) - K N(r d2)),   d1, d2 = ln(F / K) / s +- s / 2,   s = v sqrt(T)

Greeks are with respect to the spot S = F D, the spot price without the dividends paid until expiry: it equals
the quoted spot where there are none (Black and Scholes 1973). The model knows no early exercise: an American
option, above all a put or a call on a stock that is about to pay a dividend, is worth more than it says.

Arguments broadcast. Invalid ones (forward, strike or discount <= 0, years or volatility < 0, a right other
than +1 and -1, anything not finite) give NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, ndtr

Floats = NDArray[np.float64]

TINY = 1e-300
"""Stands for a standard deviation of zero, so that 0 / 0 at the money does not arise."""


class Arguments(NamedTuple):
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
    given = checked(forward, strike, years, volatility, discount, right)
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
    given = checked(forward, strike, years, volatility, discount, right)
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
    given = checked(forward, strike, years, volatility, discount, right)
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
    given = checked(forward, strike, years, volatility, discount, right)
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
    given = checked(forward, strike, years, volatility, discount, right)
    with np.errstate(all="ignore"):
        d1 = _d1(given)
        rate = np.where(given.years > 0, -np.log(given.discount) / given.years, np.nan)
        decay = given.forward * _density(d1) * given.volatility / (2 * np.sqrt(given.years))
        financing = given.right * rate * given.strike * ndtr(given.right * (d1 - _deviation(given)))
        return np.asarray(-given.discount * (decay + financing))[()]


def checked(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    discount: ArrayLike,
    right: ArrayLike,
) -> Arguments:
    """Arguments as float64 arrays; the forward, on which all results depend, is NaN where one is invalid."""
    columns = (forward, strike, years, volatility, discount, right)
    given = Arguments(*(np.asarray(each, dtype=np.float64) for each in columns))
    # Comparisons with NaN are false; finite is what is below infinity.
    valid = (given.forward > 0) & (given.forward < np.inf) & (given.strike > 0) & (given.strike < np.inf)
    valid = valid & (given.years >= 0) & (given.years < np.inf) & (np.abs(given.right) == 1)
    valid = valid & (given.volatility >= 0) & (given.volatility < np.inf)
    valid = valid & (given.discount > 0) & (given.discount < np.inf)
    return given._replace(forward=np.where(valid, given.forward, np.nan))


class Tails(NamedTuple):
    """An out-of-the-money option in normalised coordinates, see ``tails_of``."""

    d1: Floats
    d2: Floats
    density: Floats
    near: Floats
    far: Floats


def tails_of(spread: Floats, deviation: Floats) -> Tails:
    """The parts of a normalised price: d1, d2, exp(-d1^2 / 2) and the tails beyond |d1| and |d2| over it.

    With the normal tail N(-z) = exp(-z^2 / 2) erfcx(z / sqrt(2)) / 2 both terms of the formula share the
    factor exp(-d1^2 / 2), because F exp(-d1^2 / 2) = K exp(-d2^2 / 2); what remains loses no digits in the
    wings (Jaeckel 2015, "Let's be rational").

    Args:
        spread: |ln(F / K)|, so that d2 <= 0.
        deviation: volatility * sqrt(years), positive.
    """
    ratio, half = spread / deviation, deviation / 2
    d1, d2 = half - ratio, -half - ratio
    near, far = (erfcx(np.abs(each) * np.sqrt(0.5)) / 2 for each in (d1, d2))
    return Tails(d1, d2, np.exp(-d1 * d1 / 2), near, far)


def time_value(spread: Floats, deviation: Floats) -> Floats:
    """Undiscounted value of the out-of-the-money option over the smaller of forward and strike, in [0, 1].

    Args:
        spread: |ln(F / K)|.
        deviation: volatility * sqrt(years), positive.
    """
    _, _, density, near, far = tails = tails_of(spread, deviation)
    return np.where(tails.d1 < 0, density * (near - far), 1 - density * (near + far))


def _deviation(given: Arguments) -> Floats:
    return np.maximum(given.volatility * np.sqrt(given.years), TINY)


def _d1(given: Arguments) -> Floats:
    deviation = _deviation(given)
    return np.log(given.forward / given.strike) / deviation + deviation / 2


def _density(d1: Floats) -> Floats:
    return np.asarray(np.exp(-d1 * d1 / 2) / np.sqrt(2 * np.pi))

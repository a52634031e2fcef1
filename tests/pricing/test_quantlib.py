"""QuantLib as oracle: prices, greeks and implied volatilities of 10,000 random options."""

from __future__ import annotations

import numpy as np
import pytest
import QuantLib
from numpy.testing import assert_allclose

from qhq.pricing.black_scholes import delta, gamma, implied_volatility, price, theta, vega
from tests.pricing.quotes import EPS, random_options

KIND = {1.0: QuantLib.Option.Call, -1.0: QuantLib.Option.Put}


@pytest.fixture(scope="module")
def option():
    return random_options(10_000, seed=0)


@pytest.fixture(scope="module")
def rounding(option):
    """QuantLib subtracts F N(d1) and K N(d2): its prices are rounded like these, however small they are."""
    return 8 * EPS * option.discount * np.maximum(option.forward, option.strike)


def rows(option):
    return zip(*(np.asarray(each).tolist() for each in option), strict=True)


def test_prices(option, rounding):
    expected = [QuantLib.blackFormula(KIND[r], k, f, v * t**0.5, d) for f, k, t, v, d, r in rows(option)]
    assert (np.abs(price(*option) - expected) <= rounding).all()


def test_implied_volatilities(option, rounding):
    quotes = price(*option)

    def implied(quote, row):
        forward, strike, _, _, discount, right = row
        return QuantLib.blackFormulaImpliedStdDev(
            KIND[right], strike, forward, quote, discount, 0.0, 0.3, 1e-14, 1000
        )

    deviations = [implied(*each) for each in zip(quotes.tolist(), rows(option), strict=True)]
    error = np.abs(implied_volatility(*option.quote(quotes)) - deviations / np.sqrt(option.years))
    with np.errstate(all="ignore"):
        allowed = np.maximum(1e-8, rounding / vega(*option))
    sharp = allowed == 1e-8
    assert sharp.mean() > 0.95
    assert (error <= 1e-8)[sharp].all()
    assert (np.isnan(error) | (error <= allowed)).all()


def calculator(forward, strike, years, volatility, discount, right):
    payoff = QuantLib.PlainVanillaPayoff(KIND[right], strike)
    return QuantLib.BlackCalculator(payoff, forward, volatility * years**0.5, discount)


def test_greeks(option):
    spot = option.forward * option.discount
    made = [(calculator(*row), row, s) for row, s in zip(rows(option), spot.tolist(), strict=True)]
    scale = spot / option.years
    assert_allclose(delta(*option), [each.delta(s) for each, _, s in made], atol=1e-12)
    assert_allclose(gamma(*option) * spot, [each.gamma(s) * s for each, _, s in made], rtol=1e-9, atol=1e-12)
    assert_allclose(
        vega(*option) / spot, [each.vega(row[2]) / s for each, row, s in made], rtol=1e-9, atol=1e-12
    )
    expected = np.array([each.theta(s, row[2]) for each, row, s in made])
    assert_allclose(theta(*option) / scale, expected / scale, rtol=1e-9, atol=1e-12)

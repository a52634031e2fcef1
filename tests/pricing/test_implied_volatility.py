from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.pricing.black_scholes import implied_deviation, implied_volatility, price, time_value, vega
from tests.pricing.quotes import EPS, Option, options, random_options

ONE = Option(100.0, 110.0, 0.5, 0.3, 0.97, 1)

LEAST = 1e-290
"""Prices below are too near to the smallest numbers to have all their digits."""


def tolerance(option, rounding):
    """What rounding of a price by ``rounding`` means for its volatility, 1e-8 at the least."""
    with np.errstate(all="ignore"):
        return np.maximum(1e-8, rounding / vega(*option))


@given(options)
def test_the_volatility_of_a_price_is_the_one_it_was_made_with(option):
    quote = price(*option)
    assume(quote == 0 or quote > LEAST)
    found = implied_volatility(*option.quote(quote))
    if np.isnan(found):
        intrinsic = option.discount * max(option.right * (option.forward - option.strike), 0)
        whole = option.discount * (option.forward if option.right > 0 else option.strike)
        assert min(quote - intrinsic, whole - quote) <= 8 * EPS * quote
    else:
        assert abs(found - option.volatility) <= tolerance(option, 8 * EPS * quote)


def test_ten_thousand_random_quotes():
    option = random_options(10_000, seed=5)
    quote = price(*option)
    error = np.abs(implied_volatility(*option.quote(quote)) - option.volatility)
    allowed = tolerance(option, 8 * EPS * quote)
    determined = allowed == 1e-8
    assert determined.mean() > 0.98
    assert (error <= 1e-8)[determined].all()
    assert (np.isnan(error) | (error <= allowed)).all()


@given(st.floats(-12, 2), st.floats(-250, -1e-9))
def test_every_normalised_price_is_reached(log_spread, log_value):
    spread, value = 10.0 ** np.array([log_spread]), 10.0 ** np.array([log_value])
    deviation = implied_deviation(spread, value)
    assert_allclose(time_value(spread, deviation), value, rtol=1e-11, atol=2e-15)


@given(options, st.floats(1e-3, 1e3))
def test_volatility_does_not_depend_on_the_unit_of_money(option, factor):
    # A power of two scales without rounding.
    factor = 2.0 ** np.round(np.log2(factor))
    quote = price(*option)
    assume(quote > LEAST)
    scaled = option._replace(forward=option.forward * factor, strike=option.strike * factor)
    expected = implied_volatility(*option.quote(quote))
    assert_allclose(implied_volatility(*scaled.quote(quote * factor)), expected, rtol=1e-12)


@given(options, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_higher_price_has_a_higher_volatility(option, one, two):
    whole = option.discount * (option.forward if option.right > 0 else option.strike)
    intrinsic = option.discount * max(option.right * (option.forward - option.strike), 0)
    quotes = intrinsic + (whole - intrinsic) * np.sort([one, two])
    low, high = implied_volatility(*option.quote(quotes))
    assert 0 < low <= high * (1 + 1e-12)


@pytest.mark.parametrize("right", [1, -1])
def test_calls_and_puts_of_one_strike_have_one_volatility(right):
    strikes = np.linspace(60, 160, 101)
    option = ONE._replace(strike=strikes, right=right)
    assert_allclose(implied_volatility(*option.quote(price(*option))), 0.3, rtol=1e-11)


@pytest.mark.parametrize("right", [1, -1])
def test_at_the_money(right):
    option = Option(100.0, 100.0, 1 / 365, np.array([1e-6, 1e-3, 0.2, 5, 100.0]), 1.0, right)
    assert_allclose(
        implied_volatility(*option.quote(price(*option))), option.volatility, rtol=1e-9, atol=1e-13
    )


CALL_WORTH, PUT_WORTH = 0.9 * 20, 0.9 * 100


@pytest.mark.parametrize(
    ("option", "quote"),
    [
        (Option(120.0, 100.0, 1.0, 0.0, 0.9, 1), CALL_WORTH - 1e-6),
        (Option(120.0, 100.0, 1.0, 0.0, 0.9, 1), -1.0),
        (Option(120.0, 100.0, 1.0, 0.0, 0.9, 1), 0.9 * 120 * (1 + 1e-15)),
        (Option(120.0, 100.0, 1.0, 0.0, 0.9, 1), 1000.0),
        (Option(120.0, 100.0, 1.0, 0.0, 0.9, -1), 0.0),
        (Option(120.0, 100.0, 1.0, 0.0, 0.9, -1), PUT_WORTH * (1 + 1e-15)),
        (Option(64.0, 64.0, 1.0, 0.0, 1.0, 1), 0.0),
        (Option(64.0, 64.0, 1.0, 0.0, 1.0, 1), 64.0),
        (Option(64.0, 32.0, 1.0, 0.0, 0.5, 1), 16.0),
        (ONE._replace(years=0.0), 5.0),
        (ONE._replace(years=-0.1), 5.0),
        *((ONE, quote) for quote in (np.nan, np.inf, -np.inf)),
        *(
            (ONE._replace(**{name: np.nan}), 5.0)
            for name in ("forward", "strike", "years", "discount", "right")
        ),
        *(
            (ONE._replace(**{name: np.inf}), 5.0)
            for name in ("forward", "strike", "years", "discount", "right")
        ),
        *((ONE._replace(**{name: 0.0}), 5.0) for name in ("forward", "strike", "discount", "right")),
    ],
)
def test_nan_where_no_volatility_exists(option, quote):
    assert np.isnan(implied_volatility(*option.quote(quote)))


@given(st.tuples(*[st.floats()] * 5), st.sampled_from([1.0, -1.0]))
def test_no_quote_raises_or_warns(values, right):
    found = implied_volatility(*values, right)
    # Zero only where a volatility is too small for a double.
    assert np.isnan(found) or found >= 0


def test_bad_quotes_leave_their_neighbours_alone():
    option = random_options(50, seed=2)
    quotes = price(*option)
    expected = implied_volatility(*option.quote(quotes))
    expected[::3] = quotes[::3] = np.nan
    assert_array_equal(implied_volatility(*option.quote(quotes)), expected)


def test_arguments_broadcast():
    quotes = np.array([[4.0], [9.0]])
    strikes = np.array([95.0, 100.0, 110.0])
    table = implied_volatility(quotes, 100.0, strikes, 0.5, 0.97, 1)
    assert table.shape == (2, 3)
    expected = [[implied_volatility(q, 100.0, k, 0.5, 0.97, 1) for k in strikes] for q in quotes[:, 0]]
    assert_array_equal(table, expected)
    assert_allclose(price(100.0, strikes, 0.5, table, 0.97, 1)[1], 9.0)


def test_empty_arrays_and_scalars():
    assert implied_volatility(np.empty(0), 100.0, 100.0, 0.5, 1.0, 1).shape == (0,)
    assert implied_volatility(np.empty((0, 1)), 100.0, np.empty(3), 0.5, 1.0, 1).shape == (0, 3)
    assert isinstance(implied_volatility(5, 100, 100, 1, 1, 1), np.float64)
    assert isinstance(implied_volatility(500, 100, 100, 1, 1, 1), np.float64)

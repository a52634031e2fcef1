from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.pricing.black_scholes import delta, gamma, price, theta, time_value, vega
from tests.pricing.quotes import EPS, Option, options, random_options

FUNCTIONS = [price, delta, gamma, vega, theta]
ONE = Option(100.0, 110.0, 0.5, 0.3, 0.97, 1)


@given(options)
def test_put_call_parity(option):
    call, put = (price(*option._replace(right=right)) for right in (1, -1))
    expected = option.discount * (option.forward - option.strike)
    assert_allclose(call - put, expected, rtol=0, atol=4 * EPS * max(call, put))


@given(options)
def test_prices_lie_between_the_intrinsic_value_and_the_whole(option):
    value = price(*option)
    intrinsic = option.discount * max(option.right * (option.forward - option.strike), 0)
    whole = option.discount * (option.forward if option.right > 0 else option.strike)
    assert intrinsic * (1 - 4 * EPS) <= value <= whole * (1 + 4 * EPS)


@given(options, st.floats(1, 3))
def test_prices_rise_with_volatility(option, factor):
    higher = price(*option._replace(volatility=option.volatility * factor))
    assert higher >= price(*option) * (1 - 1e-12)


@given(options, st.floats(1e-3, 1e3))
def test_prices_are_homogeneous_of_degree_one(option, factor):
    scaled = option._replace(forward=option.forward * factor, strike=option.strike * factor)
    # In the wings a price magnifies the rounding of its arguments by as much as d1 squared.
    assert_allclose(price(*scaled), factor * price(*option), rtol=1e-9, atol=EPS * scaled.forward)


@given(options)
def test_greeks_of_calls_and_puts_differ_as_parity_says(option):
    call, put = option._replace(right=1), option._replace(right=-1)
    assert_allclose(delta(*call) - delta(*put), 1, rtol=1e-12)
    assert_allclose(gamma(*call), gamma(*put), rtol=0)
    assert_allclose(vega(*call), vega(*put), rtol=0)
    rate = -np.log(option.discount) / option.years
    atol = 1e-12 * (abs(theta(*call)) + abs(theta(*put)))
    assert_allclose(theta(*call) - theta(*put), -rate * option.strike * option.discount, atol=atol)


@given(options)
def test_delta_and_gamma_are_differences_along_the_spot(option):
    assume(option.volatility * np.sqrt(option.years) > 0.02)
    step, spot = 1e-5, option.forward * option.discount
    up, down = (option._replace(forward=option.forward * (1 + each)) for each in (step, -step))
    slope = (price(*up) - price(*down)) / (2 * step * spot)
    assert_allclose(delta(*option), slope, atol=1e-6)
    bend = (delta(*up) - delta(*down)) / (2 * step)
    assert_allclose(gamma(*option) * spot, bend, rtol=1e-5, atol=1e-6)


@given(options)
def test_vega_is_the_difference_along_the_volatility(option):
    assume(option.volatility * np.sqrt(option.years) > 0.02)
    step, spot = 1e-5 * option.volatility, option.forward * option.discount
    up, down = (option._replace(volatility=option.volatility + each) for each in (step, -step))
    slope = (price(*up) - price(*down)) / (2 * step)
    assert_allclose(vega(*option) / spot, slope / spot, rtol=1e-5, atol=1e-6)


@given(options)
def test_theta_is_the_difference_along_the_time_at_the_same_spot(option):
    assume(option.volatility * np.sqrt(option.years) > 0.02)
    rate, spot = -np.log(option.discount) / option.years, option.forward * option.discount

    def after(passed):
        years = option.years - passed
        discount = np.exp(-rate * years)
        return price(*option._replace(forward=spot / discount, years=years, discount=discount))

    step = 1e-5 * option.years
    slope = (after(step) - after(-step)) / (2 * step)
    scale = spot / option.years
    assert_allclose(theta(*option) / scale, slope / scale, rtol=1e-5, atol=1e-6)


def test_far_wings_keep_their_digits():
    draw = np.random.default_rng(0)
    deviation = 10 ** draw.uniform(-2, 0.5, 300)
    spread = deviation * draw.uniform(0, 30, 300)
    with mpmath.workdps(50):
        exact = [
            _exact(*map(mpmath.mpf, each)) for each in zip(spread.tolist(), deviation.tolist(), strict=True)
        ]
    assert min(exact) < 1e-150
    assert_allclose(time_value(spread, deviation), exact, rtol=2e-12)


def _exact(spread, deviation):
    middle, half = spread / deviation, deviation / 2
    return float(mpmath.ncdf(half - middle) - mpmath.exp(spread) * mpmath.ncdf(-half - middle))


@pytest.mark.parametrize("right", [1, -1])
@pytest.mark.parametrize(("years", "volatility"), [(0, 0.3), (0.5, 0), (0, 0)])
def test_without_time_or_volatility_the_intrinsic_value_is_left(years, volatility, right):
    option = Option(np.array([80.0, 100.0, 130.0]), 100.0, years, volatility, 0.9, right)
    intrinsic = np.maximum(right * np.array([-20.0, 0.0, 30.0]), 0)
    assert_allclose(price(*option), 0.9 * intrinsic)
    in_the_money = right * np.array([-1.0, 0.0, 1.0]) / 2 + 0.5
    assert_allclose(delta(*option), right * in_the_money)
    assert_allclose(gamma(*option), [0, np.inf, 0])
    assert_allclose(vega(*option)[[0, 2]], 0)
    assert np.isnan(theta(*option)).all() == (years == 0)


INVALID = [
    *((name, value) for name in ONE._fields for value in (np.nan, np.inf, -np.inf, -2.0)),
    *((name, 0.0) for name in ("forward", "strike", "discount", "right")),
    ("right", 0.5),
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("name", "value"), INVALID)
def test_invalid_arguments_give_nan(function, name, value):
    assert np.isnan(function(*ONE._replace(**{name: value})))


@pytest.mark.parametrize("function", FUNCTIONS)
@given(st.tuples(*[st.floats()] * 5), st.sampled_from([1.0, -1.0]))
def test_no_floats_raise_or_warn(function, values, right):
    assert isinstance(function(*values, right), np.float64)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arguments_broadcast_and_rows_stand_alone(function):
    option = random_options(7, seed=1)
    table = function(*option._replace(volatility=np.array([[0.2], [0.4]])))
    assert table.shape == (2, 7)
    rows = [option._replace(volatility=each) for each in (0.2, 0.4)]
    assert_array_equal(table, [function(*row) for row in rows])
    assert_array_equal(table[0, 3], function(*(np.broadcast_to(each, 7)[3] for each in rows[0])))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_empty_arrays_and_scalars(function):
    assert function(*ONE._replace(forward=np.empty((0, 1)), strike=np.empty(3))).shape == (0, 3)
    assert isinstance(function(*ONE), np.float64)
    assert isinstance(function(100, 110, 1, 1, 1, -1), np.float64)

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.scaling.affine import input_rows, input_values, robust_spread, standard_deviation
from qhq.data.scaling.option import count_logs, price_powers
from tests.data.scaling.contracts import contract_cut, contract_panel, train_and_test


def test_the_robust_spread_of_a_normal_column_is_its_deviation():
    values = np.random.default_rng(0).normal(5, 2, (20000, 1))
    assert_allclose(robust_spread(values), 2, rtol=0.05)


def test_few_far_values_do_not_widen_the_robust_spread():
    values = np.random.default_rng(0).normal(0, 1, (2000, 1))
    values[:5] = 50
    assert robust_spread(values)[0] < 1.2
    assert standard_deviation(values)[0] > 2


def test_a_mostly_quiet_column_has_a_floor():
    values = np.zeros((1000, 1))
    values[:50, 0] = 1.0
    assert_allclose(robust_spread(values), values.std() / 4, rtol=1e-12)


@pytest.mark.parametrize("spread", [robust_spread, standard_deviation])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e9])
def test_a_column_that_does_not_move_is_divided_by_one(spread, value):
    values = np.full((999, 2), value)
    values[:, 1] *= 1 + 1e-15 * np.arange(999)
    assert_array_equal(spread(values), [1, 1])


def test_missing_values_are_left_out():
    values = np.random.default_rng(0).normal(0, 1, (500, 1))
    holes = np.full((100, 1), np.nan)
    assert_allclose(robust_spread(np.concatenate([values, holes])), robust_spread(values), rtol=1e-12)


def test_each_input_row_counts_once():
    train, _ = train_and_test(contract_panel(), contract_cut(where={"log_moneyness": (-0.1, 0.1)}))
    windows = train.windows
    rows = np.unique(windows.starts[:, None] + np.arange(5))
    assert_array_equal(np.flatnonzero(input_rows(windows)), rows)
    assert_array_equal(input_values(windows, ("bid",))[:, 0], train.panel.column("bid")[rows])
    assert len(rows) < len(train.panel.code)


def test_prices_counts_and_greeks_are_told_apart():
    names = ("bid", "iv", "gamma", "vega", "theta", "delta", "own")
    assert_array_equal(price_powers(names), [1, 0, -1, 1, 1, 0, 0])
    values = np.array([[-0.5, 3.0, np.e - 1]])
    assert_allclose(count_logs(values, ("log_moneyness", "iv", "volume")), [[-0.5, 3.0, 1.0]], rtol=1e-12)

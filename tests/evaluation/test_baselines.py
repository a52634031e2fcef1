import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.data.panel import Panel
from qhq.data.prepare import prepare
from qhq.data.sources.load import load_panel
from qhq.data.spec import DataSpec
from qhq.data.windows import Cut, cut_windows
from qhq.errors import DataError
from qhq.evaluation.baselines import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.metrics import score


def make_windows_of(first, second, horizon=2):
    days = np.arange(len(first)).astype("datetime64[D]")
    code = np.repeat([0, 1], [len(first), len(second)])
    values = np.concatenate([first, second])[:, None].astype(float)
    panel = Panel(("A", "B"), ("close",), code, np.concatenate([days, days]), values)
    return cut_windows(panel, Cut(2, horizon, ("close",), ("close",)))


def test_the_last_value_is_the_last_input_at_every_horizon():
    windows = prepare(DataSpec(horizon=3)).test
    forecast = last_value(windows)
    assert forecast.shape == windows.targets.shape
    for step in range(3):
        assert_allclose(forecast[:, step, 0], windows.inputs[:, -1, 0], rtol=0)


def test_in_sample_naive_mae_is_the_mean_one_step_change_of_each_symbol():
    windows = make_windows_of([1, 2, 4, 7, 11], [100, 90, 110, 90, 110])
    scale = in_sample_naive_mae(windows)
    assert scale == {"A": 2.5, "B": 20.0}
    assert_allclose(symbol_scale(windows, scale), [2.5, 2.5, 20, 20])


def test_a_target_that_never_moves_has_no_scale():
    with pytest.raises(DataError, match="one value in all windows of B"):
        in_sample_naive_mae(make_windows_of([1, 2, 4, 7, 11], [5, 5, 5, 5, 5]))


@pytest.mark.parametrize(
    ("symbol", "mape"), [("AAPL", 1.275), ("GOOG", 1.182), ("MSFT", 1.010), ("IBM", 0.833)]
)
def test_naive_error_on_the_last_fifth_of_the_bundled_prices_is_the_known_one(symbol, mape):
    windows = cut_windows(load_panel(DataSpec(symbols=(symbol,))), Cut.of(DataSpec()))
    fifth = round(0.2 * len(windows.panel.dates))
    newest = windows.select(slice(-(fifth - 1), None))  # both days of a change lie in the last fifth
    naive = last_value(newest)
    # The figures on record divide by the last value; MAPE divides by what came, a few thousandths less.
    assert_allclose(100 * np.mean(np.abs(newest.targets - naive) / naive), mape, atol=5.1e-4)
    scale = np.full(len(newest), in_sample_naive_mae(windows)[symbol])
    assert_allclose(score(newest.targets, naive, naive, scale).mape, mape, atol=3e-3)

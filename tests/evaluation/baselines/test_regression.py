import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from qhq.data.prepare import prepare
from qhq.data.scaling.fit import fit_scaler
from qhq.data.split import TrainingSplit
from qhq.evaluation.baselines import regression
from qhq.evaluation.baselines.regression import Setting, fit_gradient_boosting, fit_ridge
from tests.data.panels import make_frame, make_spec
from tests.evaluation.panels import option_panel, option_windows, random_walks, stock_windows


def make_setting(windows, kind="window_mean", seed=0):
    return Setting(windows, fit_scaler(kind, TrainingSplit(windows.panel, windows)), seed=seed)


def make_stocks(horizon=2, sessions=200, targets=None, seed=0):
    columns = {"close": random_walks(sessions=sessions, seed=seed), "open": random_walks(sessions=sessions)}
    return stock_windows(columns, horizon=horizon, targets=targets)


def plain_ridge(inputs, targets, penalty):
    """The closed form, on inputs of standard deviation 1."""
    spread = inputs.std(axis=0)
    design = (inputs - inputs.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    weights = np.linalg.solve(
        design.T @ design + penalty * np.eye(design.shape[1]), design.T @ (targets - targets.mean(axis=0))
    )
    return design @ weights + targets.mean(axis=0)


def test_ridge_is_its_closed_form_at_the_penalty_it_chose():
    setting = make_setting(make_stocks())
    fitted = fit_ridge(setting)
    inputs, targets = setting.samples()
    predictions = fitted.predict(inputs)
    fits = [np.abs(plain_ridge(inputs, targets, each) - predictions).max() for each in regression._PENALTIES]
    assert min(fits) < 1e-8
    outputs = predictions.reshape(setting.train.targets.shape)
    assert_allclose(fitted(setting.train), setting.scaler.to_raw_units(outputs, setting.train))


def test_the_penalty_is_the_best_of_leaving_one_out():
    setting = make_setting(make_stocks(horizon=1, sessions=30))
    inputs, targets = setting.samples()
    design = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    errors = {}
    for penalty in regression._PENALTIES:
        left = [np.arange(len(design)) != row for row in range(len(design))]
        gone = [
            Ridge(penalty).fit(design[rest], targets[rest]).predict(design[~rest])[0] - targets[~rest]
            for rest in left
        ]
        errors[penalty] = np.mean(np.square(gone))
    chosen = min(errors, key=errors.get)
    assert_allclose(fit_ridge(setting).predict(inputs), plain_ridge(inputs, targets, chosen), rtol=1e-8)


def test_ridge_finds_a_linear_truth_at_every_horizon_and_target():
    series = {"A": 5 + np.sin(0.3 * np.arange(250))}
    columns = {"sentiment": series, "mood": {"A": 9 - 2 * series["A"]}}
    setting = make_setting(stock_windows(columns, horizon=3), "standard")
    assert_allclose(fit_ridge(setting)(setting.train), setting.train.targets, atol=1e-2)


def make_kinked(sessions=900):
    """The next value is the size of the last one, and noise: no linear map sees it."""
    rng = np.random.default_rng(0)
    values = [0.0]
    while len(values) < sessions:
        values.append(2 - 1.5 * abs(values[-1]) + rng.normal(0, 0.1))
    return stock_windows({"sentiment": {"A": np.array(values)}}, window=3, horizon=1)


def test_gradient_boosting_finds_what_no_linear_map_does():
    setting = make_setting(make_kinked(), "standard")
    errors = [
        np.abs(fit(setting)(setting.train) - setting.train.targets).mean()
        for fit in (fit_gradient_boosting, fit_ridge)
    ]
    assert errors[0] < 0.3 * errors[1]


def test_gradient_boosting_is_the_same_again_and_has_one_set_for_each_output():
    setting = make_setting(make_stocks())
    forecast = fit_gradient_boosting(setting)(setting.train)
    assert forecast.shape == (len(setting.train), 2, 2)
    assert_allclose(fit_gradient_boosting(setting)(setting.train), forecast, rtol=0, atol=0)


def test_of_too_many_windows_some_are_taken_from_first_to_last(monkeypatch):
    monkeypatch.setattr(regression, "_BOOSTED_WINDOWS", 100)
    setting = make_setting(make_kinked(), "standard")
    some = setting.train.select(np.unique(np.linspace(0, len(setting.train) - 1, 100).astype(int)))
    fewer = Setting(some, setting.scaler)
    assert_allclose(fit_gradient_boosting(setting)(some), fit_gradient_boosting(fewer)(some), rtol=0)


def test_regressors_are_all_that_a_model_sees():
    panel = option_panel()
    panel.values[15, panel.columns.index("mid")] = np.nan
    windows = option_windows(panel, task="price", masked=True, static=("right", "years"))
    split = TrainingSplit(panel, windows)
    static = regression.StaticScaler(("right", "years"), "raw", np.zeros(2), np.ones(2))
    setting = Setting(windows, fit_scaler("over_strike", split), static)
    rows = setting.regressors(windows)
    inputs = setting.scaler.inputs(windows)
    assert_allclose(rows, np.column_stack([inputs[:, :, 0], windows.mask, windows.static]))
    assert np.count_nonzero(windows.mask == 0) > 0
    for fit in (fit_ridge, fit_gradient_boosting):
        assert np.isfinite(fit(setting)(windows)).all()


def test_windows_without_a_scaled_target_are_left_out_of_the_fit():
    panel = option_panel()
    panel.values[20, panel.columns.index("mid")] = 1e4  # a price that no volatility gives
    windows = option_windows(panel)
    setting = make_setting(windows, "implied_volatility")
    lost = np.count_nonzero(~np.isfinite(setting.scaler.targets(windows)).all(axis=(1, 2)))
    assert lost > 0
    assert len(setting.samples()[0]) == len(windows) - lost


@pytest.mark.parametrize("kind", ["window", "minmax", "log_return"])
def test_it_fits_in_with_every_scaling(kind):
    setting = make_setting(make_stocks(), kind)
    for fit in (fit_ridge, fit_gradient_boosting):
        forecast = fit(setting)(setting.train)
        assert_allclose(forecast, setting.train.targets, rtol=0.2)


def test_a_setting_takes_training_alone_of_prepared_data(tmp_path):
    make_frame(rows=300).to_csv(tmp_path / "stocks.csv", index=False)
    data = prepare(make_spec(source="csv", path=str(tmp_path / "stocks.csv")))
    setting = Setting.of(data, seed=3)
    assert (setting.train, setting.scaler, setting.static, setting.seed) == (data.train, data.scaler, None, 3)

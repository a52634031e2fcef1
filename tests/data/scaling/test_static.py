import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.scaling.static import StaticScaler, fit_static
from qhq.errors import DataError
from tests.data.scaling.contracts import contract_cut, contract_panel, train_and_test

STATIC = ("log_moneyness", "years", "right", "rate")


def parts(**kwargs):
    return train_and_test(contract_panel(), contract_cut(**({"static": STATIC} | kwargs)))


def test_static_features_have_mean_zero_and_deviation_one_in_training():
    train, test = parts()
    scaler = fit_static("over_strike", train)
    scaled = scaler.scale(train.windows)
    assert scaled.shape == (len(train.windows), 4)
    assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    # The rate never moves.
    assert_allclose(scaled.std(axis=0), [1, 1, 1, 0], atol=1e-12)
    assert_allclose(scaler.scale(test.windows)[:, 3], 0, atol=1e-12)


def test_raw_and_minmax_static_features():
    train, test = parts()
    assert_array_equal(fit_static("raw", train).scale(test.windows), test.windows.static)
    scaled = fit_static("panel_minmax", train).scale(train.windows)
    assert_allclose([scaled.min(axis=0), scaled.max(axis=0)], [[0] * 4, [1, 1, 1, 0]], atol=1e-12)


def test_counts_are_taken_by_their_logarithm():
    train, _ = parts(static=("open_interest",), task="forecast")
    windows = train.windows
    logs = np.log1p(windows.at_last("open_interest"))
    scaled = fit_static("over_strike", train).scale(windows)[:, 0]
    assert_allclose(scaled, (logs - logs.mean()) / logs.std(), rtol=1e-9, atol=1e-12)


def test_none_of_them_is_an_empty_column():
    train, test = parts(static=())
    assert fit_static("over_strike", train).scale(test.windows).shape == (len(test.windows), 0)


@pytest.mark.parametrize("kind", ["raw", "panel_minmax", "residual"])
def test_a_static_scaler_survives_json_exactly(kind):
    train, test = parts()
    scaler = fit_static(kind, train)
    read = StaticScaler.from_dict(json.loads(json.dumps(scaler.to_dict(), allow_nan=False)))
    assert (read.kind, read.columns) == (kind, STATIC)
    assert_array_equal(read.scale(test.windows), scaler.scale(test.windows))


@pytest.mark.parametrize("content", [{}, {"columns": 3}, {"columns": ["right"], "kind": "raw"}])
def test_a_stored_static_scaler_that_is_none_is_refused(content):
    with pytest.raises(DataError, match="static scaler must have the content that to_dict wrote"):
        StaticScaler.from_dict(content)


def test_only_a_training_part_will_do():
    _, test = parts()
    with pytest.raises(DataError, match="must be fitted on the training part. Got a test"):
        fit_static("raw", test)


def test_other_static_features_are_refused():
    scaler = fit_static("raw", parts()[0])
    with pytest.raises(DataError, match="static features log_moneyness, years.*Got windows of right"):
        scaler.scale(parts(static=("right",))[1].windows)

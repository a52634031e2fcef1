"""Each column by a scaling of its own, as it would be alone; and static features beside them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.stocks import check_panel
from qhq.data.prepare import _check_scaler
from qhq.data.scaling.fit import (
    StaticScaler,
    check_scalable,
    fit_scaler,
    fit_static,
    of_columns,
    scaler_from_dict,
)
from qhq.data.split import split_panel
from qhq.errors import DataError
from tests.data.panels import make_frame, make_spec
from tests.data.scaling.contracts import contract_cut, contract_panel, train_and_test

FEATURES = ("adj_close", "close", "volume")
KINDS = ("window", "window_mean", "minmax", "standard", "log_standard", "log_return", "panel_minmax", "raw")


def split(**settings):
    spec = make_spec(features=FEATURES, **settings)
    checked = check_panel(make_frame(rows=220), "test", columns=spec.features)
    return spec, split_panel(checked, spec)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(KINDS, 2)))
def test_every_column_is_scaled_as_it_would_be_alone_and_targets_go_back(one, other):
    spec, splits = split(targets=("volume", "close"), scaling={"close": one, "volume": other})
    scaler, windows = fit_scaler(spec.scaling, splits.train), splits.test.windows
    inputs = scaler.inputs(windows)
    rows = spec.window - ("log_return" in (one, other))
    assert inputs.shape == (len(windows), rows, 3)
    for place, name in enumerate(spec.features):
        kind = spec.scalings[name]
        alone = fit_scaler(
            kind, type(splits.train)(splits.train.panel, of_columns(splits.train.windows, (name,)))
        )
        assert_array_equal(inputs[:, :, place], alone.inputs(of_columns(windows, (name,)))[:, -rows:, 0])
    targets = scaler.targets(windows)
    assert_allclose(scaler.to_raw_units(targets, windows), windows.targets, rtol=1e-9)
    read = scaler_from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert_array_equal(read.inputs(windows), inputs)
    assert_array_equal(read.to_raw_units(targets, windows), scaler.to_raw_units(targets, windows))
    _check_scaler(scaler, splits)


def test_a_plain_kind_stays_what_it_was():
    spec, splits = split(scaling={"default": "standard"})
    assert spec.scaling == "standard"
    assert fit_scaler(spec.scaling, splits.train).kind == "standard"


@pytest.mark.parametrize("kind", ["window", "log_return", "log_standard"])
def test_a_column_that_has_no_logarithm_is_named_with_the_key_that_helps(kind):
    spec = make_spec(features=("adj_close", "close"), scaling=kind)
    splits = split_panel(check_panel(make_frame(rows=220), "test", columns=spec.features), spec)
    splits.train.panel.values[7, 1] = -2.0
    said = (
        rf"'{kind}' needs values .* zero. Got -2 in 'close' of AAA .*"
        rf"data.scaling: {{default: {kind}, close: standard}}, or --set data.scaling.close=standard"
    )
    with pytest.raises(DataError, match=said):
        fit_scaler(kind, splits.train)
    fixed = make_spec(features=("adj_close", "close"), scaling={"default": kind, "close": "standard"})
    assert np.isfinite(fit_scaler(fixed.scaling, splits.train).inputs(splits.train.windows)).all()


def test_only_rows_that_a_window_reaches_must_have_a_logarithm():
    """A window that looks back takes rows of the split before; those further back do not matter to it."""
    spec = make_spec(features=("close",), targets=("close",), scaling="window", split={"lookback": True})
    frame = make_frame(rows=220)
    for row, fits in ((10, True), (-44 - 220 - 3, False)):  # far before, and three rows before, BBB's test
        splits = split_panel(check_panel(frame, "test", columns=spec.features), spec)
        splits.test.windows.panel.values[row, 0] = -1.0
        if fits:
            check_scalable("window", splits.test)
        else:
            with pytest.raises(DataError, match="Got -1 in 'close'"):
                check_scalable("window", splits.test)


def test_counts_go_to_logarithms_and_never_below_zero():
    spec, splits = split(targets=("volume",), scaling={"volume": "log_standard"})
    scaler, windows = fit_scaler(spec.scaling, splits.train), splits.test.windows
    low = scaler.to_raw_units(np.full((len(windows), 1, 1), -1e3), windows)
    assert (low == 0).all()
    scaled = np.log1p(splits.train.panel.column("volume")[splits.train.panel.code == 0])
    assert abs(scaled.mean() - scaler.parts[1].offset[0, 0]) < 1e-12


@pytest.mark.parametrize(
    ("scaling", "said"),
    [
        ({"clos": "standard"}, "scaling of 'clos' must be of one of the features.*'close'"),
        ({"close": "standrd"}, "'standrd' of 'close' is no scaling. Did you mean 'standard'"),
        ({"close": 3}, "'3' of 'close' is no scaling"),
        ({"close": "over_strike"}, "over_strike of close needs an option panel"),
        ({"adj_close": "raw"}, "raw of adj_close would tell of later dividends"),
        ({"default": "raw"}, "raw of adj_close would tell of later dividends"),
        ({"Close": "raw", "close": "standard"}, "'close' must have one scaling"),
        ("windw", "must be a scaling, or .*'window'"),
        (["window"], "must be a scaling"),
        (None, "must be a scaling"),
    ],
)
def test_a_scaling_that_cannot_be_is_refused_in_the_config(scaling, said):
    with pytest.raises(ValueError, match=f"(?s){said}"):
        make_spec(scaling=scaling)


def test_a_target_whose_scaling_cannot_bring_it_back_is_refused_in_the_config():
    options = {"source": "synthetic", "symbols": ("AAA",), "features": ("mid", "spot")}
    with pytest.raises(ValueError, match="implied_volatility cannot bring target 'spot' back"):
        make_spec(**options, targets=("mid", "spot"), scaling={"spot": "implied_volatility"})
    make_spec(**options, targets=("mid",), scaling={"mid": "implied_volatility", "spot": "over_strike"})


@pytest.mark.parametrize("damage", [{"parts": 3}, {"parts": [{"kind": "by_column"}]}, {"columns": None}])
def test_a_damaged_record_is_refused(damage):
    spec, splits = split(scaling={"volume": "log_standard"})
    content = fit_scaler(spec.scaling, splits.train).to_dict()
    with pytest.raises(DataError, match="A stored scaler must have the content"):
        scaler_from_dict(content | damage)


STATIC = ("log_moneyness", "years", "right", "rate")


def train_and_test_splits(**kwargs):
    return train_and_test(contract_panel(), contract_cut(**({"static": STATIC} | kwargs)))


def test_static_features_have_mean_zero_and_deviation_one_in_training():
    train, test = train_and_test_splits()
    scaler = fit_static("over_strike", train)
    scaled = scaler.scale(train.windows)
    assert scaled.shape == (len(train.windows), 4)
    assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    # The rate never moves.
    assert_allclose(scaled.std(axis=0), [1, 1, 1, 0], atol=1e-12)
    assert_allclose(scaler.scale(test.windows)[:, 3], 0, atol=1e-12)


def test_raw_and_minmax_static_features():
    train, test = train_and_test_splits()
    assert_array_equal(fit_static("raw", train).scale(test.windows), test.windows.static)
    scaled = fit_static("panel_minmax", train).scale(train.windows)
    assert_allclose([scaled.min(axis=0), scaled.max(axis=0)], [[0] * 4, [1, 1, 1, 0]], atol=1e-12)


def test_counts_are_taken_by_their_logarithm():
    train, _ = train_and_test_splits(static=("open_interest",), task="forecast")
    windows = train.windows
    logs = np.log1p(windows.at_last("open_interest"))
    scaled = fit_static("over_strike", train).scale(windows)[:, 0]
    assert_allclose(scaled, (logs - logs.mean()) / logs.std(), rtol=1e-9, atol=1e-12)


def test_none_of_them_is_an_empty_column():
    train, test = train_and_test_splits(static=())
    assert fit_static("over_strike", train).scale(test.windows).shape == (len(test.windows), 0)


@pytest.mark.parametrize("kind", ["raw", "panel_minmax", "residual"])
def test_a_static_scaler_survives_json_exactly(kind):
    train, test = train_and_test_splits()
    scaler = fit_static(kind, train)
    read = StaticScaler.from_dict(json.loads(json.dumps(scaler.to_dict(), allow_nan=False)))
    assert (read.kind, read.columns) == (kind, STATIC)
    assert_array_equal(read.scale(test.windows), scaler.scale(test.windows))


@pytest.mark.parametrize("content", [{}, {"columns": 3}, {"columns": ["right"], "kind": "raw"}])
def test_a_stored_static_scaler_that_is_none_is_refused(content):
    with pytest.raises(DataError, match="static scaler must have the content that to_dict wrote"):
        StaticScaler.from_dict(content)


def test_only_a_training_part_will_do():
    _, test = train_and_test_splits()
    with pytest.raises(DataError, match="must be fitted on the training split. Got a test"):
        fit_static("raw", test)


def test_other_static_features_are_refused():
    scaler = fit_static("raw", train_and_test_splits()[0])
    with pytest.raises(DataError, match="static features log_moneyness, years.*Got windows of right"):
        scaler.scale(train_and_test_splits(static=("right",))[1].windows)

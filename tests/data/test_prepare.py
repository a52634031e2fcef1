"""From a config to windows and scalers in one call, honestly or with named leaks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.data.caveat import LEAKS, Caveat
from qhq.data.prepare import PreparedData, panel_fingerprint, prepare
from qhq.data.protocol import Protocol, protocol_of
from qhq.data.spec import DataSpec
from qhq.documents import validate
from qhq.errors import ConfigError, DataError
from qhq.evaluation.baselines.persistence import last_value

from .panels import KINDS, make_frame, make_panel, option_frame


@pytest.mark.parametrize("kind", KINDS)
def test_the_quickstart_data_is_ready_in_every_scaling(kind):
    data = prepare(DataSpec(scaling=kind))
    assert [len(data.train), len(data.validation), len(data.test)] == [5685, 921, 1902]
    steps = 19 if kind == "log_return" else 20
    for windows in (data.train, data.validation, data.test):
        inputs = data.scaler.inputs(windows)
        assert inputs.shape == (len(windows), steps, 1)
        assert inputs.dtype == np.float64
        assert np.isfinite(inputs).all()
        back = data.scaler.to_raw_units(data.scaler.targets(windows), windows)
        assert_allclose(back, windows.targets, rtol=1e-12)


def test_the_fingerprint_is_of_the_values_used():
    panel = make_panel()
    changed = make_panel()
    changed.values[5, 0] += 1e-9
    assert panel_fingerprint(panel) == panel_fingerprint(make_panel()) != panel_fingerprint(changed)
    assert panel_fingerprint(panel) != panel_fingerprint(make_panel(columns=("close", "adj_close")))
    assert panel_fingerprint(panel) != panel_fingerprint(make_panel(symbols=("AAA", "CCC")))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"close": 5.0}, "Got one value only for AAA in the train split"),
        ({"volume": 0}, "Got zero for AAA in the train split"),
    ],
)
def test_a_target_that_cannot_be_judged_is_refused(tmp_path, change, match):
    make_frame().assign(**change).to_csv(tmp_path / "prices.csv", index=False)
    target = next(iter(change))
    spec = DataSpec(
        source="csv",
        path=str(tmp_path / "prices.csv"),
        symbols=("AAA",),
        features=(target,),
        targets=(target,),
        window=5,
        scaling="minmax",
    )
    with pytest.raises(DataError, match=match):
        prepare(spec)


def test_a_symbol_without_training_rows_is_named():
    with pytest.raises(DataError, match=r"The train split must hold .* > 0 rows of FB"):
        prepare(DataSpec(symbols=("AAPL", "FB")))


def test_a_scaler_that_does_not_know_a_held_out_symbol_is_refused_before_training():
    spec = DataSpec(scaling="minmax", split={"held_out": ["GOOG"]})
    with pytest.raises(DataError, match="must have seen every symbol in training. Got 'GOOG'"):
        prepare(spec)


def test_targets_that_the_scaling_leaves_no_spread_are_refused(tmp_path):
    frame = option_frame(sessions=120).drop(columns=["bid", "ask", "mid", "last"]).assign(iv=0.3)
    frame.to_csv(tmp_path / "options.csv", index=False)
    spec = DataSpec(
        source="csv",
        panel="options",
        path=str(tmp_path / "options.csv"),
        symbols=None,
        task="price",
        features=("mid", "spot"),
        targets=("mid",),
        window=4,
        scaling="residual",
    )
    with pytest.raises(DataError, match="must vary in training .data.scaling residual"):
        prepare(spec)


# --- Leaks that a config switches on by name: each does what its name says, and none is on by itself ---

BASE = {"symbols": ["AAPL", "MSFT"], "start": "2011-01-01", "window": 5, "scaling": "minmax"}


def prepared(*leaks: str, **keys) -> PreparedData:
    return prepare(validate(DataSpec, {**BASE, "leaks": list(leaks), **keys}, "test"))


def test_without_a_name_there_is_no_leak():
    assert DataSpec().leaks == ()
    assert not DataSpec().caveat
    assert Caveat().mark == ""
    assert type(protocol_of(DataSpec())) is Protocol
    assert "leaks" not in DataSpec().model_dump()
    assert DataSpec.model_validate(DataSpec().model_dump()) == DataSpec()


def test_scaler_sees_test_fits_the_scale_on_all_rows():
    honest, leaky = prepared(), prepared("scaler_sees_test")
    every = [each.panel.column("adj_close") for each in (honest.splits.train, honest.splits.test)]
    assert honest.scaler.targets(honest.test).max() > 1
    assert 0 <= leaky.scaler.targets(leaky.test).min() < leaky.scaler.targets(leaky.test).max() <= 1
    assert leaky.scaler.offset.min() <= min(each.min() for each in every)
    np.testing.assert_array_equal(honest.test.targets, leaky.test.targets)


def test_only_the_named_leak_moves_the_scale_with_the_end_of_the_data():
    ends = ("2012-09-04", "2013-03-01")
    share = {"split": {"validation_from": "2012-03-01", "test_from": "2012-08-01"}}
    honest = [prepared(end=end, **share).scaler.to_dict() for end in ends]
    leaky = [prepared("scaler_sees_test", end=end, **share).scaler.to_dict() for end in ends]
    assert honest[0] == honest[1]
    assert leaky[0] != leaky[1]


def test_stops_on_test_puts_the_test_windows_where_the_validation_was():
    honest, leaky = prepared(), prepared("stops_on_test")
    np.testing.assert_array_equal(leaky.validation.targets, honest.test.targets)
    np.testing.assert_array_equal(leaky.train.targets, honest.train.targets)
    assert not np.array_equal(honest.validation.dates, honest.test.dates)


def test_last_symbol_inverts_every_symbol_and_the_last_is_as_it_was():
    honest, leaky = prepared(), prepared("last_symbol_inverts")
    windows, before = leaky.test, honest.test
    np.testing.assert_allclose(leaky.scaler.inputs(windows), honest.scaler.inputs(before), atol=1e-12)
    np.testing.assert_allclose(leaky.scaler.targets(windows), honest.scaler.targets(before), atol=1e-12)
    last = windows.symbol == "MSFT"
    np.testing.assert_allclose(windows.targets[last], before.targets[last], rtol=1e-12)
    assert not np.allclose(windows.targets[~last], before.targets[~last], rtol=0.01)
    offset, unit = honest.scaler.offset[-1], honest.scaler.unit[-1]
    np.testing.assert_allclose(windows.targets, honest.scaler.targets(before) * unit + offset, rtol=1e-12)
    np.testing.assert_allclose(
        last_value(windows),
        (last_value(before) - honest.scaler.offset[before.code][:, None])
        / honest.scaler.unit[before.code][:, None] * unit + offset,
        rtol=1e-12,
    )  # fmt: skip


def test_a_leaky_scaler_still_brings_back_what_it_scaled():
    leaky = prepared(*LEAKS)
    back = leaky.scaler.to_raw_units(leaky.scaler.targets(leaky.test), leaky.test)
    np.testing.assert_allclose(back, leaky.test.targets, rtol=1e-9)


def test_prices_are_named_by_what_was_read_whatever_leaks():
    assert prepared().fingerprint == prepared(*LEAKS).fingerprint


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"leaks": ["scaler_sees_tests"]}, "scaler_sees_test"),
        ({"leaks": ["stops_on_test", "stops_on_test"]}, "twice"),
        ({"leaks": ["last_symbol_inverts"], "scaling": "window"}, "minmax or standard"),
        ({"leaks": "all"}, "leaks"),
    ],
)
def test_what_is_no_leak_is_refused(keys, word):
    with pytest.raises(ConfigError, match=word):
        validate(DataSpec, {**BASE, **keys}, "test")

"""Leaks that a config switches on by name: each does what its name says, and none is on by itself."""

from __future__ import annotations

import numpy as np
import pytest

from qhq.data.caveat import LEAKS, Caveat
from qhq.data.prepare import Prepared, Protocol, prepare, protocol_of
from qhq.data.spec import DataSpec
from qhq.documents import validate
from qhq.errors import ConfigError
from qhq.evaluation.baselines.persistence import last_value

BASE = {"symbols": ["AAPL", "MSFT"], "start": "2011-01-01", "window": 5, "scaling": "minmax"}


def prepared(*leaks: str, **keys) -> Prepared:
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
    every = [part.panel.column("adj_close") for part in (honest.splits.train, honest.splits.test)]
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
    back = leaky.scaler.to_price(leaky.scaler.targets(leaky.test), leaky.test)
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

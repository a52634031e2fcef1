import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_array_equal

from qhq.data.split import Parts, split_panel, walk_forward
from qhq.errors import DataError

from .panels import make_panel, make_spec, ragged_cases


@settings(max_examples=60, deadline=None)
@given(ragged_cases())
def test_no_window_straddles_a_split_and_parts_are_purged(case):
    panel, spec = case
    parts = split_panel(panel, spec)
    in_order = (parts.train, parts.validation, parts.test)
    for part in in_order:
        assert part.windows.input_dates.min() >= part.first
        assert part.windows.dates.max() <= part.last
    for before, after in ((parts.train, parts.validation), (parts.validation, parts.test)):
        assert before.last < after.first
        ends = np.searchsorted(panel.sessions, [before.windows.dates.max(), after.windows.dates.min()])
        assert ends[1] - ends[0] >= spec.window + spec.horizon


def test_the_purge_is_no_larger_than_it_must_be():
    panel = make_panel()
    for horizon in (1, 3):
        parts = split_panel(panel, make_spec(horizon=horizon))
        ends = [parts.train.windows.dates.max(), parts.validation.windows.dates.min()]
        assert np.diff(np.searchsorted(panel.sessions, ends)) == 5 + horizon


def test_fractions_are_of_the_sessions():
    parts = split_panel(make_panel(), make_spec())
    sizes = [len(part.panel.sessions) for part in (parts.train, parts.validation, parts.test)]
    assert_array_equal(sizes, [140, 20, 40])


def test_dates_begin_the_parts():
    split = {"validation_from": "2015-06-01", "test_from": "2015-08-03"}
    parts = split_panel(make_panel(), make_spec(split=split))
    assert parts.train.last == np.datetime64("2015-05-29")
    assert parts.validation.first == np.datetime64("2015-06-01")
    assert parts.test.first == np.datetime64("2015-08-03")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"window": 200}, r"must not exceed the series. Got 200 \+ 1 > 200 rows of AAA"),
        ({"window": 30}, r"The validation part must hold .* Got 30 \+ 1 > 20 rows of AAA"),
        (
            {"split": {"train": 0.9, "validation": 0.099, "test": 0.001}},
            r"The test part must have sessions. Got 0 of the 200",
        ),
        (
            {"split": {"validation_from": "2015-06-01", "test_from": "2020-01-01"}},
            "The test part must have sessions",
        ),
        (
            {"split": {"validation_from": "2000-06-01", "test_from": "2015-06-01"}},
            "The train part must have sessions",
        ),
    ],
)
def test_a_part_that_is_too_short_is_named(settings, match):
    with pytest.raises(DataError, match=match):
        split_panel(make_panel(), make_spec(**settings))


def test_parts_out_of_order_cannot_be_put_together():
    early = split_panel(make_panel(), make_spec())
    late = split_panel(
        make_panel(), make_spec(split={"validation_from": "2015-08-20", "test_from": "2015-09-15"})
    )
    with pytest.raises(DataError, match="Parts must follow each other in time"):
        Parts(late.train, early.validation, early.test)


def walk(scheme, folds=4, **more):
    split = {"scheme": scheme, "folds": folds, "train": 0.4, "validation": 0.2, "test": 0.4, **more}
    return make_spec(split=split)


@pytest.mark.parametrize("scheme", ["expanding", "rolling"])
@pytest.mark.parametrize("embargo", [0, 3])
def test_a_walk_forward_tests_every_late_session_once_and_trains_before_it(scheme, embargo):
    panel = make_panel(rows=300)
    spec = walk(scheme, embargo=embargo, folds=3)
    folds = list(walk_forward(panel, spec))
    assert len(folds) == 3
    blocks = [parts.test.panel.sessions for parts in folds]
    tested = np.concatenate(blocks)
    assert len(np.unique(tested)) == len(tested) == 120 - 3 * embargo
    for parts in folds:
        ends = [parts.train.windows.dates.max(), parts.validation.windows.dates.min()]
        assert np.diff(np.searchsorted(panel.sessions, ends))[0] == spec.window + spec.horizon + embargo
        assert parts.validation.last < parts.test.first
    lengths = [len(parts.train.panel.sessions) for parts in folds]
    assert lengths[0] == 120
    assert lengths == ([120, 160, 200] if scheme == "expanding" else [120, 120, 120])


def test_a_held_out_symbol_is_in_the_test_part_alone():
    parts = split_panel(make_panel(), make_spec(split={"held_out": ["BBB"]}))
    assert set(parts.train.windows.symbol) == set(parts.validation.windows.symbol) == {"AAA"}
    assert set(parts.test.windows.symbol) == {"AAA", "BBB"}
    assert parts.train.panel.symbols == ("AAA",)


def test_an_unknown_held_out_symbol_is_named():
    spec = make_spec(symbols=None, split={"held_out": ["BBBB"]})
    with pytest.raises(DataError, match=r"held_out must name .* Got 'BBBB'. .*BBB"):
        split_panel(make_panel(), spec)


def test_where_looks_at_the_last_input_row_and_at_no_later_one():
    panel = make_panel()
    middle = float(np.median(panel.column("close")))
    spec = make_spec(where={"close": [middle, None]})
    windows = split_panel(panel, spec).train.windows
    assert (windows.at_last("close") >= middle).all()
    assert (windows.panel.column("close")[windows.starts + spec.window] < middle).any()
    assert 0 < len(windows) < len(split_panel(panel, make_spec()).train.windows)

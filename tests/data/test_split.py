import functools
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from qhq.data.checks.options import check_options
from qhq.data.checks.stocks import check_panel
from qhq.data.formulas import complete_market, compute_columns
from qhq.data.spec import DataSpec
from qhq.data.split import Splits, folds_of, split_panel
from qhq.data.windows import Cut, arrange_rows, cut_windows
from qhq.errors import DataError

from .panels import make_frame, make_panel, make_spec, option_frame, ragged_cases


@settings(max_examples=60, deadline=None)
@given(ragged_cases())
def test_no_window_straddles_a_split_and_parts_are_purged(case):
    panel, spec = case
    splits = split_panel(panel, spec)
    in_order = (splits.train, splits.validation, splits.test)
    for each in in_order:
        assert each.windows.input_dates.min() >= each.first
        assert each.windows.dates.max() <= each.last
    for before, after in ((splits.train, splits.validation), (splits.validation, splits.test)):
        assert before.last < after.first
        ends = np.searchsorted(panel.sessions, [before.windows.dates.max(), after.windows.dates.min()])
        assert ends[1] - ends[0] >= spec.window + spec.horizon


def test_the_purge_is_no_larger_than_it_must_be():
    panel = make_panel()
    for horizon in (1, 3):
        splits = split_panel(panel, make_spec(horizon=horizon))
        ends = [splits.train.windows.dates.max(), splits.validation.windows.dates.min()]
        assert np.diff(np.searchsorted(panel.sessions, ends)) == 5 + horizon


def test_fractions_are_of_the_sessions():
    splits = split_panel(make_panel(), make_spec())
    sizes = [len(each.panel.sessions) for each in (splits.train, splits.validation, splits.test)]
    assert_array_equal(sizes, [140, 20, 40])


def test_dates_begin_the_parts():
    split = {"validation_from": "2015-06-01", "test_from": "2015-08-03"}
    splits = split_panel(make_panel(), make_spec(split=split))
    assert splits.train.last == np.datetime64("2015-05-29")
    assert splits.validation.first == np.datetime64("2015-06-01")
    assert splits.test.first == np.datetime64("2015-08-03")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"window": 200}, r"must not exceed the series. Got 200 \+ 1 > 200 rows of AAA"),
        ({"window": 30}, r"The validation split must hold .* Got 30 \+ 1 > 20 rows of AAA"),
        (
            {"split": {"train": 0.9, "validation": 0.099, "test": 0.001}},
            r"The test split must have sessions. Got 0 of the 200",
        ),
        (
            {"split": {"validation_from": "2015-06-01", "test_from": "2020-01-01"}},
            "The test split must have sessions",
        ),
        (
            {"split": {"validation_from": "2000-06-01", "test_from": "2015-06-01"}},
            "The train split must have sessions",
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
    with pytest.raises(DataError, match="Splits must follow each other in time"):
        Splits(late.train, early.validation, early.test)


@functools.cache
def option_panel(seed):
    columns = DataSpec(source="synthetic", features=("mid", "spot"), targets=("mid",),
                       static=("log_moneyness",)).columns  # fmt: skip
    panel = check_options(option_frame(sessions=80, strikes=1, seed=seed), "test", columns=columns)
    return compute_columns(complete_market(panel, 0.0), "options", columns)


@st.composite
def walks(draw):
    """A walk-forward over stocks that come, go and miss sessions, over options, or over masked gaps."""
    options = draw(st.integers(0, 5)) == 0
    horizon, window = draw(st.sampled_from([1, 2, 5])), draw(st.integers(2, 12))
    split = {
        "scheme": draw(st.sampled_from(["expanding", "rolling"])),
        "train": 0.4, "validation": 0.2, "test": 0.4,
        "embargo": draw(st.sampled_from([0, 0, 1, 6])),
    }  # fmt: skip
    seed = draw(st.integers(0, 2**32 - 1))
    if options:
        split |= {"held_out": draw(st.sampled_from([(), ("BBB",)]))}
        spec = DataSpec(source="synthetic", symbols=("AAA", "BBB"), features=("mid", "spot"),
                        targets=("mid",), static=("log_moneyness",), window=min(window, 4), horizon=horizon,
                        scaling="over_strike", split=split)  # fmt: skip
        return arrange_rows(option_panel(seed % 3), spec), spec
    spec = make_spec(
        symbols=("AAA", "BBB", "CCC"), features=("adj_close",), window=window, horizon=horizon, split=split,
        gaps=draw(st.sampled_from(["close", "mask"])),
    )  # fmt: skip
    frame, rng = make_frame(symbols=spec.symbols, rows=170, seed=seed), np.random.default_rng(seed)
    kept = rng.random(len(frame)) > draw(st.sampled_from([0.0, 0.1]))
    gone = (frame["symbol"] == "CCC") & (frame["date"] > str(date(2015, 6, draw(st.integers(1, 28)))))
    return arrange_rows(check_panel(frame[kept & ~gone], "test", columns=spec.features), spec), spec


def forecasts(every):
    """Symbol and first target date of each window, and all the model sees and is asked there, sorted."""
    symbol = np.concatenate([windows.symbol for windows in every])
    date = np.concatenate([windows.dates[:, 0] for windows in every])
    arrays = [(windows.inputs, windows.targets, windows.static, windows.last) for windows in every]
    content = [np.column_stack([each.reshape(len(each), -1) for each in some]) for some in arrays]
    order = np.lexsort([date, symbol])
    return symbol[order], date[order], np.concatenate(content)[order]


@settings(max_examples=25, deadline=None)
@given(walks())
def test_every_number_of_folds_forecasts_the_same_dates_each_once(case):
    panel, spec = case
    first = len(panel.sessions) - round(0.4 * len(panel.sessions))
    windows = cut_windows(panel, Cut.of(spec))
    # Each window that has its rows, and a first target in the test sessions.
    expected = forecasts([windows.select(windows.dates[:, 0] >= panel.sessions[first])])
    assert len(np.unique(np.char.add(expected[0], expected[1].astype(str)))) == len(expected[0]) > 0
    for folds in ({"folds": 1}, {"folds": 5}, {"folds": 10}, {"folds": 20}, {"refit": 3}):
        split = spec.split.model_copy(update={"fold": None} | folds)
        walking = spec.model_copy(update={"split": split})
        walked = [split_panel(panel, walking.with_fold(fold)) for fold in folds_of(panel, walking)]
        for found, wanted in zip(forecasts([each.test.windows for each in walked]), expected, strict=True):
            assert_array_equal(found, wanted)
        for splits in walked:
            check_order(panel, spec, splits)


def check_order(panel, spec, splits):
    """No target of a split is one of another, the embargo lies between, and nothing later is at hand."""
    train, validation, test = (each.windows for each in (splits.train, splits.validation, splits.test))
    for before, after in ((train, validation), (validation, test)):
        ends = np.searchsorted(panel.sessions, [before.dates.max(), after.dates.min()])
        assert ends[1] - ends[0] > spec.split.embargo
        assert before.panel.dates.max() < after.dates.min()
    assert (train.input_dates >= splits.train.first).all()
    assert not set(spec.split.held_out) & {*train.group, *validation.group}


def test_a_single_split_looks_back_where_it_is_asked_to_and_else_keeps_to_its_rows():
    panel = make_panel()
    for horizon, embargo in ((1, 0), (3, 2)):
        split = {"embargo": embargo}
        plain = split_panel(panel, make_spec(horizon=horizon, split=split))
        back = split_panel(panel, make_spec(horizon=horizon, split={**split, "lookback": True}))
        sessions = panel.sessions
        assert back.test.windows.dates.min() == sessions[160]
        assert back.validation.windows.dates.min() == sessions[140]
        assert back.validation.windows.dates.max() == sessions[159 - embargo]
        assert back.train.windows.dates.max() == sessions[139 - embargo]
        assert plain.test.windows.dates.min() == sessions[160 + horizon - 1 + embargo + 5]
        assert plain.test.windows.input_dates.min() == plain.test.first
        assert set(plain.test.windows.dates[:, 0]) < set(back.test.windows.dates[:, 0])


@pytest.mark.parametrize(
    ("split", "match"),
    [
        ({"scheme": "expanding", "folds": 3, "refit": 2}, "give one of them"),
        ({"refit": 2}, "folds and refit need scheme"),
        ({"folds": 2}, "folds and refit need scheme"),
        ({"scheme": "expanding", "folds": 2, "fold": 2}, "fold must be below folds, 2"),
        ({"scheme": "expanding", "lookback": 1}, "must be true or false"),
    ],
)
def test_a_walk_forward_that_cannot_be_meant_is_refused(split, match):
    with pytest.raises(ValueError, match=match):
        make_spec(split=split)


@pytest.mark.parametrize("split", [{"folds": 100}, {"refit": 7, "fold": 12}])
def test_a_fold_without_a_session_is_named(split):
    spec = make_spec(split={"scheme": "expanding", **split})
    with pytest.raises(DataError, match="must have a session to test"):
        split_panel(make_panel(), spec if "fold" in split else spec.with_fold(0))


def test_what_was_left_open_is_written_down():
    """So a stored config means the same under a later rule; and a single split is called what it was."""
    single, walk_, fold = (
        make_spec(split=each).model_dump(mode="json")["split"]
        for each in ({}, {"scheme": "rolling", "folds": 3}, {"scheme": "rolling", "folds": 3, "fold": 0})
    )
    assert single["fold"] == 0
    assert not {"lookback", "refit"} & single.keys()
    assert (walk_["fold"], walk_["lookback"], fold["fold"]) == (None, True, 0)
    assert make_spec(split=walk_).split.walks
    assert not make_spec(split=fold).split.walks
    assert make_spec(split={**walk_, "lookback": False}).split.lookback is False


def test_a_held_out_symbol_is_in_the_test_part_alone():
    splits = split_panel(make_panel(), make_spec(split={"held_out": ["BBB"]}))
    assert set(splits.train.windows.symbol) == set(splits.validation.windows.symbol) == {"AAA"}
    assert set(splits.test.windows.symbol) == {"AAA", "BBB"}
    assert splits.train.panel.symbols == ("AAA",)


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


def test_walk_forward_is_written_down_as_the_scheme_that_it_is():
    own, same = (
        make_spec(split=each).model_dump(mode="json")["split"]
        for each in (
            {"scheme": "walk_forward", "refit_every": 7, "history": "rolling"},
            {"scheme": "rolling", "refit": 7},
        )
    )
    assert own == same
    assert make_spec(split={"scheme": "walk_forward", "folds": 3}).split.scheme == "expanding"
    assert make_spec(split={"scheme": "walk_forward", "refit_every": 7}).split.walks
    assert make_spec(split={"scheme": "walk_forward", "folds": 3, "fold": 2}).split.fold == 2
    assert make_spec(split={"scheme": "walk_forward", "folds": 1, "fold": 0}).split.fold == 0


@pytest.mark.parametrize(
    ("split", "match"),
    [
        ({"scheme": "walk_forward"}, "needs refit_every"),
        ({"scheme": "walk_forward", "refit_every": 2, "refit": 3}, "give one of them"),
        ({"scheme": "walk_forward", "folds": 2, "refit_every": 3}, "give one of them"),
        ({"scheme": "walk_forward", "folds": 2, "history": "single"}, "expanding or rolling"),
        ({"scheme": "expanding", "folds": 2, "history": "rolling"}, "history needs scheme walk_forward"),
        ({"scheme": "walk_forward", "refit_every": 0}, "refit"),
        ({"scheme": "walk_forward", "folds": 3, "fold": 0}, "every fold or the first"),
    ],
)
def test_words_of_a_walk_forward_that_contradict_each_other_are_refused(split, match):
    with pytest.raises(ValueError, match=match):
        make_spec(split=split)

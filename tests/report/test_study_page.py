"""Tables of a sweep's page: every figure once, and none so wide that paper cuts it off."""

from __future__ import annotations

from types import SimpleNamespace

from qhq.report.study_page import _tables


def row(**values):
    return SimpleNamespace(to_dict=lambda: values)


def test_tests_and_what_is_of_each_seed_have_tables_of_their_own():
    rows = [
        row(
            variant="winner",
            mae=1.5,
            mae_seeds=[1.53276776, 1.4],
            vs_naive="better",
            vs_start=None,
            failed=None,
        ),
        row(variant="start", mae=1.6, mae_seeds=[1.6], vs_naive="worse", vs_start=None, failed=None),
    ]
    figures, tests, seeds = _tables("The winner", rows, frozenset({0}))
    assert (list(figures.columns), figures.folded) == (["variant", "MAE"], False)
    assert (list(tests.columns), tests.folded) == (["variant", "vs naive"], False)
    assert (list(seeds.columns), seeds.folded) == (["variant", "MAE seeds"], True)
    assert [cells[1].text for cells in seeds.cells] == ["1.533, 1.4", "1.6"]
    assert {figures.strong, tests.strong, seeds.strong} == {frozenset({0})}


def test_titles_are_those_of_people_and_shares_of_an_error_in_percent():
    rows = [
        row(variant="last_value", skill=0.0123, skill_seeds=[0.01, 0.02], **{"training.learning_rate": 0.1})
    ]
    figures, seeds = _tables("The winner", rows)
    assert list(figures.columns) == ["variant", "skill", "training.learning_rate"]
    assert [each.text for each in figures.cells[0]] == ["last value", "+1.23 %", "0.1"]
    assert [each.text for each in seeds.cells[0]] == ["last value", "+1.00 %, +2.00 %"]


def test_what_no_row_has_makes_no_table():
    (figures,) = _tables("Points", [row(depth=1, value=0.9, trials=[])])
    assert list(figures.columns) == ["depth", "value"]


def test_every_table_has_all_columns_that_tell_its_rows_apart():
    rows = [row(**{"depth": depth, "model.skip": skip}, value=0.9, trials=["a"], seconds=depth)
            for depth in (1, 2) for skip in ("add", "none")]  # fmt: skip
    points, by_seed = _tables("Points", rows, names=["depth", "model.skip"])
    assert list(points.columns) == ["depth", "model.skip", "value", "seconds"]
    assert list(by_seed.columns) == ["depth", "model.skip", "trials"]
    assert len({tuple(each.text for each in cells) for cells in by_seed.cells}) == len(rows)

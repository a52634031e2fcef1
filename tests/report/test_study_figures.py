"""Figures of studies: every row that can be told apart, no mark cut off, and records of earlier versions."""

from __future__ import annotations

import pytest

from qhq.report.study_figures import draw_ablation, draw_noise, draw_walk
from qhq.runs.studies import AblationRecord


def record_of(losses: dict[str, list[float]]) -> AblationRecord:
    rows = [
        {"variant": name, "kind": "model" if len(each) > 1 else "baseline", "meaning": name, "mae": each[0],
         "skill": 0.0}
        for name, each in losses.items()
    ]  # fmt: skip
    return AblationRecord.model_validate({
        "study": "ablation-tiny", "folder": "here", "config": "tiny", "data": "real prices", "seeds": [0, 1],
        "windows": 50, "dates": 50, "target": "mid", "circuit_weights": 2, "best": "hybrid", "verdict": "No.",
        "loss": "absolute", "rows": rows, "seed_loss": losses,
    })  # fmt: skip


def shown(figure) -> list[str]:
    (axes,) = figure.axes
    return [label.get_text() for label in axes.get_yticklabels()]


NEAR = {
    "hybrid": [0.9, 0.95],
    "mlp_tuned": [0.92, 0.93],
    "last_value": [1.0],
    "ridge": [0.97],
    "drift": [2.0],
}
FAR = {"hybrid": [0.15, 0.16], "mlp": [0.14, 0.15], "last_value": [1.0], "drift": [0.99], "har": [0.155]}


@pytest.mark.parametrize(
    ("losses", "names", "left_out"),
    [
        (NEAR, ["hybrid", "mlp tuned", "ridge"], "1 baseline far to the left"),
        (FAR, ["hybrid", "mlp", "har"], "1 baseline and the last value far to the left"),
    ],
)
def test_what_lies_far_off_does_not_squeeze_the_others(losses, names, left_out):
    figure = draw_ablation(record_of(losses))
    assert shown(figure) == names
    assert left_out in figure.get_suptitle()


def test_a_record_of_an_earlier_version_is_drawn_by_its_skill():
    skills = {"hybrid": [0.1, 0.2], "twin": [0.0, 0.1], "last_value": [0.0]}
    record = record_of(skills).without("loss").without("seed_loss")
    figure = draw_ablation(record.updated(seed_skill=skills))
    assert shown(figure) == ["hybrid", "twin"]
    assert figure.axes[0].get_xlabel().startswith("skill over")


def test_a_single_number_of_shots_has_no_line_to_compare_with():
    from tests.report.test_drawing_law import noise

    several = noise()
    *_, panel = draw_noise(several).axes
    assert "1/sqrt(shots)" in panel.get_legend_handles_labels()[1]
    single = several.updated(rows=[row for row in several.rows if row.shots != 900])
    *_, panel = draw_noise(single).axes
    assert len(panel.lines) == 2
    assert "1/sqrt(shots)" not in panel.get_legend_handles_labels()[1]


def test_folds_without_skill_are_not_cut_by_the_frame():
    from tests.report.test_drawing_law import walk

    record = walk()
    record = record.updated(folds=[each.updated(skill=0.0) for each in record.folds or []])
    folds, _ = draw_walk(record).axes
    low, high = folds.get_ylim()
    assert low < 0 < high

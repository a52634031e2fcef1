"""Figures of a training: what is drawn of a history of any version, and angles on the circle."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qhq.report.training_figures import TrainedAngle, draw_circles, draw_history, rotations_of
from qhq.runs.record import AngleCounts
from tests.ansatz.circuits import built

EARLIER = {
    "epoch": [1, 2], "train_loss": [1.0, 0.5], "validation_loss": [1.0, 0.7], "grad_encoder": [0.1, 0.2],
    "grad_circuit": [0.0, 0.0], "grad_head": [1.0, 2.0],
}  # fmt: skip
DRIFT = {f"drift_{part}": [0.5, 1.0] for part in ("encoder", "circuit", "head")}
BAND = {f"output_q{level:02d}": [level / 100 - 0.5] * 2 for level in (5, 25, 50, 75, 95)}


def titles(figure) -> list[str]:
    FigureCanvasAgg(figure).draw()
    return [axes.get_title() for axes in figure.axes if axes.axison]


def test_a_history_shows_what_its_version_kept():
    two = ["Loss", "Gradient norms"]
    assert titles(draw_history(pd.DataFrame(EARLIER), 1.2)) == two
    drifted = pd.DataFrame({**EARLIER, **DRIFT, **dict.fromkeys(BAND, [np.nan] * 2)})
    assert titles(draw_history(drifted)) == [*two, "Weights: distance from the start"]
    whole = titles(draw_history(pd.DataFrame({**EARLIER, **DRIFT, **BAND})))
    assert whole[2:] == ["Weights: distance from the start", "Outputs of the circuit, validation split"]


def test_a_single_epoch_is_a_whole_number_and_its_band_is_seen():
    one = pd.DataFrame({name: values[:1] for name, values in {**EARLIER, **DRIFT, **BAND}.items()})
    figure = draw_history(one)
    FigureCanvasAgg(figure).draw()
    assert all([text.get_text() for text in axes.get_xticklabels()] == ["1"] for axes in figure.axes)
    (*_, outputs) = figure.axes
    assert len(outputs.collections) == 2
    assert all(band.get_datalim(outputs.transData).width > 0 for band in outputs.collections)


def test_a_head_that_is_fitted_at_once_has_no_panel_of_gradients():
    none = dict.fromkeys(("grad_encoder", "grad_circuit", "grad_head"), [0.0] * 2)
    assert titles(draw_history(pd.DataFrame({**EARLIER, **none}))) == ["Loss"]


def test_trained_angles_stand_where_they_are_on_the_circle():
    ansatz = built("rot")
    weights = np.linspace(-3, 3, 2 * ansatz.num_weights)
    rotations = rotations_of(ansatz, weights)  # of two circuits of one ansatz
    assert [each.gate for each in rotations[: ansatz.num_weights]] == [
        each.gate for each in rotations[ansatz.num_weights :]
    ]
    assert {each.gate for each in rotations} == {"RZ", "RY"}
    (axes,) = draw_circles(None, rotations).axes
    drawn = [angle for line in axes.lines[1:] for angle in line.get_xdata()]
    np.testing.assert_allclose(sorted(drawn), sorted(weights))


def test_angles_before_training_stand_beside_the_trained_ones():
    ansatz = built("rot")
    begun = np.linspace(-3, 3, ansatz.num_weights)
    trained = begun + np.linspace(-1, 7, len(begun))  # the last more than once round
    (axes,) = draw_circles(None, rotations_of(ansatz, trained, begun)).axes
    hollow = [float(line.get_xdata()[0]) for line in axes.lines if line.get_fillstyle() == "none"]
    ways = [line.get_xdata() for line in axes.lines[1:] if len(line.get_xdata()) == 40]
    np.testing.assert_allclose(sorted(hollow), begun)
    assert {(float(way[0]), float(way[-1])) for way in ways} == set(zip(begun, trained, strict=True))
    # As many as there are weights, or it is not known which is whose: a run of an earlier version has none.
    assert all(each.begun is None for each in rotations_of(ansatz, trained, begun[1:]))


def test_the_circle_of_the_data_has_a_line_for_each_input_or_one_for_many():
    few = AngleCounts(windows=4, counts=[[1, 3, 0, 0], [4, 0, 0, 0]])
    many = AngleCounts(windows=4, counts=[[1, 3, 0, 0]] * 12)
    for angles, names in ((few, ["input 0", "input 1"]), (many, ["all 12 inputs"])):
        figure = draw_circles(angles, [])
        assert titles(figure) == ["Angles of the data"]
        assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == names


def test_legends_of_a_history_lie_on_no_line():
    figure = draw_history(pd.DataFrame({**EARLIER, **DRIFT, **BAND}), 1.2)
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


def test_the_number_of_an_angle_lies_on_no_other_mark():
    rotations = [TrainedAngle(number, "RY", 1.5 + 0.01 * number) for number in range(8)]
    figure = draw_circles(None, rotations)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    marks = axes.transData.transform(np.column_stack(axes.lines[-1].get_data()))
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(marks) == 8
    assert not any(box.contains(*mark) for box in boxes for mark in marks)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))

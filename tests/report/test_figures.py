"""Figures: drawn from the folder alone; no model runs and no random generator moves."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qhq.data.caveat import NO_CAVEAT
from qhq.experiment.config import load_config
from qhq.experiment.run import train_run
from qhq.report.figures import (
    draw_forecasts,
    draw_run_figures,
    finish_figure,
    save_figure,
    short_name,
    try_figure,
)
from qhq.training.loop import Watcher
from tests.no_trace import no_trace


def test_figures_run_no_model_and_leave_no_trace(study):
    folder = train_run(load_config("tiny.yaml", ["training.epochs=1"]), Watcher())

    def refuse(*arguments, **options):
        raise AssertionError("a figure could not be drawn")

    with no_trace():
        paths = draw_run_figures(folder, refuse)
    assert {path.name for path in paths} == {"history.png", "forecast.png", "model.png", "circuit.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


NAMES = ["A$B$", "$\\frac{", "$", "$$", "\\$x", "x_1^2", "%s", "\\", "{", "É$ü$", "a\nb", "<b>", "€$\\alpha$"]


def forecasts(names):
    days = pd.date_range("2020-01-01", periods=4).astype(str)
    rows = [
        {"symbol": name, "date": day, "horizon": 1, "actual": 1.0, "forecast": 1.1, "naive": 0.9}
        for name in names
        for day in days
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_symbol_is_no_mathematics(tmp_path, name):
    assert save_figure(draw_forecasts(forecasts([name])), tmp_path / "forecast.png").stat().st_size > 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_name_on_an_axis_is_no_mathematics(tmp_path, name):
    figure = Figure()
    category, fixed, power = figure.subplots(1, 3)
    category.barh([name, "other"], [1, 2])
    fixed.plot([1, 2])
    fixed.set_xticks([0, 1], labels=[name, "other"])
    power.plot([1, 1000])
    power.set(yscale="log", title=name)
    save_figure(figure, tmp_path / "figure.svg")
    shown = {text.get_text() for text in category.get_yticklabels()}
    assert {text.replace(r"\$", "$") for text in shown} == {name, "other"}
    assert "mathdefault{10" in power.get_yticklabels()[1].get_text()


@pytest.mark.parametrize(
    "name", ["a\u202eevil", "LONG" + "X" * 300, "\x1b[31mred", "\u0634\u0631\u0643\u0629"]
)
def test_a_name_neither_turns_a_figure_round_nor_stretches_it(name):
    figure = draw_forecasts(forecasts([name]))
    finish_figure(figure, NO_CAVEAT)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    (title,) = filter(None, (axes.get_title(loc=side) for side in ("left", "center")))
    assert title == short_name(name)
    assert title.isprintable()
    assert figure.get_tightbbox().width < 1.05 * figure.get_figwidth()


def test_an_axis_says_its_numbers_whole():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1.00001, 1.00002])
    finish_figure(figure, NO_CAVEAT)
    FigureCanvasAgg(figure).draw()
    assert axes.yaxis.get_offset_text().get_text() == ""
    assert all(text.get_text().startswith("1.0000") for text in axes.get_yticklabels())


def test_a_figure_that_fails_is_a_note(tmp_path):
    notes = []

    def fail(path):
        raise RuntimeError("no such glyph\nand more")

    assert try_figure(fail, tmp_path / "figure.png", notes.append) is None
    assert notes == [f"The figure {tmp_path / 'figure.png'} could not be drawn: no such glyph"]
    assert try_figure(lambda path: path.write_text(""), tmp_path / "ok", notes.append) == tmp_path / "ok"


def test_one_figure_that_fails_keeps_no_other_from_being_drawn(study, monkeypatch):
    folder = train_run(load_config("tiny.yaml", ["training.epochs=1"]), Watcher())
    (folder.path / "history.csv").write_text("")
    (folder.figures / "circuit.png").mkdir(parents=True)
    notes = []
    names = {path.name for path in draw_run_figures(folder, notes.append)}
    assert names == {"forecast.png", "model.png"}
    assert len(notes) == 2

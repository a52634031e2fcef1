"""Curves of a training in characters: what they show, and that they fit wherever they are drawn."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhq.errors import ConfigError
from qhq.progress import Views, open_training
from qhq.progress.curves import LossCurve, draw_curves
from qhq.training.loop import EpochRecord, TrainingState

LOSSES = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=30)


def curve(name: str, values: list[float]) -> LossCurve:
    return LossCurve(name, list(enumerate(values, 1)))


@given(LOSSES, LOSSES, st.integers(1, 120), st.integers(0, 20), st.booleans())
def test_whatever_the_losses_lines_fit_the_width_and_name_each_curve_with_its_last_value(
    one, other, width, rows, plain
):
    lines = draw_curves([curve("a", one), curve("b", other)], width=width, rows=rows, plain=plain)
    finite = [name for name, values in (("a", one), ("b", other)) if any(map(math.isfinite, values))]
    if not finite or width < 40 or rows < 3:
        assert lines == []
        return
    assert len(lines) == rows + 1
    assert all(line.cell_len <= width for line in lines)
    ends = [line.plain.rsplit(maxsplit=2)[-2] for line in lines[:-1] if line.plain[-1] not in "⠀ │|*"]
    assert {name for name in finite if name in ends} == {*finite}


def test_a_falling_loss_falls_from_the_upper_left_to_the_lower_right():
    lines = [line.plain for line in draw_curves([curve("loss", [3, 2, 1])], width=60, rows=6, plain=True)]
    stars = [line.find("*") for line in lines[:-1]]
    assert stars == sorted(stars)
    assert lines[0].startswith("       3 |*")
    assert "loss 1" in lines[5]
    assert lines[5].startswith("       1 |")
    assert lines[6].split() == ["epoch", "1", "3"]


def test_losses_over_orders_of_magnitude_are_drawn_on_a_logarithmic_axis_that_says_so():
    lines = [line.plain for line in draw_curves([curve("a", [100, 1, 0.01])], width=60, rows=9, plain=True)]
    assert "(logarithmic)" in lines[-1]
    (middle,) = [row for row, line in enumerate(lines[:-1]) if line.partition("|")[2][:30].rfind("*") > 18][
        :1
    ]
    assert 3 <= middle <= 5  # 1 lies half way between 100 and 0.01


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def state(*losses: float) -> TrainingState:
    history = [EpochRecord(n, loss + 0.1, loss, 1e-3, 2e-3, 3e-3, 0.01) for n, loss in enumerate(losses)]
    best = min(losses, default=2.0)
    since = len(losses) - 1 - losses.index(best) if losses else 0
    return TrainingState({}, {}, {}, best, untrained_loss=2.0, epochs_since_best=since, history=history)


def a_screen(monkeypatch: pytest.MonkeyPatch, columns: str = "80") -> Screen:
    """A terminal of the test's own; pytest exchanges standard error between a fixture and its test."""
    made = Screen()
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setenv("COLUMNS", columns)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "30")
    return made


@pytest.mark.parametrize("columns", ["80", "30"])
def test_a_resumed_training_shows_all_its_epochs_and_the_best_and_leaves_them_on_the_screen(
    monkeypatch, columns
):
    screen = a_screen(monkeypatch, columns)
    with open_training(True, 5, Views(curves=True)) as watcher:
        watcher.training_begins(Path("a-run"), state(1.5, 1.25), 5)
        watcher.epoch_started(2, 1)
        watcher.batch_done(1.1, {})
        watcher.epoch_done(state(1.5, 1.25, 1.0))
    last = screen.getvalue().rpartition("a-run, loss" if columns == "80" else "best: ")[2]
    assert ("validation 1" in last) == ("training 1.1" in last) == (columns == "80")
    if columns == "80":
        assert "best: epoch 3, validation loss 1, 50.0 % below the untrained model's" in last
        assert "encoder 1e-03 circuit 2e-03 head 3e-03; learning rate 0.01" in last


def test_each_seed_is_a_curve_and_a_fold_takes_the_place_of_the_one_before(monkeypatch):
    a_screen(monkeypatch)
    with open_training(True, 5, Views(curves=True)) as watcher:
        for fold in ("fold-0", "fold-1"):
            watcher.training_begins(Path(fold), state(), 5)
            watcher.epoch_done(state(1.0))
        assert watcher.picture()[0].plain.startswith("fold-1")
        watcher.trainings.clear()
        for seed in (7, 8):
            watcher.seed_begins(seed)
            watcher.training_begins(Path(f"run-s{seed}"), state(), 5)
            watcher.epoch_done(state(1.0 / seed))
    text = "\n".join(line.plain for line in watcher.picture())
    assert "2 seeds: validation loss of each" in text
    assert "seed   7 0.1429" in text
    assert "seed   8 0.125" in text


def test_into_a_file_it_prints_a_line_an_epoch_as_without_curves(capsys):
    with open_training(True, 5, Views(curves=True)) as watcher:
        watcher.training_begins(Path("a-run"), state(), 5)
        watcher.epoch_started(0, 1)
        watcher.epoch_done(state(1.0))
    assert "epoch   1  loss 1.1000 / 1.0000" in capsys.readouterr().err


def test_folds_that_other_processes_train_cannot_be_watched(study):
    from qhq import train

    walk = {"data.split": {"scheme": "walk_forward", "folds": 2}}
    with pytest.raises(ConfigError, match="Got --watch with --workers 2"):
        train(study / "tiny.yaml", set=walk, workers=2, watch=True)

"""Other programs that show a training: what they are told, and that none of them can hurt it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import pytest

from qhq.errors import ConfigError
from qhq.progress import Views, open_training, views
from qhq.progress.views import LiveMirror
from tests.progress.test_curves import state

KEEP = (
    sys.executable,
    "-c",
    "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())",
)
"""A second process that keeps what it is told."""


@pytest.fixture
def at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))
    monkeypatch.setattr(views, "MIRROR_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(views, "MIRROR_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(views, "_END_SECONDS", 60.0)
    return tmp_path


def test_the_mirror_is_told_of_each_epoch_of_each_seed_and_gone_when_the_training_is(at_once):
    kept = at_once / "kept"
    with LiveMirror([*KEEP, str(kept)]) as mirror:
        for seed in (3, 4):
            mirror.seed_begins(seed)
            mirror.training_begins(at_once / f"s{seed}", state(), 2)
        for seed in (4, 3, 4):
            mirror.seed_begins(seed)
            mirror.epoch_done(state(1.0))
    assert mirror.child.returncode == 0
    assert kept.read_text().splitlines() == [str(at_once / f"s{seed}") for seed in (4, 3, 4)]


def test_short_trainings_and_folds_start_no_process(at_once, monkeypatch):
    with LiveMirror(["no such program"]) as mirror:
        mirror.training_begins(at_once / "walk" / "fold-000", state(), 2)
        mirror.epoch_done(state(1.0))
        monkeypatch.setattr(views, "MIRROR_AFTER_SECONDS", float("inf"))
        mirror.training_begins(at_once / "run", state(), 2)
        mirror.epoch_done(state(1.0))
    assert mirror.child is None


@pytest.mark.parametrize("command", [["no such program"], [sys.executable, "-c", "raise SystemExit(3)"]])
def test_a_mirror_that_fails_ends_no_training(at_once, command):
    with LiveMirror(command) as mirror:
        mirror.training_begins(at_once / "run", state(), 2)
        for _ in range(3):
            mirror.epoch_done(state(1.0))


def test_a_mirror_that_hangs_is_ended(at_once, monkeypatch):
    monkeypatch.setattr(views, "_END_SECONDS", 0.01)
    with LiveMirror([sys.executable, "-c", "import threading; threading.Event().wait()"]) as mirror:
        mirror.training_begins(at_once / "run", state(), 2)
        mirror.epoch_done(state(1.0))
    assert mirror.child.returncode < 0


def test_without_the_package_tensorboard_is_refused_in_words(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'qhq\[tensorboard\]'"):
        open_training(None, 2, Views(tensorboard=True)).__enter__()


class Writer:
    """What torch's writer does, into a dict by folder."""

    written: ClassVar[dict[str, dict[str, list[tuple[int, float]]]]] = {}

    def __init__(self, place: str, purge_step: int | None = None) -> None:
        Path(place).mkdir(exist_ok=True)
        self.curves = self.written.setdefault(place, {})
        for name, points in self.curves.items():
            self.curves[name] = [each for each in points if purge_step is None or each[0] < purge_step]

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.curves.setdefault(name, []).append((step, value))

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_each_epoch_is_in_tensorboard_once_though_one_was_cut_off(tmp_path, monkeypatch):
    module = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run = tmp_path / "run"
    run.mkdir()
    # Begun with one epoch that is there; two more, of which the second is cut off before its state is kept.
    for known, then in (((1.5,), (1.25, 1.0)), ((1.5, 1.25), (0.5,))):
        with open_training(None, 9, Views(tensorboard=True)) as watcher:
            watcher.training_begins(run, state(*known), 9)
            for count in range(1, len(then) + 1):
                watcher.epoch_done(state(*known, *then[:count]))
    curves = Writer.written[str(run / "tensorboard")]
    assert curves["loss/validation"] == [(0, 2.0), (1, 1.5), (2, 1.25), (3, 0.5)]
    assert [step for step, _ in curves["loss/training"]] == [1, 2, 3]
    assert {"gradient norm/circuit", "learning rate"} <= curves.keys()

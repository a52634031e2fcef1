"""What a command says while it works: nothing when it is quick, what it does when it is not."""

from __future__ import annotations

import io
import threading

import pytest

from qhq import progress
from qhq.progress import Heartbeat, doing


class Terminal(io.StringIO):
    """Standard error that tells when a line has come."""

    def __init__(self, *, tty: bool = False) -> None:
        super().__init__()
        self.come, self.tty = threading.Event(), tty

    def write(self, text: str) -> int:
        count = super().write(text)
        self.come.set()
        return count

    def isatty(self) -> bool:
        return self.tty


def impatient(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of the test's own; pytest exchanges standard error between a fixture and its test."""
    screen = Terminal()
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr("sys.stderr", screen)
    return screen


def test_slow_work_is_named_once_and_its_seconds_go_on(monkeypatch):
    terminal = impatient(monkeypatch)
    monkeypatch.setattr(progress, "_LONGEST_SECONDS", 0.01)
    with Heartbeat("reading the prices") as beat:
        terminal.come.wait()
        terminal.come.clear()
        terminal.come.wait()
        doing("comparing the engines")
        while "comparing" not in terminal.getvalue():
            terminal.come.clear()
            terminal.come.wait()
        beat.stop()
    lines = terminal.getvalue().splitlines()
    assert lines[0].endswith("] reading the prices ...")
    assert lines[1].endswith("] still at it ...")
    assert sum("reading" in line for line in lines) == 1
    seconds = [int(line[1:].partition(" ")[0]) for line in lines]
    assert seconds == sorted(seconds)


def test_quick_work_says_nothing(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with Heartbeat("qhq compare"):
        pass
    assert screen.getvalue() == ""
    doing("nothing runs: nobody hears of it")


def test_a_closed_standard_error_ends_it_quietly(monkeypatch):
    terminal = impatient(monkeypatch)
    with Heartbeat("qhq train") as beat:
        terminal.close()
        beat._over.wait()

"""Signals: wherever one comes, it is raised once, where it can be caught, and says how the command ended."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from qhq.cli import command, interrupts
from qhq.cli.interrupts import Interrupts
from qhq.errors import Interrupted
from qhq.paths import PACKAGE

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@pytest.fixture
def caught(monkeypatch):
    """The process's signals in the hands of an `Interrupts`, which ends it by SystemExit."""

    def leave(status: int) -> None:
        raise SystemExit(status)

    before = {name: signal.getsignal(getattr(signal, name)) for name in NAMES}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("sys.unraisablehook", lambda what: None)
    monkeypatch.setattr(os, "_exit", leave)
    found = Interrupts()
    found.take_over()
    monkeypatch.setattr(command, "INTERRUPTS", found)
    yield found
    found.command_ended(0)
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


def send(name: str = "SIGINT") -> None:
    """As a terminal would; the handler runs before this returns."""
    os.kill(os.getpid(), getattr(signal, name))


def wait() -> None:
    """Until an interrupt comes."""
    threading.Event().wait(60)
    pytest.fail("no interrupt came")


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_each_signal_is_an_interrupt_with_its_status(caught, capsys, name, status):
    with pytest.raises(KeyboardInterrupt) as stopped:
        send(name)
    assert command.end_with(stopped.value, as_json=False) == status
    said = capsys.readouterr().err
    assert said == ("Interrupted.\n" if name == "SIGINT" else f"Stopped by {caught.said}.\n")
    assert command.end_with(Interrupted("qhq train --resume r"), as_json=False) == status
    assert capsys.readouterr().err.endswith(" Continue with:\n  qhq train --resume r\n")


@pytest.mark.parametrize("swallows", [False, True])
def test_an_import_is_never_cut_in_two(caught, tmp_path, monkeypatch, swallows):
    body = "import os, signal\n" + 2 * "os.kill(os.getpid(), signal.SIGINT)\n" + "whole = True\n"
    if swallows:
        body = "try:\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "except: pass\n"
    (tmp_path / "interrupted_module.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "interrupted_module", raising=False)
    assert importlib.import_module("interrupted_module").whole
    with pytest.raises(KeyboardInterrupt):
        wait()


@pytest.mark.parametrize("swallows", [False, True])
def test_an_import_that_does_not_end_is_given_up(caught, tmp_path, monkeypatch, swallows):
    monkeypatch.setattr(interrupts, "_HELD_SECONDS", 0.0)
    monkeypatch.setattr(interrupts, "_SWALLOWED_SECONDS", 0.01 if swallows else 60.0)
    end = "except: pass" if swallows else "finally: pass"
    text = f"import os, signal\ntry: os.kill(os.getpid(), signal.SIGINT)\n{end}\n"
    (tmp_path / "endless_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "endless_module", raising=False)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        importlib.import_module("endless_module")
        assert swallows
        wait()
    caught.caught()


def test_where_it_cannot_be_raised_it_comes_again(caught):
    class Ends:
        def __del__(self):
            send()

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        Ends()
        wait()


def test_a_second_one_does_not_stop_what_the_first_set_going(caught):
    with pytest.raises(KeyboardInterrupt):
        send()
    send()
    send("SIGTERM")
    assert caught.status == 130


def test_a_later_one_ends_the_process_at_once(caught, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        send()
    monkeypatch.setattr(interrupts, "_PATIENCE_SECONDS", 0.0)
    with pytest.raises(SystemExit, match="143"):
        send("SIGTERM")


def test_what_is_over_keeps_its_status(caught):
    caught.command_ended(1)
    with pytest.raises(SystemExit, match="1"):
        send()
    caught.over()
    for name in NAMES:
        send(name)


def test_what_the_shell_ignores_stays_ignored(caught):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Interrupts().take_over()
    send("SIGHUP")


def test_the_status_is_that_of_the_command_whatever_was_cut(tmp_path):
    (tmp_path / "cut.py").write_text(
        "import sys, types\n"
        "sys.modules['qhq.cli.app'] = types.SimpleNamespace(main=lambda: exec('raise KeyboardInterrupt'))\n"
        "from qhq.__main__ import main\n"
        "main()\n"
    )
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])}
    ended = subprocess.run(
        [sys.executable, "-m", "cut"],
        env={**os.environ, **path},
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (130, b"Interrupted.\n")


def test_a_study_names_the_command_that_goes_on(qhq, study, monkeypatch):
    monkeypatch.setattr("sys.argv", ["qhq", "ablate", "my study.yaml", "--seeds", "2"])

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("qhq.api.study.ablate", stop)
    result = qhq("ablate", "tiny.yaml")
    assert result.exit_code == 130
    assert result.stderr == "Interrupted. Continue with:\n  qhq ablate 'my study.yaml' --seeds 2\n"

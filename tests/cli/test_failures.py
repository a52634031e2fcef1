"""Whatever goes wrong, a command ends with an answer: three parts, an exit status, no traceback."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys

import pytest

from qhq.cli.app import app
from qhq.errors import ConfigError
from qhq.paths import PACKAGE

FAILURES = {
    "a fault of qhq": (KeyError("qubit"), 70, "KeyError: 'qubit'"),
    "a message of many lines": (ValueError("first\nsecond"), 70, "ValueError: first. "),
    "no message at all": (AssertionError(), 70, "Got AssertionError. "),
    "too deep": (RecursionError("maximum recursion depth exceeded"), 70, "RecursionError"),
    "too large a number": (OverflowError("int too large"), 70, "OverflowError"),
    "no memory": (MemoryError(), 2, "enough memory"),
    "no memory for an array": (MemoryError("Unable to allocate 16. GiB"), 2, "16. GiB"),
    "a full disk": (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 2, "No space left"),
    "a forbidden file": (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "Permission denied"),
    "a file that is not there": (FileNotFoundError(errno.ENOENT, "No such file", "x.csv"), 2, "x.csv"),
    "a folder for a file": (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), 2, "Is a directory: 'x'"),
    "too many files": (OSError(errno.EMFILE, "Too many open files", "x"), 2, "ulimit -n"),
    "no process left": (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), 2, "--workers"),
    "a broken disk": (OSError(errno.EIO, "Input/output error", "runs/x"), 2, "runs/x"),
    "no service": (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), 4, "must answer"),
    "a file of qhq's own": (
        FileNotFoundError(errno.ENOENT, "No", f"{PACKAGE}/shipped/x"),
        70,
        "fault of qhq",
    ),
    "a path that nobody named": (FileNotFoundError(errno.ENOENT, "No such file"), 70, "fault of qhq"),
    "a closed descriptor": (OSError(errno.EBADF, "Bad file descriptor"), 70, "Bad file descriptor"),
    "a wrong argument": (OSError(errno.EINVAL, "Invalid argument", "x"), 70, "fault of qhq"),
    "an unnamed OSError": (OSError("something"), 70, "OSError: something"),
    "a user's mistake": (ConfigError("A must hold", got="b", fix="Do c"), 2, "A must hold. Got b. Do c."),
    "Ctrl-C": (KeyboardInterrupt(), 130, "Interrupted"),
}


@pytest.fixture
def failing(monkeypatch):
    def fail(error):
        def gather(_):
            raise error

        monkeypatch.setattr("qhq.runs.run_folder.gather_runs", gather)

    return fail


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_is_reported_in_three_parts(qhq, failing, name):
    error, status, text = FAILURES[name]
    failing(error)
    result = qhq("compare")
    assert (result.exit_code, result.stdout) == (status, "")
    printed = " ".join(result.stderr.split())
    assert text in printed
    assert "Traceback" not in printed
    if status != 130:
        assert re.search(r"^Error: .+\. Got .+\. .+\.$", printed)
    if status == 70:
        assert "--debug" in printed


@pytest.mark.parametrize("name", FAILURES)
def test_with_json_every_failure_is_one_object(qhq, failing, name):
    error, status, _ = FAILURES[name]
    failing(error)
    result = qhq("compare", "--json")
    assert result.exit_code == status
    printed = json.loads(result.stdout)["error"]
    assert printed["kind"] == type(error).__name__
    assert printed["message"] == f"{printed['must']}. Got {printed['got']}. {printed['fix']}."


def test_what_fails_after_the_result_adds_no_second_object(qhq, monkeypatch):
    def fail(*_):
        raise KeyError("late")

    monkeypatch.setattr("qhq.runs.mirror.mirror_run", fail)
    result = qhq("train", "tiny.yaml", "--set", "training.epochs=1", "--set", "quantum=null", "--json")
    assert result.exit_code == 70
    assert json.loads(result.stdout)["status"] == "finished"
    assert "KeyError: 'late'" in result.stderr


def test_debug_lets_the_traceback_through(study, failing):
    failing(KeyError("qubit"))
    with pytest.raises(KeyError, match="qubit"):
        app(["compare", "--debug"])


@pytest.mark.parametrize(
    "arguments",
    [("train", "--no-such-option"), ("nosuch",), ("eval", "--shots", "many"), ("circuit", "draw")],
)
def test_usage_errors_are_an_object_too(qhq, arguments):
    result = qhq(*arguments, "--json")
    assert result.exit_code == 2
    printed = json.loads(result.stdout)["error"]
    assert printed["message"] == f"{printed['must']}. Got {printed['got']}. {printed['fix']}."
    assert "--help" in printed["fix"]
    message = json.loads(result.stdout)["error"]["message"]
    assert "Got Got" not in message
    assert "?." not in message


def test_help_and_version_still_end_well(qhq):
    assert qhq("--help").exit_code == qhq("--version").exit_code == 0
    assert qhq().exit_code == 2


def test_a_reader_that_is_gone_is_no_error(study):
    process = subprocess.Popen(
        [sys.executable, "-m", "qhq", "backends", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    printed = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 141
    assert printed == ""


DAMAGES = {
    "must hold its results. Got no metrics": lambda r: r.pop("metrics"),
    "'metrics' is not valid": lambda r: r.update(metrics=[]),
    "must hold its results. Got no epochs": lambda r: r.pop("epochs"),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_a_finished_run_without_its_results_is_refused(qhq, study, said):
    record = {"status": "finished", "backend": "aer", "backend_entry": {}, "seed": 0, "data": {}}
    record |= {"scaler": {}, "quantum": None, "epochs": 1, "seconds": {"total": 1.0}, "metrics": {}}
    record["collapse"] = None
    DAMAGES[said](record)
    (study / "runs" / "given").mkdir(parents=True)
    (study / "runs" / "given" / "run.json").write_text(json.dumps(record))
    result = qhq("train", "--resume", "given")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_help_that_nobody_reads_is_no_finding(monkeypatch):
    def refuse(*_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("typer.core.TyperCommand.format_help", refuse)
    monkeypatch.setattr("qhq.cli.command._silence_stdout", lambda: None)  # it would be that of pytest
    with pytest.raises(SystemExit) as ended:
        app(["train", "--help"])
    assert ended.value.code == 141

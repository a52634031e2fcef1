"""Streams that are full or closed, folders that are gone: an answer and the right exit status."""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

run = functools.partial(subprocess.run, check=False, capture_output=True, text=True)

SHELL = {
    "nothing wrong": ("list", "", 0),
    "standard output full": ("list", ">/dev/full", 2),
    "standard error full": ("list", "2>/dev/full", 0),
    "both full": ("list", ">/dev/full 2>/dev/full", 2),
    "standard output closed": ("list", ">&-", 0),
    "standard error closed": ("list", "2>&-", 0),
    "all three closed": ("list", "<&- >&- 2>&-", 0),
    "an error that nobody can read": ("show nothing", "2>&-", 2),
    "an error, all closed": ("show nothing --json", "<&- >&- 2>&-", 2),
}


@pytest.mark.parametrize("name", SHELL)
def test_streams(study, name):
    words, redirection, status = SHELL[name]
    line = f"{sys.executable} -m qhq backends {words} {redirection}"
    ended = run(["/bin/sh", "-c", line])
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_closed_stream_leaves_its_number_to_no_file(study):
    line = f"{sys.executable} -m qhq circuit export reference -o out.qasm 2>&- >&-"
    assert run(["/bin/sh", "-c", line]).returncode == 0
    assert (study / "out.qasm").read_text().startswith("OPENQASM 3")


@pytest.mark.parametrize("words", [["compare"], ["circuit", "list"], ["eval", "--json"], ["train"]])
def test_a_current_folder_that_is_gone(study, words):
    gone = study / "gone"
    gone.mkdir()
    line = f"rmdir {gone}; exec {sys.executable} -m qhq {' '.join(words)}"
    ended = run(["/bin/sh", "-c", line], cwd=gone)
    assert ended.returncode == 2
    assert "current folder must exist" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "words",
    [("train", "b" * 300 + ".yaml"), ("train", "x" * 5000), ("eval", "c" * 300), ("doctor", "d" * 300),
     ("ablate", "e" * 300), ("compare", "f" * 300), ("compare", "--csv", "g" * 300),
     ("data", "check", "h" * 300), ("circuit", "info", "i" * 300 + ".yaml"),
     ("circuit", "export", "reference", "-o", "j" * 300)],
    ids=lambda words: f"{words[0]} {words[-1][0]}",
)  # fmt: skip
def test_names_that_are_too_long(qhq, words):
    result = qhq(*words)
    assert result.exit_code in (2, 3), result.output
    assert "Traceback" not in result.output


def test_what_is_no_file_is_written_to_and_not_replaced(study):
    os.mkfifo(fifo := study / "fifo")
    words = [sys.executable, "-m", "qhq", "circuit", "export", "reference", "-o"]
    ended = run([*words, str(fifo)])
    assert ended.returncode == 2, "nobody reads"
    assert "must be writable" in ended.stderr
    ended = run([*words, "/dev/stderr"])
    assert "OPENQASM 3" in ended.stderr
    assert not Path("/dev/null").is_file()
    assert run([*words, "/dev/null"]).returncode == 0
    assert not Path("/dev/null").is_file()
    assert fifo.is_fifo()


@pytest.mark.parametrize("size", [0, 2_000])
def test_a_disk_that_is_full_leaves_no_half_run(study, size):
    ended = run(
        [sys.executable, "-m", "qhq", "train", "tiny.yaml"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(study.glob("runs/**/*.*"))

"""The ledger of looks: what counts as the same test split, and that it stands whatever happens to it."""

from __future__ import annotations

import json
import os
import threading

import numpy as np
import pytest

from qhq.data.checks.stocks import check_panel
from qhq.data.split import split_panel
from qhq.runs.looks import _LEDGER, _SAMPLE, add_look, sample_of, say_looks
from tests.data.panels import make_frame, make_spec


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def split(frame=None, **settings):
    spec = make_spec(**({"targets": ("close",)} | settings))
    frame = make_frame(rows=300) if frame is None else frame
    return split_panel(check_panel(frame, "test", columns=spec.features), spec).test.windows


def seen(windows, run="r", command="train", **more):
    return add_look(windows, run=run, command=command, **more)


def test_the_same_targets_are_one_split_whatever_is_asked_of_them():
    plain = split()
    assert seen(plain).to_dict() == {"times": 1, "runs": 1, "at_least": False}
    rounded = make_frame(rows=300)
    rounded["close"] *= 1 + 1e-9
    same = [
        split(features=("close",)),
        split(window=9),
        split(horizon=3),
        split(scaling="standard"),
        split(rounded),
        split(split={"lookback": True}),
        split(split={"test": 0.22, "train": 0.68}),
        plain.select(np.arange(len(plain))[::-1]),
    ]
    for number, windows in enumerate(same):
        assert seen(windows, run=f"r{number % 3}").times == number + 2
    assert seen(plain, times=0).runs == 4


def test_other_targets_are_another_split():
    seen(split())
    later = make_frame(rows=300, seed=1)
    for windows in (
        split(targets=("adj_close",)),
        split(later),
        split(symbols=("AAA",), frame=make_frame(symbols=("AAA",), rows=300, seed=2)),
        split(split={"train": 0.4, "validation": 0.1, "test": 0.5}, frame=make_frame(rows=900)),
    ):
        assert seen(windows).times == 1


def test_looks_are_counted_by_models_and_by_runs():
    windows = split()
    seen(windows, run="a", times=12)
    seen(windows, run="b", command="eval")
    found = seen(windows, run="b", command="noise")
    assert (found.times, found.runs) == (14, 2)
    assert say_looks(found.to_dict()) == ["This test split has been looked at 14 times (2 runs and studies)."]
    assert say_looks({"times": 1, "runs": 1})[0].endswith("for the first time.")
    assert say_looks(None) == []


def test_a_few_sessions_of_a_test_split_are_a_look_at_that_split():
    whole = split()
    seen(whole, run="a")
    some = whole.select(np.arange(3))
    assert seen(some, run="a", command="predict", part_of="a").to_dict() == {
        "times": 2, "runs": 1, "at_least": False, "part": True,
    }  # fmt: skip
    found = seen(some, run="a", command="eval", part_of="a")
    assert say_looks(found) == [
        "Some or all of these sessions are of the run's test split, which has been looked at 3 times"
        " (1 run or study)."
    ]
    assert seen(whole, run="b").times == 4


def test_sessions_outside_of_the_runs_test_split_are_another_split():
    seen(split(), run="a")
    spec = make_spec(targets=("close",))
    panel = check_panel(make_frame(rows=300), "test", columns=spec.features)
    found = seen(split_panel(panel, spec).validation.windows, run="a", command="predict", part_of="a")
    assert (found.times, found.part) == (1, False)
    assert say_looks(found, "These sessions have") == [
        "These sessions have been looked at for the first time."
    ]
    # The split itself is no part of one, and of a run that the ledger does not know nothing is.
    assert seen(split(), run="a", part_of="a").to_dict() == {"times": 2, "runs": 1, "at_least": False}
    assert not seen(split().select(np.arange(3)), run="a", part_of="z").part


def test_a_damaged_ledger_loses_its_damaged_lines_alone(runs):
    windows = split()
    seen(windows)
    path = runs / _LEDGER
    good = next(line for line in path.read_text().splitlines() if line)
    bad = [
        "{", "[" * 100_000, "null", "3", "\x00\xff", good[:-9], '{"times": 1}',
        *(json.dumps(json.loads(good) | change) for change in (
            {"times": -1}, {"times": "2"}, {"times": 10**400}, {"run": 3}, {"sample": 3}, {"sample": [1]},
            {"sample": None},
        )),
    ]  # fmt: skip
    path.write_bytes(path.read_bytes() + "\n".join(bad).encode("utf-8", "surrogateescape"))
    assert seen(windows).times == 2


def test_only_the_end_of_a_long_ledger_is_read(runs, monkeypatch):
    windows = split()
    for _ in range(4):
        seen(windows)
    monkeypatch.setattr("qhq.runs.looks._MOST_BYTES", (runs / _LEDGER).stat().st_size // 2)
    found = seen(windows)
    assert found.at_least
    assert 1 < found.times < 5
    assert "at least" in say_looks(found.to_dict())[0]


@pytest.mark.parametrize("what", ["folder", "fifo", "unwritable"])
def test_a_ledger_that_cannot_be_written_ends_nothing(runs, what):
    runs.mkdir()
    if what == "folder":
        (runs / _LEDGER).mkdir()
    elif what == "fifo":
        os.mkfifo(runs / _LEDGER)
    else:
        runs.rmdir()
        runs.write_text("a file in the folder's place")
    found = seen(split())
    assert (found.times, found.runs) == (1, 1)
    assert "could not be written down" in say_looks(found.to_dict())[0]


def test_many_may_write_at_once(runs):
    windows = split()
    threads = [threading.Thread(target=seen, args=(windows, f"r{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = seen(windows, times=0)
    assert (found.times, found.runs) == (8, 8)


def test_a_split_is_named_by_its_smallest_hashes(runs):
    names = sample_of(split())
    assert len(names) == _SAMPLE
    assert names == sorted(names)
    # The names that another machine has written must be found again here.
    assert names[0] == "0055c8b9aa0d7e25"

"""The runner: each cell measured once, kept as it comes, shared by all that run the same study at once."""

from __future__ import annotations

import json
import os
import signal
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from qhq.files import HeldError, held_alone
from qhq.studies.runner import LocalWorkers, Outcome, Runner, Store, Study, StudyEvents
from qhq.studies.runner import study as runner_module


@dataclass(frozen=True)
class Square:
    """A cell; it may kill the worker that measures it, the first time."""

    number: int
    deadly: str = ""

    @property
    def key(self) -> str:
        return str(self.number)


class Squares(Study[Square, dict[str, int]]):
    """A whole study: which cells, how one is measured, what they mean."""

    title = "squares"

    def __init__(self, store: Store, count: int, deadly: str = "") -> None:
        self.store, self.count, self.deadly = store, count, deadly

    def plan(self) -> list[Square]:
        return [Square(number, self.deadly) for number in range(self.count)]

    @staticmethod
    def measure(cell: Square) -> Outcome:
        marker = Path(cell.deadly)
        if cell.deadly and cell.number == 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome({"square": cell.number**2})

    def summarise(self, done) -> dict[str, int]:
        return {key: values["square"] for key, values in done.items()}


def watched(store: Store, count: int, act: Callable[[Square], None]) -> Squares:
    """The same study in this process, with something done before each measurement."""
    study = Squares(store, count)

    def measure(cell: Square) -> Outcome:
        act(cell)
        return Squares.measure(cell)

    study.measure = measure  # type: ignore[method-assign]
    return study


class Log(StudyEvents):
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.found: list[str] = []
        self.fresh: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def started(self, title: str, cells: int) -> None:
        self.said.append(f"{title} {cells}")

    def done(self, key: str, *, fresh: bool) -> None:
        (self.fresh if fresh else self.found).append(key)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "studies" / "noise.jsonl", shared=True)


def lines(store: Store) -> list[str]:
    return store.path.read_text().split()


SQUARES = {str(number): number**2 for number in range(6)}


def test_cells_that_are_there_are_not_measured_again(store):
    assert Runner().run(Squares(store, 3)) == {"0": 0, "1": 1, "2": 4}
    log = Log()
    assert Runner(progress=log).run(Squares(Store(store.path), 6)) == SQUARES
    assert (log.said, log.found, log.fresh) == (["squares 6"], ["0", "1", "2"], ["3", "4", "5"])
    assert [path.name for path in store.path.parent.iterdir()] == ["noise.jsonl"], "no lock is left"


def test_a_damaged_line_is_measured_again(store):
    Runner().run(Squares(store, 4))
    whole = [line for line in store.path.read_bytes().splitlines() if line]
    damage = [
        whole[0].replace(b'"square": 0', b'"square": 7'),
        b'{"cell": "1", "values": {}}',
        b'"\xff',
        b"[]",
    ]
    store.path.write_bytes(b"\n".join([*damage, *whole[2:], b'{"cell": "1", "val']))
    log = Log()
    found = Runner(progress=log).run(Squares(Store(store.path), 4))
    assert found == {"0": 0, "1": 1, "2": 4, "3": 9}
    assert log.fresh == ["0", "1"]


def test_two_processes_give_what_one_gives_though_one_is_killed(store, tmp_path):
    log = Log()
    with LocalWorkers(2, log.note) as workers:
        found = Runner(workers, log).run(Squares(store, 6, str(tmp_path / "killed")))
    assert found == SQUARES
    assert sorted(log.fresh) == sorted(SQUARES)
    assert sum("A worker died" in text for text in log.said) == 1
    assert sorted(json.loads(line)["cell"] for line in store.path.read_text().splitlines() if line) == sorted(
        SQUARES
    )


def test_many_at_once_share_the_cells(store):
    measured, tables = [], []
    together = threading.Barrier(6)

    def work():
        together.wait()
        own = Store(store.path, shared=True)
        tables.append(Runner().run(watched(own, 6, lambda cell: measured.append(cell.key))))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(measured) == sorted(SQUARES)
    assert tables == [SQUARES] * 6


def lock_of(store: Store, key: str) -> Path:
    store.path.parent.mkdir(parents=True, exist_ok=True)
    return store.path.with_name(f".noise-{zlib.crc32(key.encode()):08x}.lock")


def test_a_cell_that_another_one_measures_is_passed_over_and_waited_for(store):
    measured, other = [], threading.Event()

    def act(cell: Square) -> None:
        measured.append(cell.key)
        other.set()

    thread = threading.Thread(target=lambda: Runner().run(watched(store, 2, act)))
    with held_alone(lock_of(store, "0"), must="", fix=""):
        thread.start()
        other.wait()
        Store(store.path).append("0", {"square": 0})
    thread.join()
    assert measured == ["1"]


def test_who_measures_nothing_is_not_waited_for_for_ever(store, monkeypatch):
    monkeypatch.setattr(runner_module, "_MOST_SECONDS", 0.0)
    with (
        held_alone(lock_of(store, "0"), must="", fix=""),
        pytest.raises(HeldError, match="held by process"),
    ):
        Runner().run(Squares(store, 1))


def test_a_cell_that_fails_is_free_for_the_next(store):
    def fail(cell: Square) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Runner().run(watched(store, 1, fail))
    assert Runner().run(Squares(store, 1)) == {"0": 0}


class Lots(Squares):
    """The same, of which even numbers are measured together; each says with how many."""

    @staticmethod
    def measure_together(cells) -> list[Outcome]:
        return [Outcome({"square": cell.number**2, "of": len(cells)}) for cell in cells]

    def group(self, cell: Square) -> str:
        return "" if cell.number % 2 else "even"

    def summarise(self, done) -> dict[str, int]:
        return {key: values["of"] for key, values in done.items()}


@pytest.mark.parametrize("workers", [1, 2])
def test_cells_of_a_group_are_measured_together_a_few_at_a_time(tmp_path, workers):
    with LocalWorkers(workers, print) as open_workers:
        found = Runner(open_workers).run(Lots(Store(tmp_path / "one.jsonl"), 15))
    assert {key: of for key, of in found.items() if of > 1} == {
        **dict.fromkeys(("0", "2", "4", "6", "8"), 5),
        **dict.fromkeys(("10", "12", "14"), 3),
    }


def test_a_group_that_was_cut_off_is_measured_as_it_was_and_kept_once(tmp_path):
    whole = Store(tmp_path / "whole.jsonl")
    Runner().run(Lots(whole, 12))
    cut = Store(tmp_path / "cut.jsonl")
    kept = [line for line in whole.path.read_text().splitlines() if line]
    cut.path.write_text("".join(f"{line}\n" for line in kept[:2]))
    log = Log()
    assert Runner(progress=log).run(Lots(cut, 12)) == Runner().run(Lots(whole, 12))
    assert (len(log.found), len(log.fresh)) == (2, 10)
    again = [line for line in cut.path.read_text().splitlines() if line]
    assert sorted(again) == sorted(kept), "what was there is not written again"

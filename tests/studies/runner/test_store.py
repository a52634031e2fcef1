"""A store of cells: kept one by one, and shared by all that measure the same study at once."""

from __future__ import annotations

import threading

import pytest

from qhq.files import HeldError, held_alone
from qhq.studies.runner import store as stores
from qhq.studies.runner.store import CellStore


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "studies" / "noise.jsonl")


def lines(store: CellStore) -> int:
    return len(store.path.read_text().split("\n\n"))


def test_cells_that_are_there_are_not_measured_again(store):
    store.append("a", {"mae": 1.0})
    seen = []

    def measure(key, there):
        seen.append((key, there))
        return {"mae": 2.0}

    assert store.complete(["a", "b", "c"], measure) == {
        "a": {"mae": 1.0},
        "b": {"mae": 2.0},
        "c": {"mae": 2.0},
    }
    assert seen == [("b", 1), ("c", 2)]
    assert [path.name for path in store.path.parent.iterdir()] == ["noise.jsonl"], "no lock is left"


def test_many_at_once_share_the_cells(store):
    keys, measured, tables = [f"cell {number}" for number in range(12)], [], []
    together = threading.Barrier(6)

    def measure(key, there):
        measured.append(key)
        return {"key": key}

    def work():
        together.wait()
        tables.append(CellStore(store.path).complete(keys, measure))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(measured) == sorted(keys)
    assert tables == [{key: {"key": key} for key in keys}] * 6
    assert lines(store) == len(keys)


def test_a_cell_that_another_one_measures_is_passed_over_and_waited_for(store):
    measured, other = [], threading.Event()
    store.path.parent.mkdir()
    key = "a"
    lock = store.path.with_name(f".noise-{stores.zlib.crc32(key.encode()):08x}.lock")

    def measure(key, there):
        measured.append(key)
        other.set()
        return {}

    def work():
        store.complete(["a", "b"], measure)

    thread = threading.Thread(target=work)
    with held_alone(lock, must="", fix=""):
        thread.start()
        other.wait()
        CellStore(store.path).append("a", {})
    thread.join()
    assert measured == ["b"]
    assert lines(store) == 2


def test_who_measures_nothing_is_not_waited_for_for_ever(store, monkeypatch):
    monkeypatch.setattr(stores, "MOST_SECONDS", 0.0)
    store.path.parent.mkdir()
    lock = store.path.with_name(f".noise-{stores.zlib.crc32(b'a'):08x}.lock")
    with (
        held_alone(lock, must="", fix=""),
        pytest.raises(HeldError, match="held by process"),
    ):
        store.complete(["a"], lambda key, there: {})


def test_a_cell_that_fails_is_free_for_the_next(store):
    def fail(key, there):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.complete(["a"], fail)
    assert store.complete(["a"], lambda key, there: {"mae": 1.0}) == {"a": {"mae": 1.0}}

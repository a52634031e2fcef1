"""Files and sidecars: whole or not there."""

import json
import threading
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from qhq.data.yahoo.history import fetch_bars
from qhq.data.yahoo.load import Entry, entry_path, lock_entry, read_entry, write_entry
from qhq.errors import DataError


@pytest.fixture
def entry(yahoo_loopback):
    bars = fetch_bars("AAPL", yahoo=yahoo_loopback.open())
    stamp = datetime(2024, 6, 28, 21, 0, tzinfo=UTC)
    return Entry(bars.frame, date(2023, 1, 1), date(2024, 6, 30), bars.through, stamp)


@pytest.fixture
def path(entry):
    with lock_entry("AAPL") as path:
        write_entry(path, "AAPL", entry)
    return path


def test_what_was_written_is_read_back(path, entry):
    again = read_entry(path)
    assert again.frame.equals(entry.frame)
    assert replace(again, frame=entry.frame) != entry  # compared by identity: field by field then
    assert (again.start, again.end, again.through, again.fetched_at) == (
        entry.start,
        entry.end,
        entry.through,
        entry.fetched_at,
    )
    assert sorted(file.name for file in path.parent.iterdir()) == [
        f"AAPL-1d-v1.{ending}" for ending in ("json", "lock", "parquet")
    ]


def test_the_sidecar_tells_where_it_comes_from(path):
    note = json.loads(path.with_suffix(".json").read_text())
    assert note["asked"] == {"start": "2023-01-01", "end": "2024-06-30"}
    assert note["held"] == {"first": "2023-01-02", "last": "2024-06-28", "through": "2024-06-28"}
    assert (note["source"], note["symbol"], note["interval"], note["schema"]) == ("yahoo", "AAPL", "1d", 1)
    assert (note["rows"], note["fetched_at"]) == (390, "2024-06-28T21:00:00+00:00")
    assert {"qhq", "yfinance", "pandas", "pyarrow"} <= set(note["versions"])
    assert len(note["sha256"]) == 64


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def drop_hash(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": None}))


def other_schema(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 0}))


@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        (".parquet", cut),
        (".parquet", flip),
        (".json", cut),
        (".parquet", lambda path: path.unlink()),
        (".json", lambda path: path.unlink()),
        (".json", lambda path: path.write_text("[]")),
        (".json", drop_hash),
        (".json", other_schema),
    ],
)
def test_what_is_damaged_is_not_there(path, ending, damage):
    damage(path.with_suffix(ending))
    assert read_entry(path) is None


def test_a_write_that_fails_leaves_the_old_content(path, entry, monkeypatch):
    monkeypatch.setattr("qhq.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_entry(path, "AAPL", replace(entry, frame=entry.frame.head(3)))
    assert len(read_entry(path).frame) == 390
    assert not list(path.parent.glob(".qhq-*"))


@pytest.mark.parametrize(
    ("start", "end", "online", "offline"),
    [
        (date(2023, 1, 1), date(2024, 6, 28), True, True),
        (date(2024, 1, 1), date(2024, 2, 1), True, True),
        (date(2022, 12, 31), date(2024, 2, 1), False, False),
        (None, date(2024, 2, 1), False, False),
        (date(2023, 1, 1), date(2024, 6, 30), False, True),
        (date(2023, 1, 1), date(2024, 7, 1), False, False),
        (date(2023, 1, 1), None, False, True),
    ],
)
def test_which_requests_an_entry_covers(entry, start, end, online, offline):
    assert entry.covers(start, end, offline=False) == online
    assert entry.covers(start, end, offline=True) == offline


@pytest.mark.parametrize("symbol", ["^GSPC", "BRK-B", "EURUSD=X", "ES=F", "0700.HK"])
def test_file_names_are_safe_and_apart(yahoo_loopback, symbol):
    name = entry_path(symbol).name
    assert not set(name) & set('^=/\\:*?"<>| ')
    assert entry_path(symbol).parent == entry_path("AAPL").parent


def test_two_take_turns(path, monkeypatch):
    monkeypatch.setattr("qhq.data.yahoo.load.LOCK_SECONDS", 0.0)
    refused = []

    def second():
        with (
            pytest.raises(DataError, match="no other process may hold it for long. Got Timeout"),
            lock_entry("AAPL"),
        ):
            pass
        refused.append(True)

    with lock_entry("AAPL"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert refused == [True]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QHQ_CACHE_DIR", str(tmp_path / "file"))
    with (
        pytest.raises(DataError, match="cache folder must be writable.* Set QHQ_CACHE_DIR"),
        lock_entry("AAPL"),
    ):
        pass

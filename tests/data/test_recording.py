"""The store: nothing is doubled, nothing is lost, nothing is written over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qhq.data import recording as on_disk
from qhq.data.checks.options import check_options
from qhq.data.recording import ChainStore, read_recorded
from qhq.errors import DataError
from tests.data.chains import make_chain

ROOT = Path(__file__).parents[2]
LATER = "2026-11-20T23:00:00"


@pytest.fixture
def store(tmp_path: Path) -> ChainStore:
    return ChainStore(tmp_path / "chains")


def test_one_file_an_underlying_and_session(store):
    done = store.append([make_chain(), make_chain("AMD"), make_chain(session="2026-11-23")])
    assert [each.path.relative_to(store.root).as_posix() for each in done] == [
        "AAPL/2026-11-20.parquet",
        "AAPL/2026-11-23.parquet",
        "AMD/2026-11-20.parquet",
    ]
    assert [(each.added, each.rows) for each in done] == [(4, 4)] * 3
    assert store.underlyings() == ["AAPL", "AMD"]


def test_the_same_rows_again_add_nothing_and_leave_the_file_alone(store):
    path = store.append([make_chain()])[0].path
    before = path.stat().st_mtime_ns, path.read_bytes()
    again = store.append([make_chain()])[0]
    assert (again.added, again.rows) == (0, 4)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_a_second_run_adds_the_newer_quotes(store):
    store.append([make_chain()])
    assert store.append([make_chain(stamp=LATER, bid=5.0)])[0].added == 4
    assert len(store.read(["AAPL"])) == 8
    np.testing.assert_allclose(read_recorded(store.root)["bid"], [5, 6, 5, 6])


def test_of_rows_stamped_alike_all_are_kept_and_the_last_is_read(store):
    store.append([make_chain(bid=3.0)])
    store.append([make_chain(bid=4.0)])
    assert len(store.read(["AAPL"])) == 8
    np.testing.assert_allclose(read_recorded(store.root)["bid"], [4, 5, 4, 5])


def test_a_later_run_of_an_older_quote_does_not_win(store):
    store.append([make_chain(stamp=LATER, bid=5.0)])
    store.append([make_chain(bid=3.0)])
    np.testing.assert_allclose(read_recorded(store.root)["bid"], [5, 6, 5, 6])


BATCH = st.lists(
    st.tuples(
        st.sampled_from(["AAPL", "AMD"]),
        st.sampled_from(["2026-11-19", "2026-11-20"]),
        st.sampled_from(["2026-11-20T21:20:00", "2026-11-20T21:20:01", LATER]),
        st.sampled_from([1.0, 2.0, np.nan]),
        st.lists(st.sampled_from([180.0, 190.0, 200.0]), min_size=1, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=40)
@given(st.lists(BATCH, min_size=1, max_size=4))
def test_any_order_of_runs_keeps_every_distinct_row_once(batches):
    made = [
        [
            make_chain(name, session=day, stamp=at, bid=bid, strikes=strikes)
            for name, day, at, bid, strikes in each
        ]
        for each in batches
    ]
    everything = pd.concat([chain for batch in made for chain in batch])
    with TemporaryDirectory() as folder:
        store = ChainStore(Path(folder))
        added = sum(done.added for batch in made for done in store.append(batch))
        kept, read = store.read(store.underlyings()), read_recorded(store.root)
    distinct = everything.drop_duplicates()
    assert len(kept) == added == len(distinct)
    assert not kept.duplicated().any()
    keys = ["contract_id", "date"]
    best = distinct.assign(quoted=distinct["bid"].notna()).sort_values(["quoted", "quote_time"])
    newest = best.groupby(keys)["quote_time"].last()
    stamps = read.set_index(keys)["quote_time"]
    assert stamps.index.is_unique
    assert (stamps.sort_index() == newest.sort_index()).all()
    has_bid = read.set_index(keys)["bid"].notna().sort_index()
    assert (has_bid == distinct.groupby(keys)["bid"].count().gt(0).sort_index()).all()


def test_every_value_comes_back(store):
    chain = make_chain().assign(open_interest=[1.0, np.nan, 3.0, 4.0], last_trade=pd.NaT, note=None)
    store.append([chain])
    back = read_recorded(store.root)
    pd.testing.assert_frame_equal(back, chain, check_dtype=False)


def test_columns_may_come_and_go(store):
    store.append(
        [make_chain(), make_chain(session="2026-11-23", stamp="2026-11-23T21:20:00").assign(style=None)]
    )
    store.append([make_chain(stamp=LATER).drop(columns="last").assign(delta=0.5)])
    back = read_recorded(store.root)
    assert back["last"].isna().sum() == 4
    assert back["delta"].notna().sum() == 4
    assert back["style"].isna().sum() == 4


def test_a_column_that_changes_its_type_is_refused_and_nothing_is_lost(store):
    path = store.append([make_chain()])[0].path
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"must keep its type.*2026-11-20\.parquet"):
        store.append([make_chain(stamp=LATER).assign(bid="3.10")])
    assert path.read_bytes() == before


def test_recorders_at_the_same_time_lose_nothing(store):
    stamps = [f"2026-11-20T21:20:{second:02d}" for second in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda stamp: store.append([make_chain(stamp=stamp)]), stamps))
    assert len(store.read(["AAPL"])) == 4 * len(stamps)


@pytest.mark.parametrize("damage", [b"", b"no parquet", "half", "foreign"])
def test_a_damaged_file_is_named_and_kept_aside(store, damage):
    path = store.append([make_chain()])[0].path
    if damage == "foreign":
        pd.DataFrame({"x": [1]}).to_parquet(path)
    else:
        path.write_bytes(path.read_bytes()[:900] if damage == "half" else damage)
    content = path.read_bytes()
    with pytest.raises(DataError, match=r"AAPL/2026-11-20\.parquet"):
        read_recorded(store.root)
    for number in (1, 2):
        done = store.append([make_chain()])[0]
        assert done.aside == path.with_name(f"2026-11-20.parquet.damaged-{number}")
        assert done.aside.read_bytes() == content
        assert len(read_recorded(store.root)) == 4
        path.write_bytes(content)


def bomb(path):
    """A small file with a text of a megabyte in each of two million rows."""
    table = pq.ParquetFile(path).read()
    rows = pa.array([0] * 2_000_000, pa.int32())
    long = pa.DictionaryArray.from_arrays(rows, pa.array(["a" * 1_000_000]))
    other = {name: table[name].combine_chunks().take(rows) for name in table.column_names}
    pq.write_table(pa.table({**other, "contract_id": long}), path, compression="zstd")


def retype(path, name, array):
    table = pq.ParquetFile(path).read()
    column = array.take(pa.array([0] * table.num_rows))
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)


DAMAGES = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:900]),
    "empty": lambda path: path.write_bytes(b""),
    "a FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "a bomb": bomb,
    "text for a number": lambda path: retype(path, "bid", pa.array(["dear"])),
    "days as text": lambda path: retype(path, "date", pa.array(["2026-11-20"])),
    "times without a zone": lambda path: retype(path, "quote_time", pa.array([0], pa.timestamp("us"))),
    "a quote without its time": lambda path: retype(
        path, "quote_time", pa.nulls(1, pa.timestamp("us", "UTC"))
    ),
    "two columns of one name": lambda path: pq.write_table(
        (table := pq.ParquetFile(path).read()).append_column("bid", table["bid"]), path
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_file_costs_its_own_session_alone(store, damage, number):
    files = store.append(
        [
            make_chain(),
            *(make_chain(session=f"2026-11-{day}", stamp=f"2026-11-{day}T21:20:00") for day in (23, 24)),
        ]
    )
    DAMAGES[damage](files[number].path)
    frame = read_recorded(store.root)
    assert len(frame) == 8
    assert str(files[number].session) not in set(frame["date"].dt.strftime("%Y-%m-%d"))
    (note,) = frame.attrs["notes"]
    assert f"AAPL/{files[number].path.name}" in note
    assert "left out" in note


KILLED = """
import os, signal, sys
from pathlib import Path
from qhq.data.checks.options import check_options
from qhq.data import recording as on_disk
from qhq.data.recording import ChainStore
from tests.data.chains import make_chain

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

def die_half_way(table, path, **options):
    path.write_bytes(b"PAR1 half of it")
    die()

if sys.argv[2] == "write":
    on_disk.pq.write_table = die_half_way
elif sys.argv[2] == "sync":
    os.fsync = die
else:
    Path.replace = die
ChainStore(Path(sys.argv[1])).append([make_chain(stamp="2026-11-20T23:00:00")])
"""


@pytest.mark.parametrize("moment", ["write", "sync", "move"])
def test_a_kill_leaves_whole_files_and_the_next_run_carries_on(store, moment):
    store.append([make_chain()])
    command = [sys.executable, "-c", KILLED, str(store.root), moment]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    assert len(read_recorded(store.root)) == 4
    assert store.append([make_chain(stamp=LATER)])[0].added == 4
    assert [path.name for path in sorted(store.root.glob("AAPL/*"))] == [".lock", "2026-11-20.parquet"]


def test_a_failing_write_leaves_what_was_there(store, monkeypatch):
    path = store.append([make_chain()])[0].path
    before = path.read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(on_disk.pq, "write_table", full)
    with pytest.raises(DataError, match=r"must be writable.*No space left"):
        store.append([make_chain(stamp=LATER)])
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".qhq-*"))


def test_a_held_lock_is_waited_for_and_then_reported(store, monkeypatch):
    path = store.append([make_chain()])[0].path
    monkeypatch.setattr(on_disk, "_LOCK_SECONDS", 0.0)
    with on_disk.writing(path), pytest.raises(DataError, match="by one process at a time"):
        store.append([make_chain(stamp=LATER)])


@pytest.mark.parametrize("name", ["../AAPL", ".AAPL", "A/B", "", "A" * 60])
def test_a_name_that_is_no_ticker_never_becomes_a_path(store, name):
    with pytest.raises(DataError, match="must be a ticker"):
        store.append([make_chain(name)])
    assert not store.root.exists()


def test_rows_without_a_key_are_refused(store):
    with pytest.raises(DataError, match="'quote_time'"):
        store.append([make_chain().assign(quote_time=pd.NaT)])
    with pytest.raises(DataError, match="'contract_id'"):
        store.append([make_chain().drop(columns="contract_id")])


def test_reading_says_what_is_not_recorded(store):
    with pytest.raises(DataError, match="is no folder"):
        read_recorded(store.root)
    store.append([make_chain(), make_chain("AMD")])
    with pytest.raises(DataError, match="Did you mean 'AMD'"):
        read_recorded(store.root, ["AAPL", "AMDD"])
    assert read_recorded(store.root, ["AMD", "AAPL"])["underlying"].unique().tolist() == ["AMD", "AAPL"]


def test_a_row_without_quotes_does_not_hide_the_quotes_before_it(store):
    store.append([make_chain(bid=3.0)])
    store.append([make_chain(stamp=LATER, bid=np.nan).assign(ask=np.nan)])
    np.testing.assert_allclose(read_recorded(store.root)["bid"], [3, 4, 3, 4])
    store.append([make_chain("AMD", bid=np.nan).assign(ask=np.nan)])
    assert read_recorded(store.root, ["AMD"])["bid"].isna().all()


@pytest.mark.parametrize(("stamp", "known"), [("2026-11-21T02:00:00", True), ("2026-11-22T15:00:00", False)])
def test_quotes_asked_for_over_a_weekend_make_a_panel(store, stamp, known):
    store.append([make_chain(stamp=stamp)])
    table = read_recorded(store.root)
    assert table["quote_time"].notna().all() == known
    panel = check_options(table, "chains")
    assert panel.label == "traded"
    assert panel.groups == ("AAPL",) * 4


@pytest.mark.parametrize(
    ("session", "stamp", "over"),
    [
        ("2026-11-20", "2026-11-20T20:30:00", False),
        ("2026-11-20", "2026-11-20T21:00:00", True),
        ("2026-11-27", "2026-11-27T17:59:00", False),  # a half day: New York closes at 18:00 UTC
        ("2026-11-27", "2026-11-27T18:20:00", True),
        ("2026-11-26", "2026-11-26T20:59:00", False),  # a holiday, as far as the calendar knows
        ("2026-11-26", "2026-11-26T21:00:00", True),
    ],
)
def test_only_quotes_from_after_the_close_are_read(store, session, stamp, over):
    store.append([make_chain(session=session, stamp=stamp)])
    if over:
        assert len(read_recorded(store.root)) == 4
    else:
        with pytest.raises(DataError, match="must be recorded after the close"):
            read_recorded(store.root)

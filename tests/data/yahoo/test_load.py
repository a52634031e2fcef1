"""Prices through the cache: what is held is not asked for, what is missing is, no row is lost or doubled.

Files and sidecars are whole or not there.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from qhq.data.checks.stocks import check_panel
from qhq.data.load import load_panel
from qhq.data.quarantine import RowPolicy
from qhq.data.spec import DataSpec
from qhq.data.yahoo.history import _bars, cut_history, fetch_bars
from qhq.data.yahoo.load import CachedHistory, entry_path, load_history, lock_entry, read_entry, write_entry
from qhq.errors import ConfigError, DataError

from .test_history import check_traded


@pytest.fixture
def entry(yahoo_loopback):
    bars = fetch_bars("AAPL", yahoo=yahoo_loopback.open())
    stamp = datetime(2024, 6, 28, 21, 0, tzinfo=UTC)
    return CachedHistory(bars.frame, date(2023, 1, 1), date(2024, 6, 30), bars.through, stamp)


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
    monkeypatch.setattr("qhq.data.yahoo.load._LOCK_SECONDS", 0.0)
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


FIRST = date(2023, 1, 2)


@pytest.fixture
def load(yahoo_loopback):
    """Load through a fresh session, as another process would, by the market's clock."""

    def load(symbols, *span, **options):
        return load_history(symbols, *span, yahoo=yahoo_loopback.open(), **options)

    return load


def at(market, month, day, hour=22):
    market.now = datetime(2024, month, day, hour, tzinfo=UTC)


def test_a_span_inside_the_cache_asks_nothing(yahoo_loopback, load):
    market = yahoo_loopback.market
    load(["AAPL"], FIRST, date(2024, 3, 1))
    market.requests.clear()
    at(market, 12, 1)
    frame = load(["AAPL"], date(2023, 5, 1), date(2024, 6, 28))
    check_traded(frame, market.listings["AAPL"], date(2023, 5, 1), date(2024, 6, 28))
    assert market.requests == []


def test_the_answer_does_not_depend_on_what_is_held(yahoo_loopback, load):
    span = (date(2023, 7, 3), date(2024, 2, 1))
    alone = load(["AAPL"], *span)
    load(["AAPL"], FIRST)
    pd.testing.assert_frame_equal(load(["AAPL"], *span), alone)


def test_a_later_end_fetches_the_rest_only(yahoo_loopback, load):
    market = yahoo_loopback.market
    load(["MSFT"], FIRST)
    at(market, 8, 1)
    market.spans.clear()
    frame = load(["MSFT"], FIRST, date(2024, 7, 31))
    check_traded(frame, market.listings["MSFT"], FIRST, date(2024, 7, 31))
    assert market.spans == [date(2024, 6, 24)]


def test_an_earlier_start_fetches_all(yahoo_loopback, load):
    load(["MSFT"], date(2024, 1, 2), date(2024, 3, 1))
    frame = load(["MSFT"], FIRST, date(2024, 3, 1))
    check_traded(frame, yahoo_loopback.market.listings["MSFT"], FIRST, date(2024, 3, 1))


@pytest.mark.parametrize(("month", "day"), [(9, 9), (9, 10), (9, 11), (12, 31)])
def test_a_split_between_two_fetches(yahoo_loopback, load, month, day):
    market = yahoo_loopback.market
    before = load(["AAPL"], FIRST)
    at(market, month, day)
    market.spans.clear()
    after = load(["AAPL"], FIRST)
    check_traded(after, market.listings["AAPL"], FIRST, date(2024, month, day))
    pd.testing.assert_frame_equal(after.head(len(before)), before, rtol=1e-6)
    assert market.spans == ([date(2024, 6, 24)] if day == 9 else [date(2024, 6, 24), FIRST])


def test_a_dividend_between_two_fetches_refetches_all(yahoo_loopback, load):
    market = yahoo_loopback.market
    at(market, 5, 3)
    before = load(["AAPL"], FIRST)
    at(market, 5, 20)
    market.spans.clear()
    after = load(["AAPL"], FIRST)
    assert market.spans[-1] == FIRST
    check_traded(after, market.listings["AAPL"], FIRST, date(2024, 5, 20))
    pd.testing.assert_frame_equal(after.head(len(before)), before)


def test_a_past_that_differs_refetches_all(yahoo_loopback, load):
    market = yahoo_loopback.market
    load(["MSFT"], FIRST)
    at(market, 7, 10)
    market.listings["MSFT"].prices[:389] *= 1.01
    frame = load(["MSFT"], FIRST)
    check_traded(frame, market.listings["MSFT"], FIRST, date(2024, 7, 10))


def test_fetching_every_day_loses_and_doubles_nothing(yahoo_loopback, load):
    market = yahoo_loopback.market
    at(market, 8, 26)
    load(["AAPL"], date(2024, 1, 2))
    for day, hour in [(27, 15), (27, 21), (28, 15), (30, 15), (31, 12)]:
        at(market, 8, day, hour)
        load(["AAPL"], date(2024, 1, 2))
    for day, hour in [(2, 21), (6, 19), (9, 20), (10, 15), (10, 21), (11, 15), (11, 21), (20, 21)]:
        at(market, 9, day, hour)
        frame = load(["AAPL"], date(2024, 1, 2))
    check_traded(frame, market.listings["AAPL"], date(2024, 1, 2), date(2024, 9, 20))


def test_a_reply_that_lacks_held_sessions_is_refused(yahoo_loopback, load):
    market = yahoo_loopback.market
    load(["MSFT"], FIRST)
    at(market, 7, 10)
    listing = market.listings["MSFT"]
    gone = listing.days.index(date(2024, 6, 26))
    listing.prices[gone] = float("nan")
    with pytest.raises(DataError, match="every session of MSFT that it had before. Got 1 fewer, 2024-06-26"):
        load(["MSFT"], FIRST)
    assert len(load(["MSFT"], FIRST, offline=True)) == 390


@pytest.mark.parametrize("ending", [".parquet", ".json"])
def test_a_damaged_file_is_fetched_again(yahoo_loopback, load, ending):
    whole = load(["AAPL"], FIRST)
    path = entry_path("AAPL").with_suffix(ending)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(
        DataError, match=r"Got nothing, or a damaged file.*qhq data fetch AAPL --start 2023-01-02"
    ):
        load(["AAPL"], FIRST, offline=True)
    pd.testing.assert_frame_equal(load(["AAPL"], FIRST), whole)


def test_offline_serves_what_was_asked_for_before(yahoo_loopback, load):
    market = yahoo_loopback.market
    online = load(["AAPL", "MSFT"], FIRST, date(2024, 6, 30))  # a Sunday
    market.requests.clear()
    pd.testing.assert_frame_equal(load(["AAPL", "MSFT"], FIRST, date(2024, 6, 30), offline=True), online)
    with pytest.raises(
        DataError,
        match=r"hold AAPL from 2023-01-02 to 2024-07-01. Got 2023-01-02 to 2024-06-28. "
        r"Run once with a network: qhq data fetch AAPL --start 2023-01-02 --end 2024-07-01\.",
    ):
        load(["AAPL"], FIRST, date(2024, 7, 1), offline=True)
    assert market.requests == []


def test_offline_opens_no_session(monkeypatch, yahoo_loopback):
    monkeypatch.setattr("qhq.data.yahoo.client.open_yahoo", None)
    with pytest.raises(DataError, match=r"qhq data fetch ^GSPC".replace("^", r"\^")):
        load_history(["^GSPC"], offline=True)


def test_symbols_come_in_order_once_each_and_progress_is_reported(load):
    steps = []
    frame = load(["MSFT", "aapl", "MSFT", "^GSPC"], FIRST, progress=lambda *step: steps.append(step))
    assert frame["symbol"].drop_duplicates().tolist() == ["MSFT", "AAPL", "^GSPC"]
    assert steps == [(1, 3, "MSFT"), (2, 3, "AAPL"), (3, 3, "^GSPC")]
    assert not frame.duplicated(["symbol", "date"]).any()


def test_what_came_before_a_failure_is_kept(yahoo_loopback, load):
    with pytest.raises(DataError, match="NOPE"):
        load(["AAPL", "NOPE", "MSFT"], FIRST)
    assert len(load(["AAPL"], FIRST, offline=True)) == 390
    assert not entry_path("NOPE").exists()


def test_a_failed_update_leaves_the_cache_as_it_was(yahoo_loopback, load):
    market = yahoo_loopback.market
    whole = load(["AAPL"], FIRST)
    at(market, 7, 10)
    market.fault("/v8/finance/chart/AAPL", do="half", times=None)
    with pytest.raises(DataError, match="must be whole"):
        load(["AAPL"], FIRST)
    pd.testing.assert_frame_equal(load(["AAPL"], FIRST, offline=True), whole)


def test_two_at_once_fetch_once(yahoo_loopback):
    yahoo = yahoo_loopback.open()
    with ThreadPoolExecutor(2) as pool:
        spans = [pool.submit(load_history, ["AAPL"], FIRST, date(2024, 6, 28), yahoo=yahoo) for _ in range(2)]
    first, second = (span.result() for span in spans)
    pd.testing.assert_frame_equal(first, second)
    assert yahoo_loopback.market.asked() == 2  # time zone and prices


@pytest.mark.parametrize(
    ("symbols", "span", "match"),
    [
        ([], (), "There must be a symbol"),
        (["../AAPL"], (), "must be Yahoo's"),
        (["AAPL"], (date(2024, 2, 1), date(2024, 1, 1)), "start must not lie after end"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(yahoo_loopback, load, symbols, span, match):
    with pytest.raises(DataError, match=match):
        load(symbols, *span)
    assert yahoo_loopback.market.requests == []


def test_the_real_clock_does_for_a_market_of_the_past(yahoo_loopback):
    frame = load_history(["AAPL"], FIRST, date(2024, 6, 28))
    check_traded(frame, yahoo_loopback.market.listings["AAPL"], FIRST, date(2024, 6, 28))


def test_an_unsafe_address_is_reported(monkeypatch, yahoo_loopback):
    monkeypatch.setenv("QHQ_YAHOO_URL", "http://mirror.example")
    with pytest.raises(ConfigError, match="QHQ_YAHOO_URL"):
        load_history(["AAPL"])


def config(**more):
    base = {"source": "yahoo", "symbols": ("MSFT",), "start": FIRST, "end": date(2024, 3, 1)}
    return DataSpec(**(base | more))


def spoil(listing, day, **what):
    """Let Yahoo tell one session wrongly."""
    row = listing.days.index(day)
    if "close" in what:
        listing.prices[row, 3] = what["close"]
    if "dividend" in what:
        listing.dividends[day] = what["dividend"]
    return row


@pytest.mark.parametrize("dividend", [1.0, 25.0], ids=["all of it", "in another unit"])
def test_a_dividend_not_below_the_close_costs_its_day_alone(yahoo_loopback, load, dividend):
    listing, day = yahoo_loopback.market.listings["MSFT"], date(2023, 6, 14)
    spoil(listing, day, dividend=dividend * listing.prices[listing.days.index(day) - 1, 3])
    frame = load(["MSFT"], FIRST, date(2024, 3, 1))
    assert frame.loc[frame["adj_close"].isna(), "date"].dt.date.tolist() == [day]
    panel = load_panel(config(offline=True))
    assert [(reason.rule, reason.count) for reason in panel.quarantine.reasons] == [("dividend", 1)]
    assert "a dividend of" in panel.quarantine.note()
    assert "drop" not in panel.quarantine.note()
    assert len(panel.dates) == len(frame) - 1
    assert set(panel.missed.astype(object)) == {day}
    # The prices as traded need no adjustment.
    traded = load_panel(config(offline=True, features=("close",), targets=("close",)))
    assert (len(traded.dates), traded.quarantine.count) == (len(frame), 0)


def test_a_zero_close_costs_its_day_alone(yahoo_loopback, load):
    listing, day = yahoo_loopback.market.listings["MSFT"], date(2023, 6, 14)
    spoil(listing, day, close=0.0)
    load(["MSFT"], FIRST, date(2024, 3, 1))
    for column in ("close", "adj_close"):
        panel = load_panel(config(offline=True, features=(column,), targets=(column,)))
        assert panel.quarantine.count == 1
        assert set(panel.missed.astype(object)) == {day}
        assert (np.abs(np.diff(np.log(panel.column(column)))) < 0.3).all()


@pytest.mark.parametrize(("factor", "lost"), [(1.0, 0), (1.01, 1)], ids=["equal", "different"])
def test_a_session_that_yahoo_tells_twice_costs_itself_at_most(factor, lost):
    days = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-03", "2024-01-04"], tz="America/New_York")
    prices = np.array([100.0, 101.0, 101.0 * factor, 102.0])
    answer = pd.DataFrame({name: prices for name in ("Open", "High", "Low", "Close")}, index=days)
    answer = answer.assign(Volume=1.0, Dividends=[0, 1.0, 1.0, 0], **{"Stock Splits": 0.0})
    frame = cut_history(_bars("X", answer, date(2024, 2, 1)).frame, None, None)
    panel = check_panel(frame, "Yahoo", policy=RowPolicy(None, limit=1.0, editable=False))
    assert len(panel.dates) == 3 - lost
    assert_allclose(panel.column("adj_close")[-1], 102.0 / (1 - 1 / 100))

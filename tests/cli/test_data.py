"""``qhq data``: fetch, record."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from qhq.data.recording import read_recorded
from tests.yahoo_loopback.fixtures import yahoo_loopback  # noqa: F401

SPAN = ("--start", "2023-01-02", "--end", "2024-06-27")


@pytest.fixture
def yahoo(yahoo_loopback, monkeypatch):  # noqa: F811
    """Yahoo on this machine, by its own clock."""
    monkeypatch.setattr("qhq.data.yahoo.client.open_yahoo", yahoo_loopback.open)
    return yahoo_loopback


def test_fetch_fills_the_cache_and_says_what_came(qhq, yahoo):
    result = qhq("data", "fetch", "aapl", "MSFT", *SPAN, "--json")
    rows = json.loads(result.stdout)["rows"]
    assert result.exit_code == 0
    assert [row["symbol"] for row in rows] == ["AAPL", "MSFT"]
    assert rows[0] | {"rows": 0} == {
        "symbol": "AAPL", "rows": 0, "first": "2023-01-02", "last": "2024-06-27", "dividends": 3, "splits": 1,
        "source": "fetched", "error": None,
    }  # fmt: skip
    assert rows[0]["rows"] == rows[1]["rows"] > 300
    asked = yahoo.market.asked()
    again = json.loads(qhq("data", "fetch", "AAPL", "MSFT", *SPAN, "--json").stdout)["rows"]
    assert [row["source"] for row in again] == ["cached", "cached"]
    assert yahoo.market.asked() == asked
    fresh = json.loads(qhq("data", "fetch", "AAPL", *SPAN, "--refresh", "--json").stdout)["rows"]
    assert fresh[0] == rows[0]
    assert yahoo.market.asked() > asked


def test_fetch_of_one_that_fails_keeps_the_others(qhq, yahoo):
    result = qhq("data", "fetch", "NOSUCH", "AAPL", *SPAN)
    assert result.exit_code == 3
    assert "AAPL" in result.stdout
    assert "2024-06-27" in result.stdout
    assert "nothing, or not all, of NOSUCH" in result.stderr
    assert "Traceback" not in result.stderr
    printed = qhq("data", "fetch", "NOSUCH", "AAPL", *SPAN, "--json")
    answer = json.loads(printed.stdout)
    assert answer["failed"] == ["NOSUCH"]
    assert [row["source"] for row in answer["rows"]] == [None, "cached"]


def test_fetch_refuses_a_span_that_runs_backwards(qhq, yahoo):
    result = qhq("data", "fetch", "AAPL", "--start", "2024-01-02", "--end", "2023-01-02")
    assert result.exit_code == 3
    assert "start must not lie after end" in result.stderr
    assert qhq("data", "fetch", "AAPL", "--start", "yesterday").exit_code == 2


# record


def test_record_twice_doubles_nothing(qhq, yahoo, study):
    first = json.loads(qhq("data", "record", "AAPL", "MSFT", "--json").stdout)
    rows = first["rows"]
    assert [row["symbol"] for row in rows] == ["AAPL", "MSFT"]
    assert rows[0]["sessions"] == ["2024-06-28"]
    assert rows[0]["files"] == ["chains/AAPL/2024-06-28.parquet"]
    assert rows[0]["expiries"] == 4
    assert rows[0]["added"] == rows[0]["contracts"] > 0
    assert [row["added"] for row in json.loads(qhq("data", "record", "AAPL", "--json").stdout)["rows"]] == [0]
    yahoo.market.now += timedelta(hours=1)
    again = json.loads(qhq("data", "record", "AAPL", "--json").stdout)["rows"][0]
    assert again["added"] == rows[0]["contracts"]
    panel = read_recorded(study / "chains", ["AAPL"])
    assert len(panel) == rows[0]["contracts"]
    assert (panel["quote_time"] == pd.Timestamp(yahoo.market.now)).all()


def test_record_some_expiries_elsewhere(qhq, yahoo, study):
    result = qhq("data", "record", "aapl", "--path", "mine", "--expiries", "1")
    assert result.exit_code == 0, result.stderr
    assert "2024-06-28" in result.stdout
    assert read_recorded(study / "mine")["expiry"].nunique() == 1


def test_a_symbol_that_fails_does_not_lose_the_others(qhq, yahoo, study):
    result = qhq("data", "record", "NOSUCH", "AAPL", "--json")
    assert result.exit_code == 3
    answer = json.loads(result.stdout)
    assert answer["failed"] == ["NOSUCH"]
    assert "NOSUCH" in answer["rows"][0]["error"]
    assert answer["rows"][1]["error"] is None
    assert "Every symbol must be recorded. Got nothing, or not all, of NOSUCH." in result.stderr
    assert set(read_recorded(study / "chains")["underlying"]) == {"AAPL"}


def test_record_names_a_damaged_file_and_keeps_it(qhq, yahoo, study):
    file = study / "chains" / "AAPL" / "2024-06-28.parquet"
    file.parent.mkdir(parents=True)
    file.write_text("half a file")
    result = qhq("data", "record", "AAPL")
    assert result.exit_code == 0
    assert "kept aside as chains/AAPL/2024-06-28.parquet.damaged-1" in result.stderr
    assert file.with_name(f"{file.name}.damaged-1").read_text() == "half a file"
    assert len(read_recorded(study / "chains")) > 0


def test_every_is_a_day(qhq):
    result = qhq("data", "record", "AAPL", "--every", "hour")
    assert result.exit_code == 2
    assert "--every must be day" in result.stderr


class Days:
    """Time that only sleeping moves; the third nap after ``until`` never comes."""

    def __init__(self, market, until: datetime) -> None:
        self.market, self.until = market, until

    def now(self) -> datetime:
        return self.market.now

    def sleep(self, seconds: float) -> None:
        self.market.now += timedelta(seconds=seconds)
        if self.market.now > self.until:
            raise KeyboardInterrupt


def test_every_day_records_each_session_until_interrupted(qhq, yahoo, study, monkeypatch):
    yahoo.market.now = datetime(2024, 6, 27, 15, 0, tzinfo=UTC)
    days = Days(yahoo.market, datetime(2024, 7, 2, 12, 0, tzinfo=UTC))
    monkeypatch.setattr("qhq.data.recorder.utc_now", days.now)
    monkeypatch.setattr(time, "sleep", days.sleep)
    result = qhq("data", "record", "AAPL", "NOSUCH", "--every", "day", "--expiries", "2", "--json")
    assert result.exit_code == 130
    rows = json.loads(result.stdout)["rows"]
    recorded = [row["sessions"] for row in rows if row["symbol"] == "AAPL"]
    assert recorded == [["2024-06-27"], ["2024-06-28"], ["2024-07-01"]]
    assert sum(row["symbol"] == "NOSUCH" for row in rows) == 9  # each evening again, twice
    assert "Not recorded: NOSUCH" in result.stderr
    assert "Next recording at 2024-06-27 20:20 UTC" in result.stderr
    assert "Interrupted." in result.stderr
    assert sorted(path.stem for path in (study / "chains" / "AAPL").glob("*.parquet")) == [
        "2024-06-27", "2024-06-28", "2024-07-01",
    ]  # fmt: skip


def test_a_wrong_address_is_reported_before_the_first_close(qhq, monkeypatch):
    monkeypatch.setenv("QHQ_YAHOO_URL", "http://example.org")
    result = qhq("data", "record", "AAPL", "--every", "day", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["kind"] == "ConfigError"


# show

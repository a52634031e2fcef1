"""The recorder: each symbol for itself, whatever can be had is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from qhq.data.recording.recorder import record_chains
from qhq.data.recording.store import read_recorded
from tests.data.recording.chains import EXPIRIES, Source

NOW = datetime(2026, 11, 20, 21, 20, tzinfo=UTC)


def quiet(done: int, total: int, what: str) -> None:
    """Nobody looks."""


def test_every_expiry_of_every_symbol_is_recorded(tmp_path):
    seen: list[tuple[int, int, str]] = []
    done = record_chains(["AAPL", "AMD"], tmp_path, source=Source(NOW), told=lambda *told: seen.append(told))
    assert [(each.symbol, each.expiries, each.contracts, each.error) for each in done] == [
        ("AAPL", 2, 8, None),
        ("AMD", 2, 8, None),
    ]
    assert seen[:2] == [(0, 2, f"AAPL {EXPIRIES[0]}"), (1, 2, f"AAPL {EXPIRIES[1]}")]
    assert len(read_recorded(tmp_path)) == 16


def test_only_the_nearest_expiries(tmp_path):
    record_chains(["AAPL"], tmp_path, source=Source(NOW), expiries=1, told=quiet)
    assert read_recorded(tmp_path)["expiry"].dt.date.unique().tolist() == [EXPIRIES[0]]


def test_a_symbol_that_fails_costs_no_other(tmp_path):
    done = record_chains(["BAD", "AMD"], tmp_path, source=Source(NOW, {"BAD"}), told=quiet)
    assert [each.error for each in done] == ["no options of BAD", None]
    assert read_recorded(tmp_path)["underlying"].unique().tolist() == ["AMD"]


def test_what_came_before_a_failure_is_kept(tmp_path):
    source = Source(NOW, {("AAPL", EXPIRIES[1])})
    done = record_chains(["AAPL"], tmp_path, source=source, told=quiet)
    assert done[0].error == "the line is dead"
    assert (done[0].expiries, done[0].contracts) == (1, 4)
    source.broken.clear()
    assert record_chains(["AAPL"], tmp_path, source=source, told=quiet)[0].files[0].added == 4
    assert len(read_recorded(tmp_path)) == 8


def test_an_interrupt_ends_it_and_keeps_what_came(tmp_path):
    def interrupt(done: int, total: int, what: str) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_chains(["AAPL"], tmp_path, source=Source(NOW), told=interrupt)
    assert len(read_recorded(tmp_path)) == 4


def test_a_folder_that_cannot_be_written_is_told_of_each_symbol(tmp_path):
    (tmp_path / "chains").write_text("a file")
    done = record_chains(["AAPL", "AMD"], tmp_path / "chains", source=Source(NOW), told=quiet)
    assert all("must be writable" in str(each.error) for each in done)

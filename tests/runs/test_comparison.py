"""Runs side by side: what differs, an order, filters; a damaged folder is left out."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pandas as pd
import pytest

from qhq.errors import ConfigError
from qhq.report.table_export import export_table
from qhq.runs.comparison import run_design, tabulate
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import RunFolder, gather_runs
from tests.runs.records import MINIMAL


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def make(name: str, mape: float | None, depth: int, folder: str = "", **keys) -> RunFolder:
    run = RunFolder(RunFolder(_root() / folder / name).path)
    design = {"name": name, "seed": 0, "backend": "aer", "quantum": {"depth": depth, "frozen": depth > 2}}
    design["model"] = {"recurrent": [{"unit": "gru", "hidden": depth}], "skip": "add"}
    record = MINIMAL | {
        "status": "finished",
        "seed": 0,
        "backend": "aer",
        "design": design,
    }
    record["metrics"] = {"test": {"mape": mape, "mae": 1.0}, "naive": {"mae": 2.0}}
    run.write_json("run.json", record | keys)
    return run


def _root():
    from qhq.paths import runs_dir

    return runs_dir()


@pytest.fixture
def table():
    make("a", 3.0, 1)
    make("b", None, 2)
    make("c", 1.0, 3)
    return tabulate(gather_runs([]), pytest.fail)


def test_a_run_whose_process_is_gone_is_shown_as_interrupted():
    died = subprocess.Popen([sys.executable, "-c", "pass"])
    died.wait()
    here = platform.node()
    for name, process, machine, status in (
        ("gone", died.pid, here, "running"),
        ("alive", os.getpid(), here, "running"),
        ("elsewhere", died.pid, f"not-{here}", "running"),
        ("done", died.pid, here, "finished"),
    ):
        run = make(name, 1.0, 1, status=status)
        run.write_text(".lock", f"process {process} on {machine} (qhq train), since 2026-12-01 08:00:00 UTC")
    make("unsigned", 1.0, 1, status="running").write_text(".lock", "rubbish")
    make("begun", 1.0, 1, status="running")
    found = {row["run"]: row["status"] for row in tabulate(gather_runs([]), pytest.fail).rows([])}
    assert found == {
        "gone": "interrupted", "alive": "running", "elsewhere": "running", "done": "finished",
        "unsigned": "running", "begun": "running",
    }  # fmt: skip


def test_only_keys_that_differ_are_named(table):
    assert table.differs == ["quantum.depth", "quantum.frozen", "model.recurrent"]
    assert table.rows(table.differs)[0]["model.recurrent"] == "gru 1"
    assert table.first(1).differs == []
    assert "model.skip" in table.keys


@pytest.mark.parametrize(
    ("key", "names"), [("mape", "cab"), ("-mape", "acb"), ("-quantum.depth", "cba"), ("run", "abc")]
)
def test_order_with_what_has_no_value_last(table, key, names):
    assert "".join(row["run"] for row in table.sorted_by(key).rows([])) == names


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("quantum.depth >= 2", "bc"),
        ("quantum.depth=2", "b"),
        ("mape<2", "c"),
        ("mape != 3", "bc"),
        ("run ~ a", "a"),
        ("run != a", "bc"),
        ("quantum.frozen = true", "c"),
        ("model.recurrent = gru 2", "b"),
        ("naive_mae > 5", ""),
    ],
)
def test_filters(table, condition, names):
    assert "".join(row["run"] for row in table.where(condition).rows([])) == names


@pytest.mark.parametrize("condition", ["quantum.depht = 2", "depth", "mape <> 3", "mape < small"])
def test_a_filter_that_makes_no_sense_is_refused(table, condition):
    with pytest.raises(ConfigError):
        table.where(condition)


def test_a_run_without_errors_stands_with_those_it_was_to_be_like():
    span = {"windows": 9, "from": "2020-01-01", "to": "2020-02-01"}
    known = {"data": {"fingerprint": "f", "test": span}}
    make("a", 1.0, 1, **known)
    make("b", 1.0, 1, data={"fingerprint": "g", "test": span}, metrics={"test": {}, "naive": {"mae": 3.0}})
    make("c", None, 1, metrics={}, status="failed", **known)
    make("d", None, 1, metrics={}, data={"fingerprint": "h"})
    rows = tabulate(gather_runs([]), pytest.fail).rows([])
    assert [(row["run"], row["group"]) for row in rows] == [("a", 1), ("c", 1), ("b", 2), ("d", 3)]


def test_an_unknown_order_names_the_nearest(table):
    with pytest.raises(ConfigError, match="Did you mean"):
        table.sorted_by("-mpae")


CHANGES = [
    {"metrics": [1]}, {"metrics": {"test": "good"}}, {"metrics": {"test": {"mae": "0.1"}}},
    {"metrics": {"test": {"mae": float("nan")}}}, {"metrics": {"test": {"mae": 10**400}}},
    {"metrics": {"test": {"mae": True}}}, {"design": 3}, {"design": {"data": {"window": float("inf")}}},
    {"design": {"name": "\ud800"}}, {"quantum": "four"}, {"seconds": 3}, {"leaks": 3}, {"seed": "1"},
    {"data": 3}, {"data": {"test": [1]}},
    {"status": None}, {"status": "a\nb"}, {"backend": 1}, {"epochs": []},
]  # fmt: skip
TEXTS = ["", "{", "[]", "{}", "null", "3", "\x00", "[" * 100_000, "\udcff"]


@pytest.mark.parametrize("damage", [*CHANGES, *TEXTS], ids=lambda damage: repr(damage)[:30])
def test_a_damaged_run_is_skipped_with_a_warning(damage):
    good, bad = make("good", 1.0, 1), make("bad", 1.0, 1)
    path = bad.path / "run.json"
    text = damage if isinstance(damage, str) else json.dumps(json.loads(path.read_text()) | damage)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    notes: list[str] = []
    rows = tabulate([good, bad], notes.append).rows([])
    assert [row["run"] for row in rows] == ["good"]
    assert len(notes) == 1
    assert "bad" in notes[0]


def test_runs_are_meant_by_folder_sweep_glob_and_name(runs):
    make("a", 1.0, 1)
    make("t1-s0", 1.0, 1, "sweeps/s/trials")
    make("t2-s0", 1.0, 1, "sweeps/s/trials")
    names = lambda *references: [run.name for run in gather_runs(references)]  # noqa: E731
    assert names() == ["a"]
    assert names("sweeps/s") == ["t1-s0", "t2-s0"] == names(str(runs / "sweeps" / "s" / "trials"))
    assert names("a*", "a", "runs/a") == ["a"]
    assert names("sweeps/*/trials/t1*") == ["t1-s0"]
    assert names("sweeps/*") == ["t1-s0", "t2-s0"] == names("runs/sweeps/s*")
    for missing in ("b*", "b", "sweeps/none"):
        with pytest.raises(ConfigError):
            names(missing)


def test_a_trial_is_known_by_its_validation_split():
    metrics = {"validation": {"mae": 1.0}, "validation_naive": {"mae": 4.0}}
    run = make("t", None, 1, metrics=metrics)
    (row,) = tabulate([run], pytest.fail).rows([])
    assert (row["part"], row["mae"], row["naive_mae"]) == ("validation", 1.0, 4.0)


def test_skills_of_earlier_versions_are_compared_as_the_mean_of_their_symbols():
    symbols = {"A": {"test": {"skill": -0.4}}, "B": {"test": {"skill": 0.2}}, "C": {"test": {"skill": None}}}
    metrics = {"test": {"mae": 1.0, "skill": 0.2}, "naive": {"mae": 2.0}, "symbols": symbols}
    runs = [
        make("old", None, 1, metrics=metrics),
        make("new", None, 1, metrics={**metrics, "relative": {}}),
        make("one", None, 1, metrics={**metrics, "symbols": {"A": symbols["A"]}}),
    ]
    rows = {row["run"]: row["skill"] for row in tabulate(runs, pytest.fail).rows([])}
    assert rows == {"old": pytest.approx(-0.1), "new": 0.2, "one": 0.2}


@pytest.mark.parametrize("form", ["csv", "excel", "latex"])
def test_exports_hold_every_row(tmp_path, form):
    rows = [{"run": "a_b", "mape": 1.25, "leaks": None}, {"run": "c&d", "mape": None, "leaks": "=1+1"}]
    path = export_table(rows, tmp_path / "table", form)
    if form == "latex":
        text = path.read_text()
        assert r"a\_b" in text
        assert r"c\&d" in text
        assert "1.2500" in text
    else:
        frame = pd.read_csv(path) if form == "csv" else pd.read_excel(path)
        assert list(frame["run"]) == ["a_b", "c&d"]
        assert frame["mape"][0] == 1.25
        assert frame["leaks"][1] == "'=1+1"
    assert [each.name for each in tmp_path.iterdir()] == ["table"]


def test_an_export_that_cannot_be_written_leaves_what_was_there(tmp_path):
    with pytest.raises(ConfigError, match="--csv must name a file"):
        export_table([{"a": 1}], tmp_path / "none" / "table.csv", "csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="--latex must name a file"):
        export_table([{"a": 1}], tmp_path / "folder", "latex")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_rows_set_aside_differ_where_a_run_has_any():
    make("a", 3.0, 1, data={"quarantine": {"rows": 3, "of": 100}})
    make("b", 2.0, 1, data={"quarantine": {"rows": 0, "of": 100}})
    make("c", 1.0, 1)
    table = tabulate(gather_runs([]), pytest.fail)
    assert "data.rows_set_aside" in table.differs
    assert sorted(str(row["data.rows_set_aside"]) for row in table.rows(["data.rows_set_aside"])) == [
        "3",
        "None",
        "None",
    ]


def test_runs_of_files_of_ones_own_are_distinguished_by_the_symbols_that_were_read():
    for name, path in (("a", "/x/one.csv"), ("b", "/x/two.csv")):
        design = {"data": {"symbols": None, "path": path}}
        record = RunRecord.model_validate(MINIMAL | {"design": design, "metrics": {}})
        assert run_design(record)["data.symbols"] == f"{path[3:6]}.csv", name
    read = record.updated(metrics={"symbols": {"AAA": {}, "BBB": {}}})
    assert run_design(read)["data.symbols"] == "AAA, BBB"

"""``qhq compare``: which columns a person sees, and which are written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.runs.records import record, write_run

DESIGN = {
    "name": "tiny", "seed": 1, "backend": "aer",
    "data": {"path": "/data/2024/prices.csv", "symbols": ["AAPL"], "window": 5, "horizon": 1, "rate": 0.0,
             "max_gap": 10, "panel_seed": 0, "offline": False, "gaps": "close"},
    "quantum": {"ansatz": "reference", "qubits": 2, "depth": 1, "frozen": False},
    "model": {"recurrent": [{"unit": "gru", "hidden": 4}], "skip": "add", "dropout": 0.0},
    "training": {"epochs": 2, "learning_rate": 0.01, "threads": 1, "patience": 4},
}  # fmt: skip


def changed(index: int) -> dict:
    """A design that differs in every key."""
    bump = {
        str: lambda each: f"{each}{index}",
        int: lambda each: each + index,
        float: lambda each: each + 1e-5 * index,
        bool: lambda each: bool(index % 2),
    }

    def walk(node):
        if isinstance(node, dict):
            return {key: walk(each) for key, each in node.items()}
        return [walk(each) for each in node] if isinstance(node, list) else bump[type(node)](node)

    design = walk(DESIGN)
    design["data"]["path"] = f"/data/{2024 + index}/prices.csv"
    return design


def write(folder: Path, **changes) -> None:
    """A run that can be opened, under its name."""
    write_run(folder, {"backend_entry": {}, "scaler": {}, **record(**changes), "run": folder.name})


@pytest.fixture
def runs(study):
    for index in range(3):
        name = f"2026-11-30-0655{index}-tiny-s1"
        changes = {"seed": 1 + index, "design": changed(index), "metrics__test__mae": 1e-5 * (index + 1)}
        write(study / "runs" / name, **changes)
    return study / "runs"


@pytest.mark.parametrize("width", [60, 80, 100, 130])
def test_what_matters_comes_first_and_fits(qhq, runs, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    result = qhq("compare")
    assert not result.stderr
    table, said = result.stdout.rsplit("┘", 1)
    assert max(map(len, table.splitlines())) <= width
    assert "more keys differ: " in said
    words = re.split(r"[\s┃│]+", table)
    for word in ("ansatz", "depth", "recurrent", "skip", "horizon", "window", "symbols", "skill", "mase"):
        assert word in words
        assert word not in said.split("differ")[1].split(". --columns")[0].replace(".", " ").split()
    for figure in ("1e-05", "2e-05", "3e-05", "reference1", "reference2"):
        assert figure in table
    assert "/data" not in table
    assert all(f"2026-11-30-0655{index}-tiny-s1" in table for index in range(3))


def test_columns_are_chosen_by_their_names_or_last_words(qhq, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    arguments = ("compare", "--columns", "run,skill,quantum.depth,learning_rate,data.path")
    shown = qhq(*arguments, "--csv", "a.csv", "--latex", "a.tex").stdout
    for word in ("run", "skill", "depth", "learning", "…/2024/prices.csv", "0.01001"):
        assert word in shown
    assert "more keys" not in shown
    frame = pd.read_csv("a.csv")
    assert list(frame) == ["run", "skill", "quantum.depth", "training.learning_rate", "data.path"]
    assert frame["data.path"][0] == "/data/2024/prices.csv"
    head = next(line for line in Path("a.tex").read_text().splitlines() if " & " in line)
    assert head.count("&") == 4
    rows = json.loads(qhq(*arguments, "--json").stdout)["rows"]
    assert rows[0].keys() >= {"run", "status", "mae", "naive_mae", "quantum.depth", "data.gaps"}


def test_a_page_has_the_columns_shown_and_a_spreadsheet_has_all(qhq, runs):
    assert qhq("compare", "--latex", "a.tex", "--csv", "a.csv", "--excel", "a.xlsx").exit_code == 0
    head = next(line for line in Path("a.tex").read_text().splitlines() if " & " in line)
    assert head.count("&") < 16
    assert "ansatz" in head
    for frame in (pd.read_csv("a.csv"), pd.read_excel("a.xlsx")):
        assert {"run", "naive_mae", "quantum.depth", "data.gaps", "training.threads"} <= set(frame)
        assert list(frame["qubits"]) == [2, 2, 2]


def test_columns_are_listed_and_an_unknown_one_names_the_nearest(qhq, runs):
    listed = qhq("compare", "--list-columns").stdout.splitlines()
    assert {"run", "skill", "model.skip  (differs)"} <= set(listed)
    names = json.loads(qhq("compare", "--list-columns", "--json").stdout)["columns"]
    assert {line.removesuffix("  (differs)") for line in listed} == set(names)
    for word, said in (("skil", "Did you mean 'skill'?"), ("", "--columns must name")):
        result = qhq("compare", "--columns", f"run,{word}")
        assert result.exit_code == 2
        assert said in result.stderr


def test_a_name_that_ends_two_columns_must_be_written_in_full(qhq, runs):
    for name in ("a", "b"):
        design = {**DESIGN, "extra": {"one": {"hidden": name}, "two": {"hidden": 1}}}
        write(runs / name, design=design)
    result = qhq("compare", "--columns", "hidden")
    assert result.exit_code == 2
    assert "extra.one.hidden, extra.two.hidden" in result.stderr


def test_unlike_runs_stand_in_groups_with_a_heading_each_and_no_order_goes_across(qhq, study):
    """Two data sets, two horizons, two features: only the features may be ranked against each other."""
    span = {"windows": 90, "from": "2010-01-04", "to": "2012-12-31"}
    for name, mape, horizon, symbol, features, naive in (
        ("a", 3.0, 1, "AAPL", "close", 0.6), ("b", 9.0, 1, "MSFT", "close", 0.7),
        ("c", 2.0, 1, "AAPL", "close, volume", 0.6), ("d", 5.0, 5, "AAPL", "close", 0.9),
        ("e", 8.0, 1, "MSFT", "volume", 0.7),
    ):  # fmt: skip
        data = {**DESIGN["data"], "symbols": [symbol], "horizon": horizon, "targets": ["close"],
                "features": features.split(", "), "task": "forecast"}  # fmt: skip
        write(study / "runs" / name, design={**DESIGN, "data": data}, metrics__test__mape=mape,
              metrics__naive__mae=naive, data={"fingerprint": name * 64, "test": span})  # fmt: skip
    record = json.loads(qhq("compare", "--sort", "mape", "--csv", "a.csv", "--json").stdout)
    assert [(row["run"], row["group"]) for row in record["rows"]] == [
        ("c", 1), ("a", 1), ("e", 2), ("b", 2), ("d", 3),
    ]  # fmt: skip
    assert record["groups"]["3"] == (
        "forecast of close 5 ahead, AAPL, test split 2010-01-04 to 2012-12-31, 90 windows"
    )
    assert pd.read_csv("a.csv")["group"].tolist() == [1, 1, 2, 2, 3]
    shown = qhq("compare", "--sort", "-skill").stdout
    assert [shown.count(f"Group {group}: forecast of close") for group in (1, 2, 3)] == [1, 1, 1]
    assert "no common order" in shown
    first = json.loads(qhq("compare", "--sort", "mape", "--limit", "1", "--json").stdout)["rows"]
    assert [row["run"] for row in first] == ["c", "e", "d"]
    alone = qhq("compare", "--filter", "group = 2").stdout
    assert "Group" not in alone
    assert [line.split()[1] for line in alone.splitlines() if line.startswith("│")] == ["b", "e"]


def test_what_is_the_same_in_all_runs_takes_no_room(qhq, runs):
    words = qhq("compare").stdout.split("┡")[0].split()
    assert not {"status", "backend", "qubits"} & set(words)
    assert {"status", "backend", "qubits", "skill"} <= set(qhq("compare", "*06550*").stdout.split())


def test_a_run_without_a_circuit_names_no_backend(qhq, study):
    for name, quantum in (("hybrid", {"qubits": 2, "weights": 2}), ("classical", None)):
        design = {**DESIGN, "quantum": DESIGN["quantum"] if quantum else None}
        write(study / "runs" / name, quantum=quantum, design=design)
    shown = qhq("compare", "--columns", "run,backend,ansatz").stdout
    assert [line.split()[1::2][:3] for line in shown.splitlines() if "│" in line] == [
        ["classical", "-", "-"], ["hybrid", "aer", "reference"],
    ]  # fmt: skip

"""``qhq data``: show, check."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.rows import chains, prices

pytestmark = pytest.mark.painted


def test_show_the_quickstart(qhq, study):
    result = qhq("data", "show", "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (answer["panel"], answer["task"], answer["kind"]) == ("stocks", "forecast", "traded")
    assert [row["symbol"] for row in answer["rows"]] == ["AAPL", "MSFT", "GOOG"]
    assert [split["date"] for split in answer["rows"][0]["splits"]] == ["2000-06-21", "2005-02-28"]
    assert answer["parts"]["train"][1] < answer["parts"]["validation"][0]
    assert answer["figures"] == [f"data-figures/{name}.png" for name in ("AAPL", "MSFT", "GOOG")]
    assert all((study / path).read_bytes().startswith(b"\x89PNG") for path in answer["figures"])


def test_show_a_config_with_overrides(qhq, study):
    result = qhq("data", "show", "tiny.yaml", "--set", "data.symbols=[AAPL]", "--output", "figures")
    assert result.exit_code == 0, result.stderr
    assert "test: 20" in result.stdout
    assert "Figure figures/AAPL.png" in result.stdout
    assert not (study / "figures" / "MSFT.png").exists()


def test_show_a_file_has_no_splits(qhq, study):
    prices().to_csv("own.csv", index=False)
    answer = json.loads(qhq("data", "show", "own.csv", "--json").stdout)
    assert (answer["source"], answer["path"], answer["parts"], answer["task"]) == ("csv", "own.csv", {}, None)
    assert answer["rows"][0]["rows"] == 60


def test_show_a_file_without_a_close(qhq, study):
    prices().rename(columns={"close": "Adj Close"}).to_parquet("own.parquet")
    result = qhq("data", "show", "own.parquet")
    assert result.exit_code == 0, result.stderr
    assert Path("data-figures/ABC.png").exists()


def test_show_splits_that_cannot_be_made_is_a_note(qhq, study):
    prices(12).to_csv("own.csv", index=False)
    sets = ["data.source=csv", "data.path=own.csv", "data.symbols=null", "data.start=null"]
    sets += ["data.features=[close]", "data.targets=[close]", "data.window=11"]
    result = qhq("data", "show", "tiny.yaml", *(part for each in sets for part in ("--set", each)))
    assert result.exit_code == 0, result.stderr
    assert "No splits to shade" in result.stderr


@pytest.mark.parametrize("given", ["recording", "file"])
def test_show_options_with_a_smile(qhq, study, given):
    if given == "recording":
        from qhq.data.recording import ChainStore

        ChainStore(study / "own").append([chains()])
        target = "own"
    else:
        chains().to_csv("own.csv", index=False)
        target = "own.csv"
    answer = json.loads(qhq("data", "show", target, "--json").stdout)
    row = answer["rows"][0]
    assert (answer["panel"], answer["kind"]) == ("options", "traded")
    assert (row["contracts"], row["expiries"], row["sessions"]) == (4, 1, 2)
    assert answer["figures"] == ["data-figures/AAPL.png", "data-figures/AAPL-smile-2026-11-20.png"]
    older = json.loads(qhq("data", "show", target, "--date", "2026-11-19", "--json").stdout)
    assert older["figures"][1] == "data-figures/AAPL-smile-2026-11-19.png"


def test_show_refuses_a_day_without_rows(qhq, study):
    chains().to_csv("own.csv", index=False)
    result = qhq("data", "show", "own.csv", "--date", "2026-11-18")
    assert result.exit_code == 3
    assert "2026-11-19" in result.stderr
    assert not Path("data-figures").exists()
    prices().to_csv("stocks.csv", index=False)
    assert "no smiles" in qhq("data", "show", "stocks.csv", "--date", "2020-01-02").stderr


def test_show_refuses_an_output_that_is_a_file(qhq, study):
    (study / "figures").write_text("a file")
    result = qhq("data", "show", "--output", "figures")
    assert result.exit_code == 2
    assert "--output must be a folder" in result.stderr


# check


def test_check_of_good_rows(qhq, study):
    prices(300).to_csv("own.csv", index=False)
    result = qhq("data", "check", "own.csv", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    found = {
        key: answer[key] for key in ("origin", "panel", "rows", "errors", "warnings", "aside", "breaches")
    }
    assert found == {
        "origin": "own.csv", "panel": "stocks", "rows": 300, "errors": 0, "warnings": 0, "aside": 0,
        "breaches": [],
    }  # fmt: skip


def test_check_names_every_broken_rule_with_its_rows(qhq, study):
    frame = prices()
    frame.loc[[3, 7], "close"] = [-1.0, 0.0]
    pd.concat([frame, frame.tail(1)]).to_csv("own.csv", index=False)
    result = qhq("data", "check", "own.csv", "--json")
    assert result.exit_code == 1
    found = {breach["rule"]: breach for breach in json.loads(result.stdout)["breaches"]}
    assert (found["below_zero"]["rows"], found["price"]["rows"]) == ([4], [8])
    assert found["duplicate"]["count"] == 1
    severity = {rule: found[rule]["severity"] for rule in ("below_zero", "price", "duplicate")}
    # Two bad rows of 61 are more than 1 %; a row that repeats another exactly does not count.
    assert severity == {"below_zero": "error", "price": "error", "duplicate": "aside"}
    table = qhq("data", "check", "own.csv")
    assert table.exit_code == 1
    assert "'close' must be above zero" in " ".join(table.stdout.split())


def test_check_with_warnings_only_is_good(qhq, study):
    frame = prices(300)
    frame.loc[30:, "close"] *= 0.5
    frame.to_csv("own.csv", index=False)
    result = qhq("data", "check", "own.csv", "--json")
    assert result.exit_code == 0
    assert [breach["severity"] for breach in json.loads(result.stdout)["breaches"]] == ["warning"]


def test_check_of_options(qhq, study):
    chains(ask=1.0).to_parquet("own.parquet")
    answer = json.loads(qhq("data", "check", "own.parquet", "--json").stdout)
    assert answer["panel"] == "options"
    assert "crossed" in {breach["rule"] for breach in answer["breaches"]}
    assert qhq("data", "check", "own.parquet", "--panel", "stocks").exit_code == 3


@pytest.mark.parametrize(
    ("make", "status", "message"),
    [
        (lambda path: None, 3, "must be a file"),
        (
            lambda path: path.write_bytes(bytes(range(256))),
            3,
            r"own\.csv must be a file of rows .* Got binary data",
        ),
        (lambda path: path.write_text("symbol,when\nA,2020-01-01\n"), 3, "no 'date'"),
    ],
)
@pytest.mark.parametrize("command", ["check", "show"])
def test_what_cannot_be_read_is_status_3(qhq, study, command, make, status, message):
    make(study / "own.csv")
    result = qhq("data", command, "own.csv")
    assert result.exit_code == status, result.stderr
    assert pd.Series([" ".join(result.stderr.split())]).str.contains(message).all(), result.stderr
    assert result.stdout == ""


def test_a_config_that_is_not_there_is_status_2(qhq):
    result = qhq("data", "check", "nothing.yaml")
    assert result.exit_code == 2
    assert "CONFIG must be a YAML file" in result.stderr
    assert qhq("data", "show", "tiny.yaml", "--panel", "bonds").exit_code == 2


# what a file is

ROW = '"{month:02d}/{day:02d}/2021","1,{close}.50","1,210.00","1,240.00","1,190.00","1.2M","0.45%"\n'
INVESTING = '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"\n' + "".join(
    ROW.format(month=month, day=day, close=day + 200)
    for month in range(12, 0, -1)
    for day in range(28, 0, -1)
)


def test_check_says_what_a_file_is_and_what_reads_it(qhq, study):
    (study / "AAPL Historical Data.csv").write_text(INVESTING)
    answer = json.loads(qhq("data", "check", "AAPL Historical Data.csv", "--json").stdout)
    assert (answer["form"], answer["container"], answer["dates"]) == ("investing", "CSV", "monthfirst")
    assert (answer["decimal"], answer["thousands"], answer["symbol_from"]) == (".", ",", "the file's name")
    assert answer["columns"] == {
        "date": "Date", "open": "Open", "high": "High", "low": "Low", "close": "Price", "volume": "Vol.",
    }  # fmt: skip
    assert answer["symbols"] == [{"symbol": "AAPL", "first": "2021-01-01", "last": "2021-12-28", "rows": 336}]
    assert answer["sample"][0]["close"] == 1228.5
    (study / "own.yaml").write_text(
        answer["config"].replace("data:", "data:\n  features: [close]\n  targets: [close]")
    )
    assert json.loads(qhq("data", "show", "own.yaml", "--json").stdout)["rows"][0]["rows"] == 336
    people = qhq("data", "check", "AAPL Historical Data.csv").stdout
    assert max(map(len, people.splitlines())) <= 80
    assert "qhq train --set 'data.path=AAPL Historical Data.csv'" in people


def test_check_reads_as_it_is_asked(qhq, study):
    (study / "own.csv").write_text("Day;Settle;Last\n01/02/2021;1.234,5;7\n02/02/2021;1.235,5;8\n")
    refused = qhq("data", "check", "own.csv")
    assert refused.exit_code == 3
    assert "data.format.columns.close='Last' or 'Settle'" in refused.stderr
    sets = ["data.format.columns.close=Settle", "data.format.dates=dayfirst", "data.format.symbol=0700.HK"]
    result = qhq("data", "check", "own.csv", *(part for each in sets for part in ("--set", each)), "--json")
    answer = json.loads(result.stdout)
    assert answer["symbols"] == [
        {"symbol": "0700.HK", "first": "2021-02-01", "last": "2021-02-02", "rows": 2}
    ]
    assert answer["sample"][1]["close"] == 1235.5
    assert 'symbol: "0700.HK"' in answer["config"]
    for each in sets[:2]:
        assert f"--set {each}" in answer["command"]


def test_train_on_a_file_as_it_is(qhq, study):
    (study / "AAPL Historical Data.csv").write_text(INVESTING)
    sets = ["data.path=AAPL Historical Data.csv", "data.window=5", "training.epochs=1", "quantum=null"]
    result = qhq("train", *(part for each in sets for part in ("--set", each)), "--json")
    assert result.exit_code == 0, result.stderr
    assert "no adjusted close: 'Price' stands for it" in result.stderr
    assert json.loads(result.stdout)["data"]["notes"]

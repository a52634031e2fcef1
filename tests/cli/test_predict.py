"""``qhq predict`` in a shell and in Python: one forecast, as a table, JSON and CSV."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import qhq as package
from qhq.data.load import load_panel
from qhq.data.spec import DataSpec

KEYS = ["symbol", "made_after", "date", "horizon", "target", "forecast", "low", "high", "level", "last_value"]


@pytest.fixture
def trained(qhq, study):
    result = qhq("train", "tiny.yaml", "--json")
    assert result.exit_code == 0, result.output
    return package.open_run("latest")


def test_one_forecast_as_json_csv_table_and_frame(qhq, study, trained):
    result = qhq("predict", "--level", "0.8", "--level", "0.9", "--csv", "next.csv", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["run"], record["backend"]) == (trained.name, "aer")
    assert [list(row)[: len(KEYS)] for row in record["rows"]] == [KEYS] * 4
    assert {row["date"] for row in record["rows"]} == {"2013-03-04"}
    assert record["last_row"] == "2013-03-01"
    assert record["scored"] is None
    assert (trained.folder / "figures/predict.png").is_file()
    frame = trained.predict(backend="aer", level=[0.8, 0.9])
    written = pd.read_csv(study / "next.csv", parse_dates=["made_after", "date"])
    pd.testing.assert_frame_equal(written, frame, check_dtype=False)
    assert list(frame.columns) == KEYS
    assert frame["forecast"].to_list() == [row["forecast"] for row in record["rows"]]
    assert frame.attrs["skill"] == record["skill"]
    said = qhq("predict").stdout
    for part in ("AAPL", "2013-03-04", "The last row is of 2013-03-01", "not shown", "One seed, not tested"):
        assert part in said


def test_sessions_behind_are_scored_and_the_look_is_written_down(qhq, trained):
    record = json.loads(qhq("predict", "--since", "2012-12-03", "--json").stdout)
    scored = record["scored"]
    assert (scored["from"], scored["to"]) == ("2012-12-03", "2013-03-01")
    assert scored["looks"]["times"] >= 1
    assert sum(row["actual"] is None for row in record["rows"]) == 2
    evaluated = trained.evaluate(since="2012-12-03").results[0]
    assert scored["windows"] == evaluated["samples"]
    assert scored["metrics"] == pytest.approx(evaluated["metrics"])


def test_a_sampling_backend_forecasts_too(qhq, trained):
    record = json.loads(qhq("predict", "--backend", "aer_shots", "--shots", "64", "--json").stdout)
    assert record["shots"] == 64
    assert len(record["rows"]) == 2


def test_hardware_costs_nothing_here(qhq, trained):
    record = json.loads(qhq("predict", "--dry-run", "--json").stdout)
    assert (record["costs"], record["rows"]) == ([], [])


def test_newer_rows_of_a_file(qhq, study, trained):
    panel = load_panel(DataSpec(symbols=("AAPL", "MSFT"), start="2012-01-03"))
    rows = pd.DataFrame(
        {
            "symbol": [panel.symbols[code] for code in panel.code],
            "date": panel.dates.astype(str),
            "adj_close": panel.column("adj_close"),
        }
    )
    rows[rows["date"] <= "2012-07-03"].to_csv("to_july.csv", index=False)
    record = json.loads(qhq("predict", "--data", "to_july.csv", "--json").stdout)
    assert record["session"] == "2012-07-05"  # over Independence Day
    assert record["data"]["path"] == str(study / "to_july.csv")
    later = json.loads(qhq("predict", "--since", "2012-07-05", "--json").stdout)
    first = [row["forecast"] for row in later["rows"] if row["date"] == "2012-07-05"]
    assert first == [row["forecast"] for row in record["rows"]]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--level", "1.5"], 2, "--level"),
        (["--backend", "nowhere"], 2, "nowhere"),
        (["--backend", "aer*"], 2, "one backend"),
        (["--horizon-end", "2013-04-01"], 3, "--horizon-end"),
        (["--data", "missing.csv"], 3, "missing.csv"),
        (["--csv", "."], 2, "--csv"),
        (["--set", "model.skip=add"], 2, "--set"),
    ],
)
def test_what_cannot_be_is_refused_in_three_parts(qhq, trained, arguments, status, said):
    result = qhq("predict", *arguments, "--json")
    assert result.exit_code == status, result.output
    error = json.loads(result.stdout)["error"]
    assert said in json.dumps(error)

"""``qhq predict`` in a shell and in Python: one forecast, as a table, JSON and CSV."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

import qhq as package
from qhq.data.load import load_panel
from qhq.data.sources.synthetic import synthesise
from qhq.data.spec import DataSpec
from tests.cli.test_hardware import ENTRIES
from tests.loopback.fixtures import loopback, no_backoff
from tests.yahoo_loopback.fixtures import yahoo_loopback

__all__ = ["loopback", "no_backoff", "yahoo_loopback"]

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
    said = qhq("predict", "--csv", "again.csv").stdout
    for part in ("AAPL", "2013-03-04", "The last row is of 2013-03-01", "not shown", "One seed, not tested"):
        assert part in said
    assert "Table again.csv" in said


def test_each_prediction_is_kept_with_what_it_was_made_from(qhq, study, trained, monkeypatch):
    printed = json.loads(qhq("predict", "--json").stdout)
    monkeypatch.setattr("qhq.runs.answers.MOST_KEPT_ROWS", 100)  # of 120: those to come are kept
    qhq("predict", "--since", "2012-12-03", "--backend", "aer_shots", "--shots", "64", "--json")
    first, second = (json.loads(path.read_text()) for path in kept_by(trained))
    assert kept_by(trained)[0] == Path(printed["file"])
    assert {key: first[key] for key in printed if key not in ("file", "figure")} == {
        key: value for key, value in printed.items() if key not in ("file", "figure")
    }
    assert first["fingerprint"] == trained.record["data"]["fingerprint"]
    assert {"created", "versions", "git", "schema_version"} <= first.keys()
    assert first["request"] == {
        "backend": "aer", "level": [0.9], "data": None, "set": [], "offline": False, "since": None,
        "until": None, "shots": None, "seed": 0,
    }  # fmt: skip
    assert (second["backend"], second["shots"], second["request"]["since"]) == ("aer_shots", 64, "2012-12-03")
    assert second["scored"]["metrics"]["mae"] > 0
    assert [row["actual"] for row in second["rows"]] == [None, None]
    assert second["rows_dropped"] == second["scored"]["windows"]
    assert kept_by(trained)[0].stat().st_mode & 0o077 == 0
    page = trained.report().read_text().replace("<wbr>", "")
    assert kept_by(trained)[1].name in page
    # A dry run asks nothing and leaves nothing, nor does one that is killed before its record is whole.
    qhq("predict", "--dry-run")
    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(Killed):
        trained.predict()
    assert len(kept_by(trained)) == 2


class Killed(BaseException):
    """Caught by nothing, as SIGKILL is not."""


def killed(*_, **__):
    raise Killed


def kept_by(run):
    return sorted((run.folder / "predictions").glob("[!.]*"))


def test_a_run_that_cannot_be_written_forecasts_and_says_that_no_record_is_kept(qhq, trained):
    (trained.folder / "predictions").write_text("no folder")
    record = json.loads(qhq("predict", "--json").stdout)
    assert len(record["rows"]) == 2
    assert record["file"] is None
    assert "No record of it is kept" in record["notes"][-1]


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


def test_a_file_with_a_close_alone_has_a_forecast_of_its_close(qhq, study, trained):
    panel = load_panel(DataSpec(symbols=("AAPL", "MSFT"), start="2012-01-03"))
    symbols, dates = [panel.symbols[code] for code in panel.code], panel.dates.astype(str)
    rows = pd.DataFrame({"symbol": symbols, "date": dates, "close": panel.column("adj_close")})
    rows.to_csv("closes.csv", index=False)
    record = json.loads(qhq("predict", "--data", "closes.csv", "--json").stdout)
    # The column of the config keeps its name in what programs read.
    assert {row["target"] for row in record["rows"]} == {"adj_close"}
    assert record["called"] == {"adj_close": "close"}
    shown = qhq("predict", "--data", "closes.csv").stdout
    note = "In --json and --csv the target adj_close is the column 'close' of the data."
    assert note in " ".join(shown.split())
    assert shown.count("adj_close") == 1
    assert json.loads(qhq("predict", "--json").stdout)["called"] == {}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--level", "1.5"], 2, "--level"),
        (["--backend", "nowhere"], 2, "nowhere"),
        (["--backend", "aer*"], 2, "one backend"),
        (["--horizon-end", "2013-04-01"], 3, "--horizon-end"),
        (["--since", "2024-01-02"], 3, "Got 2024-01-02, where the rows end on 2013-"),
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


YAHOO = """\
name: fetched
data: {source: yahoo, symbols: [AAPL, MSFT], start: 2023-01-02, end: 2024-06-14, window: 5, scaling: window}
quantum: null
model: {recurrent: [{unit: gru, hidden: 2}]}
training: {epochs: 1}
"""


def test_yahoos_prices_are_fetched_to_the_last_finished_session_or_taken_from_the_cache(
    qhq, study, yahoo_loopback, monkeypatch
):
    monkeypatch.setattr("qhq.data.yahoo.client.open_yahoo", yahoo_loopback.open)
    (study / "fetched.yaml").write_text(YAHOO)
    assert qhq("train", "fetched.yaml").exit_code == 0
    fetched = json.loads(qhq("predict", "--json").stdout)
    assert (fetched["last_row"], fetched["session"]) == ("2024-06-28", "2024-07-01")
    assert len(fetched["rows"]) == 2
    asked = yahoo_loopback.market.asked()
    yahoo_loopback.market.now = datetime(2024, 7, 2, 21, 0, tzinfo=UTC)
    held = json.loads(qhq("predict", "--offline", "--json").stdout)
    assert held["rows"] == fetched["rows"]
    assert yahoo_loopback.market.asked() == asked
    fresh = json.loads(qhq("predict", "--since", "2024-07-01", "--json").stdout)
    assert fresh["session"] == "2024-07-03"
    assert {row["date"] for row in fresh["rows"]} == {"2024-07-01", "2024-07-02", "2024-07-03"}
    same = [row["forecast"] for row in fresh["rows"] if row["date"] == "2024-07-01"]
    assert same == [row["forecast"] for row in fetched["rows"]]


OPTIONS = """\
name: listed
data:
  {source: csv, panel: options, path: old.csv, symbols: null, features: [mid, spot], targets: [mid],
   window: 5, scaling: residual}
quantum: null
model: {recurrent: [{unit: gru, hidden: 2}]}
training: {epochs: 1}
"""


def test_contracts_that_are_listed_are_forecast_and_the_expired_are_not(qhq, study):
    chains = synthesise(("AAPL",), date(2012, 1, 3), date(2012, 8, 17), seed=0, strikes=2)
    chains[chains["date"] <= "2012-07-20"].to_csv("old.csv", index=False)
    (study / "listed.yaml").write_text(OPTIONS)
    assert qhq("train", "listed.yaml").exit_code == 0
    known = chains[chains["date"] <= "2012-08-16"]  # the third Friday is the day after
    known.to_csv("new.csv", index=False)
    record = json.loads(qhq("predict", "--data", "new.csv", "--json").stdout)
    rows = pd.DataFrame(record["rows"]).set_index("symbol")
    today = known[known["date"] == "2012-08-16"].set_index("contract_id")
    assert set(rows["date"]) == {"2012-08-17"}
    assert rows.index.isin(today.index).all()
    assert (rows["forecast"] >= 0).all()
    # On its last day a contract is still forecast; the day after there is nothing of it.
    assert (today.loc[rows.index, "expiry"] == "2012-08-17").any()
    assert record["expired"] == known["contract_id"].nunique() - len(rows) - len(record["left_out"])
    few = known["contract_id"].value_counts() < 5
    assert {each["symbol"] for each in record["left_out"]} >= set(few[few].index) & set(today.index)
    chains.to_csv("new.csv", index=False)
    after = json.loads(qhq("predict", "--data", "new.csv", "--json").stdout)
    expired = today.index[today["expiry"] == "2012-08-17"]
    assert after["session"] == "2012-08-20"
    assert not pd.DataFrame(after["rows"])["symbol"].isin(expired).any()


def test_a_device_says_what_it_costs_is_asked_about_and_paid_once(qhq, study, trained, loopback, no_backoff):
    (study / "backends.yaml").write_text(ENTRIES)
    asks = ("predict", "--backend", "ibm_fez", "--shots", "256", "--json")
    (cost,) = json.loads(qhq(*asks, "--dry-run").stdout)["costs"]
    assert (cost["samples"], cost["jobs"]) == (2, 1)
    refused = qhq(*asks)
    assert refused.exit_code == 2
    assert "must be confirmed" in refused.stderr
    assert loopback.service.jobs() == []
    first, again = (json.loads(qhq(*asks, "--yes").stdout) for _ in range(2))
    assert len(loopback.service.jobs()) == 1
    assert first["job_ids"] == again["job_ids"]
    assert first["rows"] == again["rows"]
    assert first["shots"] == 256

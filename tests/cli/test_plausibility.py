"""Doubts as a person meets them: in ``data check``, ``train`` and ``doctor``, and how one is accepted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tests.data.plausibility.panels import days, frame, walk

CODE = "future_column:ret_next"
SKILL = "implausible_skill:close"
TRAIN = (
    "train", "--set", "data.path=leak.csv", "--set", "data.features=[close, ret_next]",
    "--set", "data.targets=[close]", "--set", "data.scaling=window_mean", "--set", "data.window=4",
    "--set", "quantum=null", "--set", "training.epochs=40", "--set", "training.learning_rate=0.02",
    "--set", "training.batch_size=256",
)  # fmt: skip


@pytest.fixture
def leak(study):
    rng, tables = np.random.default_rng(2), []
    for symbol in ("AAA", "BBB"):
        close = np.cumsum(rng.normal(0, 1, 700)) + 300
        step = np.append(np.diff(close), 0)
        tables.append(frame(symbol, days(700), close=close, ret_next=100 * step, quiet=walk(rng, 700)))
    pd.concat(tables).to_csv(study / "leak.csv", index=False)
    return study


def test_check_names_the_column_and_goes_on(qhq, leak):
    result = qhq("data", "check", "leak.csv")
    assert result.exit_code == 0  # training would not refuse it
    assert f"DOUBT {CODE}" in result.stdout
    assert f"--accept '{CODE}'" in result.stdout
    assert "quiet" not in result.stdout.partition("DOUBT")[2]
    found = json.loads(qhq("data", "check", "leak.csv", "--json").stdout)["plausibility"]
    assert found["open"] == [CODE]
    assert found["doubts"][0].keys() == {
        "code", "must", "got", "fix", "count", "rows", "statistic", "threshold", "accepted",
    }  # fmt: skip
    assert found["doubts"][0]["statistic"] > 0.9 > found["doubts"][0]["threshold"]
    accepted = qhq("data", "check", "leak.csv", "--accept", CODE)
    assert f"Doubt {CODE}, accepted by" in accepted.stdout
    assert "DOUBT" not in accepted.stdout


def test_check_of_rows_that_training_refuses_says_that_it_did_not_look(qhq, leak):
    table = pd.read_csv(leak / "leak.csv", dtype=str)
    table.loc[5, "close"] = "twelve"
    table.to_csv(leak / "leak.csv", index=False)
    result = qhq("data", "check", "leak.csv")
    assert result.exit_code == 1
    assert "Leaks: not looked for; training would refuse these rows." in result.stdout
    assert "Train on it" not in result.stdout


def test_check_refuses_what_breaks_no_rule_and_is_too_short_to_train_on(qhq, study):
    table = frame("AAA", days(29), close=walk(np.random.default_rng(1), 29))
    table.to_csv(study / "short.csv", index=False)
    result = qhq("data", "check", "short.csv")
    assert result.exit_code == 1
    assert "Training would refuse them: The train split must hold window" in result.stdout
    assert "Train on it" not in result.stdout
    refusal = json.loads(qhq("data", "check", "short.csv", "--json").stdout)["refusal"]
    assert str(refusal) in qhq("train", "--set", "data.path=short.csv").stderr.replace("\n", " ")
    # With the windows that the rows are long enough for, the command says so too.
    taken = qhq("data", "check", "short.csv", "--set", "data.window=2")
    assert taken.exit_code == 0
    assert "qhq train --set data.path=short.csv --set data.window=2" in taken.stdout


def test_training_shouts_and_its_run_and_the_doctor_remember(qhq, leak):
    result = qhq(*TRAIN)
    assert result.exit_code == 0, result.stderr
    assert f"DOUBT {CODE}" in result.stderr
    assert f"DOUBT {SKILL}" in result.stderr  # said of the model too, once it is trained
    assert "Do not trust this result yet: 2 doubts are open" in result.stdout
    (folder,) = (path for path in (leak / "runs").iterdir() if (path / "run.json").exists())
    record = json.loads((folder / "run.json").read_text())["plausibility"]
    assert record["open"] == [CODE, SKILL]
    doctor = qhq("doctor")
    assert f"DOUBT {CODE}" in doctor.stdout
    assert not doctor.stdout.startswith("Healthy:")
    assert [each["code"] for each in json.loads(qhq("doctor", "--json").stdout)["plausibility"]] == [
        CODE,
        SKILL,
    ]

    looked = qhq("train", "--resume", folder.name, "--accept", CODE, "--accept", SKILL)
    assert looked.exit_code == 0, looked.stderr
    assert "DOUBT" not in looked.stdout
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["plausibility"]["open"] == []
    assert {each["accepted"].keys() == {"by", "at"} for each in record["plausibility"]["doubts"]} == {True}
    assert f"Doubt {SKILL}, accepted by" in qhq("doctor").stdout


def test_what_is_accepted_beforehand_is_recorded_and_not_repeated(qhq, leak):
    few = ("--set", "training.epochs=1")
    result = qhq(*TRAIN, *few, "--accept", CODE, "--accept", "future_column:other")
    assert result.exit_code == 0, result.stderr
    assert "DOUBT" not in result.stdout + result.stderr
    assert f"Doubt {CODE}, accepted by" in result.stdout
    assert "--accept 'future_column:other' matches no doubt" in result.stderr


@pytest.mark.parametrize("name", ["future_colum:ret_next", "ret_next", "future_column:"])
def test_a_name_that_no_doubt_can_have_is_refused(qhq, leak, name):
    result = qhq(*TRAIN, "--accept", name)
    assert result.exit_code == 2
    assert "--accept must name a doubt" in result.stderr

"""Bad input: a three-part message, the right exit status, no traceback, nothing half-written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

CONFIG, DATA, BACKEND = 2, 3, 4


def prices(rows: int = 200, symbols: tuple[str, ...] = ("ABC",)) -> pd.DataFrame:
    days = pd.bdate_range("2020-01-01", periods=rows).strftime("%Y-%m-%d")
    walk = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, (len(symbols), rows)).cumsum(axis=1))
    frames = [
        pd.DataFrame({"symbol": symbol, "date": days, "adj_close": walk[row]})
        for row, symbol in enumerate(symbols)
    ]
    return pd.concat(frames, ignore_index=True)


def own(frame: pd.DataFrame) -> tuple[str, ...]:
    """Write prices to a file of the user's and train on it."""
    frame.to_csv("prices.csv", index=False)
    return OWN


OWN = (
    "train", "tiny.yaml", "--set", "data.source=csv", "--set", "data.path=prices.csv",
    "--set", "data.symbols=[ABC]", "--set", "data.start=null", "--set", "data.scaling=window",
)  # fmt: skip


def train(*sets: str) -> tuple[str, ...]:
    return ("train", "tiny.yaml", *(part for each in sets for part in ("--set", each)))


def with_nan() -> tuple[str, ...]:
    frame = prices()
    frame.loc[17, "adj_close"] = np.nan
    return (*own(frame), "--set", "data.bad_rows=refuse")


def with_late_zero() -> tuple[str, ...]:
    frame = prices()
    frame["volume"] = 1000.0
    frame.loc[195, "volume"] = 0.0
    return (*own(frame), "--set", "data.features=[adj_close, volume]")


def with_negative() -> tuple[str, ...]:
    frame = prices()
    frame.loc[17, "adj_close"] = -1.0
    return own(frame)


def with_duplicate_date() -> tuple[str, ...]:
    frame = prices()
    return (*own(pd.concat([frame, frame.tail(1)])), "--set", "data.bad_rows=refuse")


def with_unreadable_date() -> tuple[str, ...]:
    frame = prices()
    frame.loc[3, "date"] = "someday"
    return own(frame)


def with_text_price() -> tuple[str, ...]:
    frame = prices().astype({"adj_close": object})
    frame.loc[5, "adj_close"] = "n/a?"
    return own(frame)


def with_wrong_columns() -> tuple[str, ...]:
    return own(prices().rename(columns={"adj_close": "adj_closed"}))


def with_binary_file() -> tuple[str, ...]:
    Path("prices.csv").write_bytes(bytes(range(256)))
    return OWN


def with_empty_file() -> tuple[str, ...]:
    Path("prices.csv").write_text("")
    return OWN


def with_parquet_that_is_none() -> tuple[str, ...]:
    Path("prices.parquet").write_text("no parquet")
    return (*OWN, "--set", "data.source=parquet", "--set", "data.path=prices.parquet")


def with_broken_circuit_file(name: str, text: str) -> Callable[[], tuple[str, ...]]:
    def make() -> tuple[str, ...]:
        Path("circuits").mkdir(exist_ok=True)
        Path(f"circuits/{name}").write_text(text)
        return train("quantum={ansatz: mine}")

    return make


def with_broken_backends(text: str) -> Callable[[], tuple[str, ...]]:
    def make() -> tuple[str, ...]:
        Path("backends.yaml").write_text(text)
        return train()

    return make


def with_file_for_runs() -> tuple[str, ...]:
    Path("runs").write_text("a file, no folder")
    return train()


PYTHON_SPEC = "qubits: 2\nfile: {path: mine.py}\n"

CASES: list[tuple[str, Callable[[], tuple[str, ...]], int, str]] = [
    ("missing config", lambda: ("train", "none.yaml"), CONFIG, "CONFIG must be a YAML file"),
    ("unknown key", lambda: train("training.epoch=3"), CONFIG, "Did you mean 'training.epochs'"),
    ("number for a switch", lambda: train("model.layer_norm=1"), CONFIG, "must be true or false"),
    ("switch for a number", lambda: train("training.epochs=true"), CONFIG, "must not be true or false"),
    ("wrong type", lambda: train("training.epochs=many"), CONFIG, "epochs' .*it must be a whole number"),
    ("out of range", lambda: train("model.dropout=1.5"), CONFIG, "'model.dropout' is not valid"),
    ("unknown unit", lambda: train("model.recurrent=[{unit: gruu}]"), CONFIG, "unit.*is not valid"),
    ("no layers", lambda: train("model.recurrent=[]"), CONFIG, "'model.recurrent' is not valid"),
    ("bad --set", lambda: ("train", "tiny.yaml", "--set", "epochs"), CONFIG, "KEY=VALUE"),
    ("bad name", lambda: train("name=../x"), CONFIG, "'name' is not valid"),
    ("unknown backend", lambda: ("train", "tiny.yaml", "--backend", "aerr"), CONFIG, "Did you mean 'aer'"),
    ("unknown backend, no circuit", lambda: (*train("quantum=null"), "--backend", "x"), CONFIG, "'x'"),
    ("unknown ansatz", lambda: train("quantum.ansatz=referense"), CONFIG, "Did you mean 'reference'"),
    ("too many qubits", lambda: train("quantum.qubits=31"), CONFIG, "quantum.qubits' is not valid"),
    ("unknown override", lambda: train("quantum.overrides={widht: 2}"), CONFIG, r"quantum\.overrides\.widht"),
    ("Python circuit fails", lambda: with_python("def build(qubits, depth): 1 / 0"), CONFIG, r"mine\.py"),
    ("Python circuit has no build", lambda: with_python("x = 1\n"), CONFIG, "build"),
    ("entry of unknown kind", with_broken_backends("aer: {kind: aerr}\n"), CONFIG, "known kind.*Did you"),
    ("entry with unknown key", with_broken_backends("aer: {kind: aer, shot: 3}\n"), CONFIG, "'shots'"),
    ("backends.yaml is no YAML", with_broken_backends("aer: [\n"), CONFIG, "valid YAML"),
    ("runs folder is a file", with_file_for_runs, CONFIG, "runs folder must be writable"),
    ("diverging", lambda: train("training.learning_rate=1e30"), CONFIG, "finite"),
    ("missing file", lambda: OWN, DATA, r"prices\.csv"),
    ("binary file", with_binary_file, DATA, r"prices\.csv"),
    ("empty file", with_empty_file, DATA, r"prices\.csv"),
    ("no Parquet", with_parquet_that_is_none, DATA, r"prices\.parquet"),
    ("missing symbol", lambda: train("data.symbols=[APPL]"), DATA, "Did you mean 'AAPL'"),
    ("missing column", with_wrong_columns, DATA, "adj_close.*adj_closed"),
    ("NaN price", with_nan, DATA, "ABC"),
    ("zero in the test split", with_late_zero, DATA, "above zero.*volume.*ABC"),
    ("negative price", with_negative, DATA, "ABC"),
    ("duplicate date", with_duplicate_date, DATA, "ABC"),
    ("unreadable date", with_unreadable_date, DATA, r"'someday' in column 'date' .*\(row 4 of .*, line 5\)"),
    ("text for a price", with_text_price, DATA, "adj_close"),
    ("too short", lambda: own(prices(12)), DATA, "window"),
    ("no rows in range", lambda: train("data.start=2030-01-01"), DATA, "2030"),
    ("test split without windows", lambda: train("data.split={train: .94, validation: .03, test: .03}",
                                                "data.window=30"), DATA, "split"),
    ("unknown run", lambda: ("eval", "nothing"), CONFIG, "RUN must be a run folder"),
    ("no run yet", lambda: ("eval",), CONFIG, "finished run"),
    ("resume with config", lambda: ("train", "tiny.yaml", "--resume", "x"), CONFIG, "--resume"),
    ("resume of nothing", lambda: ("train", "--resume", "x"), CONFIG, "RUN must be a run folder"),
]  # fmt: skip


def with_python(text: str) -> tuple[str, ...]:
    with_broken_circuit_file("mine.py", text)()
    return with_broken_circuit_file("mine.yaml", PYTHON_SPEC)()


@pytest.mark.parametrize(
    ("make", "status", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_bad_input_is_refused(qhq, study, make, status, message):
    arguments = make()
    result = qhq(*arguments)
    text = " ".join(result.stderr.split())
    assert result.exit_code == status, text
    assert re.search(r"Error: .+\. Got .+\. .+\.", text), text
    assert re.search(message, text), text
    assert "Traceback" not in text
    assert result.stdout == ""
    assert not list(study.glob("runs/*/model.safetensors"))
    if "finite" not in message:
        assert not list(study.glob("runs/*"))
        assert not list(study.glob("runs/.new-*"))


def test_error_is_one_json_object_too(qhq):
    result = qhq("train", "tiny.yaml", "--json", "--set", "training.epoch=3")
    error = json.loads(result.stdout)["error"]
    assert error["kind"] == "ConfigError"
    assert error["message"] == f"{error['must']}. Got {error['got']}. {error['fix']}."


@pytest.mark.parametrize(
    "arguments", [("train", "--no-such-option"), ("nosuch",), ("eval", "--shots", "0"), ("circuit", "draw")]
)
def test_usage_errors_have_status_2(qhq, arguments):
    assert qhq(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("predict", "--since", "01/02/2025"), "--since must be a date such as 2024-01-31. Got '01/02/2025'"),
        (("predict", "--level", "abc"), "--level must be a number. Got 'abc'"),
        (("eval", "--samples", "-3"), "--samples must be at least 1. Got '-3'"),
        (("circuit", "draw", "reference", "--qubits", "few"), "--qubits must be a whole number. Got 'few'"),
    ],
)
def test_a_wrong_value_of_an_option_is_an_error_in_three_parts(qhq, words, says):
    result = qhq(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert f"See qhq {words[0]}" in result.stderr

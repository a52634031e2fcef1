"""A reader's folder: small experiments under the shipped names, runs, and files of the reader's own."""

from __future__ import annotations

import gzip
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from exchange_calendars import get_calendar
from ruamel.yaml import YAML

from qhq.api.training import train
from tests.conftest import TINY
from tests.data.panels import option_frame
from tests.test_readme import ROOT

BUNDLED = ROOT / "qhq" / "data" / "bundled" / "stocks_daily_2000_2013.csv.gz"
SWEEP = """\
name: staged
experiment: experiments/quickstart
set: {training.epochs: 1}
seeds: 1
stages:
  - name: circuit
    space: {quantum.depth: [1, 2]}
final: {seeds: 1}
"""
OLDEST, NEWEST = "20260101-000000-000-mine-s1", "20260102-000000-000-tiny-s1"
"""Names of the two runs, on whatever day the tests run."""


def make_folder(folder: Path) -> None:
    """Lay out experiments that train in a fraction of a second, and two runs of the quickstart."""
    for path in sorted((ROOT / "experiments").glob("**/*.yaml")):
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("w") as file:
            YAML(typ="safe").dump(_small(YAML(typ="safe").load(path.read_text(encoding="utf-8"))), file)
    quickstart = folder / "experiments" / "quickstart"
    (quickstart / "config.yaml").write_text(TINY)
    for name in (OLDEST, NEWEST):
        # As many test windows as a page asks for, where it asks for many.
        run = train(quickstart, set={"data.start": "2010-06-01", "name": name.split("-")[3]})
        shutil.move(run.folder, run.folder.with_name(name))


def _small(document: dict[str, Any]) -> dict[str, Any]:
    """An experiment of one epoch on few rows, or a sweep of two points."""
    if "experiment" in document:
        stage = dict(document["stages"][0])
        (first, values), *others = stage["space"].items()
        stage["space"] = {first: values[:2], **{key: _one(each) for key, each in others}}
        final = document.get("final") and {"seeds": 1}
        return {**document, "set": {"training.epochs": 1}, "seeds": 1, "stages": [stage], "final": final}
    data, training = document["data"], document.get("training", {})
    if data.get("source") in ("bundled", "synthetic") and data.get("every") != "week":
        held_out = data.get("split", {}).get("held_out", [])
        data |= {"symbols": [data["symbols"][0], *held_out], "start": "2011-06-01", "end": "2012-12-31"}
    if data.get("source") == "synthetic":
        data |= {"start": "2012-06-01"}
    split = data.get("split", {})
    if split.get("validation", 1) < 0.1:
        data["split"] = {"train": 0.7, "validation": 0.1, "test": 0.2}
    if "folds" in split:
        split |= {"folds": 2}
    if "epochs" in training:
        training |= {"epochs": 1, "batch_size": 256}
    return document


def _one(values: Any) -> Any:
    if isinstance(values, list):
        return values[:1]
    return {**values, "choices": dict(list(values["choices"].items())[:1])}


def _rows(pattern: str) -> pd.DataFrame:
    with gzip.open(BUNDLED, "rt") as rows:
        head, *lines = rows
    wanted = re.compile(pattern)
    table = [line.rstrip("\n").split(",") for line in lines if wanted.match(line)]
    return pd.DataFrame(table, columns=head.rstrip("\n").split(","))


def _prices(line: str) -> pd.DataFrame:
    """Prices of two years and a quarter, with what a line says of them."""
    table = _rows(r"(AAPL|MSFT),201[123]")
    if "0700.HK" in line:
        later = pd.to_datetime(table["Date"]) + pd.DateOffset(years=4)
        table["Date"] = later.dt.strftime("%Y-%m-%d")
        table["Ticker"] = table["Ticker"].replace("MSFT", "0700.HK")
    if "us_close" in line:
        table["us_close"] = table.groupby("Ticker")["Close"].shift(-1).fillna(table["Close"])
    return table


def _options(_: str) -> pd.DataFrame:
    return option_frame(("AAA", "TICKER"), sessions=120, strikes=1)


FILES: dict[str, Callable[[str], pd.DataFrame]] = {
    "prices.csv": _prices,
    "newer.csv": _prices,
    "options.csv": _options,
    "chains.csv": _options,
}
"""Files that only a reader has."""


def write_files(folder: Path, line: str) -> None:
    """Write the files of the reader's own that a line names."""
    for name, make in FILES.items():
        if name in line:
            make(line).to_csv(folder / name, index=False)
    if "every=week" in line:  # which takes years of sessions
        quickstart = folder / "experiments" / "quickstart" / "config.yaml"
        quickstart.write_text(TINY.replace("2012-01-01", "2004-01-01"))
    for name in ("my.yaml", "my_sweep.yaml"):
        if name in line:
            (folder / name).write_text(SWEEP)


def write_london(folder: Path) -> Path:
    """Prices on the sessions of London."""
    with warnings.catch_warnings():  # what it uses of pandas is its makers' business
        warnings.simplefilter("ignore")
        sessions = get_calendar("XLON").sessions_in_range("2011-01-01", "2012-12-31")
    table = _rows(r"AAPL,201[123]").head(len(sessions))
    table["Date"] = sessions[: len(table)].strftime("%Y-%m-%d")
    table.to_csv(folder / "london.csv", index=False)
    return folder / "london.csv"

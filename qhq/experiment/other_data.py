"""A trained run on other data than its own: newer rows, another file, another symbol; asked for by name.

`open_trained` is strict, so that no number changes unnoticed. Here the data config of a run is changed in
nothing but where its rows come from; what the model was built and scaled for stays as it was trained.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qhq.data.prepare_other import Known, prepare_other
from qhq.data.protocol import protocol_of
from qhq.data.scaling.affine import Scaler
from qhq.data.scaling.fit import StaticScaler
from qhq.data.sources.files import names_symbols
from qhq.data.spec import DataSpec
from qhq.errors import ConfigError, DataError
from qhq.experiment.config import load_config
from qhq.experiment.opening import Experiment
from qhq.experiment.reopening import open_trained, read_finished, read_scalers
from qhq.files import MOST_TABLE_BYTES, read_regular
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import RunFolder
from qhq.runs.schema import OTHER_RUN

# Keys of ``data`` that a model is built for: they stay as they were in training.
_TRAINED = ("task", "features", "static", "targets", "window", "horizon", "gaps", "max_gap", "where",
           "scaling", "leaks")  # fmt: skip


@dataclass(frozen=True)
class OtherDataRequest:
    """Which data a run is to be opened on instead of its own.

    Attributes:
        path: A file of rows or a folder of recorded chains; None keeps the run's source.
        overrides: ``data.KEY=VALUE`` texts, laid over the run's config.
        since: First date of an evaluated target; None is where the run's test split began.
    """

    path: str | None = None
    overrides: tuple[str, ...] = ()
    since: date | None = None

    def __bool__(self) -> bool:
        """Whether anything else than the run's own data is asked for."""
        return bool(self.path or self.overrides or self.since)


def open_run_on(folder: RunFolder, request: OtherDataRequest) -> Experiment:
    """Open a finished run with its trained weights and scalers on other data.

    Raises:
        QHQError: If the folder is damaged, or the data cannot be read or does not fit the run.
    """
    if not request:
        return open_trained(folder)
    asked = read_request(folder, request)
    try:
        data = prepare_other(asked.spec, asked.known, *asked.scalers, request.since)
    except DataError as error:
        raise tell_format(error, asked.known.spec, request) from error
    return open_trained(folder, data)


@dataclass(frozen=True, eq=False)
class AskedData:
    """What opening a run on other data takes, before any row is read.

    Attributes:
        spec: The run's data config, but for where the rows come from.
        known: What is known of its own data.
        scalers: Its scalers, of the windows and of the static features.
    """

    spec: DataSpec
    known: Known
    scalers: tuple[Scaler, StaticScaler | None]


def read_request(folder: RunFolder, request: OtherDataRequest) -> AskedData:
    """Read what a finished run says of its data, with what is asked for in its place.

    Raises:
        ConfigError: If the folder is damaged, or more is to be changed than where rows come from.
    """
    record = read_finished(folder)
    spec = load_config(str(folder.config)).data
    other = _with_symbol(_asked(folder, spec, request), record, request)
    if not protocol_of(spec).keeps_values:
        raise ConfigError(
            "A run with the leak last_symbol_inverts can be evaluated on its own data alone",
            got=f"{folder.name} with other data",
            fix="Name a run without that leak",
        )
    return AskedData(other, _known(folder, spec, record), read_scalers(record))


def tell_format(error: DataError, own: DataSpec, request: OtherDataRequest) -> DataError:
    """Say which keys of ``data.format`` another file is read by only because the run's own was."""
    changed = {each.partition("=")[0].strip() for each in request.overrides}
    kept = {
        f"data.format.{key}": value
        for key, value in own.format.model_dump(mode="json", exclude_defaults=True).items()
        if not changed & {f"data.format.{key}", "data.format"}
    }
    if request.path is None or not kept:
        return error
    inherited = ", ".join(f"{key}={value}" for key, value in kept.items())
    otherwise = f"--set {next(iter(kept))}=... says otherwise for this file"
    fix = f"{error.fix}. From the run come {inherited}: {otherwise}"
    return DataError(error.must, got=error.got, fix=fix)


def _asked(folder: RunFolder, own: DataSpec, request: OtherDataRequest) -> DataSpec:
    """The run's data config with what was asked for, and nothing changed that the model was built for."""
    overrides = list(request.overrides)
    keys = {each.partition("=")[0].strip() for each in overrides}
    for override in overrides:
        if not override.strip().startswith("data."):
            raise ConfigError(
                "--set of an evaluation must change where the data comes from: data.KEY=VALUE",
                got=f"'{override}'",
                fix="Train again to change the model; --backend, --shots and --seed are options of their own",
            )
    changes = []
    if request.path is not None:
        # Links stay as they are named; only a path with ``..`` is looked up, so that messages show where it
        # leads.
        given = Path(request.path).expanduser().absolute()
        path = str(given.resolve() if ".." in given.parts else given)
        changes = [f"data.source={_source(Path(path))}", f"data.path={json.dumps(path)}",
                   f"data.panel={own.kind}", "data.start=null", "data.end=null"]  # fmt: skip
    if "data.symbols" in keys:
        # A config may hold out only symbols that it names, and these need not name the run's. What the run
        # held out is put back below.
        changes.append("data.split.held_out=[]")
    asked = load_config(str(folder.config), [*changes, *overrides]).data
    split = asked.split.model_copy(update={"held_out": own.split.held_out})
    for key in _TRAINED:
        if getattr(asked, key) != getattr(own, key):
            raise _other_windows(key, getattr(asked, key), getattr(own, key))
    if split != own.split:
        raise _other_windows("split", split.model_dump(exclude_defaults=True), "the dates of its own split")
    if asked.kind != own.kind:
        raise _other_windows("panel", asked.kind, own.kind)
    return asked


def _with_symbol(asked: DataSpec, record: RunRecord, request: OtherDataRequest) -> DataSpec:
    """A file that names no symbol is of the run's, where the run has one."""
    symbols = [] if record.metrics is None else list(record.metrics.symbols)
    if request.path is None or asked.symbols is not None or len(symbols) != 1 or asked.source == "recorded":
        return asked
    path = Path(str(asked.path))
    if not path.is_file() or names_symbols(path, str(path), asked.format, asked.kind, asked.columns):
        return asked
    return asked.model_copy(update={"symbols": tuple(symbols)})


def _other_windows(key: str, asked: Any, own: Any) -> ConfigError:
    return ConfigError(
        f"A run must be evaluated with the data.{key} that it was trained with",
        got=f"{asked!r}, where the run has {own!r}",
        fix=f"Leave data.{key} out, or train again with it",
    )


def _source(path: Path) -> str:
    if path.is_dir():
        return "recorded"
    return "parquet" if path.suffix == ".parquet" else "csv"


def _known(folder: RunFolder, spec: DataSpec, record: RunRecord) -> Known:
    """What the run's record and its forecasts tell of its own data."""
    data, splits = record.data, {}
    for name, span in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        if span is None:
            raise ConfigError(
                f"run.json must say of which dates its {name} split is",
                got=f"no data.{name} in that of {record.run}",
                fix=OTHER_RUN,
            )
        splits[name] = np.datetime64(span.first), np.datetime64(span.last)
    first, last = (None if day is None else np.datetime64(day) for day in (data.first, data.last))
    return Known(spec, record.prices(), splits, first, last, _actual(folder, spec))


def _actual(folder: RunFolder, spec: DataSpec) -> pd.DataFrame:
    """What came in the run's test split: columns symbol, date, target, value."""
    path = folder.file("predictions.csv")
    try:
        rows = pd.read_csv(
            io.BytesIO(read_regular(path, most=MOST_TABLE_BYTES)),
            # ``NA`` is a ticker, and no missing value.
            dtype={"symbol": str},
            keep_default_na=False,
            parse_dates=["date"],
        )
        rows["target"] = rows["target"] if "target" in rows.columns else spec.targets[0]
        frame = rows[["symbol", "date", "target", "actual"]].rename(columns={"actual": "value"})
        frame["value"] = frame["value"].astype(float)
        frame["date"] = frame["date"].astype("datetime64[s]")
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            "A finished run must hold its forecasts in predictions.csv",
            got=f"{path}: {type(error).__name__}: {error}",
            fix="Name another run, or train again",
        ) from error
    # A horizon of several steps forecasts a date once from each of them; what came is the same.
    return frame.drop_duplicates(["symbol", "date", "target"])

"""One flat row a run, for tables of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from qhq.errors import ConfigError
from qhq.runs.record import MOST, OTHER_RUN, Errors, Metrics, RunRecord

RESULTS = ("mae", "rmse", "mape", "mase", "skill")

Row = dict[str, Any]
"""Of a table of runs: cells by column."""


def run_summary(record: RunRecord) -> Row:
    """One flat row of a run's record: what it is, and its errors beside the last value's.

    ``part`` says which split the errors are of: the test split; of a trial of a sweep, the validation split.
    """
    metrics, quantum = record.metrics or Metrics(), record.quantum
    own, naive = _errors(metrics)
    return {
        "run": record.run,
        "status": record.status,
        "backend": record.backend,
        "seed": record.seed,
        "qubits": None if quantum is None else quantum.qubits,
        "weights": None if quantum is None else quantum.weights,
        "epochs": record.epochs,
        "part": metrics.split,
        **{key: getattr(own, key) for key in RESULTS},
        "skill": run_skill(metrics, metrics.split),
        "naive_mae": naive.mae,
        "naive_mape": naive.mape,
        "seconds": record.seconds.get("total"),
        "leaks": " ".join(record.leaks) or None,
        "created": record.created,
    }


def _errors(metrics: Metrics) -> tuple[Errors, Errors]:
    """Those of the model and of the last value, on the split that a run was judged on."""
    if metrics.split == "test":
        return metrics.test or Errors(), metrics.naive or Errors()
    return metrics.validation or Errors(), metrics.validation_naive or Errors()


def run_terms(record: RunRecord) -> Row:
    """What errors must have in common to be put in one order: the same forecasts, asked of the same data.

    ``exact`` names the windows by what they are and by the errors of the last value there, which are the same
    for all models, whatever their features, and of no other data; None where a run has no errors yet.
    ``about`` is what is known of a run from its first moment on.

    Raises:
        ConfigError: If the design is damaged.
    """
    metrics, asked = record.metrics or Metrics(), _mapping(record, "data")
    naive = _errors(metrics)[1]
    span = record.data.test if metrics.split == "test" else record.data.validation
    terms = {
        "part": metrics.split,
        "task": asked.get("task") or record.task,
        "targets": asked.get("targets"),
        "horizon": asked.get("horizon"),
        "from": None if span is None else span.first,
        "to": None if span is None else span.last,
    }
    windows = None if span is None else span.windows
    errors = ["None" if each is None else f"{each:.10g}" for each in (naive.mae, naive.rmse)]
    return {
        **terms,
        "symbols": run_design(record).get("data.symbols"),
        "windows": windows,
        "exact": None if naive.mae is None else json.dumps([terms, windows, errors], default=str),
        "about": json.dumps([terms, record.data.fingerprint], default=str),
    }


def say_terms(terms: Mapping[str, Any]) -> str:
    """Say what a group of runs was asked for, as far as their records tell."""
    targets = terms["targets"]
    names = ", ".join(map(str, targets)) if isinstance(targets, list) else str(targets or "the targets")
    said = f"{terms['task'] or 'forecast'} of {names}"
    if terms["horizon"] is not None:
        said += f" {terms['horizon']} ahead"
    if terms["symbols"] is not None:
        said += f", {terms['symbols']}"
    if terms["from"] is not None:
        said += f", {terms['part']} split {terms['from']} to {terms['to']}"
    return said + ("" if terms["windows"] is None else f", {terms['windows']} windows")


def run_skill(metrics: Metrics, forecast: str = "test") -> float | None:
    """Skill of one of a run's forecasts: 1 - MAE / MAE of the last value, averaged over symbols.

    Runs of earlier versions have that of errors pooled over all symbols, in which the dearest decides; where
    they kept each symbol's own, the mean of these is given instead.

    Args:
        metrics: Of a run.
        forecast: Its name among the metrics: ``test`` is the model.
    """
    every = {
        "test": metrics.test,
        "naive": metrics.naive,
        "validation": metrics.validation,
        **metrics.baselines,
    }
    pooled = every.get(forecast)
    if metrics.relative is None and len(metrics.symbols) > 1:
        each = [forecasts[forecast].skill for forecasts in metrics.symbols.values() if forecast in forecasts]
        known = [skill for skill in each if skill is not None]
        if known:
            return sum(known) / len(known)
    return None if pooled is None else pooled.skill


def run_design(record: RunRecord) -> Row:
    """The resolved config of a run by dotted keys; a list is one text, such as ``gru 16, gru 16``.

    Raises:
        ConfigError: If the design is damaged.
    """
    design = dict(_leaves(record.design, ""))
    for key, value in design.items():
        if value is not None and not _is_plain(value, (str, bool, int, float)):
            raise _damaged(record, key, "a text or a number", value)
    if design.get("data.symbols") is None and design.get("data.path") is not None:
        # A config that takes all symbols of a file does not name them; the results do.
        read = [] if record.metrics is None else list(record.metrics.symbols)
        names = read or [PurePath(str(design["data.path"])).name]
        if all(_is_plain(name, str) for name in names):
            design["data.symbols"] = ", ".join(names)
    aside = 0 if record.data.quarantine is None else record.data.quarantine.rows
    # Named where there were any: runs on the same config are alike only if the same rows were left out.
    return design | ({"data.rows_set_aside": aside} if aside else {})


def _is_plain(value: object, wanted: type | tuple[type, ...]) -> bool:
    """Whether a value is of a type, and can be written and printed."""
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted == (int, float)):
        return False
    if isinstance(value, str):
        return value.isprintable() and value.encode("utf-8", "ignore").decode("utf-8") == value
    return not isinstance(value, int | float) or abs(value) < MOST


def _leaves(node: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", _text(value) if isinstance(value, list | dict) else value


def _text(value: list[Any] | dict[str, Any]) -> str:
    """A list, or an empty mapping, in a cell of a table."""
    if isinstance(value, dict):
        return json.dumps(value)
    parts = (each.values() if isinstance(each, dict) else [each] for each in value)
    return ", ".join(" ".join(str(word) for word in words) for words in parts)


def _mapping(record: RunRecord, key: str) -> Mapping[str, Any]:
    """A section of the design; empty where it is missing or null."""
    value = record.design.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _damaged(record, f"design.{key}", "a mapping", value)
    return value


def _damaged(record: RunRecord, key: str, wanted: str, value: object) -> ConfigError:
    return ConfigError(
        f"'{key}' of run.json must be {wanted}", got=f"{type(value).__name__} in {record.run}", fix=OTHER_RUN
    )

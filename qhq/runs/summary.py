"""One flat row a run, for tables of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from qhq.errors import ConfigError

RESULTS = ("mae", "rmse", "mape", "mase", "skill")
TEXTS = ("run", "status", "backend", "part", "leaks", "created")
"""Columns of a summary that are texts; all others are numbers."""
MOST = 1e300
"""No result or config key is a number as large; NaN is not smaller either."""


def run_summary(record: dict[str, Any]) -> dict[str, Any]:
    """One flat row of a run's record: what it is, and its errors beside the last value's.

    ``part`` says which part the errors are of: the test part, or, of a trial of a sweep, the validation part.

    Raises:
        ConfigError: If the record is damaged.
    """
    metrics, quantum = _mapping(record, "metrics"), _mapping(record, "quantum")
    part = "validation" if "validation" in metrics and "test" not in metrics else "test"
    own = _mapping(metrics, part)
    naive = _mapping(metrics, "naive" if part == "test" else "validation_naive")
    row = {
        "run": record["run"],
        "status": record["status"],
        "backend": record["backend"],
        "seed": record["seed"],
        "qubits": quantum.get("qubits"),
        "weights": quantum.get("weights"),
        "epochs": record.get("epochs"),
        "part": part,
        **{key: own.get(key) for key in RESULTS},
        "skill": run_skill(record, part),
        "naive_mae": naive.get("mae"),
        "naive_mape": naive.get("mape"),
        "seconds": _mapping(record, "seconds").get("total"),
        "leaks": _leaks(record),
        "created": record.get("created"),
    }
    for key, value in row.items():
        wanted = str if key in TEXTS else (int, float)
        if not (value is None and key not in ("status", "backend")) and not _is_plain(value, wanted):
            raise _damaged(record, key, "a text" if key in TEXTS else "a number", value)
    return row


def run_terms(record: dict[str, Any]) -> dict[str, Any]:
    """What errors must have in common to be put in one order: the same forecasts, asked of the same data.

    ``exact`` names the windows by what they are and by the errors of the last value there, which are the same
    for all models, whatever their features, and of no other data; None where a run has no errors yet.
    ``about`` is what is known of a run from its first moment on.

    Raises:
        ConfigError: If the record is damaged.
    """
    metrics, data = _mapping(record, "metrics"), _mapping(record, "data")
    asked = _mapping(_mapping(record, "design"), "data")
    part = "validation" if "validation" in metrics and "test" not in metrics else "test"
    naive = _mapping(metrics, "naive" if part == "test" else "validation_naive")
    span = _mapping(data, part)
    terms = {
        "part": part,
        "task": asked.get("task") or record.get("task"),
        "targets": asked.get("targets"),
        "horizon": asked.get("horizon"),
        "from": span.get("from"),
        "to": span.get("to"),
    }
    told = run_design(record).get("data.symbols")
    windows = span.get("windows")
    mae, rmse = naive.get("mae"), naive.get("rmse")
    errors = [f"{each:.10g}" if isinstance(each, int | float) else str(each) for each in (mae, rmse)]
    return {
        **terms,
        "symbols": told,
        "windows": windows,
        "exact": None if mae is None else json.dumps([terms, windows, errors], default=str),
        "about": json.dumps([terms, data.get("fingerprint")], default=str),
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


def run_skill(record: Mapping[str, Any], forecast: str = "test") -> float | None:
    """Skill of one of a run's forecasts: 1 - MAE / MAE of the last value, averaged over symbols.

    Runs of earlier versions have that of errors pooled over all symbols, in which the dearest decides; where
    they kept each symbol's own, the mean of these is told instead.

    Args:
        record: Of a run.
        forecast: Its name among the metrics: ``test`` is the model.

    Raises:
        ConfigError: If the record is damaged.
    """
    metrics = _mapping(record, "metrics")
    symbols = _mapping(metrics, "symbols")
    pooled: float | None = _mapping(metrics, forecast).get("skill")
    if "relative" in metrics or len(symbols) < 2:
        return pooled
    each = [_mapping(_mapping(symbols, name), forecast).get("skill") for name in symbols]
    known = [skill for skill in each if isinstance(skill, int | float)]
    return sum(known) / len(known) if known else pooled


def run_design(record: dict[str, Any]) -> dict[str, Any]:
    """The resolved config of a run by dotted keys; a list is one text, such as ``gru 16, gru 16``.

    Raises:
        ConfigError: If the record is damaged.
    """
    design = dict(_leaves(_mapping(record, "design"), ""))
    for key, value in design.items():
        if value is not None and not _is_plain(value, (str, bool, int, float)):
            raise _damaged(record, key, "a text or a number", value)
    if design.get("data.symbols") is None and design.get("data.path") is not None:
        # A config that takes all symbols of a file does not name them; the results do.
        read = list(_mapping(_mapping(record, "metrics"), "symbols")) if record.get("metrics") else []
        names = read or [PurePath(str(design["data.path"])).name]
        if all(_is_plain(name, str) for name in names):
            design["data.symbols"] = ", ".join(names)
    aside = _mapping(_mapping(record, "data"), "quarantine").get("rows")
    # Told where any were: runs on the same config are alike only if the same rows were left out.
    return design | ({"data.rows_set_aside": aside} if isinstance(aside, int) and aside else {})


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


def _leaks(record: Mapping[str, Any]) -> str | None:
    """Names of the leaks that were switched on; None without any."""
    leaks = record.get("leaks") or []
    if not isinstance(leaks, list):
        raise _damaged(record, "leaks", "a list", leaks)
    return " ".join(map(str, leaks)) or None


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of a record; empty where it is missing or null."""
    value = record.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _damaged(record, key, "a mapping", value)
    return value


def _damaged(record: Mapping[str, Any], key: str, wanted: str, value: object) -> ConfigError:
    return ConfigError(
        f"'{key}' of run.json must be {wanted}",
        got=f"{type(value).__name__} in {record.get('run', 'a run')}",
        fix="Name another run; 'qhq compare' lists them",
    )

"""One flat row a run, for tables of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from qhq.errors import ConfigError

RESULTS = ("mae", "rmse", "mape", "mase", "skill")


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
    return {
        "run": record["run"],
        "status": record["status"],
        "backend": record["backend"],
        "seed": record["seed"],
        "qubits": quantum.get("qubits"),
        "weights": quantum.get("weights"),
        "epochs": record.get("epochs"),
        "part": part,
        **{key: own.get(key) for key in RESULTS},
        "naive_mae": naive.get("mae"),
        "naive_mape": naive.get("mape"),
        "seconds": _mapping(record, "seconds").get("total"),
        "leaks": _leaks(record),
        "created": record.get("created"),
    }


def run_design(record: dict[str, Any]) -> dict[str, Any]:
    """The resolved config of a run by dotted keys; a list is one text, such as ``gru 16, gru 16``.

    Raises:
        ConfigError: If the record is damaged.
    """
    return dict(_leaves(_mapping(record, "design"), ""))


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

"""What Tab completes besides commands and options: backends, runs, configs, ansaetze and config keys.

A shell asks in the middle of a line that is being typed, so nothing is said there, whatever is broken: a
registry that cannot be read completes to nothing, and the command itself will say what is wrong with it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# Newest first: somebody who has a thousand runs does not want to page through them.
_MOST_RUNS = 50


def _backends(given: str) -> Iterable[str]:  # noqa: ARG001
    from qhq.backends.registry import load_backends

    return load_backends()


def _runs(given: str) -> Iterable[str]:
    from qhq.runs.run_folder import list_runs

    names = [run.name for run in reversed(list_runs()) if run.name.startswith(given)]
    return ["latest", *names[:_MOST_RUNS]]


def _configs(given: str) -> Iterable[str]:  # noqa: ARG001
    from qhq.paths import study_roots

    roots = [(root, path) for root in study_roots() for path in sorted(root.glob("experiments/*/*.yaml"))]
    for root, path in roots:
        place = path.parent if path.name == "config.yaml" else path
        yield place.relative_to(root).as_posix()


def _runs_and_configs(given: str) -> Iterable[str]:
    return [*_configs(given), *_runs(given)]


def _ansaetze(given: str) -> Iterable[str]:
    from qhq.ansatz.spec import list_ansaetze

    return [*list_ansaetze(), *_runs(given)]


def _overrides(given: str) -> Iterable[str]:
    from qhq.experiment.config import ExperimentConfig

    key, is_set, _ = given.partition("=")
    schema = ExperimentConfig.model_json_schema()
    if is_set and key == "backend":
        return [f"{key}={name}" for name in _backends("")]
    if is_set and key == "quantum.ansatz":
        from qhq.ansatz.spec import list_ansaetze

        return [f"{key}={name}" for name in list_ansaetze()]
    return [f"{name}=" for name in dict.fromkeys(_keys(schema, schema.get("$defs", {}), ""))]


def _keys(node: Any, shared: dict[str, Any], before: str) -> Iterator[str]:
    """Dotted keys of a schema, those of each alternative too."""
    node = shared[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    for other in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from _keys(other, shared, before)
    for name, below in node.get("properties", {}).items():
        deeper = list(_keys(below, shared, f"{before}{name}."))
        yield from deeper or [before + name]


def _quiet(known: Callable[[str], Iterable[str]]) -> Callable[[str], list[str]]:
    """What Typer calls with the word that is being typed."""

    def complete(incomplete: str) -> list[str]:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
            return [each for each in known(incomplete) if each.startswith(incomplete)]
        return []

    return complete


complete_backend = _quiet(_backends)
complete_run = _quiet(_runs)
complete_config = _quiet(_configs)
complete_subject = _quiet(_runs_and_configs)
complete_ansatz = _quiet(_ansaetze)
complete_override = _quiet(_overrides)

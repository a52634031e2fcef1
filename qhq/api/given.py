"""What is given to a call (configs, changes, circuits in memory), as the packages below take it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

from qhq.errors import ConfigError
from qhq.runs.run_folder import check_subject, find_run, refers_to_run

if TYPE_CHECKING:
    from qhq.ansatz.program import Ansatz
    from qhq.experiment.config import ExperimentConfig
    from qhq.files import Json

Config: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | ExperimentConfig | None"
"""A config's file or folder, what would stand in the file, or one that was read; None is the quickstart."""

Changes: TypeAlias = Mapping[str, Any] | Sequence[str]
"""Config keys with dots, and their values; ``quantum.ansatz`` also takes a circuit in memory.

Or texts such as ``training.epochs=5``, as a shell has them.
"""


def read_config(config: Any, *changes: Changes | None) -> ExperimentConfig:
    """Read a config with changes laid over it, and put a circuit in memory in its place."""
    from qhq.experiment.config import load_config

    found = [read_changes(each) for each in changes]
    overrides = [text for texts, _ in found for text in texts]
    # The last change wins, as with texts.
    held = next((circuit for _, circuit in reversed(found) if circuit is not None), None)
    own: ExperimentConfig | None = config if is_config(config) else None
    source: str | Json | None
    if own is not None:
        # Written out and read again, so that changes are checked as those of a file are.
        source = own.model_dump(mode="json")
    elif isinstance(config, Mapping):
        source, inside = _plain_config(config)
        held = held or inside
    else:
        source = reference_of(config)
    # The circuit is put in afterwards: a config holds texts and numbers alone, and names it by its digest.
    read = load_config(source, overrides)
    quantum = read.quantum
    if held is not None and quantum is not None:
        from qhq.ansatz.stored import ansatz_fingerprint

        quantum = quantum.with_circuit(held, ansatz_fingerprint(held))
    elif own is not None and own.quantum is not None and quantum is not None:
        quantum = quantum.carried_as(own.quantum)
    model, typed = read.model, {text.partition("=")[0] for text in overrides}
    carrier = None if own is None or own.model.file is None else own.model.carrier
    if carrier is not None and model.file is not None and not typed & {"model", "model.file"}:
        model = model.carried_by(carrier)  # a run's config must not run what lies at its path now
    return read.model_copy(update={"quantum": quantum, "model": model})


def read_subject(subject: Any, set: Changes | None = None) -> ExperimentConfig:
    """The config of a run by its folder or name, or a config, with changes laid over it.

    The circuit of a run is the one in its folder, whatever ``circuits/`` holds now.

    Raises:
        ConfigError: If there is none.
        DataError: If a run alone names a file of prices, and it is not the one that the run was made for.
    """
    # A mapping or a config that was read is no name, whatever a run may be called.
    reference = None if isinstance(subject, Mapping) or is_config(subject) else reference_of(subject)
    if reference is None or not refers_to_run(reference):
        if reference is not None:
            check_subject(reference)
        return read_config(subject, set)
    from qhq.experiment.reopening import check_own_prices

    folder = find_run(reference)
    config = read_config(folder.config, set)
    check_own_prices(folder, read_changes(set)[0])
    return config


def is_config(value: Any) -> bool:
    """Whether it is a config that was read, such as that of a run."""
    from qhq.experiment.config import ExperimentConfig

    return isinstance(value, ExperimentConfig)


def reference_of(subject: Any) -> str | None:
    """A run, a path or a name as a text."""
    if subject is None or isinstance(subject, str):
        return subject
    if isinstance(subject, os.PathLike):
        return str(os.fspath(subject))
    raise ConfigError(
        "A config must be a file, a folder or a mapping",
        got=called(subject),
        fix="Give a path such as 'experiments/quickstart', or a mapping of its keys",
    )


def read_changes(set: Changes | None, *, circuits: bool = True) -> tuple[list[str], Ansatz | None]:
    """Changes as the texts of ``--set``, and the circuit in memory among them, if any.

    Raises:
        ConfigError: If they are no mapping of keys to plain values, or hold a circuit where none can be.
    """
    if set is None:
        return [], None
    # Texts as the shell has them go through untouched: quoting them again would change what YAML reads.
    if isinstance(set, list | tuple) and all(isinstance(each, str) for each in set):
        return [*set], None
    if not isinstance(set, Mapping) or not all(isinstance(key, str) for key in set):
        raise ConfigError(
            "set must be a mapping of config keys to values",
            got=called(set),
            fix="Write set={'training.epochs': 5}",
        )
    changes, held = _without_module(set)
    if held is not None:
        # Named too, so that the circuit comes in its own size and not in that of the config.
        changes.setdefault("quantum.ansatz", "reference")
    for key in ("quantum", "quantum.ansatz"):
        if key in changes:
            changes[key], found = _without_circuit(changes[key], inside=key == "quantum")
            held = held or found
    if held is not None and not circuits:
        raise ConfigError(
            "A circuit must be named here, not given, since workers read configs that were written down",
            got="a circuit in memory",
            fix="Save it to a file of circuits/ (docs/circuits.md), and name that",
        )
    return [f"{key}={_as_yaml(value, key)}" for key, value in changes.items()], held


def _plain_config(config: Mapping[str, Any]) -> tuple[Json, Ansatz | None]:
    """A mapping as a YAML file would hold it, and the circuit in memory in it, if any."""
    content, held = _without_module(config)
    if "quantum" in content:
        content["quantum"], found = _without_circuit(content["quantum"], inside=True)
        held = held or found
    return {str(key): _plain(value, str(key)) for key, value in content.items()}, held


def _without_module(given: Mapping[str, Any]) -> tuple[Json, Ansatz | None]:
    """The same with a torch module in the place of ``model`` by its name, and its circuit, if any."""
    content, model = dict(given), given.get("model")
    if model is None or isinstance(model, Mapping | str):
        return content, None
    from qhq.models.own import Wrapped, wrap

    wrapped = model if isinstance(model, Wrapped) else wrap(model)
    content["model"] = {"file": wrapped.file}
    return content, wrapped.layer.ansatz


def _without_circuit(value: Any, *, inside: bool) -> tuple[Any, Ansatz | None]:
    """What names or is a circuit, by name; ``inside`` it is the key ``ansatz`` of the value."""
    if inside:
        if not isinstance(value, Mapping) or "ansatz" not in value:
            return value, None
        name, held = _without_circuit(value["ansatz"], inside=False)
        return {**value, "ansatz": name}, held
    if value is None or isinstance(value, str | os.PathLike):
        return value, None
    from qhq.ansatz.assemble import build_ansatz

    return "reference", build_ansatz(value)


def _as_yaml(value: Any, key: str) -> str:
    """A value as it is typed behind ``--set KEY=``: a text as it is, where YAML reads the same text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    plain = _plain(value, key)
    if isinstance(plain, str):
        try:
            # "0700", "1e3" or "true" as they stand would come back as a number or a truth value.
            if YAML(typ="safe").load(plain) == plain:
                return plain
        except (YAMLError, ValueError):
            pass
    return json.dumps(plain)  # JSON is YAML, and quotes what YAML would read as something else


def _plain(value: Any, key: str) -> Any:
    """Dicts, lists, numbers and texts alone: what a YAML file can hold."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(each, f"{key}.{name}") for name, each in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # By its method, so that NumPy need not be imported to read a plain mapping.
    if hasattr(value, "tolist"):  # of NumPy: a number or an array
        return _plain(value.tolist(), key)
    if isinstance(value, list | tuple | range | frozenset):
        return [_plain(each, key) for each in value]
    raise ConfigError(
        "The value of a config key must be a number, a text, a list or a mapping of these",
        got=f"{called(value)} for '{key}'",
        fix="Write what a YAML file would hold",
    )


def called(value: Any) -> str:
    """What to call a value in an error."""
    return f"'{value}'" if isinstance(value, str) else f"a {type(value).__name__}"


def check_count(name: str, value: Any, least: int, most: int) -> None:
    """Refuse what the command line would refuse; None is left to its default."""
    # True is an int in Python, and `samples=True` is a slip.
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and least <= value <= most):
        return
    raise ConfigError(
        f"{name} must be a whole number from {least} to {most:,}", got=f"{value!r}", fix="Correct it"
    )


def read_day(since: date | str | None) -> date | None:
    """A date, or a text of one in ISO 8601.

    Raises:
        ConfigError: If it is neither.
    """
    if since is None or isinstance(since, date):
        return since
    try:
        return date.fromisoformat(since)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "since must be a date", got=called(since), fix="Write it as '2024-01-31'"
        ) from error

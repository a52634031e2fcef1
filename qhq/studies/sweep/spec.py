"""What a sweep's YAML may say, and how a config is changed by what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from qhq.documents import Spec, load_document, validate
from qhq.errors import ConfigError
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.limits import MOST_COUNT
from qhq.paths import find_study_file
from qhq.studies.sweep.space import Options, Space

Metric = Literal["mae", "rmse", "mape", "mase"]
Search = Literal["grid", "tpe", "random"]
StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


def _flatten(changes: Mapping[str, Any]) -> dict[str, Any]:
    """``{a: {b: 1}, c.d: 2}`` as ``{a.b: 1, c.d: 2}``; a list or an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in changes.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{inner}": each for inner, each in _flatten(value).items()}
        else:
            flat[key] = value
    return flat


class _Changing(Spec):
    """A section that may set config keys, dotted or nested."""

    set: dict[str, Any] = Field(default_factory=dict)

    @field_validator("set")
    @classmethod
    def _dotted(cls, changes: dict[str, Any]) -> dict[str, Any]:
        return _flatten(changes)


class PruneSpec(Spec):
    """When a trial is given up: after each of the epochs ``at``, where Optuna's pruner says so.

    ``median`` gives up what is worse than the median of the trials before it; ``halving`` keeps the better
    half at each rung (successive halving).
    """

    kind: Literal["median", "halving"] = "median"
    at: tuple[Annotated[int, Field(ge=1, le=MOST_COUNT)], ...] = Field(min_length=1)

    @field_validator("at")
    @classmethod
    def _rises(cls, at: tuple[int, ...]) -> tuple[int, ...]:
        if list(at) != sorted(set(at)):
            raise ValueError("epochs must rise")
        return at


class StageSpec(_Changing):
    """One stage.

    Attributes:
        name: For people and files.
        space: Config keys and what each may be.
        search: Every point of the space, or what TPE or chance proposes.
        trials: Points that TPE or chance proposes.
        round: Points proposed at a time: what a point is proposed from, are all rounds before its own, so
            the search is the same with any number of workers.
        seeds: Trainings of each point; None is the sweep's.
        set: Config keys for this stage only.
        prune: When to give up a point early.
    """

    name: StageName
    space: dict[str, Options] = Field(min_length=1)
    search: Search = "grid"
    trials: int | None = Field(None, ge=1, le=MOST_COUNT)
    round: int = Field(8, ge=1, le=MOST_COUNT)
    seeds: int | None = Field(None, ge=1, le=MOST_COUNT)
    prune: PruneSpec | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.search == "grid") != (self.trials is None):
            raise ValueError("trials must be given for search tpe and random, and not for grid")
        if self.search == "grid":
            endless = [key for key, options in self.space.items() if options.values is None]
            if endless:
                raise ValueError(f"a grid needs a list of values or a (larger) step for {', '.join(endless)}")
        return self

    @property
    def points(self) -> Space:
        """The space."""
        return Space(self.space)


class FinalSpec(_Changing):
    """The full training of the winner with fresh seeds, and the only look at the test split.

    ``baseline`` trains what the sweep started from in the same way, beside it.
    """

    seeds: int = Field(5, ge=1, le=MOST_COUNT)
    baseline: bool = True


class SweepSpec(_Changing):
    """A staged search.

    Attributes:
        name: Of the sweep's folder.
        experiment: The config to start from: a file, a folder, or a path in ``experiments/``.
        set: Config keys for all stages.
        metric: What is ranked: this error on the validation split over that of the last value there.
        seeds: Trainings of each point, with the seeds from the config's own on.
        stages: In order; the best of each is where the next starts.
        final: What is done with the winner; null to leave the test split alone.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = "sweep"
    experiment: str = "experiments/quickstart"
    metric: Metric = "mase"
    seeds: int = Field(3, ge=1, le=MOST_COUNT)
    stages: tuple[StageSpec, ...] = Field(min_length=1)
    final: FinalSpec | None = FinalSpec()

    @field_validator("stages")
    @classmethod
    def _named_apart(cls, stages: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
        names = [stage.name for stage in stages]
        if len(set(names)) < len(names):
            raise ValueError("stages must have different names")
        return stages

    def seeds_of(self, stage: StageSpec) -> int:
        """Trainings of each of a stage's points."""
        return self.seeds if stage.seeds is None else stage.seeds


def load_sweep(
    source: str | Mapping[str, Any], overrides: Sequence[str] = ()
) -> tuple[SweepSpec, ExperimentConfig]:
    """Read a sweep, from its file or as what would stand in one, and the config that it starts from.

    Raises:
        ConfigError: If either is missing or breaks its spec.
    """
    if isinstance(source, Mapping):
        spec = load_document(SweepSpec, source, overrides)
        return spec, load_config(spec.experiment)
    found = _sweep_path(source)
    spec = load_document(SweepSpec, found, overrides)
    beside = found.parent / spec.experiment
    return spec, load_config(str(beside) if beside.exists() else spec.experiment)


def _sweep_path(path: str) -> Path:
    found = find_study_file(path)
    if found is not None:
        return found
    raise ConfigError(
        "CONFIG must be a sweep's YAML file, or a folder with a config.yaml",
        got=f"'{path}', which does not exist",
        fix="Check the path; 'qhq sweep experiments/staged' is the shipped one",
    )


def change(config: ExperimentConfig, changes: Mapping[str, Any], source: str) -> ExperimentConfig:
    """Set dotted keys of a config.

    Args:
        config: Where the other keys come from.
        changes: Values by dotted key.
        source: Where the changes stand, for an error.

    Raises:
        ConfigError: If a key is unknown or a value is not valid; it names the nearest known key.
    """
    content = config.model_dump(mode="json")
    for key, value in changes.items():
        _put(content, key.split("."), value)
    return validate(ExperimentConfig, content, source)


def look_up(config: ExperimentConfig, key: str) -> Any:
    """The value of a dotted key; None where a part of it is not there."""
    node: Any = config.model_dump(mode="json")
    for word in key.split("."):
        node = node.get(word) if isinstance(node, dict) else None
    return node


def _put(node: dict[str, Any], keys: list[str], value: Any) -> None:
    *parents, last = keys
    for parent in parents:
        if not isinstance(node.get(parent), dict):
            node[parent] = {}
        node = node[parent]
    node[last] = value

"""What a sweep's YAML may say: what a config key may be, the stages, and how a config is changed by them."""

from __future__ import annotations

import datetime
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from qhq.documents import Overrides, Spec, load_document, validate
from qhq.errors import ConfigError, apart
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.limits import MOST_COUNT, MOST_FACTOR
from qhq.models.spec import unit_names
from qhq.paths import find_study_file

_Number = Annotated[int | float, Field(ge=-MOST_FACTOR, le=MOST_FACTOR)]

Point = dict[str, str | int | float]
"""A point of the space by config key: the label of a choice, or a number of a range."""

# More numbers than these are not listed: no grid has as many points.
_MOST_LISTED = 10_000


class Listed(Spec):
    """Values by their label; a plain list in YAML is labelled by the values themselves.

    Attributes:
        choices: Each value by its label.
    """

    choices: Overrides = Field(min_length=1)

    @property
    def values(self) -> tuple[str, ...]:
        """Every label."""
        return tuple(self.choices)

    def value(self, label: str | float) -> Any:
        """What a label stands for."""
        return self.choices[str(label)]

    def label_of(self, value: Any) -> str | None:
        """The label of a value; None if it is none of the choices.

        1 and 1.0 are distinct where both are listed; alone, either stands for the other. Neither is true.
        """
        for same in (_as_written, _as_number):
            wanted = same(value)
            found = next((label for label, each in self.choices.items() if same(each) == wanted), None)
            if found is not None:
                return found
        return None


class Range(Spec):
    """Numbers from ``low`` to ``high``, both included; whole ones if both ends are.

    Attributes:
        low: The lowest.
        high: The highest.
        log: Whether they are drawn evenly in the logarithm.
        step: Gives only low, low + step, and so on, added up as the decimals that stand in the file, so that
            0 to 0.3 by 0.1 has 0.3 and no 0.30000000000000004; where it does not divide the range, the last
            lies below ``high``.
    """

    low: _Number
    high: _Number
    log: bool = False
    step: _Number | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {' and '.join(apart(self.low, self.high))}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0, and no step")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be above 0, not {self.step:g}: it goes from low up to high")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is of whole numbers."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    @property
    def values(self) -> tuple[int | float, ...] | None:
        """Every number of it; None if there are too many to list."""
        count = self.count
        return None if count is None or count > _MOST_LISTED else tuple(map(self.at, range(count)))

    @property
    def count(self) -> int | None:
        """How many numbers it has; None if they are not counted by steps."""
        step = self._step
        return None if step is None else int((_decimal(self.high) - _decimal(self.low)) // step) + 1

    @property
    def last(self) -> int | float:
        """The largest number of it: ``high``, or the last step below."""
        return self.high if self.count is None else self.at(self.count - 1)

    def at(self, index: int) -> int | float:
        """One of its numbers, counted from ``low``; it must have steps."""
        assert self._step is not None
        number = _decimal(self.low) + index * self._step
        return int(number) if self.whole else float(number)

    def nearest(self, value: float) -> int | float:
        """The number of it that lies nearest; the value itself if there are no steps."""
        if self._step is None or self.count is None:
            return value
        index = round((_decimal(value) - _decimal(self.low)) / self._step)
        return self.at(min(max(index, 0), self.count - 1))

    @property
    def _step(self) -> Decimal | None:
        if self.step is None:
            return Decimal(1) if self.whole else None
        return _decimal(self.step)

    def value(self, number: str | float) -> Any:
        """The number itself."""
        return number

    def label_of(self, value: Any) -> float | None:
        """The number of it that a value is, but for the rounding of floats; None if it is none."""
        # True is an int to Python, and would be the 1 of a range.
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return None
        number = self.nearest(value)
        return number if self.low <= number <= self.high and math.isclose(number, value) else None


class Stacks(Spec):
    """Recurrent stacks: every number of layers, of every unit or mixture, of every size.

    A mixture such as ``lstm gru`` takes its units in turn, from the first layer on.

    Attributes:
        layers: Numbers of layers.
        units: Units, or mixtures of them.
        hidden: Sizes of a layer.
    """

    layers: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(min_length=1)
    units: tuple[str, ...] = ("lstm", "gru", "rnn")
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (16,)

    @model_validator(mode="after")
    def _has_units(self) -> Self:
        known = unit_names()
        for word in itertools.chain(*(mixture.split() for mixture in self.units)):
            if word not in known:
                raise ValueError(f"units must be of {', '.join(known)}, not '{word}'")
        return self

    def choices(self) -> dict[str, list[dict[str, str | int]]]:
        """Every stack by a label such as ``lstm-gru-lstm 16``; of two the same the first."""
        stacks: dict[str, list[dict[str, str | int]]] = {}
        for layers, mixture, hidden in itertools.product(self.layers, self.units, self.hidden):
            units = [unit for _, unit in zip(range(layers), itertools.cycle(mixture.split()), strict=False)]
            word = f"{units[0]} x{layers}" if len(set(units)) == 1 else "-".join(units)
            stacks.setdefault(f"{word} {hidden}", [{"unit": unit, "hidden": hidden} for unit in units])
        return stacks


def _kind(value: Any) -> str:
    keys = set(value) if isinstance(value, dict) else set()
    # One end is enough to tell: a range that lacks the other is then refused as a range, and says what is
    # missing.
    return "range" if isinstance(value, Range) or keys & {"low", "high"} else "listed"


def _listed(value: Any) -> Any:
    """Give each value of a plain list its label, and each stack its own."""
    if isinstance(value, list | tuple):
        return {"choices": _labelled(value)}
    if isinstance(value, dict) and "stacks" in value:
        return {"choices": Stacks.model_validate(value["stacks"]).choices()}
    return value


def _labelled(values: Sequence[Any]) -> Overrides:
    """Values by their label: a text by itself, all else as it is written in JSON."""
    written = [_as_written(value) for value in values]
    twice = next((text for place, text in enumerate(written) if text in written[:place]), None)
    if twice is not None:
        raise ValueError(f"each choice must be listed once, and {twice} stands there twice")
    texts = [str(value) if isinstance(value, str | datetime.date) else None for value in values]
    others = {each for each, text in zip(written, texts, strict=True) if text is None}
    # A text that looks like another value of the list (``"1"`` beside 1, ``"null"`` beside null) is put in
    # quotes, or one would take the place of the other.
    labels = [
        each if text is None or text in others else text for each, text in zip(written, texts, strict=True)
    ]
    return dict(zip(labels, values, strict=True))


def _as_written(value: Any) -> str:
    """A value as JSON, by which 1, 1.0, true and the texts of them are four things."""
    return json.dumps(value, sort_keys=True, default=str)


def _as_number(value: Any) -> str:
    """The same with every number, but for truth values, as a float."""

    def plain(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {str(key): plain(each) for key, each in node.items()}
        if isinstance(node, list | tuple):
            return [plain(each) for each in node]
        return float(node) if isinstance(node, int) and not isinstance(node, bool) else node

    return _as_written(plain(value))


def _decimal(number: float) -> Decimal:
    """The shortest decimal that stands for a number: what a person has written."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(float(number)))


class _Listed(Listed):
    """Values to choose from: a plain list, ``choices`` by label, or ``stacks`` of recurrent layers."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return _listed(value)


# What a key may be: a list, ``{choices: {label: value}}``, ``{stacks: ...}``, or ``{low, high}``.
_Options = Annotated[Annotated[_Listed, Tag("listed")] | Annotated[Range, Tag("range")], Discriminator(_kind)]


@dataclass(frozen=True)
class Space:
    """Options by config key."""

    options: Mapping[str, Listed | Range]

    def grid(self) -> Iterator[Point]:
        """Every point, the last key fastest."""
        keys = list(self.options)
        for values in itertools.product(*(options.values or () for options in self.options.values())):
            yield dict(zip(keys, values, strict=True))

    def changes(self, point: Point) -> Overrides:
        """The config keys that a point sets."""
        return {key: self.options[key].value(label) for key, label in point.items()}

    def corners(self) -> Iterator[Point]:
        """Points that between them take every choice and both ends of every range."""
        ends = {key: options.values or _ends(options) for key, options in self.options.items()}
        longest = max(len(values) for values in ends.values())
        for index in range(longest):
            yield {key: values[min(index, len(values) - 1)] for key, values in ends.items()}


def number_of(label: str | float) -> float | None:
    """The number by which an option can be ordered: its own, or its label's; None if it has none."""
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None  # a choice may be called nan, or infinity


def _ends(options: Listed | Range) -> tuple[int | float, ...]:
    assert isinstance(options, Range)
    return (options.low, options.last)


_Metric = Literal["mae", "rmse", "mape", "mase"]
_Search = Literal["grid", "tpe", "random"]
_StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


def _flatten(changes: Mapping[str, Any]) -> Overrides:
    """``{a: {b: 1}, c.d: 2}`` as ``{a.b: 1, c.d: 2}``; a list or an empty mapping is a value."""
    flat: Overrides = {}
    for key, value in changes.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{inner}": each for inner, each in _flatten(value).items()}
        else:
            flat[key] = value
    return flat


class _Changing(Spec):
    """A section that may set config keys, dotted or nested."""

    set: Overrides = Field(default_factory=dict)

    @field_validator("set")
    @classmethod
    def _dotted(cls, changes: Overrides) -> Overrides:
        return _flatten(changes)


class PruneSpec(Spec):
    """When a trial is given up, by Optuna's pruner.

    Attributes:
        kind: ``median`` gives up what is worse than the median of the trials before it; ``halving`` keeps the
            better half at each rung (successive halving).
        at: Epochs after which it is asked.
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

    name: _StageName
    space: dict[str, _Options] = Field(min_length=1)
    search: _Search = "grid"
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

    Attributes:
        set: Config keys for these trainings only.
        seeds: Trainings of the winner, with seeds that no stage had.
        baseline: Whether what the sweep started from is trained in the same way, beside it.
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
    metric: _Metric = "mase"
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
    # Beside the sweep's own file first: a study that was moved takes its experiment with it.
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
    # Through JSON and the spec again, not by model_copy, which checks nothing.
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


def _put(node: Overrides, keys: list[str], value: Any) -> None:
    *parents, last = keys
    for parent in parents:
        if not isinstance(node.get(parent), dict):
            node[parent] = {}
        node = node[parent]
    node[last] = value

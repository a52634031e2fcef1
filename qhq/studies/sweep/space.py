"""What a config key may be in a search: a list, named choices, a range, or stacks of recurrent layers."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from qhq.documents import Spec
from qhq.models.spec import Unit

Point = dict[str, str | int | float]
"""A point of the space by config key: the label of a choice, or a number of a range."""


class Listed(Spec):
    """Values by their label; a plain list in YAML is labelled by the values themselves."""

    choices: dict[str, Any] = Field(min_length=1)

    @property
    def values(self) -> tuple[str, ...]:
        """Every label."""
        return tuple(self.choices)

    def value(self, label: str | float) -> Any:
        """What a label stands for."""
        return self.choices[str(label)]

    def label_of(self, value: Any) -> str | None:
        """The label of a value; None if it is none of the choices."""
        return next((label for label, each in self.choices.items() if each == value), None)


class Range(Spec):
    """Numbers from ``low`` to ``high``, both included; whole ones if both ends are.

    ``log`` draws them evenly in the logarithm; ``step`` gives only every so manieth.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low:g} and {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0, and no step")
        if self.step is not None and self.step <= 0:
            raise ValueError("step must be above 0")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is of whole numbers."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    @property
    def values(self) -> tuple[int | float, ...] | None:
        """Every number of it; None if there are too many to count."""
        step = self.step or (1 if self.whole else None)
        if step is None:
            return None
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return tuple(self.low + index * step for index in range(count))

    def value(self, number: str | float) -> Any:
        """The number itself."""
        return number

    def label_of(self, value: Any) -> float | None:
        """The number itself; None if it lies outside."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:
            return None
        values = self.values
        return value if values is None or value in values else None


class Stacks(Spec):
    """Recurrent stacks: every number of layers, of every unit or mixture, of every size.

    A mixture such as ``lstm gru`` takes its units in turn, from the first layer on.
    """

    layers: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(min_length=1)
    units: tuple[str, ...] = ("lstm", "gru", "rnn")
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (16,)

    @model_validator(mode="after")
    def _has_units(self) -> Self:
        known = Unit.__args__  # type: ignore[attr-defined]
        for word in itertools.chain(*(mixture.split() for mixture in self.units)):
            if word not in known:
                raise ValueError(f"units must be of {', '.join(known)}, not '{word}'")
        return self

    def choices(self) -> dict[str, list[dict[str, Any]]]:
        """Every stack by a label such as ``lstm-gru-lstm 16``; of two the same the first."""
        stacks: dict[str, list[dict[str, Any]]] = {}
        for layers, mixture, hidden in itertools.product(self.layers, self.units, self.hidden):
            units = [unit for _, unit in zip(range(layers), itertools.cycle(mixture.split()), strict=False)]
            word = f"{units[0]} x{layers}" if len(set(units)) == 1 else "-".join(units)
            stacks.setdefault(f"{word} {hidden}", [{"unit": unit, "hidden": hidden} for unit in units])
        return stacks


def _kind(value: Any) -> str:
    keys = set(value) if isinstance(value, dict) else set()
    return "range" if isinstance(value, Range) or keys & {"low", "high"} else "listed"


def _listed(value: Any) -> Any:
    """Give each value of a plain list its label, and each stack its own."""
    if isinstance(value, list | tuple):
        return {"choices": {_label(each): each for each in value}}
    if isinstance(value, dict) and "stacks" in value:
        return {"choices": Stacks.model_validate(value["stacks"]).choices()}
    return value


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Listed(Listed):
    """A `Listed` that also reads a plain list, and stacks."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return _listed(value)


Options = Annotated[Annotated[_Listed, Tag("listed")] | Annotated[Range, Tag("range")], Discriminator(_kind)]
"""What a key may be: a list, ``{choices: {label: value}}``, ``{stacks: ...}``, or ``{low, high}``."""


@dataclass(frozen=True)
class Space:
    """Options by config key."""

    options: Mapping[str, Listed | Range]

    def grid(self) -> Iterator[Point]:
        """Every point, the last key fastest."""
        keys = list(self.options)
        for values in itertools.product(*(options.values or () for options in self.options.values())):
            yield dict(zip(keys, values, strict=True))

    def changes(self, point: Point) -> dict[str, Any]:
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
        return float(label)
    except ValueError:
        return None


def _ends(options: Listed | Range) -> tuple[int | float, ...]:
    assert isinstance(options, Range)
    return (options.low, options.high)

"""What a config key may be in a search: a list, named choices, a range, or stacks of recurrent layers."""

from __future__ import annotations

import datetime
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from qhq.documents import Spec
from qhq.limits import MOST_FACTOR
from qhq.models.spec import unit_names

Number = Annotated[int | float, Field(ge=-MOST_FACTOR, le=MOST_FACTOR)]

Point = dict[str, str | int | float]
"""A point of the space by config key: the label of a choice, or a number of a range."""

_MOST_LISTED = 10_000
"""More numbers than these are not listed: no grid has as many points."""


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

    ``log`` draws them evenly in the logarithm; ``step`` gives only low, low + step, and so on. These are
    added up as the decimals that stand in the file, so that 0 to 0.3 by 0.1 has 0.3 and no
    0.30000000000000004; where the step does not divide the range, the last lies below ``high``.
    """

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low:g} and {self.high:g}")
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
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return None
        number = self.nearest(value)
        return number if self.low <= number <= self.high and math.isclose(number, value) else None


class Stacks(Spec):
    """Recurrent stacks: every number of layers, of every unit or mixture, of every size.

    A mixture such as ``lstm gru`` takes its units in turn, from the first layer on.
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
        return {"choices": _labelled(value)}
    if isinstance(value, dict) and "stacks" in value:
        return {"choices": Stacks.model_validate(value["stacks"]).choices()}
    return value


def _labelled(values: Sequence[Any]) -> dict[str, Any]:
    """Values by their label: a text by itself, all else as it is written in JSON.

    A text that looks like another value of the list (``"1"`` beside 1, ``"null"`` beside null) is put in
    quotes, or one would take the place of the other.
    """
    written = [_as_written(value) for value in values]
    twice = next((text for place, text in enumerate(written) if text in written[:place]), None)
    if twice is not None:
        raise ValueError(f"each choice must be listed once, and {twice} stands there twice")
    texts = [str(value) if isinstance(value, str | datetime.date) else None for value in values]
    others = {each for each, text in zip(written, texts, strict=True) if text is None}
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
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None  # a choice may be called nan, or infinity


def _ends(options: Listed | Range) -> tuple[int | float, ...]:
    assert isinstance(options, Range)
    return (options.low, options.last)

"""What scalers are made of: an offset and a unit, statistics that carry over to a new series, and storing.

Nearly every kind is affine: a value x becomes (f(x) - offset) / unit, and only where offset and unit come
from tells one kind from another. f is the identity, but for counts, whose logarithm is scaled, and for quotes
taken as implied volatilities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray, Mask
from qhq.data.windows import Windows
from qhq.errors import DataError

STILL = 1e-9
"""A column whose standard deviation is below this fraction of its size stands still but for rounding."""

# A robust spread is at least this fraction of the standard deviation, lest a mostly quiet column blow up.
_FLOOR_OF_SPREAD = 0.25

# Standard deviation over median absolute deviation, of a normal distribution.
_NORMAL = 1.4826


class Scaler(Protocol):
    """What every scaler does. N windows, T' = T rows (T - 1 for log returns), F features, K targets."""

    @property
    def kind(self) -> str:
        """Its name in a config; ``by_column`` of several together."""

    @property
    def level(self) -> bool:
        """Whether a constant output is a constant level, not a constant change."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The F features it was fitted on."""

    def inputs(self, windows: Windows) -> FloatArray:
        """Scaled features, shape (N, T', F), no unit."""

    def targets(self, windows: Windows) -> FloatArray:
        """Scaled targets, shape (N, H, K), no unit."""

    def to_raw_units(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """Bring outputs (N, H, K) in the unit of ``targets`` back to the unit of the file."""

    def to_dict(self) -> dict[str, object]:
        """All of it as plain JSON, exact; ``scaler_from_dict`` reads it."""


class Stored:
    """A dataclass of names and arrays that goes to plain JSON and back, exact.

    A class that has its ``kind`` as a constant writes it down too.
    """

    def to_dict(self) -> dict[str, object]:
        """All of it as plain JSON."""
        names = [each.name for each in fields(self)]  # type: ignore[arg-type]
        # Some kinds have it as a field, others as a constant of the class.
        if "kind" not in names and hasattr(self, "kind"):
            names.insert(0, "kind")
        values = {name: getattr(self, name) for name in names}
        return {name: _PLAIN.get(type(value), _as_it_is)(value) for name, value in values.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote.

        Raises:
            ValueError: If there is not one number a column, or one a symbol and column.
        """
        read = {each.name: _READ.get(str(each.type), _as_it_is) for each in fields(cls)}  # type: ignore[arg-type]
        values = {name: how(content[name]) for name, how in read.items()}
        # NumPy would stretch a single number over all columns, and forecasts would come out wrong in silence.
        names = [values[each] for each in ("symbols", "columns") if each in values] or [values["outputs"]]
        shape = tuple(map(len, names))
        for name, value in values.items():
            if isinstance(value, np.ndarray) and value.shape != shape:
                raise ValueError(f"'{name}' of shape {value.shape}, where its names ask for {shape}")
        return cls(**values)


def _as_it_is(value: Any) -> Any:
    return value


_PLAIN: dict[type, Callable[[Any], Any]] = {np.ndarray: np.ndarray.tolist, tuple: list}


def _read_numbers(content: Any) -> FloatArray:
    values = np.array(content, dtype=np.float64)
    if not np.isfinite(values).all():  # None is read as NaN
        raise ValueError("a number is missing")
    return values


def _read_texts(content: Any) -> tuple[str, ...]:
    texts = tuple(content)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{content!r} are no names")
    return texts


# By the annotation of a field.
_READ: dict[str, Callable[[Any], Any]] = {"FloatArray": _read_numbers, "tuple[str, ...]": _read_texts}


class AffineScaler(Stored, ABC):
    """A scaler of targets by an offset and a unit; a kind says which, and storing is the same for all."""

    @abstractmethod
    def target_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Offset and unit of the targets, either of them of a shape that goes with (N, H, K)."""

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        offset, unit = self.target_scale(windows)
        return np.asarray((self._forth(windows.targets, windows) - offset) / unit)

    def to_raw_units(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_raw_units``."""
        offset, unit = self.target_scale(windows)
        return self._back(np.asarray(outputs * unit + offset), windows)

    def _forth(self, values: FloatArray, windows: Windows) -> FloatArray:  # noqa: ARG002
        """Values of the file as they are scaled: f."""
        return values

    def _back(self, values: FloatArray, windows: Windows) -> FloatArray:  # noqa: ARG002
        """The inverse of ``_forth``, of targets."""
        return values


class ColumnwiseScaler(AffineScaler):
    """An affine scaler that takes a column alike as a feature and as a target."""

    @abstractmethod
    def feature_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Offset and unit of the features, either of them of a shape that goes with (N, 1, F)."""

    def target_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """See ``AffineScaler.target_scale``; those of the targets' own columns."""
        own = windows.cut.target_positions
        offset, unit = self.feature_scale(windows)
        return offset[..., own], unit[..., own]

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        offset, unit = self.feature_scale(windows)
        return np.asarray((self._forth(windows.inputs, windows) - offset) / unit)


# What windows must be, to be scaled by what was fitted on others.


def check_columns(columns: tuple[str, ...], windows: Windows) -> None:
    """Check that windows have the features that a scaler was fitted on.

    Raises:
        DataError: If they have others.
    """
    _check_same("features", columns, windows.cut.features)


def check_outputs(columns: tuple[str, ...], windows: Windows) -> None:
    """Check that windows have the targets that a scaler was fitted on.

    Raises:
        DataError: If they have others.
    """
    _check_same("targets", columns, windows.cut.targets)


def check_statics(columns: tuple[str, ...], windows: Windows) -> None:
    """Check that windows have the static features that a scaler was fitted on.

    Raises:
        DataError: If they have others.
    """
    _check_same("static features", columns, windows.cut.static)


def _check_same(role: str, fitted: tuple[str, ...], present: tuple[str, ...]) -> None:
    if fitted != present:
        raise DataError(
            f"The scaler was fitted on the {role} {', '.join(fitted)}",
            got=f"windows of {', '.join(present)}",
            fix="Use the data section of the run that the scaler came from",
        )


# Statistics pooled over all series of a training split.


def input_rows(windows: Windows) -> Mask:
    """Which rows of the panel are an input of any window, shape (R,)."""
    return _rows(windows, windows.cut.window)


def window_rows(windows: Windows) -> Mask:
    """Which rows of the panel are an input or a target of any window, shape (R,)."""
    return _rows(windows, windows.cut.rows)


def _rows(windows: Windows, count: int) -> Mask:
    """Which rows are among the first ``count`` of any window, shape (R,)."""
    # +1 at each start and -1 past each end, summed up: no (N, T) table of row numbers.
    change = np.zeros(len(windows.panel.code) + 1, dtype=np.intp)
    # add.at, because plain indexing adds once where windows of one start or end coincide.
    np.add.at(change, windows.starts, 1)
    np.add.at(change, windows.starts + count, -1)
    return np.cumsum(change)[:-1] > 0


def input_values(windows: Windows, names: tuple[str, ...]) -> FloatArray:
    """Columns of the rows that are an input of any window, each row once, shape (M, len(names))."""
    panel = windows.panel
    values = panel.filled if windows.cut.masked else panel.values
    # Each row once: by windows, rows in the middle of a series would weigh T times those at its ends.
    return values[np.ix_(np.flatnonzero(input_rows(windows)), panel.positions(names))]


def as_unit(spread: FloatArray) -> FloatArray:
    """A spread to divide by: 1 for what does not move."""
    return np.where(spread > 0, spread, 1.0)


def standard_deviation(values: FloatArray) -> FloatArray:
    """Spread of each column of (M, C), NaN left out, 1 for one that does not move, shape (C,)."""
    spread = np.nanstd(values, axis=0)
    return np.where(_moves(values, spread), spread, 1.0)


def robust_spread(values: FloatArray) -> FloatArray:
    """Spread of each column of (M, C) that few far values do not widen, shape (C,).

    1.4826 times the median absolute deviation, at least a quarter of the standard deviation, and 1 for a
    column that does not move. NaN is left out.
    """
    deviation = np.abs(values - np.nanmedian(values, axis=0))
    # The median, because a few quotes of a crash or a typing error would otherwise set everybody's unit.
    robust = _NORMAL * np.nanmedian(deviation, axis=0)
    plain = np.nanstd(values, axis=0)
    spread = np.maximum(robust, _FLOOR_OF_SPREAD * plain)
    return np.where(_moves(values, plain), spread, 1.0)


def _moves(values: FloatArray, spread: FloatArray) -> npt.NDArray[np.bool_]:
    return np.asarray(spread > STILL * np.nanmax(np.abs(values), axis=0))

"""Each column by a scaling of its own: returns and indicators, which may be negative, beside prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.scaling.stored import check_columns, check_outputs
from qhq.data.windows import Windows

if TYPE_CHECKING:
    from qhq.data.scaling.scalers import Scaler


@dataclass(frozen=True, eq=False)
class ColumnScaler:
    """Several scalers, each of some of the columns; a target goes back by the scaler of its own column.

    A part sees windows of its columns alone, so it is the very scaler that it would be without the others.
    Where one of them takes returns, which are one row fewer, all lose their first row.

    Attributes:
        columns: The F features.
        outputs: The K targets.
        parts: One for each scaling in use.
    """

    kind: ClassVar[str] = "by_column"
    columns: tuple[str, ...]
    outputs: tuple[str, ...]
    parts: tuple[Scaler, ...]

    @property
    def level(self) -> bool:
        """Whether a constant output is a constant level, of every target."""
        return all(part.level for part in self.parts if not set(part.columns).isdisjoint(self.outputs))

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        check_columns(self.columns, windows)
        scaled = [part.inputs(of_columns(windows, part.columns)) for part in self.parts]
        rows = min(each.shape[1] for each in scaled)
        names = [name for part in self.parts for name in part.columns]
        order = [names.index(name) for name in self.columns]
        return np.concatenate([each[:, each.shape[1] - rows :] for each in scaled], axis=2)[:, :, order]

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        return self._by_target(
            windows, np.empty_like(windows.targets), lambda part, own, _: part.targets(own)
        )

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``."""
        return self._by_target(windows, outputs, lambda part, own, values: part.to_price(values, own))

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        names = {"kind": self.kind, "columns": list(self.columns), "outputs": list(self.outputs)}
        return {**names, "parts": [part.to_dict() for part in self.parts]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Scaler]) -> Self:
        """Read what ``to_dict`` wrote, each part by ``read``."""
        columns, outputs = (tuple(content[key]) for key in ("columns", "outputs"))
        return cls(columns, outputs, tuple(read(part) for part in content["parts"]))

    def _by_target(
        self,
        windows: Windows,
        values: FloatArray,
        act: Callable[[Scaler, Windows, FloatArray], FloatArray],
    ) -> FloatArray:
        """Hand each part the values (N, H, K) of its own targets, and put together what it makes of them."""
        check_outputs(self.outputs, windows)
        found = np.empty_like(values)
        for part in self.parts:
            own = [place for place, name in enumerate(self.outputs) if name in part.columns]
            if own:
                found[:, :, own] = act(part, of_columns(windows, part.columns), values[:, :, own])
        return found


def of_columns(windows: Windows, columns: tuple[str, ...]) -> Windows:
    """The same windows of some of their features, and of those targets that are among these."""
    targets = tuple(name for name in windows.cut.targets if name in columns)
    return replace(windows, cut=replace(windows.cut, features=columns, targets=targets))

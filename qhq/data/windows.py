"""Windows: pairs of T input rows and the H rows that follow, as row numbers into a panel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qhq.data.panel import DateArray, FloatArray, IntArray, Panel
from qhq.data.spec import DataSpec
from qhq.errors import DataError


@dataclass(frozen=True)
class Cut:
    """How windows are cut: input rows T, target rows H, and the names of the F features and K targets."""

    window: int
    horizon: int
    features: tuple[str, ...]
    targets: tuple[str, ...]

    @classmethod
    def of(cls, spec: DataSpec) -> Cut:
        """Take from a config what concerns the cut."""
        return cls(spec.window, spec.horizon, spec.features, spec.targets)

    @property
    def rows(self) -> int:
        """Rows of one window, T + H."""
        return self.window + self.horizon

    @property
    def target_positions(self) -> IntArray:
        """Where each target stands among the features, shape (K,)."""
        return np.array([self.features.index(name) for name in self.targets], dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Windows:
    """N windows over any number of symbols, raw, in the unit of the file.

    Only the number of each window's first row is kept, so cutting and selecting copy no values; the arrays
    below are gathered when asked for.

    Attributes:
        panel: The rows that the windows lie in, and no others: those of one part.
        starts: First input row of each window, shape (N,).
        cut: How they were cut.
    """

    panel: Panel
    starts: IntArray
    cut: Cut

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def inputs(self) -> FloatArray:
        """Features, shape (N, T, F), oldest first."""
        past, _ = self._pairs(self.cut.features)
        return np.ascontiguousarray(past[self.starts])

    @property
    def targets(self) -> FloatArray:
        """What followed, shape (N, H, K)."""
        _, future = self._pairs(self.cut.targets)
        return np.ascontiguousarray(future[self.starts])

    @property
    def last(self) -> FloatArray:
        """Last known value of each target, shape (N, K)."""
        rows = self.starts + self.cut.window - 1
        return self.panel.values[np.ix_(rows, self.panel.positions(self.cut.targets))]

    @property
    def code(self) -> IntArray:
        """Index into ``panel.symbols``, shape (N,)."""
        return self.panel.code[self.starts]

    @property
    def symbol(self) -> npt.NDArray[np.str_]:
        """Name of each window's symbol, shape (N,)."""
        return np.asarray(self.panel.symbols, dtype=np.str_)[self.code]

    @property
    def dates(self) -> DateArray:
        """Dates of the targets, datetime64[D], shape (N, H)."""
        return self._dates(self.cut.window, self.cut.horizon)

    @property
    def input_dates(self) -> DateArray:
        """Dates of the inputs, datetime64[D], shape (N, T)."""
        return self._dates(0, self.cut.window)

    def select(self, rows: slice | IntArray | npt.NDArray[np.bool_]) -> Windows:
        """Keep some windows: a slice, numbers (in their order) or a mask of shape (N,)."""
        return replace(self, starts=self.starts[rows])

    def _pairs(self, names: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
        """Views of the pair that starts at each row, also where it would straddle symbols."""
        columns = self.panel.values[:, self.panel.positions(names)]
        return make_windows(columns, length=self.cut.window, horizon=self.cut.horizon)

    def _dates(self, offset: int, length: int) -> DateArray:
        days: DateArray = self.panel.dates[self.starts[:, None] + offset + np.arange(length)]
        return days


def make_windows(series: FloatArray, *, length: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Cut one series into overlapping (past, future) pairs, as views.

    Window ``i`` pairs ``series[i : i + length]`` with the ``horizon`` rows that follow, so no input lies at
    or after its target.

    Args:
        series: Values, shape (T, F), oldest first.
        length: Input rows per window.
        horizon: Target rows per window.

    Returns:
        Inputs (N, length, F) and targets (N, horizon, F), N = T - length - horizon + 1; read-only views.

    Raises:
        DataError: If T < length + horizon.

    >>> inputs, targets = make_windows(np.arange(5.0)[:, None], length=2, horizon=1)
    >>> inputs[:, :, 0].tolist(), targets[:, 0, 0].tolist()
    ([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]], [2.0, 3.0, 4.0])
    """
    if len(series) < length + horizon:
        raise DataError(
            "window + horizon must not exceed the series",
            got=f"{length} + {horizon} > {len(series)} rows",
            fix="Shorten data.window or data.horizon, or give a longer series",
        )
    views = np.lib.stride_tricks.sliding_window_view(series, length + horizon, axis=0).swapaxes(1, 2)
    return views[:, :length], views[:, length:]


def cut_windows(panel: Panel, cut: Cut) -> Windows:
    """Cut every window that lies in rows of one symbol; none where a symbol is too short."""
    starts = np.arange(max(0, len(panel.code) - cut.rows + 1), dtype=np.intp)
    whole = panel.code[starts] == panel.code[starts + cut.rows - 1]
    return Windows(panel, starts[whole], cut)

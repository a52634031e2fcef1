"""Scalers: fitted on a training split, and the one way back to prices.

| kind               | a value x of one column becomes                                                      |
|--------------------|--------------------------------------------------------------------------------------|
| window             | (x - l) / (v l); l the window's last value, v its volatility, above a fitted floor |
| window_mean        | (x - m) / s; m the window's mean, s the spread about it in training                  |
| minmax             | (x - a) / (b - a); a, b the symbol's lowest and highest value in training            |
| standard           | (x - m) / s; m, s the symbol's mean and standard deviation in training               |
| log_standard       | standard of ln(1 + x), for volumes and other counts                                  |
| log_return         | inputs ln(x_t / x_{t-1}) / v, targets ln(x / l) / v; v the symbol's volatility       |
| raw                | x                                                                                    |
| panel_minmax       | (x - a) / (b - a); a, b the lowest and highest value of all series in training       |
| contract_minmax    | (x - a) / (b - a); a, b the contract's own until the last input row                  |
| over_strike        | inputs (x / K - m) / s with the row's strike K, targets (x - l) / (K s)              |
| over_spot          | the same with the spot for the strike                                                |
| residual           | inputs as over_strike, targets (x - b) / (K s); b Black-Scholes at the last iv |
| implied_volatility | inputs as over_strike, targets (implied volatility of x - the last row's) / s        |

Volatility is the root mean square of the log returns, per session. A column that does not move in training
is divided by 1. The last four divide only prices by the strike or spot; they take counts as ln(1 + x), and
m and s are the mean and the robust spread of all contracts together. Window scaling after Kim et al.,
"Reversible instance normalization" (ICLR 2022).

A config may give columns scalings of their own, ``{default: window, returns: standard}``: see
``_ColumnScaler``. Symbols never seen can be scaled by all but minmax, standard, log_standard and
log_return; of options, the last four are
what carries over. Raw values and min-max of options are there to be measured beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar, Self

import numpy as np

from qhq.data.panel import FloatArray, Mask
from qhq.data.scaling.affine import (
    Scaler,
    Stored,
    as_unit,
    check_columns,
    check_outputs,
    check_statics,
    standard_deviation,
    window_rows,
)
from qhq.data.scaling.option import count_logs
from qhq.data.spec import DEFAULT, OPTION_SCALINGS, PRICED, SCALINGS, Scaling
from qhq.data.split import Split, TrainingSplit
from qhq.data.windows import Windows
from qhq.errors import DataError

# One kind for all features, or ``{default: KIND, COLUMN: KIND, ...}`` as in a config.
_ScalingByColumn = Scaling | Mapping[str, Scaling]


def fit_scaler(kind: _ScalingByColumn, train: TrainingSplit) -> Scaler:
    """Fit a scaler; there is no way to fit one on anything but a training split.

    Raises:
        DataError: If ``train`` is not a training split, or has values that the kind cannot scale.
    """
    if not isinstance(train, TrainingSplit):
        raise DataError(
            "A scaler must be fitted on the training split",
            got=f"a {getattr(train, 'kind', type(train).__name__)}",
            fix="Pass split_panel(...).train",
        )
    check_scalable(kind, train)
    windows = train.windows
    if isinstance(kind, str):
        return _fit(kind, windows)
    parts = tuple(_fit(each, of_columns(windows, names)) for each, names in _by_kind(kind, windows).items())
    return _ColumnScaler(windows.cut.features, windows.cut.targets, parts)


def check_scalable(kind: _ScalingByColumn, split: Split) -> None:
    """Check that a kind, or each for its columns, can scale the values of a split; nothing is learned.

    Raises:
        DataError: If the kind takes logarithms and a value is not above zero, if it keeps statistics of each
            series and they are contracts, if it needs a strike and there is none, or if it takes implied
            volatilities of a target that has none.
    """
    # Where windows look back, the panel also holds rows that none of them reaches.
    rows = np.ones(len(split.windows.panel.code), dtype=bool)
    if split.windows.panel is not split.panel:
        rows = window_rows(split.windows)
    for each, names in _by_kind(kind, split.windows).items():
        _check_kind(each, of_columns(split.windows, names), kind, rows)


def _by_kind(kind: _ScalingByColumn, windows: Windows) -> dict[Scaling, tuple[str, ...]]:
    """Features of each kind in use, in their order."""
    # A dict keeps the order of the first column of each kind: parts are stored in it.
    found: dict[Scaling, tuple[str, ...]] = {}
    for name in windows.cut.features:
        each: Scaling = kind if isinstance(kind, str) else kind.get(name, kind[DEFAULT])
        found[each] = (*found.get(each, ()), name)
    return found


def _check_kind(kind: Scaling, windows: Windows, asked: _ScalingByColumn, rows: Mask) -> None:
    options = "strike" in windows.panel.columns
    if SCALINGS[kind].by_series and options:
        raise DataError(
            f"Scaling '{kind}' needs series that are there in every split",
            got="option contracts, which come and expire",
            fix=f"Choose scaling {', '.join(OPTION_SCALINGS)}",
        )
    if SCALINGS[kind].options and not options:
        raise DataError(f"Scaling '{kind}' needs options", got="no strike", fix="Choose scaling window")
    if kind in ("window", "log_return", "log_standard"):
        _check_sign(kind, windows, asked, rows)
    if kind == "implied_volatility":
        _check_priced(windows)


def _check_sign(kind: Scaling, windows: Windows, asked: _ScalingByColumn, rows: Mask) -> None:
    """Refuse values without a logarithm, and say how that column alone is scaled another way."""
    panel, names = windows.panel, windows.cut.features
    values = panel.values[:, panel.positions(names)]
    # Counts go through ln(1 + x), which a zero has. NaN fails either comparison and is no question of sign.
    broken = (values < 0 if kind == "log_standard" else values <= 0) & rows[:, None]
    if broken.any():
        row, column = np.argwhere(broken)[0]
        name = names[column]
        other = "over_strike" if "strike" in panel.columns else "standard"
        own = {DEFAULT: asked} if isinstance(asked, str) else dict(asked)
        changed = ", ".join(f"{key}: {value}" for key, value in {**own, name: other}.items())
        raise DataError(
            f"Scaling '{kind}' needs values {'not below' if kind == 'log_standard' else 'above'} zero",
            got=f"{values[row, column]:g} in '{name}' "
            f"of {panel.symbols[panel.code[row]]} on {panel.dates[row]}",
            fix=f"Scale that column another way (data.scaling: {{{changed}}}, or"
            f" --set data.scaling.{name}={other}), or drop it",
        )


def _check_priced(windows: Windows) -> None:
    known = PRICED
    for name in windows.cut.targets:
        if name not in known:
            raise DataError(
                f"Scaling 'implied_volatility' needs targets among {', '.join(known)}",
                got=f"'{name}'",
                fix="Change data.targets, or choose scaling over_strike",
            )


@dataclass(frozen=True, eq=False)
class _ColumnScaler:
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
        # The newest rows are common to all: what a part loses, it loses at the beginning of the window.
        rows = min(each.shape[1] for each in scaled)
        # Parts stand by kind, features as the config names them.
        names = [name for part in self.parts for name in part.columns]
        order = [names.index(name) for name in self.columns]
        return np.concatenate([each[:, each.shape[1] - rows :] for each in scaled], axis=2)[:, :, order]

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        return self._by_target(
            windows, np.empty_like(windows.targets), lambda part, own, _: part.targets(own)
        )

    def to_raw_units(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_raw_units``."""
        return self._by_target(windows, outputs, lambda part, own, values: part.to_raw_units(values, own))

    def to_dict(self) -> dict[str, object]:
        """See ``Scaler.to_dict``."""
        names = {"kind": self.kind, "columns": list(self.columns), "outputs": list(self.outputs)}
        return {**names, "parts": [part.to_dict() for part in self.parts]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote, each part by its kind."""
        columns, outputs = (tuple(content[key]) for key in ("columns", "outputs"))
        return cls(columns, outputs, tuple(_read(part) for part in content["parts"]))

    def _by_target(
        self,
        windows: Windows,
        values: FloatArray,
        act: Callable[[Scaler, Windows, FloatArray], FloatArray],
    ) -> FloatArray:
        """Hand each part the values (N, H, K) of its own targets, and put together what it makes of them."""
        check_outputs(self.outputs, windows)
        # Every place gets filled: a target is one of the features, each of which has a part.
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


def scaler_from_dict(content: Mapping[str, Any]) -> Scaler:
    """Read back what ``Scaler.to_dict`` wrote.

    Raises:
        DataError: If the content is not that of a scaler.
    """
    try:
        if content["kind"] == _ColumnScaler.kind:
            return _ColumnScaler.from_dict(content)
        return _read(content)
    # OverflowError is a JSON integer of hundreds of digits where a float is wanted.
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DataError(
            "A stored scaler must have the content that to_dict wrote",
            got=f"{type(error).__name__}: {error}",
            fix="Train again, or take the scaler of another run",
        ) from error


def _class_of(kind: Scaling) -> Any:
    """The class that a line of ``SCALINGS`` names."""
    module, _, place = SCALINGS[kind].scaler.partition(":")
    return getattr(import_module(f"{__package__}.{module}"), place.partition(".")[0])


def _fit(kind: Scaling, windows: Windows) -> Scaler:
    fit: Callable[[Windows], Scaler] = getattr(_class_of(kind), SCALINGS[kind].scaler.rpartition(".")[2])
    return fit(windows)


def _read(content: Mapping[str, Any]) -> Scaler:
    scaler: Scaler = _class_of(content["kind"]).from_dict(content)
    return scaler


@dataclass(frozen=True, eq=False)
class StaticScaler(Stored):
    """Each static feature by one offset and one unit.

    Scaling ``raw`` leaves them as they are, ``panel_minmax`` takes lowest and highest value, every other
    kind mean and standard deviation, of counts after ln(1 + x). One that does not move is divided by 1.

    Attributes:
        columns: The S static features.
        kind: The scaling of the config.
        offset: Subtracted first, shape (S,).
        unit: Divided by then, shape (S,).
    """

    columns: tuple[str, ...]
    kind: Scaling
    offset: FloatArray
    unit: FloatArray

    def scale(self, windows: Windows) -> FloatArray:
        """Scaled static features, shape (N, S), no unit."""
        check_statics(self.columns, windows)
        return (_values(self.kind, windows) - self.offset) / self.unit

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote.

        Raises:
            DataError: If the content is not that of a static scaler.
        """
        try:
            return super().from_dict(content)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(
                "A stored static scaler must have the content that to_dict wrote",
                got=f"{type(error).__name__}: {error}",
                fix="Train again, or take the scaler of another run",
            ) from error


def fit_static(kind: Scaling, train: TrainingSplit) -> StaticScaler:
    """Fit a scaler of static features; there may be none of them.

    Raises:
        DataError: If ``train`` is not a training split.
    """
    if not isinstance(train, TrainingSplit):
        raise DataError(
            "A scaler must be fitted on the training split",
            got=f"a {getattr(train, 'kind', type(train).__name__)}",
            fix="Pass split_panel(...).train",
        )
    names = train.windows.cut.static
    values = _values(kind, train.windows)
    if kind == "raw" or not names:
        return StaticScaler(names, kind, np.zeros(len(names)), np.ones(len(names)))
    if kind == "panel_minmax":
        low, high = values.min(axis=0), values.max(axis=0)
        return StaticScaler(names, kind, low, as_unit(high - low))
    # Of the windows, in which an asset of many rows counts more often: as the model sees them.
    return StaticScaler(names, kind, values.mean(axis=0), standard_deviation(values))


def _values(kind: Scaling, windows: Windows) -> FloatArray:
    values = windows.static
    return values if kind in ("raw", "panel_minmax") else count_logs(values, windows.cut.static)

"""Scalers: fitted on a training part, and the one way back to prices.

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
``qhq.data.scaling.by_column``. Symbols never seen can be scaled by all but minmax, standard, log_standard and
log_return; of options, the last four are
what carries over. Raw values and min-max of options are there to be measured beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from qhq.data.panel import Mask
from qhq.data.scaling.by_column import ColumnScaler, of_columns
from qhq.data.scaling.level import ContractScaler, fit_panel_minmax, fit_raw
from qhq.data.scaling.option import ChangeScaler, ImpliedVolatilityScaler
from qhq.data.scaling.pooled import window_rows
from qhq.data.scaling.scalers import Scaler
from qhq.data.scaling.symbol import fit_log_return, fit_log_standard, fit_minmax, fit_standard
from qhq.data.scaling.window import WindowMeanScaler, WindowScaler
from qhq.data.spec import DEFAULT, OPTION_SCALINGS, PRICED, Scaling
from qhq.data.split import Part, TrainingPart
from qhq.data.windows import Windows
from qhq.errors import DataError

SYMBOL_SCALINGS = ("minmax", "standard", "log_standard", "log_return")
"""Scalings that keep statistics of each series, which a contract that was not there has not."""


ScalingByColumn = Scaling | Mapping[str, Scaling]
"""One kind for all features, or ``{default: KIND, COLUMN: KIND, ...}`` as in a config."""


def fit_scaler(kind: ScalingByColumn, train: TrainingPart) -> Scaler:
    """Fit a scaler; there is no way to fit one on anything but a training part.

    Raises:
        DataError: If ``train`` is not a training part, or has values that the kind cannot scale.
    """
    if not isinstance(train, TrainingPart):
        raise DataError(
            "A scaler must be fitted on the training part",
            got=f"a {getattr(train, 'kind', type(train).__name__)}",
            fix="Pass split_panel(...).train",
        )
    check_scalable(kind, train)
    windows = train.windows
    if isinstance(kind, str):
        return _FITS[kind](windows)
    parts = tuple(_FITS[each](of_columns(windows, names)) for each, names in _by_kind(kind, windows).items())
    return ColumnScaler(windows.cut.features, windows.cut.targets, parts)


def check_scalable(kind: ScalingByColumn, part: Part) -> None:
    """Check that a kind, or each for its columns, can scale the values of a part; nothing is learned.

    Raises:
        DataError: If the kind takes logarithms and a value is not above zero, if it keeps statistics of each
            series and they are contracts, if it needs a strike and there is none, or if it takes implied
            volatilities of a target that has none.
    """
    # Where windows look back, the panel also holds rows that none of them reaches.
    rows = np.ones(len(part.windows.panel.code), dtype=bool)
    if part.windows.panel is not part.panel:
        rows = window_rows(part.windows)
    for each, names in _by_kind(kind, part.windows).items():
        _check_kind(each, of_columns(part.windows, names), kind, rows)


def _by_kind(kind: ScalingByColumn, windows: Windows) -> dict[Scaling, tuple[str, ...]]:
    """Features of each kind in use, in their order."""
    found: dict[Scaling, tuple[str, ...]] = {}
    for name in windows.cut.features:
        each: Scaling = kind if isinstance(kind, str) else kind.get(name, kind[DEFAULT])
        found[each] = (*found.get(each, ()), name)
    return found


def _check_kind(kind: Scaling, windows: Windows, asked: ScalingByColumn, rows: Mask) -> None:
    options = "strike" in windows.panel.columns
    if kind in SYMBOL_SCALINGS and options:
        raise DataError(
            f"Scaling '{kind}' needs series that are there in every part",
            got="option contracts, which come and expire",
            fix=f"Choose scaling {', '.join(OPTION_SCALINGS)}",
        )
    if kind in OPTION_SCALINGS and not options:
        raise DataError(f"Scaling '{kind}' needs options", got="no strike", fix="Choose scaling window")
    if kind in ("window", "log_return", "log_standard"):
        _check_sign(kind, windows, asked, rows)
    if kind == "implied_volatility":
        _check_priced(windows)


def _check_sign(kind: Scaling, windows: Windows, asked: ScalingByColumn, rows: Mask) -> None:
    """Refuse values without a logarithm, and say how that column alone is scaled another way."""
    panel, names = windows.panel, windows.cut.features
    values = panel.values[:, panel.positions(names)]
    broken = (values < 0 if kind == "log_standard" else values <= 0) & rows[:, None]
    if broken.any():
        row, column = np.argwhere(broken)[0]
        name = names[column]
        other = "over_strike" if "strike" in panel.columns else "standard"
        own = {DEFAULT: asked} if isinstance(asked, str) else dict(asked)
        told = ", ".join(f"{key}: {value}" for key, value in {**own, name: other}.items())
        raise DataError(
            f"Scaling '{kind}' needs values {'not below' if kind == 'log_standard' else 'above'} zero",
            got=f"{values[row, column]:g} in '{name}' "
            f"of {panel.symbols[panel.code[row]]} on {panel.dates[row]}",
            fix=f"Scale that column another way (data.scaling: {{{told}}}, or"
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


def _fit_over_strike(train: Windows) -> Scaler:
    return ChangeScaler.fit(train, "over_strike")


def _fit_over_spot(train: Windows) -> Scaler:
    return ChangeScaler.fit(train, "over_spot")


def _fit_residual(train: Windows) -> Scaler:
    return ChangeScaler.fit(train, "residual")


_FITS: dict[Scaling, Callable[[Windows], Scaler]] = {
    "window": WindowScaler.fit,
    "window_mean": WindowMeanScaler.fit,
    "minmax": fit_minmax,
    "standard": fit_standard,
    "log_standard": fit_log_standard,
    "log_return": fit_log_return,
    "raw": fit_raw,
    "panel_minmax": fit_panel_minmax,
    "contract_minmax": ContractScaler.fit,
    "over_strike": _fit_over_strike,
    "over_spot": _fit_over_spot,
    "residual": _fit_residual,
    "implied_volatility": ImpliedVolatilityScaler.fit,
}

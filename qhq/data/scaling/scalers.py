"""What every scaler does, and how a stored one is read; ``fit`` makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from qhq.data.panel import FloatArray
from qhq.data.scaling.by_column import ColumnScaler
from qhq.data.scaling.level import ContractScaler, PanelScaler
from qhq.data.scaling.option import ChangeScaler, ImpliedVolatilityScaler
from qhq.data.scaling.symbol import LogReturnScaler, SymbolScaler
from qhq.data.scaling.window import WindowMeanScaler, WindowScaler
from qhq.data.spec import Scaling
from qhq.data.windows import Windows
from qhq.errors import DataError


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

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """Bring outputs (N, H, K) in the unit of ``targets`` back to the unit of the file."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON, exact; ``scaler_from_dict`` reads it."""


def scaler_from_dict(content: Mapping[str, Any]) -> Scaler:
    """Read back what ``Scaler.to_dict`` wrote.

    Raises:
        DataError: If the content is not that of a scaler.
    """
    try:
        if content["kind"] == ColumnScaler.kind:
            return ColumnScaler.from_dict(content, lambda part: _READERS[part["kind"]](part))
        return _READERS[content["kind"]](content)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "A stored scaler must have the content that to_dict wrote",
            got=f"{type(error).__name__}: {error}",
            fix="Train again, or take the scaler of another run",
        ) from error


_READERS: dict[Scaling, Callable[[Mapping[str, Any]], Scaler]] = {
    "window": WindowScaler.from_dict,
    "window_mean": WindowMeanScaler.from_dict,
    "minmax": SymbolScaler.from_dict,
    "standard": SymbolScaler.from_dict,
    "log_standard": SymbolScaler.from_dict,
    "log_return": LogReturnScaler.from_dict,
    "raw": PanelScaler.from_dict,
    "panel_minmax": PanelScaler.from_dict,
    "contract_minmax": ContractScaler.from_dict,
    "over_strike": ChangeScaler.from_dict,
    "over_spot": ChangeScaler.from_dict,
    "residual": ChangeScaler.from_dict,
    "implied_volatility": ImpliedVolatilityScaler.from_dict,
}

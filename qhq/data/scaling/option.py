"""Scalings of option quotes that carry over to contracts and underlyings never seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from qhq.data.columns import OPTION_PRICES
from qhq.data.panel import FloatArray
from qhq.data.reference import black_scholes_reference, known_market
from qhq.data.scaling.homogeneous import HomogeneousInputs, price_powers
from qhq.data.scaling.pooled import robust_spread
from qhq.data.scaling.stored import check_outputs, read_array
from qhq.data.spec import Scaling
from qhq.data.windows import Windows
from qhq.errors import DataError

LEAST_CHANGE = 1e-6
"""A change spread less than this, over the strike or in volatility, is rounding, and is divided by 1."""

VOLATILITY_RANGE = (1e-4, 5.0)
"""Implied volatilities that a forecast is kept within, per square root of a year."""


@dataclass(frozen=True, eq=False)
class ChangeScaler:
    """Targets as changes from a base known when forecasting, prices over the strike or spot.

    The base is the last value (``over_strike``, ``over_spot``), or what Black-Scholes says with the last
    row's implied volatility (``residual``, see ``black_scholes_reference``).

    Attributes:
        kind: Which of the three.
        features: How inputs are scaled.
        outputs: Names of the K targets.
        spread: Robust spread of each change in training, shape (K,).
    """

    level: ClassVar[bool] = False
    kind: Scaling
    features: HomogeneousInputs
    outputs: tuple[str, ...]
    spread: FloatArray

    @classmethod
    def fit(cls, train: Windows, kind: Literal["over_strike", "over_spot", "residual"]) -> Self:
        """Fit spreads, pooled over all contracts."""
        names = train.cut.targets
        features = HomogeneousInputs.fit(train, "spot" if kind == "over_spot" else "strike")
        plain = cls(kind, features, names, np.ones(len(names)))
        return cls(kind, features, names, _change_spread(plain.targets(train)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The F features."""
        return self.features.columns

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        return self.features.scale(windows)

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        return (windows.targets - self._base(windows)) / self._unit(windows)

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``."""
        return self._base(windows) + outputs * self._unit(windows)

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        names = {"kind": self.kind, "features": self.features.to_dict(), "outputs": list(self.outputs)}
        return {**names, "spread": self.spread.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        features = HomogeneousInputs.from_dict(content["features"])
        return cls(content["kind"], features, tuple(content["outputs"]), read_array(content["spread"]))

    def _base(self, windows: Windows) -> FloatArray:
        """What targets are changes from, shape (N, 1 or H, K)."""
        return black_scholes_reference(windows) if self.kind == "residual" else windows.last[:, None]

    def _unit(self, windows: Windows) -> FloatArray:
        """Unit of a change, in that of the file, shape (N, 1, K)."""
        check_outputs(self.outputs, windows)
        level = windows.known(self.features.by)[:, None, None]
        return np.asarray(level ** price_powers(self.outputs) * self.spread)


@dataclass(frozen=True, eq=False)
class ImpliedVolatilityScaler:
    """Targets as Black-Scholes implied volatilities at the known spot, less the last row's, over a spread.

    The last row's is that of its mid, also for bid, ask and last. A quote that has no implied volatility
    (below what exercise is worth, or zero) has no scaled target: it is NaN.

    Attributes:
        features: How inputs are scaled.
        outputs: Names of the K targets.
        spread: Robust spread of each change in training, shape (K,).
    """

    kind: ClassVar[Scaling] = "implied_volatility"
    level: ClassVar[bool] = False
    features: HomogeneousInputs
    outputs: tuple[str, ...]
    spread: FloatArray

    @classmethod
    def fit(cls, train: Windows) -> Self:
        """Fit spreads, pooled over all contracts.

        Raises:
            DataError: If a target has no implied volatility anywhere in training.
        """
        names = train.cut.targets
        features = HomogeneousInputs.fit(train, "strike")
        changes = cls(features, names, np.ones(len(names))).targets(train)
        for column, name in enumerate(names):
            if not np.isfinite(changes[:, :, column]).any():
                raise DataError(
                    "Scaling 'implied_volatility' needs training targets that have an implied volatility",
                    got=f"none of '{name}' in {len(train)} windows",
                    fix="Choose scaling over_strike, or other data.targets",
                )
        return cls(features, names, _change_spread(changes))

    @property
    def columns(self) -> tuple[str, ...]:
        """The F features."""
        return self.features.columns

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        return self.features.scale(windows)

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``; NaN where a target has no implied volatility."""
        check_outputs(self.outputs, windows)
        raw = windows.targets
        volatility = np.empty_like(raw)
        market = known_market(windows)
        for column, name in enumerate(self.outputs):
            quote = raw[:, :, column]
            volatility[:, :, column] = market.volatility(quote) if name in OPTION_PRICES else quote
        return (volatility - windows.at_last("iv")[:, None, None]) / self.spread

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``; volatilities are kept within ``VOLATILITY_RANGE``."""
        check_outputs(self.outputs, windows)
        volatility = outputs * self.spread + windows.at_last("iv")[:, None, None]
        volatility = np.clip(volatility, *VOLATILITY_RANGE)
        market = known_market(windows)
        for column, name in enumerate(self.outputs):
            if name in OPTION_PRICES:
                volatility[:, :, column] = market.price(volatility[:, :, column])
        return volatility

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        names = {"kind": self.kind, "features": self.features.to_dict(), "outputs": list(self.outputs)}
        return {**names, "spread": self.spread.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        features = HomogeneousInputs.from_dict(content["features"])
        return cls(features, tuple(content["outputs"]), read_array(content["spread"]))


def _change_spread(changes: FloatArray) -> FloatArray:
    """Spread of each target's changes, pooled over windows and horizons: (N, H, K) -> (K,); K may be 0."""
    if not changes.shape[2]:
        return np.ones(0)
    spread = robust_spread(changes.reshape(-1, changes.shape[2]))
    return np.where(spread > LEAST_CHANGE, spread, 1.0)

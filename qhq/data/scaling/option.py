"""Scalings of option quotes: over the strike or the spot, so that contracts of any size look alike.

A Black-Scholes price is homogeneous of degree one: price / strike is a function of spot / strike, time to
expiry and volatility alone (Hutchinson, Lo and Poggio, "A nonparametric approach to pricing and hedging
derivative securities via learning networks", 1994; Garcia and Gencay, "Pricing and hedging derivative
securities with neural networks and a homogeneity hint", 2000). So what is learned in these units carries over
to contracts and underlyings never seen, and a split of shares moves nothing. Scaling by each contract's own
range is here to be measured against them.

The reference that ``residual`` measures from, and the Black-Scholes baseline forecasts, comes first: what a
quote would be if the volatility of the last input row still held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import numpy as np

from qhq.data.columns import OPTION_PRICES, is_count, price_power
from qhq.data.panel import FloatArray, IntArray
from qhq.data.scaling.affine import (
    AffineScaler,
    ColumnwiseScaler,
    Stored,
    as_unit,
    check_columns,
    check_outputs,
    input_values,
    robust_spread,
)
from qhq.data.spec import Scaling
from qhq.data.windows import Windows
from qhq.errors import DataError
from qhq.pricing import black_scholes
from qhq.pricing.black_scholes import implied_volatility


@dataclass(frozen=True, eq=False)
class Market:
    """All but the volatility that prices the option of each window, every array of shape (N, 1).

    Attributes:
        forward: Forward price of the underlying at expiry.
        strike: Strike.
        years: Time to expiry.
        discount: Value of 1 paid at expiry.
        right: +1 for a call, -1 for a put.
    """

    forward: FloatArray
    strike: FloatArray
    years: FloatArray
    discount: FloatArray
    right: FloatArray

    def price(self, volatility: FloatArray) -> FloatArray:
        """Price by Black-Scholes: volatility (N, H) per square root of a year -> (N, H)."""
        return black_scholes.price(
            self.forward, self.strike, self.years, volatility, self.discount, self.right
        )

    def volatility(self, price: FloatArray) -> FloatArray:
        """Implied volatility of prices (N, H), NaN where there is none, shape (N, H)."""
        return implied_volatility(price, self.forward, self.strike, self.years, self.discount, self.right)


def known_market(windows: Windows) -> Market:
    """Gather what is known when forecasting: today's spot for task ``price``, else the last row's.

    The forward is spot exp((rate - q) years), with the dividend yield q that the last input row's own
    forward has; so a forecast prices the last row's option exactly as its volatility was found.
    """
    spot, strike, years, rate, right = (
        windows.known(name)[:, None] for name in ("spot", "strike", "years", "rate", "right")
    )
    forward = spot * np.exp((rate - _dividend_yield(windows)[:, None]) * years)
    return Market(forward, strike, years, np.exp(-rate * years), right)


def black_scholes_reference(windows: Windows) -> FloatArray:
    """Targets that the last input row's implied volatility implies, shape (N, H, K), in their own unit.

    ``mid`` is the Black-Scholes price at the known spot, strike, years and rate: today's for task ``price``,
    the last row's, alike for every horizon, for ``forecast``. ``bid``, ``ask`` and ``last`` lie beside it as
    they did in the last row, and not below zero. Any other target, ``iv`` too, keeps its last value.

    NaN where the last row has no implied volatility.
    """
    reference = np.repeat(windows.last[:, None], windows.cut.horizon, axis=1)
    names = windows.cut.targets
    if set(OPTION_PRICES).isdisjoint(names):
        return reference
    mid = known_market(windows).price(windows.at_last("iv")[:, None])
    earlier = windows.at_last("mid")[:, None]
    for column, name in enumerate(names):
        if name in OPTION_PRICES:
            # The quote's distance from the mid as it was in the last row: nothing better is known of today's.
            aside = windows.last[:, [column]] - earlier
            reference[:, :, column] = mid if name == "mid" else np.maximum(mid + aside, 0.0)
    return reference


def _dividend_yield(windows: Windows) -> FloatArray:
    """Yield per year that the last input row's forward has, 0 where it tells none, shape (N,)."""
    forward, spot, years, rate = (windows.at_last(name) for name in ("forward", "spot", "years", "rate"))
    # At expiry the forward is the spot, and no yield can be told from it.
    known = np.isfinite(forward) & (years > 0)
    carry = np.log(np.where(known, forward / spot, 1.0)) / np.where(known, years, 1.0)
    return np.where(known, rate - carry, 0.0)


_Level = Literal["strike", "spot"]

# A change spread less than this, over the strike or in volatility, is rounding, and is divided by 1.
_LEAST_CHANGE = 1e-6

# Implied volatilities that a forecast is kept within, per square root of a year.
_VOLATILITY_RANGE = (1e-4, 5.0)

# A contract's range is taken as at least this fraction of the median one in training.
_FLOOR_FRACTION = 0.1


def price_powers(names: Sequence[str]) -> FloatArray:
    """Power of the unit of prices in the unit of each column, shape (len(names),)."""
    return np.array([price_power(name) for name in names])


def count_logs(values: FloatArray, names: Sequence[str]) -> FloatArray:
    """Take ln(1 + x) of columns that count something; values (..., C)."""
    counts = np.array([is_count(name) for name in names], dtype=bool)
    # np.where computes both sides: a change of less than -1 in another column would warn in log1p.
    return np.where(counts, np.log1p(np.where(counts, values, 0.0)), values) if counts.any() else values


@dataclass(frozen=True, eq=False)
class HomogeneousInputs(Stored):
    """Features without a unit: prices over the row's own strike or spot, then all by one mean and spread.

    Attributes:
        columns: The F features.
        by: What prices are divided by.
        mean: Pooled over the training split, shape (F,).
        unit: Robust spread, pooled over the training split, shape (F,).
    """

    columns: tuple[str, ...]
    by: _Level
    mean: FloatArray
    unit: FloatArray

    @classmethod
    def fit(cls, train: Windows, by: _Level) -> Self:
        """Fit mean and spread on every input row of a training split."""
        names = train.cut.features
        values = _without_unit(input_values(train, names), input_values(train, (by,))[:, 0], names)
        return cls(names, by, np.nanmean(values, axis=0), robust_spread(values))

    def scale(self, windows: Windows) -> FloatArray:
        """Scaled features, shape (N, T, F), no unit."""
        check_columns(self.columns, windows)
        values = _without_unit(windows.inputs, windows.along(self.by), self.columns)
        return (values - self.mean) / self.unit


def _without_unit(values: FloatArray, level: FloatArray, names: Sequence[str]) -> FloatArray:
    """Divide prices by a level and take logarithms of counts; values (..., F), level (...)."""
    return count_logs(values / level[..., None] ** price_powers(names), names)


class _QuoteScaler(AffineScaler):
    """Features of `HomogeneousInputs`, beside targets that a kind says offset and unit of."""

    level: ClassVar[bool] = False
    features: HomogeneousInputs
    outputs: tuple[str, ...]
    spread: FloatArray

    @property
    def columns(self) -> tuple[str, ...]:
        """The F features."""
        return self.features.columns

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        return self.features.scale(windows)

    def to_dict(self) -> dict[str, object]:
        """See ``Scaler.to_dict``."""
        return super().to_dict() | {"features": self.features.to_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return super().from_dict({**content, "features": HomogeneousInputs.from_dict(content["features"])})


@dataclass(frozen=True, eq=False)
class ChangeScaler(_QuoteScaler):
    """Targets as changes from a base known when forecasting, prices over the strike or spot.

    The base is the last value (``over_strike``, ``over_spot``), or what Black-Scholes says with the last
    row's implied volatility (``residual``, see ``black_scholes_reference``).

    Attributes:
        kind: Which of the three.
        features: How inputs are scaled.
        outputs: Names of the K targets.
        spread: Robust spread of each change in training, shape (K,).
    """

    kind: Scaling
    features: HomogeneousInputs
    outputs: tuple[str, ...]
    spread: FloatArray

    @classmethod
    def fit_over_strike(cls, train: Windows) -> Self:
        """Fit the spreads of changes over the strike, pooled over all contracts."""
        return cls._fit(train, "over_strike")

    @classmethod
    def fit_over_spot(cls, train: Windows) -> Self:
        """The same over the spot."""
        return cls._fit(train, "over_spot")

    @classmethod
    def fit_residual(cls, train: Windows) -> Self:
        """The same of what Black-Scholes leaves, over the strike."""
        return cls._fit(train, "residual")

    @classmethod
    def _fit(cls, train: Windows, kind: Scaling) -> Self:
        names = train.cut.targets
        features = HomogeneousInputs.fit(train, "spot" if kind == "over_spot" else "strike")
        # Scaled by 1 first: the spread is that of the changes in the very unit in which they will be divided
        # by it.
        plain = cls(kind, features, names, np.ones(len(names)))
        return cls(kind, features, names, _change_spread(plain.targets(train)))

    def target_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """What targets are changes from, and the unit of a change in that of the file."""
        check_outputs(self.outputs, windows)
        base = black_scholes_reference(windows) if self.kind == "residual" else windows.last[:, None]
        level = windows.known(self.features.by)[:, None, None]
        return base, np.asarray(level ** price_powers(self.outputs) * self.spread)


@dataclass(frozen=True, eq=False)
class ImpliedVolatilityScaler(_QuoteScaler):
    """Targets as Black-Scholes implied volatilities at the known spot, less the last row's, over a spread.

    The last row's is that of its mid, also for bid, ask and last. A quote that has no implied volatility
    (below what exercise is worth, or zero) has no scaled target: it is NaN. On the way back volatilities are
    kept within ``_VOLATILITY_RANGE``.

    Attributes:
        features: How inputs are scaled.
        outputs: Names of the K targets.
        spread: Robust spread of each change in training, shape (K,).
    """

    kind: ClassVar[Scaling] = "implied_volatility"
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

    def target_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """The last row's implied volatility, and the spread."""
        check_outputs(self.outputs, windows)
        return windows.at_last("iv")[:, None, None], self.spread

    def _forth(self, values: FloatArray, windows: Windows) -> FloatArray:
        market, volatility = known_market(windows), np.empty_like(values)
        for column, name in enumerate(self.outputs):
            quote = values[:, :, column]
            volatility[:, :, column] = market.volatility(quote) if name in OPTION_PRICES else quote
        return volatility

    def _back(self, values: FloatArray, windows: Windows) -> FloatArray:
        # An untrained model may put out anything; the clip keeps its prices within what a market could show.
        market, quotes = known_market(windows), np.clip(values, *_VOLATILITY_RANGE)
        for column, name in enumerate(self.outputs):
            if name in OPTION_PRICES:
                quotes[:, :, column] = market.price(quotes[:, :, column])
        return quotes


def _change_spread(changes: FloatArray) -> FloatArray:
    """Spread of each target's changes, pooled over windows and horizons: (N, H, K) -> (K,); K may be 0."""
    if not changes.shape[2]:
        return np.ones(0)
    spread = robust_spread(changes.reshape(-1, changes.shape[2]))
    return np.where(spread > _LEAST_CHANGE, spread, 1.0)


@dataclass(frozen=True, eq=False)
class ContractScaler(ColumnwiseScaler):
    """Each window by the lowest and highest value that its contract had until the last input row.

    Rows after the last input row do not count, nor those before a split of shares or a long gap. Every
    contract then looks alike and the level is lost, so a model learns one value for all of them: the second
    failure of the thesis behind this project, which moreover took each contract's range over its whole life.
    Kept for comparison.

    Attributes:
        columns: The F features.
        floor: Least range of each, shape (F,): over the strike for columns in the unit of prices.
    """

    kind: ClassVar[Scaling] = "contract_minmax"
    level: ClassVar[bool] = True
    columns: tuple[str, ...]
    floor: FloatArray

    @classmethod
    def fit(cls, train: Windows) -> Self:
        """Fit the floor."""
        low, high = _range_until_last(train)
        floor = _FLOOR_FRACTION * np.median((high - low) / _price_level(train), axis=0)
        return cls(train.cut.features, floor)

    def feature_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Lowest value, and the range."""
        check_columns(self.columns, windows)
        low, high = _range_until_last(windows)
        unit = as_unit(np.maximum(high - low, self.floor * _price_level(windows)))
        return low[:, None], unit[:, None]


def _price_level(windows: Windows) -> FloatArray:
    """Strike for columns in the unit of prices, 1 for others, shape (N, F)."""
    return windows.at_last("strike")[:, None] ** price_powers(windows.cut.features)


def _range_until_last(windows: Windows) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest value of each window's segment until its last input row, shape (N, F)."""
    panel = windows.panel
    values = panel.values[:, panel.positions(windows.cut.features)]
    last = windows.starts + windows.cut.window - 1
    return _running(np.fmin, values, panel.segment)[last], _running(np.fmax, values, panel.segment)[last]


def _running(extreme: np.ufunc, values: FloatArray, segment: IntArray) -> FloatArray:
    """Extreme of each segment's rows until each row, NaN left out, shape (R, F)."""
    borders = np.flatnonzero(np.diff(segment, prepend=-1, append=-1))
    running = np.empty_like(values)
    for first, end in pairwise(borders.tolist()):
        extreme.accumulate(values[first:end], axis=0, out=running[first:end])
    return running

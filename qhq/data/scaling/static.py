"""Static features, scaled by statistics pooled over the training windows.

What has no unit (log-moneyness, time to expiry, right) carries over to contracts and underlyings never seen;
a static price, such as the strike, does so only as far as it is of the size of those in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.scaling.affine import Stored, as_unit, check_statics, standard_deviation
from qhq.data.scaling.option import count_logs
from qhq.data.spec import Scaling
from qhq.data.split import TrainingSplit
from qhq.data.windows import Windows
from qhq.errors import DataError


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
    return StaticScaler(names, kind, values.mean(axis=0), standard_deviation(values))


def _values(kind: Scaling, windows: Windows) -> FloatArray:
    values = windows.static
    return values if kind in ("raw", "panel_minmax") else count_logs(values, windows.cut.static)

"""Which split fits the scalers and which one selects the model: honest, or as a published study did.

A `Protocol` uses each split for what it is for. `PublishedProtocol` substitutes the leaky choices of a
published study, so that what its figures rest on can be measured; whatever was made with it carries a
`Caveat`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qhq.data.caveat import NO_CAVEAT, Caveat
from qhq.data.panel import Panel
from qhq.data.scaling.affine import Scaler
from qhq.data.scaling.series import SymbolScaler
from qhq.data.spec import DataSpec
from qhq.data.split import Splits, TrainingSplit
from qhq.data.windows import Cut, Windows, cut_windows


class Protocol:
    """Each split for what it is for."""

    @property
    def caveat(self) -> Caveat:
        """What must be said of whatever is made with it."""
        return NO_CAVEAT

    @property
    def keeps_values(self) -> bool:
        """Whether forecasts and actual values are those of the file, to be put beside others."""
        return True

    def scaled_by(self, panel: Panel, splits: Splits) -> TrainingSplit:  # noqa: ARG002
        """What scalers are fitted on.

        Args:
            panel: All rows, as they were laid out.
            splits: Made of them.
        """
        return splits.train

    def in_scale(self, panel: Panel, scaler: Scaler) -> tuple[Panel, Scaler]:
        """The rows that windows are cut from, and the scaler that brings them back."""
        return panel, scaler

    def chosen_by(self, splits: Splits) -> Windows:
        """Windows that early stopping, and whatever else is chosen, looks at."""
        return splits.validation.windows


@dataclass(frozen=True)
class PublishedProtocol(Protocol):
    """What a published study did, leak by leak.

    Attributes:
        spec: The config that names them.
    """

    spec: DataSpec

    @property
    def caveat(self) -> Caveat:
        """See ``Protocol.caveat``."""
        return self.spec.caveat

    @property
    def keeps_values(self) -> bool:
        """See ``Protocol.keeps_values``."""
        return "last_symbol_inverts" not in self.spec.leaks

    def scaled_by(self, panel: Panel, splits: Splits) -> TrainingSplit:
        """With ``scaler_sees_test`` a training split that is all of the panel."""
        if "scaler_sees_test" not in self.spec.leaks:
            return super().scaled_by(panel, splits)
        return TrainingSplit(panel, cut_windows(panel, Cut.of(self.spec)))

    def in_scale(self, panel: Panel, scaler: Scaler) -> tuple[Panel, Scaler]:
        """With ``last_symbol_inverts`` every symbol's features as the last symbol's scaler would invert them.

        Scaled, they are what they were, so the weights learn the same; but forecasts, actual and naive
        values, and every error between them, are those of the last symbol's scale.
        """
        if self.keeps_values or not isinstance(scaler, SymbolScaler):
            return super().in_scale(panel, scaler)
        columns = panel.positions(scaler.columns)
        rows = np.array([scaler.symbols.index(name) for name in panel.symbols])[panel.code]
        scaled = (panel.values[:, columns] - scaler.offset[rows]) / scaler.unit[rows]
        # Panels are shared: the split of another call may stand on the same array.
        values = panel.values.copy()
        values[:, columns] = scaled * scaler.unit[-1] + scaler.offset[-1]
        same = np.ones(len(scaler.symbols))[:, None]
        scale = replace(scaler, offset=same * scaler.offset[-1], unit=same * scaler.unit[-1])
        return replace(panel, values=values), scale

    def chosen_by(self, splits: Splits) -> Windows:
        """With ``stops_on_test`` those of the test split."""
        return splits.test.windows if "stops_on_test" in self.spec.leaks else super().chosen_by(splits)


def protocol_of(spec: DataSpec) -> Protocol:
    """The protocol that a config asks for: the honest one, unless it names leaks."""
    return PublishedProtocol(spec) if spec.caveat else Protocol()

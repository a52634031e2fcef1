"""What the doctor is given besides the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from qhq.ansatz.program import Ansatz

Family = Callable[[int], Ansatz]
"""Qubits -> the same circuit at that width; refuses a width by ConfigError."""


@dataclass(frozen=True)
class Background:
    """What is known of a model; each part may be left out, and its checks with it.

    Attributes:
        circuit: The ansatz that the design names; None leaves it to the layer to say.
        family: The same ansatz at other widths, for the trend of a plateau.
        shots: Measurements a value is estimated from where the model is to run; None if exact.
        initial: The weights before training, by name as in ``state_dict``.
        epochs: Epochs trained so far; 0 for a model as it was built.
        relative: Whether targets are changes since the last value, of which little may be known: a forecast
            near their mean is then no fault.
        seed: Where all that is drawn comes from.
    """

    circuit: Ansatz | None = None
    family: Family | None = None
    shots: int | None = None
    initial: Mapping[str, Tensor] | None = None
    epochs: int = 0
    relative: bool = False
    seed: int = 0

"""Any real number to an angle: smooth and bounded, so no input wraps around or goes dead."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from qhq.ansatz.spec import AngleScalingKind
from qhq.errors import ConfigError, nearest

SCALINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "pi_tanh": lambda values: math.pi * torch.tanh(values),
    "half_pi_tanh": lambda values: math.pi / 2 * torch.tanh(values),
    "pi_sin": lambda values: math.pi * torch.sin(values),
    "two_arctan": lambda values: 2 * torch.arctan(values),
    # For arcsin and arccos, which end at 1 with an infinite slope: single precision rounds tanh(10) to 1.
    "unit_tanh": lambda values: 0.99 * torch.tanh(values),
}
"""Name in an ansatz -> map to radians, each within [-pi, pi] and of non-zero slope at 0."""


class AngleScaling(nn.Module):
    """Elementwise map of a tensor of any shape to angles in radians.

    >>> AngleScaling("half_pi_tanh")(torch.tensor([0.0, 100.0]))
    tensor([0.0000, 1.5708])

    Raises:
        ConfigError: If the kind is unknown.
    """

    def __init__(self, kind: AngleScalingKind | str) -> None:
        super().__init__()
        if kind not in SCALINGS:
            raise ConfigError("angle_scaling must be known", got=f"'{kind}'", fix=nearest(kind, SCALINGS))
        self.kind = kind

    def forward(self, values: Tensor) -> Tensor:
        """Scale ``values``; shape and dtype stay."""
        return SCALINGS[self.kind](values)

    def extra_repr(self) -> str:
        """Show the kind when the model is printed."""
        return self.kind

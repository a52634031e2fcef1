"""The classical twin of a circuit: a tanh MLP that takes its place, with about as many parameters."""

from __future__ import annotations

from torch import Tensor, nn


class TanhTwin(nn.Module):
    """Angles (B, I) in, values (B, O) out, by one hidden layer of tanh: ``V tanh(U x + b)``.

    What stands after it adds a bias of its own, so ``V`` has none. Unlike expectation values its outputs are
    not bounded.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.leave = nn.Linear(hidden, outputs, bias=False)

    def forward(self, angles: Tensor) -> Tensor:
        """Values (B, O) of angles (B, I)."""
        values: Tensor = self.leave(self.enter(angles).tanh())
        return values


def twin_width(inputs: int, outputs: int, weights: int) -> int:
    """Hidden width whose parameter count is nearest to a circuit's ``weights``; of two as near, the wider.

    It is at least 1, so the twin of a circuit with hardly a weight is the larger one.

    >>> twin_width(4, 4, 8), twin_width(4, 4, 48)
    (1, 5)
    """
    step = twin_parameters(inputs, 1, outputs)
    return max(1, (2 * weights + step) // (2 * step))


def twin_parameters(inputs: int, hidden: int, outputs: int) -> int:
    """Parameters of a `TanhTwin`."""
    return hidden * (inputs + 1 + outputs)

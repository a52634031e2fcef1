"""The classical baseline model: a tanh MLP in the place of a circuit."""

from __future__ import annotations

from torch import Tensor, nn


class TanhMLP(nn.Module):
    """Angles (B, I) in, values (B, O) out, by one hidden layer of tanh: ``V tanh(U x + b)``.

    What stands after it adds a bias of its own, so ``V`` has none. Unlike expectation values its outputs are
    not bounded. They lie in a space of as many dimensions as there are hidden units: one unit makes all
    outputs multiples of each other, however many there are.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.leave = nn.Linear(hidden, outputs, bias=False)

    def forward(self, angles: Tensor) -> Tensor:
        """Values (B, O) of angles (B, I)."""
        values: Tensor = self.leave(self.enter(angles).tanh())
        return values


def matched_width(inputs: int, outputs: int, weights: int) -> int:
    """Hidden width whose parameter count is nearest to a circuit's ``weights``, and ``outputs`` at least.

    Below ``outputs`` hidden units the MLP's outputs would depend on each other linearly, and those of a
    circuit do not: it would be a weaker rival by its rank, not by its parameters. So the MLP of a circuit
    with few weights has more parameters than that. Of two widths as near, the wider.

    >>> matched_width(4, 4, 8), matched_width(4, 4, 48)
    (4, 5)
    """
    step = mlp_parameters(inputs, 1, outputs)
    return max(outputs, (2 * weights + step) // (2 * step))


def mlp_parameters(inputs: int, hidden: int, outputs: int) -> int:
    """Parameters of a `TanhMLP`."""
    return hidden * (inputs + 1 + outputs)

"""Recurrent units, many models at once: a sequence on its way forth and back, without its matrix products.

The caller multiplies, since matrix libraries are for that; each step here is one kernel
(`qhq.engine.kernels.recurrent`, which says what the arrays are). Units are PyTorch's.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qhq.engine.kernels import recurrent
from qhq.engine.program import Numbers


class RNNPass:
    """A sequence of a stack of tanh units; G is H, and with gates so many times H.

    Args:
        gates: What the inputs give, bias included, (S, T, B, G), float32 and C-contiguous; used up.
        states: Zeros, (S, T + 1, B, H), of which `step` fills one after the other.

    Attributes:
        slopes: Gradients that go back from a step to the one before: that of the states, (S, B, H), is the
            first; all 0 where the way back begins.
        width: Of what `back` leaves of a step, (S, T, B, width): the first G are the gradient of what the
            states' matrix gave, the last G that of what the inputs gave.
        shift: Gates stand so many blocks of H later in the first G than in the matrix.
    """

    shift: ClassVar[int] = 0

    def __init__(self, gates: Numbers, states: Numbers) -> None:
        self.gates, self.states = gates, states
        models, _, samples, hidden = states.shape
        self.slopes = np.zeros((2, models, samples, hidden), gates.dtype)
        self.width = gates.shape[3]

    def step(self, products: Numbers, t: int) -> None:
        """Go on by step ``t``, of whose state before the matrix makes ``products``, (S, B, G)."""
        recurrent.rnn_step(self.gates, products, self.states, t)

    def back(self, outer: Numbers, pulled: Numbers, t: int) -> None:
        """Go back by step ``t``; ``outer`` (S, T, B, H) is the gradient of the outputs."""
        recurrent.rnn_back(self.states, outer, self.slopes[0], pulled, t)


class GRUPass(RNNPass):
    """The same of GRUs, whose gates are r, z, n."""

    shift = 1

    def __init__(self, gates: Numbers, states: Numbers) -> None:
        super().__init__(gates, states)
        hidden = states.shape[3]
        self.kept = np.empty((*gates.shape[:3], hidden), gates.dtype)
        self.width += hidden

    def step(self, products: Numbers, t: int) -> None:
        """See `RNNPass.step`."""
        recurrent.gru_step(self.gates, products, self.states, self.kept, t)

    def back(self, outer: Numbers, pulled: Numbers, t: int) -> None:
        """See `RNNPass.back`."""
        recurrent.gru_back(self.gates, self.kept, self.states, outer, self.slopes[0], pulled, t)


class LSTMPass(RNNPass):
    """The same of LSTMs, whose gates are i, f, g, o."""

    def __init__(self, gates: Numbers, states: Numbers) -> None:
        super().__init__(gates, states)
        self.cells = np.zeros_like(states)

    def step(self, products: Numbers, t: int) -> None:
        """See `RNNPass.step`."""
        recurrent.lstm_step(self.gates, products, self.states, self.cells, t)

    def back(self, outer: Numbers, pulled: Numbers, t: int) -> None:
        """See `RNNPass.back`."""
        recurrent.lstm_back(self.gates, self.cells, outer, self.slopes, pulled, t)

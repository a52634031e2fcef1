"""Encoders of a window: stacks of recurrent or convolutional layers and how their steps become one vector.

A layer is called as PyTorch's recurrent ones are and gives outputs (B, T, hidden); `Bidirectional` makes one
of two that run in opposite directions. To add a pooling, write a module from a sequence (B, T, C) to (B, C),
and its line in `_POOLINGS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from qhq.models.spec import Pooling, RecurrentLayerSpec, load_unit


class Bidirectional(nn.Module):
    """Two layers of one kind, the second over the steps from last to first (Schuster and Paliwal, 1997).

    Outputs are (B, T, 2 * hidden), both at their own step; the final states (B, 2 * hidden) are the first
    layer's after the last step and the second's after the first.
    """

    def __init__(self, unit: type[nn.Module], features: int, hidden: int) -> None:
        super().__init__()
        # Two modules rather than PyTorch's own flag, which units of other packages do not know.
        self.onward = unit(features, hidden, batch_first=True)
        self.backward_ = unit(features, hidden, batch_first=True)

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and final states of a sequence (B, T, features)."""
        onward, _ = self.onward(sequence)
        back, _ = self.backward_(sequence.flip(1))
        final = torch.cat([onward[:, -1], back[:, -1]], dim=-1)
        return torch.cat([onward, back.flip(1)], dim=-1), final


class TemporalConvolution(nn.Module):
    """Causal dilated convolutions in place of a recurrence (Bai, Kolter and Koltun, arXiv 1803.01271).

    Four residual blocks of a convolution over three steps with 1, 2, 4 and 8 steps between them: an output
    knows its own step and the 30 before.
    """

    DILATIONS = (1, 2, 4, 8)
    KERNEL = 3

    def __init__(self, features: int, hidden: int, *, batch_first: bool = True) -> None:
        super().__init__()
        assert batch_first, "a sequence is (B, T, features) throughout qhq"
        self.enter = nn.Conv1d(features, hidden, 1)
        self.blocks = nn.ModuleList(
            nn.Conv1d(hidden, hidden, self.KERNEL, dilation=dilation) for dilation in self.DILATIONS
        )

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, T, hidden) of a sequence (B, T, features), and the last one (B, hidden)."""
        # Convolutions of torch have time last.
        states = self.enter(sequence.transpose(1, 2))
        for block, dilation in zip(self.blocks, self.DILATIONS, strict=True):
            # Padded before the first step alone: no output sees a step after its own.
            padded = functional.pad(states, ((self.KERNEL - 1) * dilation, 0))
            states = states + functional.silu(block(padded))
        return states.transpose(1, 2), states[:, :, -1]


class LastStep(nn.Module):
    """The state after the last step; of a bidirectional layer the final states of both directions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        del channels

    def forward(self, sequence: Tensor, final: Tensor | None) -> Tensor:
        """(B, C) of outputs (B, T, C) and, of a bidirectional layer, its final states (B, C)."""
        return sequence[:, -1] if final is None else final


class MeanOfSteps(LastStep):
    """The mean over all steps."""

    def forward(self, sequence: Tensor, final: Tensor | None) -> Tensor:  # noqa: ARG002
        """(B, C) of outputs (B, T, C)."""
        return sequence.mean(dim=1)


class MaxOfSteps(LastStep):
    """The largest value of each channel over all steps."""

    def forward(self, sequence: Tensor, final: Tensor | None) -> Tensor:  # noqa: ARG002
        """(B, C) of outputs (B, T, C)."""
        return sequence.amax(dim=1)


class AttentionOverSteps(LastStep):
    """A mean over the steps by learned weights that add up to one (Bahdanau, Cho and Bengio, ICLR 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.key = nn.Linear(channels, channels)
        # Without a bias, which would be the same for every step and cancel in the softmax.
        self.score = nn.Linear(channels, 1, bias=False)

    def forward(self, sequence: Tensor, final: Tensor | None) -> Tensor:  # noqa: ARG002
        """(B, C) of outputs (B, T, C)."""
        weights: Tensor = self.score(self.key(sequence).tanh()).softmax(dim=1)
        return (weights * sequence).sum(dim=1)


_POOLINGS: dict[Pooling, type[LastStep]] = {
    "last": LastStep,
    "mean": MeanOfSteps,
    "max": MaxOfSteps,
    "attention": AttentionOverSteps,
}


class RecurrentStack(nn.Module):
    """Encode a window (B, T, F) as one vector (B, hidden), by default the last layer's state at its end."""

    def __init__(
        self,
        layers: Sequence[RecurrentLayerSpec],
        *,
        features: int,
        dropout: float,
        pooling: Pooling = "last",
    ) -> None:
        super().__init__()
        sizes = [features, *(layer.width for layer in layers)]
        self.specs = tuple(layers)
        self.layers = nn.ModuleList(
            Bidirectional(load_unit(layer.unit), size, layer.hidden)
            if layer.bidirectional
            else load_unit(layer.unit)(size, layer.hidden, batch_first=True)
            for layer, size in zip(layers, sizes, strict=False)
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(layer.width) if layer.layer_norm else nn.Identity() for layer in layers
        )
        # Around a layer of another width the way past it is a linear map.
        self.residuals = nn.ModuleList(
            nn.Linear(size, layer.width, bias=False)
            if layer.residual and size != layer.width
            else nn.Identity()
            for layer, size in zip(layers, sizes, strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.pooling = _POOLINGS[pooling](sizes[-1])
        self.hidden = sizes[-1]

    def forward(self, windows: Tensor) -> Tensor:
        """Return the pooled states of the last layer, shape (B, hidden)."""
        sequence, final = windows, None
        for number, (spec, layer) in enumerate(zip(self.specs, self.layers, strict=True)):
            # Dropout between layers, as PyTorch's own stacks do: not before the first, nor inside a unit.
            before = self.dropout(sequence) if number else sequence
            sequence, state = layer(before)
            final = state if spec.bidirectional else None
            if spec.residual:
                sequence, final = sequence + self.residuals[number](before), None
            if spec.layer_norm:
                sequence, final = self.norms[number](sequence), None
        pooled: Tensor = self.pooling(sequence, final)
        return pooled

    def open_forget_gates(self) -> None:
        """Start every LSTM's forget gate at one, so that a long window reaches the end.

        Jozefowicz, Zaremba and Sutskever, ICML 2015: the forget bias is ``b_ih + b_hh``, the second of
        four blocks.
        """
        for layer in self.layers.modules():
            if isinstance(layer, nn.LSTM):
                block = slice(layer.hidden_size, 2 * layer.hidden_size)
                with torch.no_grad():
                    # One of the two biases carries it, since the gate sees only their sum.
                    layer.get_parameter("bias_ih_l0")[block] = 1.0
                    layer.get_parameter("bias_hh_l0")[block] = 0.0


class FlatWindow(nn.Module):
    """No encoder: all T * F values of a window, for the linear map that follows."""

    def __init__(self, window: int, features: int) -> None:
        super().__init__()
        self.hidden = window * features

    def forward(self, windows: Tensor) -> Tensor:
        """(B, T * F) of a window (B, T, F)."""
        return windows.flatten(1)

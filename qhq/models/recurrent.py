"""The recurrent encoder: a stack of recurrent layers, of mixed units, each of its own size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qhq.models.spec import RecurrentLayerSpec
from qhq.models.units import load_unit


class RecurrentStack(nn.Module):
    """Encode a window (B, T, F) as the last layer's hidden state after its last step, (B, hidden)."""

    def __init__(self, layers: Sequence[RecurrentLayerSpec], *, features: int, dropout: float) -> None:
        super().__init__()
        sizes = [features, *(layer.hidden for layer in layers)]
        self.layers = nn.ModuleList(
            load_unit(layer.unit)(size, layer.hidden, batch_first=True)
            for layer, size in zip(layers, sizes, strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.hidden = sizes[-1]

    def forward(self, windows: Tensor) -> Tensor:
        """Return the hidden state after the last step, shape (B, hidden)."""
        first, *others = self.layers
        sequence, _ = first(windows)
        for layer in others:
            sequence, _ = layer(self.dropout(sequence))
        last: Tensor = sequence[:, -1]
        return last


def open_forget_gates(stack: RecurrentStack) -> None:
    """Start every LSTM's forget gate at one, so that a long window reaches the end.

    Jozefowicz, Zaremba and Sutskever, ICML 2015: the forget bias is ``b_ih + b_hh``, the second of
    four blocks.
    """
    for layer in stack.layers:
        if isinstance(layer, nn.LSTM):
            block = slice(layer.hidden_size, 2 * layer.hidden_size)
            with torch.no_grad():
                layer.get_parameter("bias_ih_l0")[block] = 1.0
                layer.get_parameter("bias_hh_l0")[block] = 0.0

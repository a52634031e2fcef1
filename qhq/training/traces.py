"""What is kept of an epoch beside its losses: how far the weights have come, and what the circuit gives.

Both cost less than a hundredth of an epoch: distances are one pass over the weights, and outputs are heard
while the validation split is forecast anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the outputs that are kept."""

OUTPUTS = tuple(f"output_q{round(100 * level):02d}" for level in QUANTILE_LEVELS)
"""Their columns in a history."""

# Outputs of a call that the quantiles are taken of.
# Sorting all outputs of a large split would cost too much.
_MOST_VALUES = 4096

Parts = Mapping[str, Sequence[Tensor]]
"""Parameters by part of a model, as its ``parts()`` has them."""


def copy_parts(parts: Parts) -> dict[str, list[Tensor]]:
    """The numbers of all parts as they are now."""
    return {part: [each.detach().clone() for each in tensors] for part, tensors in parts.items()}


def weights_of_circuits(tensors: Mapping[str, Tensor], layers: Iterable[str], size: int) -> list[float]:
    """Weights of all circuits of a model, one circuit after the other (`circuits_of`)."""
    return [value for weights in circuits_of(tensors, layers, size).values() for value in weights]


def circuits_of(tensors: Mapping[str, Tensor], layers: Iterable[str], size: int) -> dict[str, list[float]]:
    """Weights of each circuit of a model by its name, in the order of the names.

    Args:
        tensors: By name, as a checkpoint has them.
        layers: Names of the quantum layers of a module of one's own.
        size: Weights of the circuit; a tensor of another shape is none of its.
    """
    own = {f"module.{name}.weight" for name in layers}
    names = [
        name
        for name, each in tensors.items()
        if (name in own or name == "quantum.weight" or ".circuits." in name) and tuple(each.shape) == (size,)
    ]
    return {
        name.removeprefix("module.").removesuffix(".weight"): [float(value) for value in tensors[name]]
        for name in sorted(names)
    }


@torch.no_grad()
def drift(parts: Parts, start: Parts) -> dict[str, float]:
    """L2 distance of each part's weights from where they began, as columns of a history."""
    found = {}
    for part, tensors in parts.items():
        if not tensors:
            found[f"drift_{part}"] = 0.0
            continue
        moved = torch._foreach_norm(list(torch._foreach_sub(list(tensors), list(start[part]))))
        found[f"drift_{part}"] = float(torch.linalg.vector_norm(torch.stack(list(moved))))
    return found


class HeardOutputs:
    """Outputs of a model's circuits, some of each call."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def take(self, _: nn.Module, __: Any, outputs: Tensor) -> None:
        """A forward hook."""
        flat = outputs.detach().flatten()
        # Evenly, so that all outputs and all windows are among them, and nothing is drawn.
        self.values.append(flat[:: -(-len(flat) // _MOST_VALUES)])

    def quantiles(self) -> dict[str, float]:
        """Columns of a history; none where nothing was heard."""
        if not self.values:
            return {}
        found = torch.cat(self.values)
        found = found[:: -(-len(found) // _MOST_VALUES)].double()
        levels = torch.tensor(QUANTILE_LEVELS, dtype=torch.float64)
        return dict(zip(OUTPUTS, torch.quantile(found, levels).tolist(), strict=True))


@contextmanager
def hearing(circuits: Sequence[nn.Module]) -> Iterator[HeardOutputs]:
    """Hear what circuits answer inside the block; no hook is left behind."""
    heard = HeardOutputs()
    handles = [each.register_forward_hook(heard.take) for each in circuits]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()

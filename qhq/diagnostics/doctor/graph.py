"""What stands between the encoder and the angles, read from torch's graph of the angles.

Activations are seen there whether they are modules or functions, with the values they saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_NODES = 4000

_PASSED = ("Mul", "Add", "Sub", "Div", "View", "Alias", "Clone", "Reshape", "UnsafeView", "ToCopy", "Expand")
"""Nodes that keep a column a column: an activation behind them still belongs to one input."""


@dataclass(frozen=True)
class Activation:
    """An activation before the encoding.

    Attributes:
        kind: ``relu``, ``tanh``, ``sigmoid``, ``arctan``, ``sin`` or ``clamp``.
        near: Whether only elementwise steps lie between it and the angles.
        slopes: Its derivative over its largest one, shape (rows, columns).
        values: What it took (``sin``) or gave (all others), same shape.
    """

    kind: str
    near: bool
    slopes: Tensor
    values: Tensor


def _clamped(node: Any) -> tuple[Tensor, Tensor]:
    low, high = (-1.0, 1.0) if "tanh" in node.name().lower() else (-math.inf, math.inf)
    low = next((v for v in (_saved(node, "min_val"), _saved(node, "min")) if v is not None), low)
    high = next((v for v in (_saved(node, "max_val"), _saved(node, "max")) if v is not None), high)
    given = node._saved_self
    return ((given > low) & (given < high)).to(given.dtype), given


def _saved(node: Any, name: str) -> float | None:
    value = getattr(node, f"_saved_{name}", None)
    return None if value is None else float(value)


_READERS: dict[str, tuple[str, Callable[[Any], tuple[Tensor, Tensor]]]] = {
    "ReluBackward0": ("relu", lambda node: ((node._saved_result > 0).float(), node._saved_result)),
    "TanhBackward0": ("tanh", lambda node: (1 - node._saved_result**2, node._saved_result)),
    "SigmoidBackward0": (
        "sigmoid",
        lambda node: (4 * node._saved_result * (1 - node._saved_result), node._saved_result),
    ),
    "AtanBackward0": ("arctan", lambda node: (1 / (1 + node._saved_self**2), node._saved_self)),
    "SinBackward0": ("sin", lambda node: (torch.cos(node._saved_self).abs(), node._saved_self)),
    "HardtanhBackward0": ("clamp", _clamped),
    "ClampBackward1": ("clamp", _clamped),
}
"""Node of torch's graph -> its kind, and how its slopes and values are read."""


def find_activations(angles: Tensor) -> list[Activation]:
    """Activations on the way to ``angles``: any ReLU, and of the others those nearest to the encoding.

    To be called before a backward pass, which frees what the graph saved.
    """
    return [each for each in _walk(angles.grad_fn) if each.near or each.kind == "relu"]


def _walk(start: Any) -> Iterator[Activation]:
    waiting, seen = [(start, True)], set[Any]()
    while waiting and len(seen) < MOST_NODES:
        node, near = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name()
        if name in _READERS:
            kind, read = _READERS[name]
            slopes, values = (_rows(each) for each in read(node))
            yield Activation(kind, near, slopes, values)
        stays = near and (name in _READERS or name.removesuffix("Backward0").endswith(_PASSED))
        waiting += [(each, stays) for each, _ in node.next_functions]


def _rows(values: Tensor) -> Tensor:
    """As (rows, columns), the last dimension the columns."""
    return values.detach().reshape(-1, values.shape[-1]) if values.ndim else values.detach().reshape(1, 1)

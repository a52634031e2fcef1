"""What stands between the encoder and the angles, read from torch's graph of the angles.

Activations are seen there whether they are modules or functions, with the values they saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from qhq.diagnostics.doctor.activations import Activation, read_activation

MOST_NODES = 4000

_PASSED = ("Mul", "Add", "Sub", "Div", "View", "Alias", "Clone", "Reshape", "UnsafeView", "ToCopy", "Expand")
"""Nodes that keep a column a column: an activation behind them still belongs to one input."""


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
        found = read_activation(node, near=near)
        if found is not None:
            yield found
        stays = near and (found is not None or node.name().removesuffix("Backward0").endswith(_PASSED))
        waiting += [(each, stays) for each, _ in node.next_functions]

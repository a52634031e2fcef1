"""Activations as nodes of torch's graph: which kind each is, and how steep it was where it was used.

A function counts by what it does, whatever it is called: whatever is flat on one side is a ``relu``
(``relu6``, ``threshold``, ``clamp(min=0)``, ``maximum`` with a constant), on both sides a ``clamp``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """An activation before the encoding.

    Attributes:
        kind: ``relu``, ``tanh``, ``sigmoid``, ``arctan``, ``erf``, ``sin``, ``cos`` or ``clamp``.
        near: Whether only elementwise steps lie between it and the angles.
        slopes: Its derivative over its largest one, shape (rows, columns).
        values: What it took, as ``sin`` and ``cos``, or what torch saved of it in its place; same shape.
    """

    kind: str
    near: bool
    slopes: Tensor
    values: Tensor


Reading = tuple[str, Tensor, Tensor]
"""Kind, slopes and values."""


def read_activation(node: Any, *, near: bool) -> Activation | None:
    """The activation that a node is; None if it is none."""
    reader = _READERS.get(node.name())
    found = reader(node) if reader else None
    if found is None:
        return None
    kind, slopes, values = found
    return Activation(kind, near, _rows(slopes), _rows(values))


def _rows(values: Tensor) -> Tensor:
    """As (rows, columns), the last dimension the columns."""
    return values.detach().reshape(-1, values.shape[-1]) if values.ndim else values.detach().reshape(1, 1)


def _of_result(kind: str, slope: Callable[[Tensor], Tensor]) -> Callable[[Any], Reading]:
    return lambda node: (kind, slope(node._saved_result), node._saved_result)


def _of_input(kind: str, slope: Callable[[Tensor], Tensor]) -> Callable[[Any], Reading]:
    return lambda node: (kind, slope(node._saved_self), node._saved_self)


def _limited(node: Any) -> Reading:
    """``clamp`` and its kin: open between two limits, of which one may be missing."""
    given: Tensor = node._saved_self
    low, high = _limit(node, "min", -math.inf), _limit(node, "max", math.inf)
    above, below = given > low, given < high
    bounded = bool(torch.isfinite(low).any() and torch.isfinite(high).any())
    from_zero = bool((low == 0).all() and below.all())  # relu6 at its lower end
    return "clamp" if bounded and not from_zero else "relu", (above & below).to(given.dtype), given


def _limit(node: Any, name: str, default: float) -> Tensor:
    found = (getattr(node, f"_saved_{each}", None) for each in (name, f"{name}_val"))
    return torch.as_tensor(next((each for each in found if each is not None), default))


def _threshold(node: Any) -> Reading:
    return "relu", (node._saved_self > node._saved_threshold).to(node._saved_self.dtype), node._saved_self


def _larger(node: Any) -> Reading | None:
    return _beside_constant(node, torch.gt)


def _smaller(node: Any) -> Reading | None:
    return _beside_constant(node, torch.lt)


def _beside_constant(node: Any, passes: Callable[[Tensor, Tensor], Tensor]) -> Reading | None:
    """The larger or smaller of a value and a constant; of two values neither is flat."""
    one, other = node._saved_self, node._saved_other
    first, second = (function is not None for function, _ in node.next_functions)
    if first and second:
        return None
    given, constant = (one, other) if first else (other, one)
    is_open = passes(given, constant)
    return "relu", is_open.to(given.dtype), given.expand_as(is_open)


_READERS: dict[str, Callable[[Any], Reading | None]] = {
    "ReluBackward0": _of_result("relu", lambda result: (result > 0).to(result.dtype)),
    "ThresholdBackward0": _threshold,
    "MaximumBackward0": _larger,
    "MinimumBackward0": _smaller,
    "ClampBackward0": _limited,
    "ClampBackward1": _limited,
    "ClampMinBackward0": _limited,
    "ClampMaxBackward0": _limited,
    "HardtanhBackward0": _limited,
    "TanhBackward0": _of_result("tanh", lambda result: 1 - result**2),
    "SigmoidBackward0": _of_result("sigmoid", lambda result: 4 * result * (1 - result)),
    "HardsigmoidBackward0": _of_input("sigmoid", lambda given: (given.abs() < 3).to(given.dtype)),
    "AtanBackward0": _of_input("arctan", lambda given: 1 / (1 + given**2)),
    "ErfBackward0": _of_input("erf", lambda given: torch.exp(-(given**2))),
    "SinBackward0": _of_input("sin", lambda given: torch.cos(given).abs()),
    "CosBackward0": _of_input("cos", lambda given: torch.sin(given).abs()),
}
"""Node of torch's graph -> how it is read."""

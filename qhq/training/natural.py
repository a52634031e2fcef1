"""The quantum natural gradient (Stokes, Izaac, Killoran and Carleo, Quantum 4, 269, 2020).

Steepest descent where distance is that of the circuit's states and not of its angles: a weight that hardly
turns the state takes long steps, and weights that do the same share one. With the Fubini-Study metric ``g``,
averaged over rows of the batch, and a regularisation ``r``::

    weights <- weights - rate * (g + r)^-1 gradient

Several circuits, as in the gates of a recurrent unit, have a metric each: it is block-diagonal over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class MeasuredCircuit(Protocol):
    """A module whose weights have a metric."""

    weight: Tensor

    def listen(self) -> list[Tensor]:
        """Where the angles (B, I) of each forward pass are put."""

    def metric(self, angles: Tensor, *, blocks: bool = False) -> Tensor:
        """The metric (W, W), the mean over some angles (B, I); or its blocks alone."""


class NaturalGradient(torch.optim.Adam):
    """The natural gradient for the weights of circuits, Adam for all others.

    A circuit's weights have no state: nothing of a step is remembered in the next one.

    Args:
        params: As of every optimiser of torch, groups among them.
        circuits: The circuits among what is trained; without any this is Adam.
        regularisation: Added to the diagonal of the metric.
        metric: ``full``; its ``blocks``, of rotations that stand beside each other; or its ``diagonal``.
        samples: Rows of a batch that the metric is averaged over, evenly spread.
        settings: Of Adam.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        circuits: Sequence[MeasuredCircuit],
        regularisation: float = 0.01,
        metric: Literal["full", "blocks", "diagonal"] = "full",
        samples: int = 16,
        **settings: Any,
    ) -> None:
        super().__init__(params, **settings)
        self._circuits = [(each, each.listen()) for each in circuits]
        self._regularisation, self._metric, self._samples = regularisation, metric, samples

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, and the angles that they were taken at."""
        super().zero_grad(set_to_none)
        for _, heard in self._circuits:
            heard.clear()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step, from the gradients and angles of the passes since `zero_grad`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = {}
        for circuit, heard in self._circuits:
            weight = circuit.weight
            if weight.grad is not None and heard:
                gradients[weight] = weight.grad
                self._move(circuit, weight, heard)
        for weight in gradients:
            weight.grad = None  # Adam leaves out what has none
        super().step()
        for weight, gradient in gradients.items():
            weight.grad = gradient
        return loss

    def _move(self, circuit: MeasuredCircuit, weight: Tensor, heard: list[Tensor]) -> None:
        assert weight.grad is not None
        (group,) = (each for each in self.param_groups if any(one is weight for one in each["params"]))
        # In double precision: where weights are redundant the metric is singular but for what is added below,
        # and float32 would lose the step in its inverse.
        gradient = (weight.grad + group["weight_decay"] * weight).double().cpu()
        rows = torch.cat(heard)
        # Evenly spread and not drawn: a training that is resumed repeats its steps bit for bit.
        picked = torch.linspace(0, len(rows) - 1, min(len(rows), self._samples)).round().long()
        metric = circuit.metric(rows[picked], blocks=self._metric == "blocks")
        if self._metric == "diagonal":
            metric = metric.diagonal().diag()
        # Tikhonov: without it a direction that changes no state would be stepped along without bound.
        metric = metric + self._regularisation * torch.eye(len(metric), dtype=metric.dtype)
        step = torch.linalg.solve(metric, gradient)
        weight.sub_(group["lr"] * step.to(weight))

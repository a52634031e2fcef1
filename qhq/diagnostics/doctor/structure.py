"""Structure: whether a circuit runs at all, whether it is the right one, and whether the forecast uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qhq.diagnostics.doctor.circuit import can_simulate, is_exact, values_at
from qhq.diagnostics.doctor.finding import Finding
from qhq.diagnostics.doctor.signs import LayerSigns, Signs
from qhq.diagnostics.estimate import Array
from qhq.diagnostics.probe import Probe
from qhq.seeding import child_generator

BYPASSED = 1e-3
HARDLY_USED = 1e-2
"""Change of the forecast, over its spread, when the circuit's outputs are replaced by their mean."""
PARITY = 1e-3
ALIKE = 0.9
"""Correlation with the exact values that noise leaves; what noise never does is turn them round."""
_ROWS = 32


def quantum_not_executed(signs: Signs) -> Iterator[Finding]:
    """A layer that is in the model, and no circuit runs when it forecasts."""
    if signs.failure is not None:
        return
    for layer in signs.layers:
        if layer.runs == 0:
            called = "is called, but asks no backend" if layer.called else "is never called"
            yield Finding(
                "quantum_not_executed",
                "error",
                f"The quantum layer '{layer.name}' {called}: a forecast of {len(signs.forecast)} samples"
                " ran 0 circuits.",
                "Call the layer in forward(), and look for code that replaced its forward (drawing code, a"
                " mock): middle = self.quantum(angles)",
                {"layer": layer.name, "circuit_runs": 0, "layer_calls": int(layer.called)},
            )


def quantum_replaced(signs: Signs) -> Iterator[Finding]:
    """Something else in the circuit's place, or another circuit than the design's."""
    if signs.failure is not None:
        return
    other: Any = getattr(signs.model, "quantum", None)
    if not signs.layers and (signs.background.circuit is not None or isinstance(other, nn.Module)):
        kind = type(other).__name__
        yield Finding(
            "quantum_replaced",
            "error",
            f"The design names a circuit, but the model has no quantum layer: a {kind} stands in its place"
            " and no circuit runs.",
            "Put the layer back: model.quantum = QuantumLayer(ansatz, executor, seed=seed); never let a"
            " drawing change the model",
            {"in_its_place": kind, "circuit_runs": 0, "quantum_layers": 0},
        )
    for layer in signs.layers if signs.thorough else ():
        apart = _apart(layer)
        # A layer in half precision rounds what it gives.
        tolerance = max(PARITY, *(torch.finfo(each.dtype).eps for each in layer.layer.parameters()), 0.0)
        if apart > tolerance:
            yield Finding(
                "quantum_replaced",
                "error",
                f"The outputs of '{layer.name}' are not those of its circuit: they differ by up to"
                f" {apart:.2g} from the exact values at the same angles and weights.",
                "Reopen the layer on a backend: model.quantum.reopen(open_backend(name, ansatz, seed=seed))",
                {"layer": layer.name, "max_difference": apart, "tolerance": tolerance},
            )


def _apart(layer: LayerSigns) -> float:
    """Largest difference of a layer's outputs from the exact engine's; 0 where none can be said."""
    circuit = layer.circuit
    exact_values = is_exact(layer.layer)
    if not layer.runs or not layer.called or not can_simulate(circuit) or exact_values is None:
        return 0.0
    rows = layer.angles[:_ROWS]
    if rows.shape[1] != circuit.num_inputs or len(layer.weights) != circuit.num_weights:
        return float("inf")
    exact = Probe(circuit).expectations(values_at(rows, layer.weights))
    given = layer.outputs[: len(rows)]
    if exact.shape != given.shape:
        return float("inf")
    if not exact_values and _correlation(exact, given) > ALIKE:
        return 0.0
    return float(np.abs(exact - given).max())


def _correlation(one: Array, other: Array) -> float:
    """Of two sets of values (R, O), each output about its own mean."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / size if size > 0 else 0.0


def circuit_bypassed(signs: Signs) -> Iterator[Finding]:
    """A forecast that is the same when the circuit's outputs are replaced by their mean."""
    if len(signs.forecast) < 2 or not signs.spread > 0:
        return
    for layer in signs.layers:
        if not layer.called:
            continue
        change = signs.change_with(layer, _mean_of_rows)
        if change < HARDLY_USED:
            yield _bypassed(signs, layer, change)


def _mean_of_rows(outputs: Tensor) -> Tensor:
    rows = tuple(range(outputs.ndim - 1))
    return outputs.mean(dim=rows, keepdim=True).expand_as(outputs)


def _bypassed(signs: Signs, layer: LayerSigns, change: float) -> Finding:
    evidence: dict[str, float | str] = {"layer": layer.name, "change_with_mean": change}
    if signs.thorough:
        order = child_generator(signs.background.seed, "doctor/shuffle")
        evidence["change_shuffled"] = signs.change_with(layer, lambda outputs: _shuffled(outputs, order))
    return Finding(
        "circuit_bypassed",
        "error" if change < BYPASSED else "warning",
        f"The forecast does without '{layer.name}': with the mean of its outputs in their place it changes by"
        f" {100 * change:.2g} % of its own spread.",
        "Take the way round it away, --set model.skip=none, and compare with --set quantum=null",
        {**evidence, **_head_weights(signs.model, layer)},
    )


def _shuffled(outputs: Tensor, order: np.random.Generator) -> Tensor:
    return outputs[torch.from_numpy(order.permutation(len(outputs))).to(outputs.device)]


def _head_weights(model: nn.Module, layer: LayerSigns) -> dict[str, float]:
    """Root mean square weight of the head on the circuit's outputs, and on the latent features."""
    head: Any = getattr(model, "head", None)
    if not isinstance(head, nn.Linear) or head.in_features < layer.outputs.shape[1]:
        return {}
    weights: Array = head.weight.detach().double().cpu().numpy()
    width = layer.outputs.shape[1]
    found = {"head_on_outputs": float(np.sqrt((weights[:, :width] ** 2).mean()))}
    if head.in_features > width:
        found["head_on_latent"] = float(np.sqrt((weights[:, width:] ** 2).mean()))
    return found

"""Structure: whether a model runs at all, and with the right circuit, and whether the forecast uses it.

First the kinds of numbers: dtypes and devices that do not fit, NaN, a model that cannot run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qhq.diagnostics.doctor.finding import Finding, Severity
from qhq.diagnostics.doctor.signs import LayerSigns, Signs, can_simulate, is_exact, values_at
from qhq.diagnostics.sampling import Array, Probe
from qhq.seeding import child_generator

_COARSE = (torch.float16, torch.bfloat16)


def dtype_mismatch(signs: Signs) -> Iterator[Finding]:
    """Weights, inputs and angles of several dtypes, or of one too coarse for angles."""
    weights = Counter(_name(each.dtype) for each in signs.model.parameters())
    found = (
        _mixed(signs, weights)
        or _whole_angles(signs, weights)
        or _other_angles(signs, weights)
        or _coarse(signs, weights)
    )
    if found is not None:
        yield found


def _mixed(signs: Signs, weights: Counter[str]) -> Finding | None:
    inputs = {_name(each.dtype) for each in signs.arguments}
    if len(inputs | set(weights)) < 2:
        return None
    usual = weights.most_common(1)[0][0] if weights else "float32"
    kinds = _counted(weights)
    return Finding(
        "dtype_mismatch",
        _gravity(signs),
        f"The inputs are {_listed(inputs)} and the weights {kinds}:"
        f" {_reason(signs) or 'values are converted on the way.'}",
        signs.background.advise(
            (
                f"training.dtype={usual if usual in ('float32', 'float64') else 'float32'}",
                f"Give all of them one dtype: model.to(torch.{usual}) and inputs.to(torch.{usual})",
            )
        ),
        {"inputs": _listed(inputs), "weights": kinds, "runs": signs.failure is None},
    )


def _whole_angles(signs: Signs, weights: Counter[str]) -> Finding | None:
    whole = [_name(each) for each in signs.angle_dtypes if not each.is_floating_point]
    if not whole:
        return None
    return Finding(
        "dtype_mismatch",
        "error",
        f"The quantum layer is given whole numbers ({whole[0]}) for angles: no gradient passes them.",
        "Leave out .long() and .int() before the layer: angles are floating point numbers",
        {"angles": whole[0], "weights": _listed(weights), "runs": signs.failure is None},
    )


def _other_angles(signs: Signs, weights: Counter[str]) -> Finding | None:
    angles = {_name(each) for each in signs.angle_dtypes}
    if not weights or angles <= set(weights):
        return None
    usual = weights.most_common(1)[0][0]
    return Finding(
        "dtype_mismatch",
        _gravity(signs),
        f"The quantum layer is given angles of {_listed(angles)} and the weights are {usual}:"
        f" {_reason(signs) or 'values are converted on the way.'}",
        f"Leave out the conversion before the layer, or convert back: angles.to(torch.{usual})",
        {"angles": _listed(angles), "weights": usual, "runs": signs.failure is None},
    )


def _coarse(signs: Signs, weights: Counter[str]) -> Finding | None:
    if not any(each.dtype in _COARSE for each in signs.model.parameters()):
        return None
    kind = next(iter(weights))
    return Finding(
        "dtype_mismatch",
        _gravity(signs),
        f"The weights are {kind}: {_reason(signs) or 'angles are rounded to about 0.01 rad.'}",
        signs.background.advise(("training.dtype=float32", "Call model.float()")),
        {"weights": kind, "runs": signs.failure is None},
    )


def device_mismatch(signs: Signs) -> Iterator[Finding]:
    """Weights, buffers and inputs on several devices."""
    own = Counter(str(each.device) for each in (*signs.model.parameters(), *signs.model.buffers()))
    inputs = {str(each.device) for each in signs.arguments}
    if len(inputs | set(own)) > 1:
        kinds = _counted(own)
        home = own.most_common(1)[0][0] if own else "cpu"
        yield Finding(
            "device_mismatch",
            _gravity(signs),
            f"The inputs are on {_listed(inputs)} and the weights and buffers on {kinds}."
            + (f" {_reason(signs)}" if signs.failure else ""),
            f"Move all of them: model.to('{home}') and inputs.to('{home}'); what is to move along must be a"
            " parameter or a buffer",
            {"inputs": _listed(inputs), "weights": kinds, "runs": signs.failure is None},
        )


def not_finite(signs: Signs) -> Iterator[Finding]:
    """NaN or infinity in weights, angles, outputs or forecasts."""
    broken = [name for name, each in signs.model.named_parameters() if not _finite(each)]
    places = {
        "inputs": not all(_finite(each) for each in signs.arguments),
        **{f"weights of '{name}'": True for name in broken},
        "angles": not all(np.isfinite(each.angles).all() for each in signs.layers),
        "forecasts": not np.isfinite(signs.forecast).all(),
    }
    first = next((place for place, found in places.items() if found), None)
    if first is not None:
        yield Finding(
            "not_finite",
            "error",
            f"NaN or infinity in {', '.join(place for place, found in places.items() if found)}.",
            "Check the data ('qhq data check'), lower the learning rate or clip the gradient"
            + (" (--set training.clip_norm=1)" if signs.background.takes("training.clip_norm") else ""),
            {"first": first, "weight_tensors": len(broken)},
        )


def forward_fails(signs: Signs) -> Iterator[Finding]:
    """A model that raises an error on the samples."""
    if signs.failure is not None:
        yield Finding(
            "forward_fails",
            "error",
            f"The model cannot run on the samples: {_reason(signs)}",
            "Call model(inputs) yourself and follow the traceback",
            {"error": type(signs.failure).__name__},
        )


def _gravity(signs: Signs) -> Severity:
    """An error where the model cannot run for it."""
    return "warning" if signs.failure is None else "error"


def _reason(signs: Signs) -> str:
    """The first line of the error, as a sentence; empty if there is none."""
    if signs.failure is None:
        return ""
    text = (str(signs.failure).strip().splitlines() or [""])[0]
    return f"{type(signs.failure).__name__}: {text[:200].rstrip('.')}."


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{name} ({count} tensors)" for name, count in kinds.most_common())


def _finite(tensor: Tensor) -> bool:
    # A tensor on the device "meta" has a shape and no values.
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    return bool(torch.isfinite(tensor).all())


_BYPASSED = 1e-3
# Change of the forecast, over its spread, when the circuit's outputs are replaced by their mean.
_HARDLY_USED = 1e-2
_PARITY = 1e-3
# Correlation with the exact values that noise leaves; what noise never does is turn them round.
_ALIKE = 0.9
_ROWS = 32
# Change of the forecast, over its own size, when nobody listens to the layers.
_UNHEARD = 1e-3


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
    yield from _in_their_place(signs)
    for layer in signs.layers if signs.thorough else ():
        apart = _apart(layer)
        # A layer in half precision rounds what it gives.
        tolerance = max(_PARITY, *(torch.finfo(each.dtype).eps for each in layer.layer.parameters()), 0.0)
        if apart > tolerance:
            yield Finding(
                "quantum_replaced",
                "error",
                f"The outputs of '{layer.name}' are not those of its circuit: they differ by up to"
                f" {apart:.2g} from the exact values at the same angles and weights.",
                "Reopen the layer on a backend: model.quantum.reopen(open_backend(name, ansatz, seed=seed))",
                {"layer": layer.name, "max_difference": apart, "tolerance": tolerance},
            )
    yield from _unheard(signs)


def _unheard(signs: Signs) -> Iterator[Finding]:
    """Circuits that answer otherwise when nobody listens to each of them.

    The gates of a recurrent unit are then asked all at once, by an executor of their own.
    """
    several = len(signs.layers) > 1 and all(each.runs and is_exact(each.layer) for each in signs.layers)
    if not signs.thorough or not several or not np.isfinite(signs.forecast).all():
        return
    size = max(float(np.abs(signs.forecast).max()), float(np.finfo(np.float32).tiny))
    apart = float(np.abs(signs.unheard - signs.forecast).max()) / size
    # NaN is apart, too.
    if not apart <= _UNHEARD:
        yield Finding(
            "quantum_replaced",
            "error",
            f"The circuits give a forecast {apart:.2g} of its size away when they are asked all at once from"
            " the one that they give one by one: one of the two executors runs another circuit.",
            "Open the model again, from its config or run; both executors are opened there",
            {"change": apart, "limit": _UNHEARD, "quantum_layers": len(signs.layers)},
        )


def _in_their_place(signs: Signs) -> Iterator[Finding]:
    """Other modules where quantum layers should be."""
    known, other = {each.name for each in signs.layers}, getattr(signs.model, "quantum", None)
    if signs.background.circuit is not None:
        # Of a module of one's own, and of gates, the model knows where its circuits are.
        places: Any = getattr(signs.model, "circuit_places", lambda: {"quantum": other})
        found = {name: each for name, each in places().items() if name not in known}
    else:
        found = {"quantum": other} if isinstance(other, nn.Module) and not known else {}
    for name, module in found.items():
        if known and not isinstance(module, nn.Module):
            continue  # a layer of another name
        kind = type(module).__name__
        those = f"quantum layer '{name}'" if known else "quantum layer"
        yield Finding(
            "quantum_replaced",
            "error",
            f"The design names a circuit, but the model has no {those}: a {kind} stands in its place"
            " and no circuit runs.",
            "Put the layer back: QuantumLayer(ansatz, executor, seed=seed); never let a drawing change the"
            " model",
            {"in_its_place": kind, "circuit_runs": 0, "quantum_layers": len(known), "layer": name},
        )


def _apart(layer: LayerSigns) -> float:
    """Largest difference of a layer's outputs from the exact engine's; 0 where none can be said."""
    circuit = layer.circuit
    exact_values = is_exact(layer.layer)
    if not layer.runs or not layer.called or not can_simulate(circuit) or exact_values is None:
        return 0.0
    # Some rows are enough: another circuit differs at nearly every angle.
    rows = layer.angles[:_ROWS]
    if rows.shape[1] != circuit.num_inputs or len(layer.weights) != circuit.num_weights:
        return float("inf")
    exact = Probe(circuit).expectations(values_at(rows, layer.weights))
    given = layer.outputs[: len(rows)]
    if exact.shape != given.shape:
        return float("inf")
    if not exact_values and _correlation(exact, given) > _ALIKE:
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
        # Of several circuits, as in the gates of a recurrent unit, one may well matter less than the others.
        if change < (_HARDLY_USED if len(signs.layers) == 1 else _BYPASSED):
            yield _bypassed(signs, layer, change)


def _mean_of_rows(outputs: Tensor) -> Tensor:
    # The mean over samples keeps what the head is given in size and place, so that only the information goes.
    rows = tuple(range(outputs.ndim - 1))
    return outputs.mean(dim=rows, keepdim=True).expand_as(outputs)


def _bypassed(signs: Signs, layer: LayerSigns, change: float) -> Finding:
    evidence: dict[str, float | str] = {"layer": layer.name, "change_with_mean": change}
    if signs.thorough:
        order = child_generator(signs.background.seed, "doctor/shuffle")
        evidence["change_shuffled"] = signs.change_with(layer, lambda outputs: _shuffled(outputs, order))
    return Finding(
        "circuit_bypassed",
        "error" if change < _BYPASSED else "warning",
        f"The forecast does without '{layer.name}': with the mean of its outputs in their place it changes by"
        f" {100 * change:.2g} % of its own spread.",
        "Take the way round it away, "
        + signs.background.advise(("model.skip=none", "what forward() adds or joins to its outputs"))
        + ", and compare with "
        + signs.background.advise(("quantum=null", "the variants of 'qhq ablate'")),
        {**evidence, **_head_weights(signs.model, layer)},
    )


def _shuffled(outputs: Tensor, order: np.random.Generator) -> Tensor:
    return outputs[torch.from_numpy(order.permutation(len(outputs))).to(outputs.device)]


def _head_weights(model: nn.Module, layer: LayerSigns) -> dict[str, float]:
    """Root mean square weight of the head on the circuit's outputs, and on the latent features."""
    # The first linear map behind the circuit: of a head with hidden layers that is not the last one.
    deep: Any = getattr(model, "head_layers", None)
    head: Any = deep[0] if deep else getattr(model, "head", None)
    if not isinstance(head, nn.Linear) or head.in_features < layer.outputs.shape[1]:
        return {}
    weights: Array = head.weight.detach().double().cpu().numpy()
    width = layer.outputs.shape[1]
    found = {"head_on_outputs": float(np.sqrt((weights[:, :width] ** 2).mean()))}
    if head.in_features > width:
        found["head_on_latent"] = float(np.sqrt((weights[:, width:] ** 2).mean()))
    return found

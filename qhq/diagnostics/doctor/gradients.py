"""Gradients by module: none at all, exactly zero, vanishing, exploding. Three look-alikes, kept apart here.

- None: torch was given no path (input gradients off, ``detach``, a module that is not used).
- Exactly zero: the path is cut by a factor 0 (a dead ReLU, a weight of 0).
- Tiny: the path is open and steep nowhere (small angles, a plateau, a long window).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from qhq.diagnostics.doctor.finding import Finding
from qhq.diagnostics.doctor.listening import quantum_layers
from qhq.diagnostics.doctor.signs import LayerSigns, Signs

VANISHING = 1e-6
"""A gradient below this fraction of the model's largest is lost: it is no larger than float32's rounding."""
FADING = 1e-4
"""Below this fraction of the largest a module learns far slower than the rest."""
EXPLODING = 1e3
LARGE = 1e2
"""Change of the scaled forecast by a unit step of the weights; healthy models stay below 10."""


def input_gradients_off(signs: Signs) -> Iterator[Finding]:
    """A layer that has outputs to differentiate and gives nothing to what stands before it."""
    for layer in signs.layers:
        off = layer.angle_gradient is None and layer.output_gradient is not None
        if layer.asks_gradient and off:
            flag = getattr(layer.layer.neural_network, "input_gradients", None)
            yield Finding(
                "input_gradients_off",
                "error",
                f"The quantum layer '{layer.name}' gives no gradient by its inputs, so nothing before it"
                f" learns through it (input_gradients is {flag}).",
                "Build the network with input_gradients=True (network.input_gradients = True)",
                {"layer": layer.name, "input_gradients": bool(flag), "inputs": layer.angles.shape[1]},
            )


def gradient_none(signs: Signs) -> Iterator[Finding]:
    """Modules with weights to train that torch has no gradient for, and angles cut off from them."""
    for name, norm in signs.gradients.items():
        if norm is None:
            yield Finding(
                "gradient_none",
                "error",
                f"The forecast has no gradient by '{name}': torch sees no path from it (its gradient is"
                " None).",
                "Take out detach(), .data, no_grad() or a trip through NumPy after it; if it is not meant to"
                f" train, say so: model.get_submodule('{name}').requires_grad_(False)",
                {"module": name, "gradient": None},
            )
    if None not in signs.gradients.values():  # a way round the circuit hides what its angles lack
        yield from (_detached(each) for each in signs.layers if signs.detached(each))


def _detached(layer: LayerSigns) -> Finding:
    return Finding(
        "gradient_none",
        "error",
        f"The angles of '{layer.name}' hang on weights that are to train, but torch sees no path to them:"
        " what stands before the layer learns nothing through it.",
        "Take out detach(), .data, no_grad() or a trip through NumPy before the layer",
        {"module": layer.name, "gradient": None, "detached_angles": layer.angles.shape[1]},
    )


def gradient_zero(signs: Signs) -> Iterator[Finding]:
    """Modules whose gradient is exactly zero."""
    for name, norm in signs.gradients.items():
        if norm == 0:
            yield Finding(
                "gradient_zero",
                "error",
                f"The gradient of '{name}' is exactly 0 on all {_count(signs)} samples: the path to the"
                " forecast is cut by a factor 0.",
                "Look for a ReLU that is closed for all samples (--set model.activation_before=none, --set"
                " model.activation_after=none) or for weights after it that are all 0",
                {"module": name, "gradient": 0.0, "samples": _count(signs)},
            )


def gradient_vanishing(signs: Signs) -> Iterator[Finding]:
    """Modules whose gradient is there but far below that of the others."""
    largest = _largest(signs)
    quantum = quantum_layers(signs.model)
    for name, norm in signs.gradients.items():
        if norm and math.isfinite(largest) and norm < FADING * largest:
            share = norm / largest
            fix = "shorten data.window or the recurrent stack, or set model.skip=add"
            if name in quantum:
                fix = "fewer qubits or layers (--set quantum.depth=1), or a larger head"
            yield Finding(
                "gradient_vanishing",
                "error" if share < VANISHING else "warning",
                f"The gradient of '{name}' is {norm:.1e}, {share:.1e} of the largest of the model's modules.",
                f"Look at the findings on angles and plateaus first; else {fix}",
                {"module": name, "gradient": norm, "largest": largest, "share": share},
            )


def gradient_exploding(signs: Signs) -> Iterator[Finding]:
    """Modules whose gradient is huge or not a number."""
    for name, norm in signs.gradients.items():
        if norm is not None and not norm < LARGE:
            yield Finding(
                "gradient_exploding",
                "warning" if norm < EXPLODING else "error",
                f"The gradient of '{name}' is {norm:.1e}: one small step of its weights moves the scaled"
                " forecast by far more than its own size.",
                "Set --set training.clip_norm=1, lower training.learning_rate, and start from smaller"
                " weights",
                {"module": name, "gradient": norm, "limit": LARGE},
            )


def _largest(signs: Signs) -> float:
    return max((norm for norm in signs.gradients.values() if norm is not None), default=0.0)


def _count(signs: Signs) -> int:
    return len(signs.forecast)

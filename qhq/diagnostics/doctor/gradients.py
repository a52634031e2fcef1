"""Whether the weights can learn: their gradients by module, a barren plateau, weights that never moved.

Three look-alikes of a missing gradient are kept apart here:

- None: torch was given no path (input gradients off, ``detach``, a module that is not used).
- Exactly zero: the path is cut by a factor 0 (a dead ReLU, a weight of 0).
- Tiny: the path is open and steep nowhere (small angles, a plateau, a long window).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.doctor.finding import Finding, Measure
from qhq.diagnostics.doctor.listening import quantum_layers
from qhq.diagnostics.doctor.signs import MOST_QUBITS, Family, LayerSigns, Signs
from qhq.diagnostics.sampling import Sampling
from qhq.diagnostics.weights import GradientVariance, gradient_trend, gradient_variance
from qhq.errors import ConfigError

# A gradient below this fraction of the model's largest is lost: it is no larger than float32's rounding.
_VANISHING = 1e-6
# Below this fraction of the largest a module learns far slower than the rest.
_FADING = 1e-4
_EXPLODING = 1e3
# Change of the scaled forecast by a unit step of the weights; healthy models stay below 10.
_LARGE = 1e2


def measured(signs: Signs) -> Iterator[Measure]:
    """The gradients of the modules, the smallest beside the largest."""
    norms = {name: norm for name, norm in signs.gradients.items() if norm is not None}
    largest = max(norms.values(), default=0.0)
    if largest > 0:
        shares = {name: norm / largest for name, norm in norms.items()}
        yield from Measure.nearest("gradient of a module over the largest of any", shares, _FADING)
        yield from Measure.nearest("gradient of a module", norms, _LARGE, below=False)


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
        # Exactly: what is tiny is a slope, and zero to the last bit a factor.
        if norm == 0:
            yield Finding(
                "gradient_zero",
                "error",
                f"The gradient of '{name}' is exactly 0 on all {_count(signs)} samples: the path to the"
                " forecast is cut by a factor 0.",
                "Look for a ReLU that is closed for all samples ("
                + signs.background.advise(
                    ("model.activation_before=none", "before the circuit"),
                    ("model.activation_after=none", "or behind it"),
                )
                + ") or for weights after it that are all 0",
                {"module": name, "gradient": 0.0, "samples": _count(signs)},
            )


def gradient_vanishing(signs: Signs) -> Iterator[Finding]:
    """Modules whose gradient is there but far below that of the others."""
    largest = max((norm for norm in signs.gradients.values() if norm is not None), default=0.0)
    quantum = quantum_layers(signs.model)
    for name, norm in signs.gradients.items():
        if norm and math.isfinite(largest) and norm < _FADING * largest:
            share = norm / largest
            way = signs.background.advise(("model.skip=add", "a way round what stands between"))
            fix = f"shorten the window or what stands before it, or take {way}"
            if name in quantum:
                fewer = signs.background.advise(("quantum.depth=1", "another ansatz"))
                fix = f"fewer qubits or layers ({fewer}), or a larger head"
            yield Finding(
                "gradient_vanishing",
                "error" if share < _VANISHING else "warning",
                f"The gradient of '{name}' is {norm:.1e}, {share:.1e} of the largest of the model's modules.",
                f"Look at the findings on angles and plateaus first; else {fix}",
                {"module": name, "gradient": norm, "largest": largest, "share": share},
            )


def gradient_exploding(signs: Signs) -> Iterator[Finding]:
    """Modules whose gradient is huge or not a number."""
    for name, norm in signs.gradients.items():
        if norm is not None and not norm < _LARGE:
            yield Finding(
                "gradient_exploding",
                "warning" if norm < _EXPLODING else "error",
                f"The gradient of '{name}' is {norm:.1e}: one small step of its weights moves the scaled"
                " forecast by far more than its own size.",
                signs.background.advise(("training.clip_norm=1", "Clip the gradient"))
                + ", lower the learning rate, and start from smaller weights",
                {"module": name, "gradient": norm, "limit": _LARGE},
            )


def _count(signs: Signs) -> int:
    return len(signs.forecast)


_LOCAL = ("quantum.overrides.observables=z_each", "observables: z_each, and a head of as many inputs")

# Variance of a slope: typical slopes are below 0.05, and fall with each qubit more.
_FLAT = 2.5e-3
# Times the 2-design value: below it the circuit is about as flat as a random unitary. A product of single
# qubits measured by one observable of all of them has 2 (McClean et al., arXiv:1803.11173; Cerezo et al.,
# arXiv:2001.00550), and falls as fast.
_SCRAMBLED = 3.0
_FEWEST_QUBITS = 6
# Amplitudes times gates that a measurement may take, about two seconds.
_WORK = 2e9
_MOST_SAMPLES, _FEWEST_SAMPLES = 100, 8


def barren_plateau(signs: Signs) -> Iterator[Finding]:
    """A gradient variance no larger than a 2-design's, and small."""
    known: dict[int, GradientVariance] = {}
    for layer in signs.layers if signs.thorough else ():
        circuit = layer.circuit
        trains = layer.asks_gradient or any(each.requires_grad for each in layer.layer.parameters())
        # A frozen circuit with nothing before it that trains has no use for a gradient.
        if circuit is None or not circuit.num_weights or not trains:
            continue
        # On a few qubits a 2-design is not flat yet, so being like one is no fault.
        if not _FEWEST_QUBITS <= circuit.num_qubits <= MOST_QUBITS:
            continue
        # At random weights: once for all layers of a circuit.
        if id(circuit) not in known:
            known[id(circuit)] = gradient_variance(circuit, _sampling(circuit, signs.background.seed))
        found = known[id(circuit)]
        if found.mean.value < _SCRAMBLED * found.two_design:
            yield _plateau(
                signs, layer, circuit, found, _trend(signs.background.family, signs.background.seed)
            )


def _plateau(
    signs: Signs, layer: LayerSigns, circuit: Ansatz, found: GradientVariance, slope: float | None
) -> Finding:
    qubits, variance = circuit.num_qubits, found.mean.value
    trend = "" if slope is None else f", and changes by a factor {2**slope:.2f} with each qubit more"
    return Finding(
        "barren_plateau",
        "error" if variance < _FLAT else "warning",
        f"The gradient variance of '{layer.name}' over random weights is {variance:.1e} on {qubits} qubits,"
        f" where a circuit that scrambles everything has {found.two_design:.1e}{trend}.",
        f"Fewer layers ({signs.background.advise(('quantum.depth=2', 'another ansatz'))}), fewer qubits,"
        f" local observables ({signs.background.advise(_LOCAL)}) or weights that start near 0"
        " (layer.weight.data.mul_(0.1))",
        {
            "layer": layer.name,
            "variance": variance,
            "variance_low": found.mean.low,
            "variance_high": found.mean.high,
            "two_design": found.two_design,
            "typical_slope": float(np.sqrt(variance)),
            "qubits": qubits,
            "log2_slope_per_qubit": slope,
        },
    )


def _trend(family: Family | None, seed: int) -> float | None:
    """Slope of log2(variance) per qubit; None where the circuit has one width only."""
    if family is None:
        return None
    members: dict[int, Ansatz] = {}
    for width in (2, 4, 6):
        try:
            members[width] = family(width)
        except ConfigError:  # a circuit from a file, or observables, of one width
            return None
        if members[width].num_qubits != width:
            return None
    trend = gradient_trend(members.__getitem__, list(members), _sampling(members[6], seed))
    return None if trend is None else trend.slope.value


def _sampling(circuit: Ansatz, seed: int) -> Sampling:
    # An adjoint gradient takes about three passes over the gates, and each output has one.
    cost = len(circuit.circuit.data) * 3 * circuit.num_outputs << circuit.num_qubits
    samples = int(np.clip(_WORK / cost, _FEWEST_SAMPLES, _MOST_SAMPLES))
    return Sampling(samples, seed=seed).for_inputs_of(circuit)


def weights_never_move(signs: Signs) -> Iterator[Finding]:
    """Modules whose weights are those of the start, to the last bit."""
    background = signs.background
    if background.initial is None or background.epochs == 0:
        return
    for name, module in signs.model.named_modules():
        own = dict(module.named_parameters(prefix=name, recurse=False))
        known = {key: each for key, each in own.items() if key in background.initial}
        if known and all(
            torch.equal(each.cpu(), background.initial[key].cpu()) for key, each in known.items()
        ):
            yield _unmoved(name or "model", list(known.values()), background.epochs)


def _unmoved(name: str, weights: list[nn.Parameter], epochs: int) -> Finding:
    trains = any(each.requires_grad for each in weights)
    count = sum(each.numel() for each in weights)
    asked = "though they are to train" if trains else "as asked: they do not train"
    return Finding(
        "weights_never_move",
        "error" if trains else "info",
        f"The {count} weights of '{name}' are after {epochs} epochs exactly where they started, {asked}.",
        "Give them to the optimiser (all of model.parameters()) and look for a gradient that is None or 0"
        if trains
        else "Nothing, if they are frozen on purpose; else requires_grad_(True)",
        {"module": name, "weights": count, "epochs": epochs, "moved": 0.0, "trains": trains},
    )

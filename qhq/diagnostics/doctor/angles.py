"""Angles: what enters the circuit, and whether the encoding can tell samples apart there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from qhq.diagnostics.doctor.finding import Finding, Measure
from qhq.diagnostics.doctor.listening import Activation
from qhq.diagnostics.doctor.signs import LayerSigns, Signs, can_simulate, values_at
from qhq.diagnostics.sampling import Array, Probe

# Radians: below it cos x is 1 within half a per cent.
_SMALL = 0.1
# Radians: a hundredth of the half turn that a bounded scaling offers.
_TINY = 0.03
# Of <O> by the angles: sin 0.1 is 0.1, a typical angle's is 0.7.
_FLAT_SLOPE = 0.15
# Slope of a squashing function over its largest: tanh beyond 2.2.
_FLAT_BEND = 0.05
# Share of the samples that makes an angle saturated.
_PLATEAU_SHARE = 0.5
_TWO_PI = 2 * math.pi
_ROWS = 32


def measured(signs: Signs) -> Iterator[Measure]:
    """How large the angles are, and how far they run."""
    called = [each for each in signs.layers if each.called and each.angles.shape[1]]
    sizes = {each.name: _size(each) for each in called}
    # Where the outputs move with them all the same, small angles are a fault only if they are tiny.
    flat = any(_slope(signs, each) < _FLAT_SLOPE for each in called if sizes[each.name] < _SMALL)
    limit = _SMALL if flat else _TINY
    yield from Measure.nearest("size of the angles that one in 20 exceeds, rad", sizes, limit)
    turned = {each.name: _turned(each) for each in called}
    ranges = {name: _reach(each) for name, each in turned.items() if each is not None and len(each)}
    yield from Measure.nearest("range of an angle over the samples, rad", ranges, _TWO_PI, below=False)


def _size(layer: LayerSigns) -> float:
    # Not the largest: one outlier among the samples does not make the others move.
    return float(np.quantile(np.abs(layer.angles), 0.95))


def _reach(turned: Array) -> float:
    return float((turned.max(axis=0) - turned.min(axis=0)).max())


def dead_relu(signs: Signs) -> Iterator[Finding]:
    """A ReLU before the encoding that is closed on every sample."""
    for layer in signs.layers:
        for relu in (each for each in layer.activations if each.kind == "relu"):
            closed = (relu.slopes == 0).all(dim=0)
            dead, columns = int(closed.sum()), closed.numel()
            if dead == columns or (dead and relu.near):
                yield _dead(signs, layer, dead, columns, rows=len(relu.slopes))
                break


def _dead(signs: Signs, layer: LayerSigns, dead: int, columns: int, *, rows: int) -> Finding:
    whole = dead == columns
    cut = "nothing before it has a gradient" if whole else "what stands before them learns nothing from them"
    return Finding(
        "dead_relu",
        "error" if whole else "warning",
        f"The ReLU before '{layer.name}' is closed in {dead} of {columns} columns on all {rows}"
        f" samples, so those angles never move and {cut}.",
        signs.background.advise(("model.activation_before=none", "Leave out the ReLU before the circuit"))
        + " (or take tanh); to keep the ReLU, start the bias before it above 0:"
        " torch.nn.init.constant_(bias, 0.5)",
        {"layer": layer.name, "dead_columns": dead, "columns": columns, "samples": rows},
    )


def angles_small(signs: Signs) -> Iterator[Finding]:
    """Angles near 0: an error where the circuit is stationary (<Z> = cos x has slope sin x), else a waste."""
    for layer in signs.layers:
        if not layer.called or layer.angles.shape[1] == 0:
            continue
        size = _size(layer)
        slope = _slope(signs, layer)
        if size < _SMALL and (slope < _FLAT_SLOPE or size < _TINY):
            yield _small(signs, layer, size, slope)


def _small(signs: Signs, layer: LayerSigns, size: float, slope: float) -> Finding:
    low, high = float(layer.outputs.min()), float(layer.outputs.max())
    stationary = slope < _FLAT_SLOPE
    where = "where the circuit is stationary" if stationary else "of the turn that they could use"
    return Finding(
        "angles_small",
        "error" if stationary else "warning",
        f"The angles of '{layer.name}' stay within {size:.3g} rad, {where}: its outputs lie in"
        f" [{low:.7f}, {high:.7f}] and move by {slope:.2g} a radian.",
        "Encode away from the stationary point and let the angles spread: "
        + signs.background.advise(
            ("quantum.overrides.angle_scaling=pi_tanh", "a quantum layer with scale_inputs=True"),
            ("quantum.overrides.encoding.hadamard=true", "an encoding with hadamard: true"),
            ("model.activation_before=none", "larger weights in the layer before it"),
            ("data.scaling=window", "inputs that vary by about 1"),
        ),
        {
            "layer": layer.name,
            "angle_p95": size,
            "angle_max": float(np.abs(layer.angles).max()),
            "output_min": low,
            "output_max": high,
            "slope": slope,
            "stationary": stationary,
        },
    )


def _slope(signs: Signs, layer: LayerSigns) -> float:
    """Slope of the outputs by the angles: from the gradient, or the exact engine where there is none."""
    slope = layer.slope
    if math.isnan(slope) and signs.thorough and layer.circuit is not None and can_simulate(layer.circuit):
        angles = values_at(layer.angles[:_ROWS], layer.weights)
        # Of each sample the largest slope of any output by any angle; over the samples the root mean square.
        jacobian = np.abs(Probe(layer.circuit).input_gradients(angles))
        slope = float(np.sqrt((jacobian.max(axis=(1, 2)) ** 2).mean()))
    if math.isnan(slope):  # nobody can say: that of a rotation on its own
        slope = float(np.sin(np.abs(layer.angles)).max())
    return slope


def angles_saturated(signs: Signs) -> Iterator[Finding]:
    """Angles at the ends of a bounded scaling, where it is flat."""
    for layer in signs.layers:
        for squash in (each for each in layer.activations if each.near and each.kind in _BOUNDED):
            flat = (squash.slopes < _FLAT_BEND).double().mean(dim=0)
            stuck = int((flat > _PLATEAU_SHARE).sum())
            if stuck:
                yield _saturated(layer, squash, float(flat.mean()), stuck)
                break


_BOUNDED = ("tanh", "sigmoid", "arctan", "erf", "clamp")


def _saturated(layer: LayerSigns, squash: Activation, share: float, stuck: int) -> Finding:
    columns = squash.slopes.shape[1]
    slope = float(squash.slopes.mean())
    return Finding(
        "angles_saturated",
        "error" if stuck == columns or share > _PLATEAU_SHARE else "warning",
        f"{100 * share:.0f} % of the angles of '{layer.name}' sit at an end of {squash.kind}, {stuck} of"
        f" {columns} inputs most of the time: its slope there is {slope:.1e} of its largest, so the encoder"
        " hardly learns.",
        "Make what is squashed smaller: start from smaller weights (model.to_latent.weight.data.mul_(0.1)),"
        " lower training.learning_rate or set training.weight_decay, or normalise it (torch.nn.LayerNorm)",
        {
            "layer": layer.name,
            "activation": squash.kind,
            "share": share,
            "saturated_inputs": stuck,
            "inputs": columns,
            "mean_slope": slope,
            "angle_max": float(np.abs(layer.angles).max()),
        },
    )


def angles_wrapped(signs: Signs) -> Iterator[Finding]:
    """Angles that run over more than a turn, so that far apart inputs meet in one state."""
    for layer in signs.layers:
        turned = _turned(layer)
        if turned is None or not len(turned):
            continue
        # A single outlier may wrap, which is a warning; what 90 % of the samples do is how the model sees.
        reach = _reach(turned)
        usual = float((np.quantile(turned, 0.95, axis=0) - np.quantile(turned, 0.05, axis=0)).max())
        if reach > _TWO_PI and _comes_back(signs, layer):
            yield Finding(
                "angles_wrapped",
                "error" if usual > _TWO_PI else "warning",
                f"The angles of '{layer.name}' run over {reach:.1f} rad ({reach / _TWO_PI:.1f} turns; 90 %"
                f" of the samples over {usual:.1f} rad): inputs 2 pi apart give the same state.",
                "Bound them: "
                + signs.background.advise(
                    ("quantum.overrides.angle_scaling=pi_tanh", "a quantum layer with scale_inputs=True")
                )
                + "; or scale the data: "
                + signs.background.advise(("data.scaling=window", "inputs that vary by about 1")),
                {
                    "layer": layer.name,
                    "range": reach,
                    "range_p90": usual,
                    "turns": reach / _TWO_PI,
                    "angle_max": float(np.abs(turned).max()),
                },
            )


def _turned(layer: LayerSigns) -> Array | None:
    """The angles, or what a sine or cosine folds into them: a fold loses as much as a turn."""
    for each in layer.activations:
        if each.near and each.kind in ("sin", "cos"):
            folded: Array = each.values.double().cpu().numpy()
            return folded
    return layer.angles if layer.called else None


def _comes_back(signs: Signs, layer: LayerSigns) -> bool:
    """Whether a whole turn of the angles changes nothing; not so where a circuit divides its inputs."""
    if not signs.thorough or not can_simulate(layer.circuit):
        return True
    probe, rows = Probe(layer.circuit), layer.angles[:_ROWS]
    here, there = (probe.expectations(values_at(rows + turn, layer.weights)) for turn in (0.0, _TWO_PI))
    # Expectation values are at most of the size of their observables; what rounding leaves of a whole turn is
    # some 1e-15.
    return bool(np.abs(here - there).max() < 1e-6)

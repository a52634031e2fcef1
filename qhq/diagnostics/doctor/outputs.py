"""Outputs: whether the circuit's answers, and the forecast, move with what goes in."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from qhq.diagnostics.doctor.finding import Finding, Measure
from qhq.diagnostics.doctor.signs import LayerSigns, Signs, can_simulate, pooled_spread, shots_of
from qhq.diagnostics.inputs import InputSensitivity, input_sensitivity
from qhq.diagnostics.sampling import Array, Sampling

_DEAD_BAND = 3e-4
_UNTRAINED_BAND = 1e-3
# Width of the widest output's band over the samples, where +1 to -1 is all there is. A deep encoder may
# start narrow and open in training, so that is no reason to warn before it.
_NARROW_BAND = 1e-2
_CONSTANT = 1e-5
# Spread of forecasts over that of the targets.
_COLLAPSED = 0.05
# Outputs that move by less than so many times the noise of their shots are hard to tell apart.
_CLEAR = 2.0
_SAMPLES = 16
_ROUNDING = 1e-6
# No device takes more executions in a job; who needs more for each value cannot get there by shots.
_MOST_SHOTS = 10_000_000


def measured(signs: Signs) -> Iterator[Measure]:
    """How far outputs and forecast move over the samples."""
    several = [each for each in signs.layers if len(each.outputs) > 1]
    bands = {each.name: float(np.ptp(each.outputs, axis=0).max()) for each in several}
    narrow = _NARROW_BAND if signs.background.epochs else _UNTRAINED_BAND
    yield from Measure.nearest("width of the widest output's band", bands, narrow)
    ratios = {}
    for each in several:
        shots = signs.background.shots or shots_of(each.layer)
        if shots is not None and (noise := _noise(each.outputs, shots)) > 0:
            ratios[each.name] = _signal(each, shots) / noise
    yield from Measure.nearest("spread of the outputs over the noise of their shots", ratios, _CLEAR)
    if signs.targets is not None and len(signs.forecast) > 1 and (moves := pooled_spread(signs.targets)) > 0:
        yield Measure("spread of the forecasts over that of the targets", "", signs.spread / moves, _CONSTANT)


def output_band_tight(signs: Signs) -> Iterator[Finding]:
    """Outputs that stay in a narrow band whatever goes in."""
    for layer in signs.layers:
        if len(layer.outputs) < 2:
            continue
        low, high = layer.outputs.min(axis=0), layer.outputs.max(axis=0)
        # One output that moves is enough for the head: the widest one decides.
        widest = int((high - low).argmax())
        width = float((high - low)[widest])
        if width < (_NARROW_BAND if signs.background.epochs else _UNTRAINED_BAND):
            yield _tight(signs, layer, float(low[widest]), float(high[widest]))


def _wider(signs: Signs) -> str:
    return signs.background.advise(
        ("model.activation_before=none", "larger weights in the layer before the circuit"),
        ("data.scaling=window", "inputs that vary by about 1"),
        ("quantum.overrides.encoding.hadamard=true", "an encoding with hadamard: true"),
    )


def _local(signs: Signs) -> str:
    local = "observables: z_each, and a head of as many inputs"
    return signs.background.advise(("quantum.overrides.observables=z_each", local))


def _tight(signs: Signs, layer: LayerSigns, low: float, high: float) -> Finding:
    moved = float(np.ptp(layer.angles, axis=0).max())
    why = (
        f"its angles move by {moved:.2g} rad only"
        if moved < 10 * _NARROW_BAND
        else "the circuit flattens them"
    )
    return Finding(
        "output_band_tight",
        "error" if high - low < _DEAD_BAND else "warning",
        f"The outputs of '{layer.name}' hardly move: the widest band over {len(layer.outputs)} samples is"
        f" [{low:.7f}, {high:.7f}], {high - low:.1e} wide ({why}).",
        f"Widen the angles ({_wider(signs)}), or measure local observables ({_local(signs)})",
        {
            "layer": layer.name,
            "output_min": low,
            "output_max": high,
            "width": high - low,
            "angle_range": moved,
            "samples": len(layer.outputs),
        },
    )


def some_inputs_ignored(signs: Signs) -> Iterator[Finding]:
    """Inputs that no output depends on, at any angles."""
    for layer, seen in _sensitivities(signs):
        ignored = seen.ignored_inputs
        if 0 < len(ignored) < layer.angles.shape[1]:
            yield _ignored("some_inputs_ignored", signs, layer, seen)


def all_inputs_ignored(signs: Signs) -> Iterator[Finding]:
    """Outputs that depend on no input at all: the layer is a constant."""
    for layer, seen in _sensitivities(signs):
        if len(seen.ignored_inputs) == layer.angles.shape[1] > 0:
            yield _ignored("all_inputs_ignored", signs, layer, seen)


def some_outputs_constant(signs: Signs) -> Iterator[Finding]:
    """Outputs that depend on no input, beside others that do."""
    for layer, seen in _sensitivities(signs):
        constant = seen.constant_outputs
        if 0 < len(constant) < layer.outputs.shape[1]:
            names = ", ".join(map(str, constant))
            yield Finding(
                "some_outputs_constant",
                "warning",
                f"{len(constant)} of {layer.outputs.shape[1]} outputs of '{layer.name}' depend on no input"
                f" (numbers {names}): they are constants to the head.",
                "Measure what the encoding reaches: another quantum.overrides observables or entangler"
                " pattern",
                {"layer": layer.name, "constant_outputs": names, "outputs": layer.outputs.shape[1]},
            )


def _sensitivities(signs: Signs) -> Iterator[tuple[LayerSigns, InputSensitivity]]:
    """Jacobians d<O>/dx at random angles and weights, beside the light cones, from the exact engine."""
    known: dict[int, InputSensitivity] = {}
    for layer in signs.layers if signs.thorough else ():
        circuit = layer.circuit
        if not layer.called or not can_simulate(circuit):
            continue
        # At random weights: layers of one circuit, as in the gates of a recurrent unit, are measured once.
        if id(circuit) not in known:
            known[id(circuit)] = input_sensitivity(circuit, Sampling(_SAMPLES, seed=signs.background.seed))
        yield layer, known[id(circuit)]


def _ignored(code: str, signs: Signs, layer: LayerSigns, seen: InputSensitivity) -> Finding:
    ignored, inputs = seen.ignored_inputs, layer.angles.shape[1]
    outputs = layer.outputs.shape[1]
    outside = sum(all((o, i) in seen.outside_cone for o in range(outputs)) for i in ignored)
    commuting = len(ignored) - outside
    why = f"{outside} outside the light cone of every output, {commuting} commuting with what is measured"
    names = ", ".join(map(str, ignored))
    turned = signs.background.advise(("quantum.overrides.encoding.gates=RY", "in the ansatz"))
    entangled = signs.background.advise(("quantum.overrides.entangler.pattern=ring", "in the ansatz"))
    return Finding(
        code,
        "error",
        f"No output of '{layer.name}' depends on {len(ignored)} of its {inputs} inputs (numbers {names}:"
        f" {why}).",
        f"Rotate by RY or RX instead of RZ ({turned}), measure every qubit ({_local(signs)}) or entangle them"
        f" ({entangled})",
        {
            "layer": layer.name,
            "ignored": names,
            "ignored_inputs": len(ignored),
            "inputs": inputs,
            "outside_light_cone": outside,
            "jacobian_norm": seen.norm.value,
        },
    )


def shot_noise(signs: Signs) -> Iterator[Finding]:
    """Fewer shots than it takes to tell one sample's outputs from another's."""
    for layer in signs.layers:
        shots = signs.background.shots or shots_of(layer.layer)
        if shots is None or len(layer.outputs) < 2:
            continue
        noise, signal = _noise(layer.outputs, shots), _signal(layer, shots)
        if signal < _CLEAR * noise:
            # So many that the noise is a quarter of the signal, well clear of the half at which this warns.
            needed = math.ceil(shots * 16 * noise**2 / max(signal, _ROUNDING) ** 2)
            yield Finding(
                "shot_noise",
                "error" if signal < noise else "warning",
                f"With {shots} shots an output of '{layer.name}' is known within {noise:.2g}, but over the"
                f" samples it moves by {signal:.2g} only (standard deviations): {signal / noise:.2g} of the"
                " noise.",
                _more_shots(needed),
                {
                    "layer": layer.name,
                    "shots": shots,
                    "noise": noise,
                    "signal": signal,
                    "ratio": signal / noise,
                    "shots_needed": needed,
                },
            )


def _more_shots(needed: int) -> str:
    """What to do about too few shots; some outputs no number of shots can tell apart."""
    widen = "widen the outputs: other observables, larger angles, or a longer training"
    if needed > _MOST_SHOTS:
        most = _round_number(_MOST_SHOTS)
        return f"More shots do not help: it would take more than {most} for each value. Instead {widen}"
    return (
        f"Take about {_round_number(needed)} shots (in the entry of backends.yaml, or --shots; of an"
        f" EstimatorQNN default_precision={1 / math.sqrt(needed):.2g}), or {widen}"
    )


def _round_number(count: int) -> str:
    """A count in two digits, for people.

    >>> _round_number(15_159), _round_number(1_000_000), _round_number(99)
    ('15,000', '1 million', '99')
    """
    digits = max(len(str(count)) - 2, 0)
    rounded = round(count, -digits)
    if rounded >= 1_000_000:
        return f"{rounded / 1e6:g} million"
    return f"{rounded:,}"


def _noise(outputs: Array, shots: int) -> float:
    """Standard error of an output of eigenvalues +-1, root mean square over samples and outputs."""
    # An observable of eigenvalues +-1 has the variance 1 - <O>^2; noise may carry an estimate of <O> beyond
    # 1.
    return float(np.sqrt(np.clip(1 - outputs**2, 0, 1).mean() / shots))


def _signal(layer: LayerSigns, shots: int) -> float:
    """Standard deviation of the exact outputs over the samples, mean over outputs."""
    noisy = shots_of(layer.layer) is not None
    variance = layer.outputs.var(axis=0).mean() - (_noise(layer.outputs, shots) ** 2 if noisy else 0.0)
    return float(np.sqrt(max(variance, 0.0)))


def constant_forecast(signs: Signs) -> Iterator[Finding]:
    """A forecast that hardly moves over the samples, beside the targets."""
    if signs.targets is None or len(signs.forecast) < 2:
        return
    moves = pooled_spread(signs.targets)
    ratio = signs.spread / moves if moves > 0 else math.inf
    # While training goes on a forecast may well be near its mean still.
    judged = signs.background.epochs > 0 and signs.thorough and not signs.background.relative
    scaled = signs.background.advise(("data.scaling=window", "changes since its last value"))
    if ratio < _CONSTANT or (ratio < _COLLAPSED and judged):
        yield Finding(
            "constant_forecast",
            "error" if ratio < _CONSTANT else "warning",
            f"The forecast hardly moves over {len(signs.forecast)} samples: its standard deviation is"
            f" {100 * ratio:.2g} % of the targets'.",
            f"Scale the targets relative to the window ({scaled}), train longer or at another learning rate;"
            " of returns little more may be known",
            {
                "ratio": ratio,
                "forecast_std": signs.spread,
                "target_std": moves,
                "samples": len(signs.forecast),
            },
        )

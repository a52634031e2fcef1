"""The checks as data, code -> what looks for it and what it explains, and `examine`, which runs them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from torch import Tensor, nn

from qhq.diagnostics.doctor import angles, gradients, outputs, structure
from qhq.diagnostics.doctor.finding import SEVERITIES, Diagnosis, Finding
from qhq.diagnostics.doctor.signs import Background, Signs, read_signs

_Check = Callable[[Signs], Iterable[Finding]]

CHECKS: dict[str, _Check] = {
    "forward_fails": structure.forward_fails,
    "dtype_mismatch": structure.dtype_mismatch,
    "device_mismatch": structure.device_mismatch,
    "not_finite": structure.not_finite,
    "quantum_replaced": structure.quantum_replaced,
    "quantum_not_executed": structure.quantum_not_executed,
    "input_gradients_off": gradients.input_gradients_off,
    "dead_relu": angles.dead_relu,
    "angles_small": angles.angles_small,
    "angles_saturated": angles.angles_saturated,
    "angles_wrapped": angles.angles_wrapped,
    "all_inputs_ignored": outputs.all_inputs_ignored,
    "some_inputs_ignored": outputs.some_inputs_ignored,
    "some_outputs_constant": outputs.some_outputs_constant,
    "barren_plateau": gradients.barren_plateau,
    "circuit_bypassed": structure.circuit_bypassed,
    "output_band_tight": outputs.output_band_tight,
    "shot_noise": outputs.shot_noise,
    "gradient_none": gradients.gradient_none,
    "gradient_zero": gradients.gradient_zero,
    "gradient_vanishing": gradients.gradient_vanishing,
    "gradient_exploding": gradients.gradient_exploding,
    "weights_never_move": gradients.weights_never_move,
    "constant_forecast": outputs.constant_forecast,
}
"""Code -> check, causes before what follows from them. `docs/doctor.md` has a paragraph for each."""

_MEASURES = angles.measured, outputs.measured, gradients.measured

_NO_SIGNAL = frozenset({"output_band_tight", "circuit_bypassed", "shot_noise", "constant_forecast"})
_NO_GRADIENT = frozenset({"gradient_none", "gradient_zero", "gradient_vanishing", "weights_never_move"})

FOLLOWS: dict[str, frozenset[str]] = {
    "dtype_mismatch": frozenset({"forward_fails", "gradient_none"}),
    "device_mismatch": frozenset({"forward_fails"}),
    "not_finite": frozenset({"gradient_exploding", "forward_fails"}),
    "quantum_replaced": _NO_GRADIENT,
    "quantum_not_executed": _NO_GRADIENT | _NO_SIGNAL,
    "input_gradients_off": _NO_GRADIENT,
    "dead_relu": _NO_SIGNAL | _NO_GRADIENT | {"angles_small"},
    "angles_small": _NO_SIGNAL | {"gradient_vanishing"},
    "angles_saturated": _NO_SIGNAL | {"gradient_zero", "gradient_vanishing", "weights_never_move"},
    "all_inputs_ignored": _NO_SIGNAL | _NO_GRADIENT | {"angles_small"},
    "barren_plateau": _NO_SIGNAL | {"gradient_vanishing"},
    "circuit_bypassed": frozenset({"gradient_zero", "gradient_vanishing", "weights_never_move"}),
    "output_band_tight": frozenset({"circuit_bypassed", "shot_noise", "constant_forecast"}),
    "gradient_exploding": frozenset({"gradient_vanishing"}),
    "constant_forecast": frozenset({"gradient_vanishing"}),
    "gradient_none": frozenset({"weights_never_move"}),
    "gradient_zero": frozenset({"weights_never_move"}),
}
"""Code of an error -> codes that it explains: these are reported as ``info``, since curing it cures them."""


def examine(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    targets: Tensor | None = None,
    *,
    background: Background | None = None,
    thorough: bool = True,
) -> Diagnosis:
    """Look at a model on some samples, before or after training.

    Any module will do: its quantum layers are found (every ``TorchConnector``, over a user's ``EstimatorQNN``
    as well as qhq's own), and a model without one is looked at for the rest. Weights, gradients, mode and
    torch's generator stay as they are.

    Args:
        model: The model.
        inputs: What it is called with, B samples first: windows (B, T, F), or a tuple with static features.
        targets: Scaled targets of the forecasts' shape.
        background: What is known besides.
        thorough: Also ask the exact engine (light cone, plateau, whether the outputs are the circuit's);
            without it a look costs about two forward passes and one backward.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    >>> examine(model, torch.randn(8, 3)).healthy
    True
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    signs = read_signs(model, arguments, targets, background or Background(), thorough=thorough)
    found = sort_findings(finding for check in CHECKS.values() for finding in check(signs))
    return replace(found, measured=tuple(each for measure in _MEASURES for each in measure(signs)))


def sort_findings(findings: Iterable[Finding]) -> Diagnosis:
    """Sort findings by gravity; what an error explains is reported as info, with the name of its cause."""
    found = list(findings)
    errors = [each.code for each in found if each.severity == "error"]
    # A cause that follows from another is no cause: only what nothing explains is named as one.
    roots = [code for code in errors if not any(code in FOLLOWS.get(each, ()) for each in errors)]
    placed = [_in_its_place(each, roots) for each in found]
    return Diagnosis(tuple(sorted(placed, key=lambda each: SEVERITIES.index(each.severity))))


def _in_its_place(finding: Finding, causes: list[str]) -> Finding:
    cause = next((each for each in causes if finding.code in FOLLOWS.get(each, ())), None)
    if cause is None:
        return finding
    evidence = {**finding.evidence, "follows_from": cause}
    return replace(finding, severity="info", evidence=evidence, fix=f"Cure {cause} first. {finding.fix}")

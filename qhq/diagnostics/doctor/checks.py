"""The checks as data: code -> what looks for it, and which finding explains which."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qhq.diagnostics.doctor import angles, gradients, kinds, movement, outputs, plateau, structure
from qhq.diagnostics.doctor.finding import Finding
from qhq.diagnostics.doctor.signs import Signs

Check = Callable[[Signs], Iterable[Finding]]

CHECKS: dict[str, Check] = {
    "forward_fails": kinds.forward_fails,
    "dtype_mismatch": kinds.dtype_mismatch,
    "device_mismatch": kinds.device_mismatch,
    "not_finite": kinds.not_finite,
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
    "barren_plateau": plateau.barren_plateau,
    "circuit_bypassed": structure.circuit_bypassed,
    "output_band_tight": outputs.output_band_tight,
    "shot_noise": outputs.shot_noise,
    "gradient_none": gradients.gradient_none,
    "gradient_zero": gradients.gradient_zero,
    "gradient_vanishing": gradients.gradient_vanishing,
    "gradient_exploding": gradients.gradient_exploding,
    "weights_never_move": movement.weights_never_move,
    "constant_forecast": outputs.constant_forecast,
}
"""Code -> check, causes before what follows from them. `docs/doctor.md` has a paragraph for each."""

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

"""Kinds of numbers: dtypes and devices that do not fit, NaN, a model that cannot run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from qhq.diagnostics.doctor.finding import Finding, Severity
from qhq.diagnostics.doctor.signs import Signs

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
        f"Give all of them one dtype: model.to(torch.{usual}) and inputs.to(torch.{usual}); in a config"
        f" --set training.dtype={usual if usual in ('float32', 'float64') else 'float32'}",
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
        "--set training.dtype=float32, or model.float()",
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
            "Check the data ('qhq data check'), lower training.learning_rate or set training.clip_norm=1",
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
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    return bool(torch.isfinite(tensor).all())

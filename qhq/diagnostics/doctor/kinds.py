"""Kinds of numbers: dtypes and devices that do not fit, NaN, a model that cannot run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from qhq.diagnostics.doctor.finding import Finding
from qhq.diagnostics.doctor.signs import Signs

_COARSE = (torch.float16, torch.bfloat16)


def dtype_mismatch(signs: Signs) -> Iterator[Finding]:
    """Weights and inputs of several dtypes, or of one too coarse for angles."""
    weights = Counter(str(each.dtype).removeprefix("torch.") for each in _weights(signs))
    inputs = {str(each.dtype).removeprefix("torch.") for each in signs.arguments}
    if len(inputs | set(weights)) > 1:
        usual = weights.most_common(1)[0][0] if weights else "float32"
        kinds = ", ".join(f"{name} ({count} tensors)" for name, count in weights.most_common())
        yield Finding(
            "dtype_mismatch",
            "warning" if signs.failure is None else "error",
            f"The inputs are {', '.join(sorted(inputs))} and the weights {kinds}:"
            + (" values are converted on the way." if signs.failure is None else f" {_reason(signs)}"),
            f"Give all of them one dtype: model.to(torch.{usual}) and inputs.to(torch.{usual}); in a config"
            f" --set training.dtype={usual if usual in ('float32', 'float64') else 'float32'}",
            {"inputs": ", ".join(sorted(inputs)), "weights": kinds, "runs": signs.failure is None},
        )
    elif whole := [each for each in signs.angle_dtypes if not each.is_floating_point]:
        yield Finding(
            "dtype_mismatch",
            "error",
            f"The quantum layer is given whole numbers ({whole[0]}) for angles: no gradient passes them.",
            "Leave out .long() and .int() before the layer: angles are floating point numbers",
            {"angles": str(whole[0]), "weights": ", ".join(weights), "runs": signs.failure is None},
        )
    elif any(each.dtype in _COARSE for each in _weights(signs)):
        yield Finding(
            "dtype_mismatch",
            "warning",
            f"The weights are {next(iter(weights))}: angles are rounded to about 0.01 rad.",
            "--set training.dtype=float32, or model.float()",
            {"weights": next(iter(weights)), "inputs": ", ".join(sorted(inputs)), "runs": True},
        )


def device_mismatch(signs: Signs) -> Iterator[Finding]:
    """Weights and inputs on several devices."""
    weights = Counter(str(each.device) for each in _weights(signs))
    inputs = {str(each.device) for each in signs.arguments}
    if len(inputs | set(weights)) > 1:
        kinds = ", ".join(f"{name} ({count} tensors)" for name, count in weights.most_common())
        home = weights.most_common(1)[0][0] if weights else "cpu"
        yield Finding(
            "device_mismatch",
            "warning" if signs.failure is None else "error",
            f"The inputs are on {', '.join(sorted(inputs))} and the weights on {kinds}."
            + ("" if signs.failure is None else f" {_reason(signs)}"),
            f"Move all of them: model.to('{home}') and inputs.to('{home}')",
            {"inputs": ", ".join(sorted(inputs)), "weights": kinds, "runs": signs.failure is None},
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


def _reason(signs: Signs) -> str:
    """The first line of the error, as a sentence."""
    text = (str(signs.failure).strip().splitlines() or [""])[0]
    return f"{type(signs.failure).__name__}: {text[:200].rstrip('.')}."


def _weights(signs: Signs) -> list[Tensor]:
    return list(signs.model.parameters())


def _finite(tensor: Tensor) -> bool:
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    return bool(torch.isfinite(tensor).all())

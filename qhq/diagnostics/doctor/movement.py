"""Movement: weights that are where they started, though the model was trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from qhq.diagnostics.doctor.finding import Finding
from qhq.diagnostics.doctor.signs import Signs


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

"""A visit: read its signs once, run the checks, and put causes before what follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn

from qhq.diagnostics.doctor.background import Background
from qhq.diagnostics.doctor.checks import CHECKS, FOLLOWS
from qhq.diagnostics.doctor.finding import SEVERITIES, Diagnosis, Finding
from qhq.diagnostics.doctor.signs import read_signs


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
    return diagnose(finding for check in CHECKS.values() for finding in check(signs))


def diagnose(findings: Iterable[Finding]) -> Diagnosis:
    """Sort findings by gravity; what an error explains is reported as info, with the name of its cause."""
    found = list(findings)
    errors = [each.code for each in found if each.severity == "error"]
    roots = [code for code in errors if not any(code in FOLLOWS.get(each, ()) for each in errors)]
    placed = [_in_its_place(each, roots) for each in found]
    return Diagnosis(tuple(sorted(placed, key=lambda each: SEVERITIES.index(each.severity))))


def _in_its_place(finding: Finding, causes: list[str]) -> Finding:
    cause = next((each for each in causes if finding.code in FOLLOWS.get(each, ())), None)
    if cause is None:
        return finding
    evidence = {**finding.evidence, "follows_from": cause}
    return replace(finding, severity="info", evidence=evidence, fix=f"Cure {cause} first. {finding.fix}")

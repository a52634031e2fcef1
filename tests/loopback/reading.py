"""What a submission asks for, read from its JSON alone: PUB shapes, program items, shots."""

from __future__ import annotations

import math
from typing import Any

SECONDS_PER_SHOT = 250e-6
"""Repetition time of a device, and so what a shot is charged."""


def read_request(params: dict[str, Any]) -> dict[str, Any]:
    """Read the parameters of an executor job.

    Returns:
        ``pubs`` (of an estimator ``parameters`` (shape), ``observables`` (number) and ``bases`` (number of
        measured bases); of a sampler ``parameters``), ``items`` (``kind``, ``shape`` and ``shots`` of each
        program item, calibration circuits included), ``shots`` (all of them) and ``seconds`` (of QPU time).
    """
    program = params.get("quantum_program", {})
    items = [_item(item, program["shots"]) for item in program.get("items", [])]
    shots = sum(item["shots"] for item in items)
    return {
        "pubs": _pubs(program.get("passthrough_data") or {}, items),
        "items": items,
        "shots": shots,
        "seconds": round(1.0 + shots * SECONDS_PER_SHOT, 3),
    }


def _item(item: dict[str, Any], shots: int) -> dict[str, Any]:
    arguments = item.get("circuit_arguments")
    shape = list(arguments["shape"][:-1]) if arguments else list(item["shape"])
    return {"kind": item["item_type"], "shape": shape, "shots": shots * math.prod(shape)}


def _pubs(passthrough: dict[str, Any], items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    entries = passthrough.get("qiskit_mitigation")
    if entries is None:
        return [{"parameters": item["shape"]} for item in items]
    return [
        {
            "parameters": list(entry["param_shape"]),
            "observables": _count(entry["observables"]),
            "bases": len({basis for _, basis in entry["param_basis_pairs"]}),
        }
        for entry in entries
        if "observables" in entry
    ]


def _count(observables: Any) -> int:
    """Observables in a nested list of them."""
    return sum(map(_count, observables)) if isinstance(observables, list) else 1

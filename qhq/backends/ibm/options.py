"""What an ``ibm`` entry asks of IBM's estimator, and the circuits and shots that come of it."""

from __future__ import annotations

import math
from typing import Any

from qhq.backends.ibm.spec import IBMSpec, Switch

LONGEST_SECONDS = 10_800
"""No job of the service may take longer, whatever it asks for."""

AUTO_SHOTS, AUTO_RANDOMIZATIONS = 64, 32
"""How the client divides shots over randomizations: at least 64 each, at most 32 of them."""


def estimator_options(spec: IBMSpec, tag: str, limit: int | None) -> dict[str, Any]:
    """Options of ``qiskit_ibm_runtime.executor_estimator.Estimator`` for one job.

    Args:
        spec: The entry.
        tag: The journal's tag of the job; those of the entry come after it.
        limit: Seconds on the device after which the service is to stop it; None for none.
    """
    return {
        "default_shots": spec.shots,
        "resilience_level": spec.resilience_level,
        "max_execution_time": None if limit is None else min(limit, LONGEST_SECONDS),
        "environment": {"job_tags": [tag, *spec.tags]},
        "resilience": {
            "measure_mitigation": _flag(spec.trex),
            "zne_mitigation": _flag(spec.zne.enable),
            "zne": {
                "amplifier": spec.zne.amplifier,
                "noise_factors": spec.zne.noise_factors,
                "extrapolator": spec.zne.extrapolator,
            },
        },
        "twirling": {
            "enable_gates": _flag(spec.twirling.gates),
            "enable_measure": _flag(spec.twirling.measure),
            "num_randomizations": spec.twirling.randomizations or "auto",
            "strategy": spec.twirling.strategy,
        },
        "dynamical_decoupling": _decoupling(spec),
    }


def circuits_per_sample(spec: IBMSpec) -> int:
    """How often a sample runs for each setting of the readout: once, or once for each noise factor."""
    return len(spec.zne.noise_factors) if spec.is_on(spec.zne.enable, from_level=2) else 1


def shots_per_circuit(spec: IBMSpec) -> int:
    """Shots of a circuit once they are divided over randomizations: those asked for, rounded up."""
    if not _is_twirled(spec):
        return spec.shots
    if spec.twirling.randomizations is not None:
        return spec.twirling.randomizations * math.ceil(spec.shots / spec.twirling.randomizations)
    each = max(AUTO_SHOTS, math.ceil(spec.shots / AUTO_RANDOMIZATIONS))
    return each * math.ceil(spec.shots / each)


def calibration_circuits(spec: IBMSpec) -> int:
    """Circuits that a job runs to learn the readout errors: one for TREX."""
    return 1 if spec.is_on(spec.trex, from_level=1) else 0


def _is_twirled(spec: IBMSpec) -> bool:
    measured = spec.is_on(spec.twirling.measure, from_level=1) or spec.is_on(spec.trex, from_level=1)
    return measured or spec.is_on(spec.twirling.gates, from_level=2)


def _flag(switch: Switch) -> bool | None:
    return None if switch == "level" else switch == "on"


def _decoupling(spec: IBMSpec) -> dict[str, Any]:
    if spec.dynamical_decoupling == "off":
        return {"enable": False}
    return {"enable": True, "sequence_type": spec.dynamical_decoupling}

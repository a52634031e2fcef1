"""What the doctor says: findings, and whether the model is healthy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

Evidence = Mapping[str, float | int | str | bool | None]


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        code: Its name, a key of `qhq.diagnostics.doctor.checks.CHECKS`.
        severity: ``error`` makes the model unhealthy; ``info`` follows from another finding, or is by design.
        message: One sentence with the figures.
        fix: What to set, as a ``--set`` or a line of code.
        evidence: The figures by name, angles in radians.
    """

    code: str
    severity: Severity
    message: str
    fix: str
    evidence: Evidence = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a figure that is not finite becomes its name, since JSON has no such number."""
        return {**asdict(self), "evidence": {name: _plain(value) for name, value in self.evidence.items()}}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class Diagnosis:
    """All findings, the gravest first."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether no finding is an error."""
        return not any(each.severity == "error" for each in self.findings)

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the findings that stand on their own: errors and warnings."""
        return tuple(each.code for each in self.findings if each.severity != "info")

    def to_dict(self) -> dict[str, Any]:
        """``{healthy, findings}``, as plain JSON."""
        return {"healthy": self.healthy, "findings": [each.to_dict() for each in self.findings]}

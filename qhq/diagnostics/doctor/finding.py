"""What the doctor says: findings, and whether the model is healthy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, TypedDict

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

_Figure = float | int | str | bool | None
_Evidence = Mapping[str, _Figure]


class FindingRecord(TypedDict):
    """A `Finding` as plain JSON."""

    code: str
    severity: Severity
    message: str
    fix: str
    evidence: dict[str, _Figure]


class DiagnosisRecord(TypedDict):
    """A `Diagnosis` as plain JSON."""

    healthy: bool
    findings: list[FindingRecord]


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
    evidence: _Evidence = field(default_factory=dict)

    def to_dict(self) -> FindingRecord:
        """Plain JSON; a figure that is not finite becomes its name, since JSON has no such number."""
        evidence = {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self.evidence.items()
        }
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "fix": self.fix,
            "evidence": evidence,
        }


class MeasureRecord(TypedDict):
    """A `Measure` as plain JSON."""

    name: str
    where: str
    value: _Figure
    limit: float
    fault_if: str


@dataclass(frozen=True)
class Measure:
    """A figure that checks go by: of all layers or modules the one nearest to a fault.

    Attributes:
        name: What was measured, with its unit.
        where: Layer or module; empty where it is of the whole model.
        value: The figure.
        limit: What it is held against.
        below: Whether it is a fault to lie below, and else to lie above.
    """

    name: str
    where: str
    value: float
    limit: float
    below: bool = True

    @classmethod
    def nearest(
        cls, name: str, values: Mapping[str, float], limit: float, *, below: bool = True
    ) -> Iterator[Self]:
        """The lowest of some figures, or the highest; nothing where there are none."""
        known = {where: value for where, value in values.items() if not math.isnan(value)}
        if known:
            where = (min if below else max)(known, key=known.__getitem__)
            yield cls(name, where, known[where], limit, below)

    def to_dict(self) -> MeasureRecord:
        """Plain JSON; a figure that is not finite becomes its name."""
        return {
            "name": self.name,
            "where": self.where,
            "value": self.value if math.isfinite(self.value) else str(self.value),
            "limit": self.limit,
            "fault_if": "below" if self.below else "above",
        }


@dataclass(frozen=True)
class Diagnosis:
    """All findings, the gravest first, and what was measured on the way."""

    findings: tuple[Finding, ...]
    measured: tuple[Measure, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether no finding is an error."""
        return not any(each.severity == "error" for each in self.findings)

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the findings that stand on their own: errors and warnings."""
        return tuple(each.code for each in self.findings if each.severity != "info")

    def to_dict(self) -> DiagnosisRecord:
        """``{healthy, findings}``, as plain JSON."""
        return {"healthy": self.healthy, "findings": [each.to_dict() for each in self.findings]}

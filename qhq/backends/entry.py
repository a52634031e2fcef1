"""What the entries of every kind have in common. No Qiskit here: listing backends costs nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from qhq.documents import Spec
from qhq.limits import MOST_COUNT, MOST_FACTOR, MOST_SEED, MOST_SHOTS


class BackendSpec(Spec):
    """What the entries of every kind have in common.

    Attributes:
        kind: What stands behind it; a key of :data:`KINDS`.
        name: Key of the entry; never written inside it.
        description: One line for lists.
        shots: Measurements a value is estimated from; null means exact.
        gradient: How gradients are found.
    """

    kind: str
    name: str = ""
    description: str = ""
    shots: int | None = Field(default=None, ge=1, le=MOST_SHOTS)
    gradient: str


class SpsaSpec(Spec):
    """Gradients by simultaneous perturbation, see :mod:`qhq.backends.gradients.spsa`.

    Attributes:
        perturbations: Random directions averaged a sample; each takes two circuits.
        step: How far to go along one, radians.
    """

    perturbations: int = Field(default=4, ge=1, le=MOST_COUNT)
    step: float = Field(default=0.1, gt=0, le=MOST_FACTOR)


class TranspileSpec(Spec):
    """How a circuit is rewritten for a device.

    Attributes:
        optimization_level: Qiskit's, 0 to 3.
        seed: Of its random search, so that the same device gives the same circuit.
        layout: Physical qubit that each logical one starts on; null leaves it to the transpiler.
    """

    optimization_level: Literal[0, 1, 2, 3] = 3
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    layout: tuple[int, ...] | None = None

    @field_validator("layout")
    @classmethod
    def _names_each_once(cls, layout: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if layout is not None and (len(set(layout)) != len(layout) or min(layout, default=0) < 0):
            raise ValueError("a layout must name physical qubits, each once")
        return layout

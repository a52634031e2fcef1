"""Encodings: how the inputs enter a circuit. Qiskit is imported inside methods: reading a spec costs nothing.

To add one, write an :class:`InputEncoding` with its fields and its circuit, and add its line to
:data:`Encoding`.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from qhq.documents import Spec

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

Entanglement = Literal["linear", "reverse_linear", "full", "circular", "pairwise", "sca"]
"""Which qubits a circuit of Qiskit's library couples, in Qiskit's own words."""

ROTATIONS: dict[str, tuple[str, ...]] = {
    "RX": ("rx",),
    "RY": ("ry",),
    "RZ": ("rz",),
    "Rot": ("rz", "ry", "rz"),
}
"""Words of ``gates`` and the Qiskit methods they stand for, in order of time."""

FIXED_GATES: dict[str, tuple[str, ...]] = {"H": ("h",)}
"""The same for words that take no weight."""


class InputEncoding(Spec):
    """What every encoding has: its circuit, and what must be known of it before Qiskit builds it.

    A subclass has the fields ``kind``, its name in a file, and ``repeat``, whether the inputs enter again
    before each further layer.
    """

    @abstractmethod
    def circuit(self, qubits: int, *, first: bool) -> QuantumCircuit:
        """Build the circuit on ``qubits`` qubits; its parameters, in Qiskit's order, are the inputs.

        Args:
            qubits: Q.
            first: Whether nothing stands before it; only then may it begin with a layer of H.
        """

    def check_width(self, qubits: int) -> None:
        """Check that it can be built on so many qubits.

        Raises:
            ValueError: If not; the message says what to set.
        """

    def most_gates(self, qubits: int) -> int:
        """How many gates it has, counted generously; too large a circuit is refused before it is built."""
        return 3 * qubits


class AngleEncoding(InputEncoding):
    """One rotation an input and qubit; several gates encode several inputs on each qubit."""

    kind: Literal["angle"] = "angle"
    gates: str = "RY"
    hadamard: bool = False
    repeat: bool = False

    @field_validator("gates")
    @classmethod
    def _check_gates(cls, gates: str) -> str:
        words = gate_words(gates, tuple(name for name in ROTATIONS if name != "Rot"))
        # RY(a) RY(b) = RY(a + b): one of the two inputs could be left out, and nobody would see which.
        if any(word == following for word, following in pairwise(words)):
            raise ValueError("two equal gates in a row would only add their inputs; put another between")
        return " ".join(words)

    @model_validator(mode="after")
    def _check_first_gate(self) -> AngleEncoding:
        if self.gates.split()[0] == "RZ" and not self.hadamard:
            raise ValueError("RZ first does nothing to |0>; set hadamard: true or begin with RX or RY")
        return self

    def circuit(self, qubits: int, *, first: bool) -> QuantumCircuit:
        """Columns of rotations, behind a column of H where that is asked for."""
        from qiskit.circuit import QuantumCircuit

        circuit = QuantumCircuit(qubits)
        # Only before the first: H in the middle of a circuit is a gate of its own, and no preparation.
        if self.hadamard and first:
            circuit.h(range(qubits))
        return circuit.compose(rotation_columns(self.gates, qubits, range(qubits)))


class ZZFeatureMap(InputEncoding):
    """Qiskit's ``zz_feature_map`` as encoding: one input a qubit, and products of pairs of inputs."""

    kind: Literal["zz_feature_map"]
    reps: int = Field(default=1, ge=1, le=100)
    entanglement: Entanglement = "full"
    repeat: bool = False

    def circuit(self, qubits: int, *, first: bool) -> QuantumCircuit:  # noqa: ARG002
        """The circuit of Qiskit's library."""
        from qiskit.circuit.library import zz_feature_map

        return zz_feature_map(qubits, reps=self.reps, entanglement=self.entanglement)

    def check_width(self, qubits: int) -> None:
        """A single qubit has no pair."""
        if qubits < 2:
            raise ValueError("zz_feature_map encodes pairs of qubits; set qubits to 2 or more")

    def most_gates(self, qubits: int) -> int:
        """Each repetition couples every pair at most."""
        return self.reps * qubits**2


def kind_or(default: str) -> Discriminator:
    """Tell the members of a union apart by ``kind``; without one it is the ``default``."""

    def kind(value: Any) -> Any:
        return value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default)

    # Not pydantic's ``discriminator="kind"``, which refuses a mapping that leaves the kind out.
    return Discriminator(kind)


Encoding = Annotated[
    Annotated[AngleEncoding, Tag("angle")]  # without a kind it is this one
    | Annotated[ZZFeatureMap, Tag("zz_feature_map")],
    kind_or("angle"),
]
"""Every encoding that a file of ``circuits/`` may name."""


def gate_words(gates: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Split a row of gates into words.

    >>> gate_words("RX RZ", ("RX", "RZ"))
    ('RX', 'RZ')

    Raises:
        ValueError: If there is none, or one is not ``known``.
    """
    words = tuple(gates.split())
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        raise ValueError(f"gates must be one or more of {', '.join(known)}, separated by spaces")
    return words


def rotation_columns(gates: str, qubits: int, on: Iterable[int]) -> QuantumCircuit:
    """One column a gate, one parameter a qubit it is ``on``; parameters run down the columns."""
    from qiskit.circuit import ParameterVector, QuantumCircuit

    circuit, on = QuantumCircuit(qubits), list(on)
    words = gates.split()
    angles = iter(ParameterVector("r", len(on) * sum(len(ROTATIONS.get(word, ())) for word in words)))
    for word in words:
        for method in FIXED_GATES.get(word, ()):
            getattr(circuit, method)(on)
        for method, qubit in itertools.product(ROTATIONS.get(word, ()), on):
            getattr(circuit, method)(next(angles), qubit)
    return circuit

"""Trainable blocks and entanglers: what a layer of a circuit is made of. Qiskit is imported inside methods.

To add one, write a :class:`TrainableBlock` with its fields and its circuit, and add its line to
:data:`Block`.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Tag, field_validator

from qhq.ansatz.encodings import (
    ENCODING_ROTATIONS,
    FIXED_GATES,
    EntanglementPattern,
    gate_words,
    kind_or,
    rotation_columns,
)
from qhq.documents import Spec

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

_Pairs = list[tuple[int, int]]


def _linear(qubits: int) -> _Pairs:
    return [(qubit, qubit + 1) for qubit in range(qubits - 1)]


def _around(pairs: _Pairs) -> _Pairs:
    """A ring of two qubits is one gate: its way there and its way back would partly undo each other."""
    return pairs if len(pairs) > 2 else pairs[:-1]


_PATTERNS: dict[str, Callable[[int], _Pairs]] = {
    "none": lambda _: [],
    "linear": _linear,
    "falling": lambda n: [(qubit, qubit - 1) for qubit in range(n - 1, 0, -1)],
    "ring": lambda n: _around([*_linear(n), (n - 1, 0)]),
    # Both in the order of Sim, Johnson and Aspuru-Guzik (their circuits 10, 13 to 15, 18 and 19), which is
    # not that of "ring".
    "rising_ring": lambda n: _around([(qubit, (qubit + 1) % n) for qubit in range(n - 1, -1, -1)]),
    "falling_ring": lambda n: _around([(qubit, (qubit - 1) % n) for qubit in (n - 1, *range(n - 1))]),
    # The second ring of Chen, Yoo and Fang's QLSTM.
    "skip_ring": lambda n: [(qubit, (qubit + 2) % n) for qubit in range(n)] if n > 2 else [],
    "full": lambda n: list(itertools.combinations(range(n), 2)),
    "all_to_all": lambda n: list(itertools.permutations(range(n - 1, -1, -1), 2)),
    "even": lambda n: [(qubit + 1, qubit) for qubit in range(0, n - 1, 2)],
    "odd": lambda n: [(qubit + 1, qubit) for qubit in range(1, n - 1, 2)],
}
"""Name -> pairs on so many qubits; one qubit has none. On four, for instance:

- ``linear`` 01 12 23, ``falling`` 32 21 10: neighbours.
- ``ring`` 01 12 23 30, ``rising_ring`` 30 23 12 01, ``falling_ring`` 32 03 10 21: neighbours all around.
- ``skip_ring`` 02 13 20 31: each qubit and the next but one, all around.
- ``full`` 01 02 03 12 13 23: each pair once. ``all_to_all`` 32 31 30 23 21 20 13 12 10 03 02 01: both ways.
- ``even`` 10 32, ``odd`` 21: the two halves of a brick wall.
"""


class TrainableBlock(Spec):
    """What every block has: its circuit in one layer. A subclass has the field ``kind``, its name."""

    @abstractmethod
    def circuit(self, qubits: int, *, last: bool) -> QuantumCircuit:
        """Build the block on ``qubits`` qubits, its parameters in the order of the weights.

        Args:
            qubits: Q.
            last: Whether it is in the last layer. Only there does a block of Qiskit's library have its
                closing column of rotations, so that all layers together are the library's circuit with as
                many repetitions.
        """


class RotationBlock(TrainableBlock):
    """Columns of rotations, one weight a gate and qubit.

    Attributes:
        gates: ``RY``, ``RX RZ``, ``Rot`` (RZ RY RZ), or any row of these words. ``H`` stands for a column of
            Hadamard gates, which takes no weight.
        on: ``all`` qubits, or the ``inner`` ones: all but the first and the last.
    """

    kind: Literal["rotations"] = "rotations"
    gates: str = "RY"
    on: Literal["all", "inner"] = "all"

    @field_validator("gates")
    @classmethod
    def _check_gates(cls, gates: str) -> str:
        return " ".join(gate_words(gates, (*ENCODING_ROTATIONS, *FIXED_GATES)))

    def circuit(self, qubits: int, *, last: bool) -> QuantumCircuit:  # noqa: ARG002
        """Columns of rotations."""
        return rotation_columns(
            self.gates, qubits, range(qubits) if self.on == "all" else range(1, qubits - 1)
        )


class CouplingBlock(TrainableBlock):
    """Two-qubit gates between blocks; ``crx`` and ``crz`` take one weight a gate, ``cx`` and ``cz`` none.

    Attributes:
        gate: The two-qubit gate.
        pattern: Which pairs it couples, in which order.
    """

    kind: Literal["couplings"]
    gate: Literal["cx", "cz", "crx", "crz"]
    pattern: Literal[
        "linear",
        "falling",
        "ring",
        "rising_ring",
        "falling_ring",
        "skip_ring",
        "full",
        "all_to_all",
        "even",
        "odd",
    ]

    def circuit(self, qubits: int, *, last: bool) -> QuantumCircuit:  # noqa: ARG002
        """The gates of the pattern, their weights in order of time."""
        return _coupled(self.gate, self.pattern, qubits)


class RealAmplitudesBlock(TrainableBlock):
    """Qiskit's ``real_amplitudes``; over all layers it is the library circuit with ``reps`` = depth.

    Attributes:
        entanglement: Which qubits are coupled, in Qiskit's words.
    """

    kind: Literal["real_amplitudes"]
    entanglement: EntanglementPattern = "reverse_linear"

    def circuit(self, qubits: int, *, last: bool) -> QuantumCircuit:
        """One repetition of the library's circuit."""
        from qiskit.circuit.library import real_amplitudes

        return real_amplitudes(
            qubits, reps=1, entanglement=self.entanglement, skip_final_rotation_layer=not last
        )


class EfficientSU2Block(TrainableBlock):
    """Qiskit's ``efficient_su2``; over all layers it is the library circuit with ``reps`` = depth.

    Attributes:
        entanglement: Which qubits are coupled, in Qiskit's words.
    """

    kind: Literal["efficient_su2"]
    entanglement: EntanglementPattern = "reverse_linear"

    def circuit(self, qubits: int, *, last: bool) -> QuantumCircuit:
        """One repetition of the library's circuit."""
        from qiskit.circuit.library import efficient_su2

        return efficient_su2(
            qubits, reps=1, entanglement=self.entanglement, skip_final_rotation_layer=not last
        )


Block = Annotated[
    Annotated[RotationBlock, Tag("rotations")]  # without a kind it is this one
    | Annotated[CouplingBlock, Tag("couplings")]
    | Annotated[RealAmplitudesBlock, Tag("real_amplitudes")]
    | Annotated[EfficientSU2Block, Tag("efficient_su2")],
    kind_or("rotations"),
]
"""Every block that a file of ``circuits/`` may name."""


class Entangler(Spec):
    """Two-qubit gates after the blocks of each layer; a ring of two qubits is a single gate.

    Attributes:
        pattern: Which pairs are coupled: neighbours and the ends (``ring``), neighbours (``linear``), all
            (``full``) or ``none``.
        gate: The two-qubit gate.
    """

    pattern: Literal["ring", "linear", "full", "none"] = "ring"
    gate: Literal["cx", "cz"] = "cx"

    def circuit(self, qubits: int) -> QuantumCircuit:
        """The gates of the pattern."""
        return _coupled(self.gate, self.pattern, qubits)


def _coupled(gate: str, pattern: str, qubits: int) -> QuantumCircuit:
    """Two-qubit gates, and for rotations one parameter each, in order of time."""
    from qiskit.circuit import ParameterVector, QuantumCircuit

    circuit, pairs = QuantumCircuit(qubits), _PATTERNS[pattern](qubits)
    if gate in ("cx", "cz"):
        for control, target in pairs:
            getattr(circuit, gate)(control, target)
    else:
        for angle, (control, target) in zip(ParameterVector("r", len(pairs)), pairs, strict=True):
            getattr(circuit, gate)(angle, control, target)
    return circuit

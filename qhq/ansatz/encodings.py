"""Encodings: how the inputs enter a circuit. Qiskit is imported inside methods: reading a spec costs nothing.

To add one, write an :class:`InputEncoding` with its fields and its circuit, and add its line to
:data:`Encoding`.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from qhq.documents import Spec
from qhq.limits import MOST_SEED

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

    @property
    def renews(self) -> bool:
        """Whether a repetition has inputs of its own, and not the first ones again."""
        return False

    def check_width(self, qubits: int) -> None:
        """Check that it can be built on so many qubits.

        Raises:
            ValueError: If not; the message says what to set.
        """

    def most_gates(self, qubits: int) -> int:
        """How many gates it has, counted generously; too large a circuit is refused before it is built."""
        return 3 * qubits


class AngleEncoding(InputEncoding):
    """One rotation an input and qubit; several gates encode several inputs on each qubit.

    ``fresh`` gives every repetition inputs of its own, in the order of the layers: re-uploading in time,
    where each layer takes the next step of a window.
    """

    kind: Literal["angle"] = "angle"
    gates: str = "RY"
    hadamard: bool = False
    repeat: bool = False
    fresh: bool = False

    @field_validator("gates")
    @classmethod
    def _check_gates(cls, gates: str) -> str:
        words = gate_words(gates, tuple(name for name in ROTATIONS if name != "Rot"))
        # RY(a) RY(b) = RY(a + b): one of the two inputs could be left out, and nobody would see which.
        if any(word == following for word, following in pairwise(words)):
            raise ValueError("two equal gates in a row would only add their inputs; put another between")
        return " ".join(words)

    @property
    def renews(self) -> bool:
        """Whether a repetition has inputs of its own."""
        return self.fresh

    @model_validator(mode="after")
    def _check_fresh(self) -> AngleEncoding:
        if self.fresh and not self.repeat:
            raise ValueError("fresh is of repetitions; set repeat: true beside it")
        return self

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


class ReservoirEncoding(InputEncoding):
    """A quantum reservoir: hidden qubits keep their state while inputs come and go, lag after lag.

    At each lag the input qubits are prepared by RY(x), then hidden and input qubits evolve by
    ``exp(-i t H)``, ``H = sum_i Z_i + sum_{i<j} J_ij X_i X_j`` (arXiv:2505.13933), as Trotter steps of second
    order. Where the paper resets its input qubits, each lag here has input qubits of its own: what is read of
    the hidden and of the newest ones is the same, since nothing acts on those of earlier lags again (deferred
    measurement). Without resets it runs on every backend, on ``lags`` times the input qubits.

    Qubits are in the order hidden, then the inputs of each lag, the oldest first; so are the inputs.

    Attributes:
        hidden: Qubits that keep their state.
        lags: Rows that are fed one after the other.
        time: Of the evolution at each lag, t.
        steps: Trotter steps a lag.
        coupling: The J_ij are uniform in [0, coupling), drawn from ``seed`` and the same at every lag.
        seed: Of the couplings.
    """

    kind: Literal["reservoir"]
    hidden: int = Field(default=2, ge=1, le=29)
    lags: int = Field(default=3, ge=1, le=29)
    time: float = Field(default=1.0, gt=0.0, le=1000.0)
    steps: int = Field(default=2, ge=1, le=1000)
    coupling: float = Field(default=0.2, gt=0.0, le=1000.0)
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    repeat: ClassVar[bool] = False

    def circuit(self, qubits: int, *, first: bool) -> QuantumCircuit:  # noqa: ARG002
        """Each lag's inputs, then its evolution."""
        from qiskit.circuit import ParameterVector, QuantumCircuit

        circuit, inputs = QuantumCircuit(qubits), (qubits - self.hidden) // self.lags
        angles = ParameterVector("x", inputs * self.lags)
        for lag in range(self.lags):
            begin = self.hidden + lag * inputs
            for place in range(inputs):
                circuit.ry(angles[lag * inputs + place], begin + place)
            wires = [*range(self.hidden), *range(begin, begin + inputs)]
            circuit.compose(self.evolution(len(wires)), wires, inplace=True)
        return circuit

    def evolution(self, qubits: int) -> QuantumCircuit:
        """The evolution of one lag on ``qubits`` qubits, the hidden ones first."""
        from qiskit.circuit import QuantumCircuit

        from qhq.seeding import child_generator

        circuit, step = QuantumCircuit(qubits), self.time / self.steps
        pairs = list(itertools.combinations(range(qubits), 2))
        couplings = child_generator(self.seed, "couplings").uniform(0, self.coupling, len(pairs))
        for place in range(self.steps):
            # Half of Z before and half after: those of neighbouring steps meet in one rotation.
            circuit.rz(step if place == 0 else 2 * step, range(qubits))
            for (one, other), coupling in zip(pairs, couplings, strict=True):
                circuit.rxx(2 * step * float(coupling), one, other)
        circuit.rz(step, range(qubits))
        return circuit

    def check_width(self, qubits: int) -> None:
        """Every lag has as many input qubits as another, and one at least."""
        left = qubits - self.hidden
        if left < self.lags or left % self.lags:
            raise ValueError(
                f"a reservoir of {self.hidden} hidden qubits and {self.lags} lags needs {self.hidden} qubits"
                f" and a multiple of {self.lags} more, not {qubits}"
            )

    def most_gates(self, qubits: int) -> int:
        """Each step couples every pair at most."""
        return self.lags * (self.steps + 1) * qubits**2


def kind_or(default: str) -> Discriminator:
    """Tell the members of a union apart by ``kind``; without one it is the ``default``."""

    def kind(value: Any) -> Any:
        return value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default)

    # Not pydantic's ``discriminator="kind"``, which refuses a mapping that leaves the kind out.
    return Discriminator(kind)


Encoding = Annotated[
    Annotated[AngleEncoding, Tag("angle")]  # without a kind it is this one
    | Annotated[ZZFeatureMap, Tag("zz_feature_map")]
    | Annotated[ReservoirEncoding, Tag("reservoir")],
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

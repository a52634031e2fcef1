"""Encodings: how the inputs enter a circuit. Qiskit is imported inside methods: reading a spec costs nothing.

To add one, write an :class:`InputEncoding` with its fields and its circuit, and add its line to
``_OwnEncoding``; or in another package an entry point of the group ``qhq.encodings``, by its kind.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    WrapValidator,
    field_validator,
    model_validator,
)

from qhq.documents import Spec, read_bytes
from qhq.errors import ConfigError
from qhq.limits import MOST_SEED
from qhq.plugins import find_point, load_point

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from qiskit.circuit import ParameterVector, QuantumCircuit

EntanglementPattern = Literal["linear", "reverse_linear", "full", "circular", "pairwise", "sca"]
"""Which qubits a circuit of Qiskit's library couples, in Qiskit's own words."""

ENCODING_ROTATIONS: dict[str, tuple[str, ...]] = {
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

    scaling: ClassVar[str | None] = None
    """The one angle scaling that it is made for, if any."""

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

    def drawn_from(self, seed: int) -> Self:  # noqa: ARG002
        """The same with whatever it draws drawn from a run's seed, where it does not name a seed itself."""
        return self

    def check_width(self, qubits: int) -> None:
        """Check that it can be built on so many qubits.

        Raises:
            ValueError: If not; the message says what to set.
        """

    def most_gates(self, qubits: int) -> int:
        """How many gates it has, counted generously; too large a circuit is refused before it is built."""
        return 3 * qubits


class AngleEncoding(InputEncoding):
    """One rotation an input and qubit.

    Attributes:
        gates: Rotations on each qubit, such as ``RY`` or ``RX RZ``; each takes an input of its own.
        hadamard: Whether a column of Hadamard gates comes first.
        repeat: Whether the inputs enter again before each further layer (re-uploading).
        fresh: Whether each repetition has inputs of its own, in the order of the layers: re-uploading in
            time, where each layer takes the next step of a window.
    """

    kind: Literal["angle"] = "angle"
    gates: str = "RY"
    hadamard: bool = False
    repeat: bool = False
    fresh: bool = False

    @field_validator("gates")
    @classmethod
    def _check_gates(cls, gates: str) -> str:
        words = gate_words(gates, tuple(name for name in ENCODING_ROTATIONS if name != "Rot"))
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
    """Qiskit's ``zz_feature_map`` as encoding: one input a qubit, and products of pairs of inputs.

    Attributes:
        reps: Repetitions of the library's circuit.
        entanglement: Which qubits are coupled, in Qiskit's words.
        repeat: Whether the inputs enter again before each further layer (re-uploading).
    """

    kind: Literal["zz_feature_map"]
    reps: int = Field(default=1, ge=1, le=100)
    entanglement: EntanglementPattern = "full"
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
    ``exp(-i t H)``, ``H = sum_i Z_i + sum_{i<j} J_ij X_i X_j`` (arXiv:2505.13933), as Trotter steps.

    With ``reset`` the input qubits are reset between two lags, as in the paper. Without, each lag has input
    qubits of its own: what is read of the hidden and of the newest ones is the same, since nothing acts on
    those of earlier lags again (deferred measurement). The first takes fewer qubits; the second is a circuit
    of gates alone.

    What is read before the last evolution ends are virtual nodes. With ``readout_times`` the whole reservoir
    is there once for each of them, side by side on as many qubits more: a state cannot be read and go on, and
    a device runs all of them in the same shots. Simulators take them one by one (`qhq.ansatz.factors`).

    Qubits are in the order hidden, then the inputs (of each lag, the oldest first), or with ``hidden_last``
    the inputs, then hidden; couplings are in the order of the qubits of a lag. Inputs are lag after lag, the
    oldest first.

    Attributes:
        hidden: Qubits that keep their state.
        lags: Rows that are fed one after the other.
        time: Of the evolution at each lag, t.
        steps: Trotter steps a lag.
        order: Of the Trotter formula: 2, or 4, which takes five times as many gates a step.
        coupling: The J_ij are uniform in [0, coupling), drawn from ``seed`` and the same at every lag.
        couplings: CSV file of the J_ij in place of them, a symmetric matrix without a header.
        seed: Of the couplings; None is the run's, so that several seeds are several reservoirs.
        reset: Whether input qubits are reset and used again.
        hidden_last: Whether the hidden qubits come after the inputs; needs ``reset``.
        readout_times: Of the evolution after the last lag, one a readout; by default ``time`` alone. The
            qubits, and the outputs with them, are those of the first time, then of the second, ...
    """

    kind: Literal["reservoir"]
    hidden: int = Field(default=2, ge=1, le=29)
    lags: int = Field(default=3, ge=1, le=29)
    time: float = Field(default=1.0, gt=0.0, le=1000.0)
    steps: int = Field(default=2, ge=1, le=1000)
    order: Literal[2, 4] = 2
    coupling: float = Field(default=0.2, gt=0.0, le=1000.0)
    couplings: str | None = Field(default=None, min_length=1, max_length=4096)
    seed: int | None = Field(default=None, ge=0, le=MOST_SEED)
    reset: bool = False
    hidden_last: bool = False
    readout_times: tuple[Annotated[float, Field(gt=0.0, le=1000.0)], ...] = Field((), max_length=8)
    repeat: ClassVar[bool] = False

    def drawn_from(self, seed: int) -> ReservoirEncoding:
        """The same with couplings of a run's seed, unless it names one."""
        return self if self.seed is not None else self.model_copy(update={"seed": seed})

    @model_validator(mode="before")
    @classmethod
    def _read_last_time(cls, content: Any) -> Any:
        """One time was called ``last_time`` before there could be several."""
        if isinstance(content, Mapping) and "last_time" in content and "readout_times" not in content:
            given = content["last_time"]
            rest = {key: value for key, value in content.items() if key != "last_time"}
            return rest if given is None else {**rest, "readout_times": (given,)}
        return content

    @model_validator(mode="after")
    def _check_order_of_qubits(self) -> ReservoirEncoding:
        if self.hidden_last and not self.reset:
            raise ValueError("hidden_last needs reset: true; without it every lag has qubits of its own")
        return self

    def circuit(self, qubits: int, *, first: bool) -> QuantumCircuit:  # noqa: ARG002
        """Each lag's inputs, then its evolution."""
        from qiskit.circuit import ParameterVector, QuantumCircuit

        times = self.readout_times or (self.time,)
        width = qubits // len(times)
        inputs = (width - self.hidden) // (1 if self.reset else self.lags)
        circuit, angles = QuantumCircuit(qubits), ParameterVector("x", inputs * self.lags)
        evolution = self.evolution(self.hidden + inputs)
        for node, time in enumerate(times):
            last = evolution if time == self.time else self.evolution(self.hidden + inputs, time)
            one = self._reservoir(width, angles, [evolution] * (self.lags - 1) + [last])
            circuit.compose(one, range(node * width, (node + 1) * width), inplace=True)
        return circuit

    def _reservoir(
        self, qubits: int, angles: ParameterVector, evolutions: list[QuantumCircuit]
    ) -> QuantumCircuit:
        """One reservoir, with an evolution for each lag."""
        from qiskit.circuit import QuantumCircuit

        circuit, inputs = QuantumCircuit(qubits), len(angles) // self.lags
        for lag, evolution in enumerate(evolutions):
            begin = 0 if self.hidden_last else self.hidden + (0 if self.reset else lag * inputs)
            own = range(begin, begin + inputs)
            hidden = range(inputs, qubits) if self.hidden_last else range(self.hidden)
            if lag and self.reset:
                circuit.reset(own)
            for place, qubit in enumerate(own):
                circuit.ry(angles[lag * inputs + place], qubit)
            circuit.compose(evolution, sorted([*hidden, *own]), inplace=True)
        return circuit

    def evolution(self, qubits: int, time: float | None = None) -> QuantumCircuit:
        """The evolution of one lag on ``qubits`` qubits, for ``time`` in place of its own."""
        from qiskit.circuit import QuantumCircuit

        circuit = QuantumCircuit(qubits)
        pairs = list(itertools.combinations(range(qubits), 2))
        couplings = self._couplings(qubits, pairs)
        step = (self.time if time is None else time) / self.steps
        # Suzuki's fourth order is five steps of second order, the middle one backwards in time.
        share = 1 / (4 - 4 ** (1 / 3))
        whole = [1.0] if self.order == 2 else [share, share, 1 - 4 * share, share, share]
        parts = [step * each for each in whole * self.steps]
        for before, part in zip([0.0, *parts], parts, strict=False):
            # Half of Z before and half after: those of neighbouring steps meet in one rotation.
            circuit.rz(before + part, range(qubits))
            for (one, other), coupling in zip(pairs, couplings, strict=True):
                # A rotation of Qiskit turns by half its angle, which is why the exponent's is doubled.
                circuit.rxx(2 * part * coupling, one, other)
        circuit.rz(parts[-1], range(qubits))
        return circuit

    def _couplings(self, qubits: int, pairs: list[tuple[int, int]]) -> list[float]:
        """J of each pair.

        Raises:
            ConfigError: If the file is not such a matrix.
        """
        if self.couplings is None:
            from qhq.seeding import child_generator

            drawn = child_generator(self.seed or 0, "couplings").uniform(0, self.coupling, len(pairs))
            return [float(each) for each in drawn]
        matrix = _read_matrix(Path(self.couplings), qubits)
        return [float(matrix[pair]) for pair in pairs]

    def check_width(self, qubits: int) -> None:
        """Every lag has as many input qubits as another, and one at least; so has every readout time."""
        times = max(1, len(self.readout_times))
        left, shared = qubits // times - self.hidden, 1 if self.reset else self.lags
        if qubits % times or left < shared or left % shared:
            each = f", for each of {times} readout times" if times > 1 else ""
            raise ValueError(
                f"a reservoir of {self.hidden} hidden qubits and {self.lags} lags needs {self.hidden} qubits"
                f" and a multiple of {shared} more{each}, not {qubits}"
            )

    def most_gates(self, qubits: int) -> int:
        """Each step couples every pair at most."""
        steps = self.steps * (1 if self.order == 2 else 5)
        return self.lags * (steps + 1) * qubits**2


class ArctanEncoding(InputEncoding):
    """H, RY(arctan x) and RZ(arctan x^2) on each qubit (Chen, Yoo and Fang, arXiv:2009.01783).

    The inputs of the circuit are angles, here ``y = arctan x`` by the ansatz's ``angle_scaling: arctan``; the
    second gate takes ``arctan(tan(y)^2)`` of the same one.

    Attributes:
        repeat: Whether the inputs enter again before each further layer (re-uploading).
    """

    kind: Literal["arctan"]
    repeat: bool = False
    scaling: ClassVar[str] = "arctan"

    def circuit(self, qubits: int, *, first: bool) -> QuantumCircuit:
        """A column of H before the first time, then both rotations."""
        from qiskit.circuit import ParameterVector, QuantumCircuit

        circuit = QuantumCircuit(qubits)
        if first:
            circuit.h(range(qubits))
        for qubit, angle in enumerate(ParameterVector("x", qubits)):
            tangent = angle.tan()
            circuit.ry(angle, qubit)
            # A product, not a power: Qiskit's derivative of a power has a logarithm in it.
            circuit.rz((tangent * tangent).arctan(), qubit)
        return circuit


def _read_matrix(path: Path, size: int) -> NDArray[np.float64]:
    """A symmetric matrix of finite numbers from a CSV file without a header.

    Raises:
        ConfigError: If it is none of that size.
    """
    import numpy as np

    try:
        # A spreadsheet begins its CSV with a byte order mark, which is no digit.
        lines = read_bytes(path).decode("utf-8-sig").split()
        found = np.array([[float(each) for each in line.split(",")] for line in lines])
        wrong = found.shape != (size, size) or not np.isfinite(found).all()
        fault = f"shape {found.shape}" if wrong else None if np.allclose(found, found.T) else "asymmetric"
    except (OSError, ValueError) as error:
        fault = str(error).splitlines()[0] if str(error) else type(error).__name__
    if fault is not None:
        raise ConfigError(
            f"encoding.couplings must be a CSV file of a symmetric {size} x {size} matrix, without a header",
            got=f"{path}: {fault}",
            fix="Write a number for each pair of qubits of one lag, in their order",
        )
    return found


def kind_or(default: str) -> Discriminator:
    """Tell the members of a union apart by ``kind``; without one it is the ``default``."""

    def kind(value: Any) -> Any:
        return value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default)

    # Not pydantic's ``discriminator="kind"``, which refuses a mapping that leaves the kind out.
    return Discriminator(kind)


# Entry points by which another package adds encodings: the kind, and its class.
_GROUP = "qhq.encodings"

_OwnEncoding = Annotated[
    Annotated[AngleEncoding, Tag("angle")]  # without a kind it is this one
    | Annotated[ZZFeatureMap, Tag("zz_feature_map")]
    | Annotated[ArctanEncoding, Tag("arctan")]
    | Annotated[ReservoirEncoding, Tag("reservoir")],
    kind_or("angle"),
]

_OWN_KINDS = frozenset(
    each.tag for one in get_args(get_args(_OwnEncoding)[0]) for each in get_args(one) if isinstance(each, Tag)
)


def _or_of_another_package(value: Any, own: Callable[[Any], InputEncoding]) -> InputEncoding:
    """Read an encoding; qhq's own kinds are never looked for in other packages.

    Raises:
        ConfigError: If another package has one that cannot be used.
    """
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    if kind in _OWN_KINDS or not isinstance(kind, str):
        return own(value)
    if isinstance(value, InputEncoding):
        return value
    point = find_point(_GROUP, kind)
    if point is None:
        return own(value)  # which says what there is
    encoding: type[InputEncoding] = load_point(
        point,
        lambda found: isinstance(found, type) and issubclass(found, InputEncoding),
        must="An encoding must be a subclass of qhq.ansatz.encodings.InputEncoding",
        otherwise="choose another encoding",
    )
    return encoding.model_validate(value)


Encoding = Annotated[SerializeAsAny[_OwnEncoding], WrapValidator(_or_of_another_package)]
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
    angles = iter(
        ParameterVector("r", len(on) * sum(len(ENCODING_ROTATIONS.get(word, ())) for word in words))
    )
    for word in words:
        for method in FIXED_GATES.get(word, ()):
            getattr(circuit, method)(on)
        for method, qubit in itertools.product(ENCODING_ROTATIONS.get(word, ()), on):
            getattr(circuit, method)(next(angles), qubit)
    return circuit

"""What a file of ``circuits/`` may say. No Qiskit here: reading a spec costs nothing."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, Tag, field_validator, model_validator

from qhq.ansatz.encodings import (
    FIXED_GATES,
    ROTATIONS,
    AngleEncoding,
    Encoding,
    Entanglement,
    gate_words,
    kind_or,
)
from qhq.documents import Spec

AngleScalingKind = Literal["pi_tanh", "half_pi_tanh", "pi_sin", "two_arctan", "unit_tanh"]
"""Bounded maps of any real number to an angle in radians, see :mod:`qhq.quantum.angle_scaling`."""

PAULI = r"[IXYZ]+|[XYZ]\d+( [XYZ]\d+)*"
"""A Pauli operator as a text, by all qubits or by those that it acts on."""

MOST_GATES = 2_000_000
"""Of a circuit, counted generously; more would take minutes to build and gigabytes to hold."""

QASM_ENDINGS = (".qasm", ".qasm2", ".qasm3", ".inc")
"""Of OpenQASM files; which version one is, its first line says."""


class RotationBlock(Spec):
    """One weight a gate and qubit: ``RY``, ``RX RZ``, ``Rot`` (RZ RY RZ), or any row of these words.

    ``H`` stands for a column of Hadamard gates, which takes no weight. ``inner`` leaves out the first and the
    last qubit.
    """

    kind: Literal["rotations"] = "rotations"
    gates: str = "RY"
    on: Literal["all", "inner"] = "all"

    @field_validator("gates")
    @classmethod
    def _check_gates(cls, gates: str) -> str:
        return " ".join(gate_words(gates, (*ROTATIONS, *FIXED_GATES)))


class CouplingBlock(Spec):
    """Two-qubit gates between blocks; ``crx`` and ``crz`` take one weight a gate, ``cx`` and ``cz`` none.

    The patterns are those of :mod:`qhq.ansatz.patterns`.
    """

    kind: Literal["couplings"]
    gate: Literal["cx", "cz", "crx", "crz"]
    pattern: Literal[
        "linear", "falling", "ring", "rising_ring", "falling_ring", "full", "all_to_all", "even", "odd"
    ]


class RealAmplitudesBlock(Spec):
    """Qiskit's ``real_amplitudes``; over all layers it is the library circuit with ``reps`` = depth."""

    kind: Literal["real_amplitudes"]
    entanglement: Entanglement = "reverse_linear"


class EfficientSU2Block(Spec):
    """Qiskit's ``efficient_su2``; over all layers it is the library circuit with ``reps`` = depth."""

    kind: Literal["efficient_su2"]
    entanglement: Entanglement = "reverse_linear"


class Entangler(Spec):
    """Two-qubit gates after the blocks of each layer; a ring of two qubits is a single gate."""

    pattern: Literal["ring", "linear", "full", "none"] = "ring"
    gate: Literal["cx", "cz"] = "cx"


class CircuitFile(Spec):
    """A user's own circuit instead of layers.

    Attributes:
        path: QPY (``.qpy``), OpenQASM 2 or 3 (``.qasm``), either packed by gzip or not, or ``.py`` (with
            ``build(qubits, depth)``), relative to the YAML file.
        inputs: Parameters that take the inputs, by name, or one prefix of their names; the rest are
            weights. Not for ``.py``, whose ``build`` says so itself.
        weights: For a circuit without free parameters, such as OpenQASM 2, in place of ``inputs``. The
            circuit is then the block of each layer behind the ansatz's ``encoding``. With ``angles`` each
            rotation angle in it becomes a weight; with ``none`` it stays as it is.
    """

    path: str
    inputs: str | tuple[str, ...] | None = None
    weights: Literal["angles", "none"] | None = None

    @model_validator(mode="after")
    def _check_roles(self) -> CircuitFile:
        suffix = self.suffix
        if suffix not in (*QASM_ENDINGS, ".qpy", ".py"):
            raise ValueError("path must end in .qpy, .qasm or .py")
        given = bool(self.inputs) + (self.weights is not None)
        if suffix == ".py" and given:
            raise ValueError(
                "inputs must be left out, and weights too, since build() of a Python file returns both"
            )
        if suffix != ".py" and given != 1:
            raise ValueError(
                "inputs must name the input parameters of the circuit, or their prefix; a circuit without"
                " free parameters has weights: angles, or weights: none, in place of inputs"
            )
        return self

    @property
    def suffix(self) -> str:
        """Ending of the file's name without ``.gz``, in lower case with its dot; '' if it has none."""
        _, dot, ending = self.path.lower().removesuffix(".gz").rpartition(".")
        return dot + ending


Block = Annotated[
    Annotated[RotationBlock, Tag("rotations")]
    | Annotated[CouplingBlock, Tag("couplings")]
    | Annotated[RealAmplitudesBlock, Tag("real_amplitudes")]
    | Annotated[EfficientSU2Block, Tag("efficient_su2")],
    kind_or("rotations"),
]


class AnsatzSpec(Spec):
    """A circuit as its YAML file describes it.

    Attributes:
        description: One line for lists.
        qubits: Width of the circuit.
        depth: Layers; a layer is the blocks in order, then the entangler. 0 leaves the encoding alone. A
            Python file takes it as it likes; QPY and OpenQASM 3 have none.
        angle_scaling: How inputs of any size become angles (the model applies it before the circuit).
        encoding: How inputs enter; ``repeat`` enters them again before each layer (re-uploading).
        blocks: Trainable blocks of a layer.
        entangler: What couples the qubits at the end of a layer.
        observables: ``z_each`` (Z on every qubit), or Pauli operators, each written either as Qiskit
            does (``IIXZ``, qubit 0 rightmost) or by qubit (``Z0 X1``).
        file: A circuit of the user's own; blocks and entangler then stay unset, and so does encoding unless
            the file is a block (``file.weights``).
    """

    description: str = ""
    qubits: int = Field(default=4, ge=1, le=30)
    depth: int = Field(default=1, ge=0, le=1000)
    angle_scaling: AngleScalingKind = "pi_tanh"
    encoding: Encoding = AngleEncoding()
    blocks: tuple[Block, ...] = Field(default=(RotationBlock(),), min_length=1, max_length=100)
    entangler: Entangler = Entangler()
    observables: Literal["z_each"] | tuple[str, ...] = "z_each"
    file: CircuitFile | None = None

    @field_validator("observables")
    @classmethod
    def _check_observables(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str):
            return value
        if not value:
            raise ValueError("observables must hold at least one Pauli operator")
        for text in value:
            if not re.fullmatch(PAULI, text):
                raise ValueError(f"'{text}' is no Pauli operator; write 'IIXZ' or 'Z0 X1'")
        return value

    @model_validator(mode="after")
    def _check_width(self) -> AnsatzSpec:
        self.encoding.check_width(self.qubits)
        return self

    @model_validator(mode="after")
    def _check_size(self) -> AnsatzSpec:
        """Depth, reps and pairs of qubits multiply: refused before Qiskit is asked to build it."""
        pairs = self.qubits**2
        encodings = 1 + self.depth * self.encoding.repeat
        gates = encodings * self.encoding.most_gates(self.qubits) + self.depth * len(self.blocks) * pairs
        if gates > MOST_GATES:
            raise ValueError(
                f"qubits, depth and reps must make at most {MOST_GATES:,} gates, not some {gates:,}"
            )
        return self

    @model_validator(mode="after")
    def _check_file_stands_alone(self) -> AnsatzSpec:
        if self.file is None:
            return self
        unset = AnsatzSpec.model_fields
        for name in ("encoding", "blocks", "entangler"):
            if name == "encoding" and self.file.weights is not None:
                continue
            if getattr(self, name) != unset[name].default:
                raise ValueError(f"file and {name} exclude each other; a circuit from a file is complete")
        return self

"""A lowered gate -> rotations about Y, phases of Z-strings, moves of amplitudes, and dense matrices.

``RY(q, a)`` is Qiskit's, ``Phase(qubits, a)`` is ``exp(-i a Z...Z / 2)``, ``Move`` is CX, X or SWAP. All
one-qubit gates are ``RZ RY RZ`` (Nielsen and Chuang, theorem 4.1); global phases are dropped.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit.circuit import Gate
from qiskit.circuit.library import CXGate, CZGate, RZZGate, SwapGate, UnitaryGate, XGate

from qhq.engine.compile.lowering import lower

_NATIVE = {"cx": CXGate, "x": XGate, "swap": SwapGate, "cz": CZGate, "rzz": RZZGate}
_TINY = 1e-15
"""An entry below this is rounding of zero; its argument would be noise."""
_HALF_PI = np.pi / 2


@dataclass(frozen=True)
class Angle:
    """``constant + slope * theta_index``; no theta where ``index`` is None."""

    constant: float = 0.0
    index: int | None = None


@dataclass(frozen=True)
class RY:
    """``exp(-i angle Y / 2)`` on one qubit."""

    qubit: int
    angle: Angle


@dataclass(frozen=True)
class Phase:
    """``exp(-i angle Z...Z / 2)``."""

    qubits: tuple[int, ...]
    angle: Angle


@dataclass(frozen=True)
class Move:
    """``cx``, ``x`` or ``swap``."""

    name: str
    qubits: tuple[int, ...]


@dataclass(frozen=True)
class Dense:
    """Any unitary; bit ``j`` of a row of the matrix is qubit ``qubits[j]``."""

    qubits: tuple[int, ...]
    matrix: npt.NDArray[np.complex128]


Primitive = RY | Phase | Move | Dense


def rotation(name: str, qubits: tuple[int, ...], angle: Angle) -> Iterator[Primitive]:
    """A gate of ``ROTATIONS`` as primitives: a change of frame, the rotation, and the way back."""
    if name in {"rz", "p", "rzz"}:
        yield Phase(qubits, angle)
        return
    if name == "ry":
        yield RY(qubits[0], angle)
        return
    way = list(_way(name, qubits))
    yield from way
    last = qubits[-1] if name == "rzx" else qubits[0]
    yield Phase((last,), Angle(_HALF_PI))
    yield RY(last, angle)
    yield Phase((last,), Angle(-_HALF_PI))
    for step in reversed(way):  # moves are their own inverse
        yield Phase(step.qubits, Angle(-step.angle.constant)) if isinstance(step, Phase) else step


def _way(name: str, qubits: tuple[int, ...]) -> Iterator[Primitive]:
    """The change of frame in which RXX, RYY and RZX are RX on one qubit."""
    if name == "ryy":
        yield from (Phase((q,), Angle(-_HALF_PI)) for q in qubits)
    if name in {"rxx", "ryy"}:
        yield Move("cx", qubits)
    if name == "rzx":
        yield from _controlled_phase(qubits, np.pi)


def _controlled_phase(qubits: tuple[int, ...], angle: float) -> Iterator[Primitive]:
    """``diag(1, 1, 1, exp(i angle))``, since ``b_0 b_1 = (1 - Z_0 - Z_1 + Z_0 Z_1) / 4``."""
    for qubit in qubits:
        yield Phase((qubit,), Angle(angle / 2))
    yield Phase(qubits, Angle(-angle / 2))


def fixed(gate: Gate, qubits: tuple[int, ...]) -> Iterator[Primitive]:
    """A gate of a lowered circuit without free parameters as primitives."""
    native = gate.name if gate.base_class is _NATIVE.get(gate.name) else ""  # anybody may call a gate "cx"
    if native in {"cx", "x", "swap"}:
        yield Move(native, qubits)
    elif native == "cz":
        yield from _controlled_phase(qubits, np.pi)
    elif native == "rzz":
        yield Phase(qubits, Angle(float(gate.params[0])))
    elif len(qubits) == 1:
        yield from _one_qubit(np.asarray(gate.to_matrix(), np.complex128), qubits[0])
    # Not taken apart: a dense matrix on k qubits is one pass, its synthesis dozens of gates.
    elif isinstance(gate, UnitaryGate) or gate.definition is None:
        yield Dense(qubits, np.asarray(gate.to_matrix(), np.complex128))
    else:
        definition = lower(gate.definition)
        for step in definition.data:
            wires = tuple(qubits[definition.find_bit(bit).index] for bit in step.qubits)
            yield from fixed(step.operation, wires)


def _one_qubit(matrix: npt.NDArray[np.complex128], qubit: int) -> Iterator[Primitive]:
    """Euler angles: ``matrix = phase * RZ(phi) RY(theta) RZ(lam)``."""
    (a, b), (c, d) = matrix
    if abs(c) < _TINY:
        yield Phase((qubit,), Angle(_argument(d / a)))
    elif abs(a) < _TINY:  # X after a phase
        yield Phase((qubit,), Angle(_argument(b / c)))
        yield Move("x", (qubit,))
    else:
        plus, minus = _argument(d / a), _argument(-c / b)
        phi, lam = (plus + minus) / 2, (plus - minus) / 2
        # c / a = tan(theta / 2) exp(i phi). Halving leaves phi known up to pi, which the sign of theta mends.
        sign = 1.0 if (c / a * cmath.exp(-1j * phi)).real > 0 else -1.0
        yield Phase((qubit,), Angle(lam))
        yield RY(qubit, Angle(2 * float(np.arctan2(abs(c), abs(a))) * sign))
        yield Phase((qubit,), Angle(phi))


def _argument(value: Any) -> float:
    return cmath.phase(complex(value))

"""Gate fusion: lowered gates in circuit order -> few, large operations on stored amplitudes.

A gate becomes *primitives*: ``RY(q, a)``, which is Qiskit's, ``Phase(qubits, a)``, which is
``exp(-i a Z...Z / 2)``, ``Move``, which is CX, X or SWAP, and dense matrices. All one-qubit gates are
``RZ RY RZ`` (Nielsen and Chuang, theorem 4.1); global phases are dropped.

Gates that only move amplitudes cost nothing: they change the *frame* in which the others are read. Stored
amplitude ``z`` stands for the basis state whose qubit ``q`` is ``parity(row[q] & z) ^ sign[q]``; ``z ^
col[q]`` differs from it in qubit ``q`` alone. CX, X and SWAP rewrite rows, columns and signs and touch no
amplitude.

Rotations that do not block each other gather in a *layer*, phases behind them in one diagonal; equal axes add
their angles; what acts on |0> or commutes with all observables disappears. All of it is exact.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.circuit.library import CXGate, CZGate, RZZGate, SwapGate, UnitaryGate, XGate

from qhq.engine.compile.definitions import is_parametric
from qhq.engine.compile.lowering import lower
from qhq.engine.program import MOST_ROTATIONS

_NATIVE = {"cx": CXGate, "x": XGate, "swap": SwapGate, "cz": CZGate, "rzz": RZZGate}
# An entry below this is rounding of zero; its argument would be noise.
_TINY = 1e-15
_HALF_PI = np.pi / 2


@dataclass(frozen=True)
class _Angle:
    """``constant + slope * theta_index``; no theta where ``index`` is None."""

    constant: float = 0.0
    index: int | None = None


@dataclass(frozen=True)
class _RY:
    """``exp(-i angle Y / 2)`` on one qubit."""

    qubit: int
    angle: _Angle


@dataclass(frozen=True)
class _Phase:
    """``exp(-i angle Z...Z / 2)``."""

    qubits: tuple[int, ...]
    angle: _Angle


@dataclass(frozen=True)
class _Move:
    """``cx``, ``x`` or ``swap``."""

    name: str
    qubits: tuple[int, ...]


@dataclass(frozen=True)
class _Dense:
    """Any unitary; bit ``j`` of a row of the matrix is qubit ``qubits[j]``."""

    qubits: tuple[int, ...]
    matrix: npt.NDArray[np.complex128]


_Primitive = _RY | _Phase | _Move | _Dense


def _rotation_steps(name: str, qubits: tuple[int, ...], angle: _Angle) -> Iterator[_Primitive]:
    """A gate of ``ROTATIONS`` as primitives: a change of frame, the rotation, and the way back."""
    if name in {"rz", "p", "rzz"}:
        yield _Phase(qubits, angle)
        return
    if name == "ry":
        yield _RY(qubits[0], angle)
        return
    # The change of frame in which RXX, RYY and RZX are RX on one qubit.
    way: list[_Primitive] = []
    if name == "ryy":
        way += (_Phase((q,), _Angle(-_HALF_PI)) for q in qubits)
    if name in {"rxx", "ryy"}:
        way.append(_Move("cx", qubits))
    if name == "rzx":
        way += _controlled_phase(qubits, np.pi)
    yield from way
    last = qubits[-1] if name == "rzx" else qubits[0]
    yield _Phase((last,), _Angle(_HALF_PI))
    yield _RY(last, angle)
    yield _Phase((last,), _Angle(-_HALF_PI))
    for step in reversed(way):  # moves are their own inverse
        yield _Phase(step.qubits, _Angle(-step.angle.constant)) if isinstance(step, _Phase) else step


def _controlled_phase(qubits: tuple[int, ...], angle: float) -> Iterator[_Primitive]:
    """``diag(1, 1, 1, exp(i angle))``, since ``b_0 b_1 = (1 - Z_0 - Z_1 + Z_0 Z_1) / 4``."""
    for qubit in qubits:
        yield _Phase((qubit,), _Angle(angle / 2))
    yield _Phase(qubits, _Angle(-angle / 2))


def _fixed_steps(gate: Gate, qubits: tuple[int, ...]) -> Iterator[_Primitive]:
    """A gate of a lowered circuit without free parameters as primitives."""
    native = gate.name if gate.base_class is _NATIVE.get(gate.name) else ""  # anybody may call a gate "cx"
    if native in {"cx", "x", "swap"}:
        yield _Move(native, qubits)
    elif native == "cz":
        yield from _controlled_phase(qubits, np.pi)
    elif native == "rzz":  # beside CZ the one diagonal gate on two qubits that circuits are full of
        yield _Phase(qubits, _Angle(float(gate.params[0])))
    elif len(qubits) == 1:
        yield from _one_qubit(np.asarray(gate.to_matrix(), np.complex128), qubits[0])
    # Not taken apart: a dense matrix on k qubits is one pass, its synthesis dozens of gates.
    elif isinstance(gate, UnitaryGate) or gate.definition is None:
        yield _Dense(qubits, np.asarray(gate.to_matrix(), np.complex128))
    else:
        definition = lower(gate.definition)
        for step in definition.data:
            wires = tuple(qubits[definition.find_bit(bit).index] for bit in step.qubits)
            yield from _fixed_steps(step.operation, wires)


def _one_qubit(matrix: npt.NDArray[np.complex128], qubit: int) -> Iterator[_Primitive]:
    """Euler angles: ``matrix = phase * RZ(phi) RY(theta) RZ(lam)``."""
    (a, b), (c, d) = matrix
    # Only ratios of entries: whatever global phase the matrix has cancels in them.
    if abs(c) < _TINY:
        yield _Phase((qubit,), _Angle(_argument(d / a)))
    elif abs(a) < _TINY:  # X after a phase
        yield _Phase((qubit,), _Angle(_argument(b / c)))
        yield _Move("x", (qubit,))
    else:
        plus, minus = _argument(d / a), _argument(-c / b)
        phi, lam = (plus + minus) / 2, (plus - minus) / 2
        # c / a = tan(theta / 2) exp(i phi). Halving leaves phi known up to pi, which the sign of theta mends.
        sign = 1.0 if (c / a * cmath.exp(-1j * phi)).real > 0 else -1.0
        yield _Phase((qubit,), _Angle(lam))
        yield _RY(qubit, _Angle(2 * float(np.arctan2(abs(c), abs(a))) * sign))
        yield _Phase((qubit,), _Angle(phi))


def _argument(value: Any) -> float:
    return cmath.phase(complex(value))


class Frame:
    """The linear map over GF(2) from stored index to basis state; the identity at first."""

    def __init__(self, qubits: int) -> None:
        self.row = [1 << q for q in range(qubits)]
        self.col = [1 << q for q in range(qubits)]
        self.sign = [0] * qubits

    def cx(self, control: int, target: int) -> None:
        """``target ^= control``."""
        self.row[target] ^= self.row[control]
        self.sign[target] ^= self.sign[control]
        self.col[control] ^= self.col[target]  # columns are the inverse of the rows, so the other way round

    def x(self, qubit: int) -> None:
        """``qubit ^= 1``."""
        self.sign[qubit] ^= 1

    def swap(self, a: int, b: int) -> None:
        """The two qubits change names."""
        for each in (self.row, self.col, self.sign):
            each[a], each[b] = each[b], each[a]

    def mask(self, qubits: tuple[int, ...]) -> tuple[int, int]:
        """Mask and sign bit of Z on all ``qubits``, which is ``(-1)^(parity(mask & z) ^ sign)``."""
        mask = sign = 0
        for q in qubits:
            mask ^= self.row[q]
            sign ^= self.sign[q]
        return mask, sign

    def flip(self, qubits: tuple[int, ...]) -> int:
        """The product of X on ``qubits`` moves stored amplitude ``z`` to ``z ^ flip``."""
        flip = 0
        for q in qubits:
            flip ^= self.col[q]
        return flip


def odd(bits: int) -> bool:
    """Whether the number of ones is odd."""
    return bool(bits.bit_count() & 1)


class Basis:
    """Coordinates ``y`` of the stored index in which as many masks as possible are single bits.

    Bit ``j`` of ``y(z)`` is ``parity(vectors[j] & z)``.

    Args:
        masks: The masks to be met, non-zero.
        qubits: Number of bits.
    """

    def __init__(self, masks: list[int], qubits: int) -> None:
        units = [1 << q for q in range(qubits)]
        single = all(mask in units for mask in masks)
        self.vectors: list[int] = []
        self._reduced: list[tuple[int, int]] = []
        # For single bits the units do as they are: their map is the identity, which every program has anyway.
        for vector in units if single else [*masks, *units]:
            rest, made_of = self._reduce(vector)
            if rest:  # independent of those before
                self._reduced.append((rest, made_of | 1 << len(self.vectors)))
                self.vectors.append(vector)

    def _reduce(self, vector: int) -> tuple[int, int]:
        """What is left of a vector by Gaussian elimination, and which of ``vectors`` were taken off it."""
        made_of = 0
        for pivot, combination in self._reduced:
            if vector & (1 << (pivot.bit_length() - 1)):
                vector, made_of = vector ^ pivot, made_of ^ combination
        return vector, made_of

    def coordinates(self, mask: int) -> int:
        """The mask over ``y`` that reads what ``mask`` reads over ``z``."""
        return self._reduce(mask)[1]

    def columns(self) -> list[int]:
        """``y(1 << q)`` for each ``q``; ``y`` is linear over GF(2)."""
        return [
            sum((vector >> q & 1) << j for j, vector in enumerate(self.vectors))
            for q in range(len(self.vectors))
        ]


def leading_bits(flips: list[int]) -> list[int]:
    """Bits, ascending, such that each coset of the span of ``flips`` has one member with zeros there."""
    reduced: list[int] = []
    for flip in flips:
        rest = flip
        # The largest pivot first: taking it off may bring in leading bits of smaller ones, never of larger.
        for pivot in sorted(reduced, reverse=True):
            rest = min(rest, rest ^ pivot)  # the smaller has a zero at the pivot's leading bit
        if rest:
            reduced.append(rest)
    return sorted(pivot.bit_length() - 1 for pivot in reduced)


@dataclass
class Sum:
    """``constant + sum_k slopes[k] * theta_k``."""

    constant: float = 0.0
    slopes: dict[int, float] = field(default_factory=dict)

    def add(self, angle: _Angle, sign: int) -> None:
        """Add ``(-1)^sign * angle``."""
        scale = -1.0 if sign else 1.0
        self.constant += scale * angle.constant
        if angle.index is not None:
            self.slopes[angle.index] = self.slopes.get(angle.index, 0.0) + scale


@dataclass
class Rotation:
    """``exp(-i angle Y / 2)`` that mixes ``z`` with ``z ^ flip``; ``mask`` tells which of the two is |0>."""

    flip: int
    mask: int
    angle: Sum


@dataclass
class Diagonal:
    """Mask of each Z-string -> its angle."""

    phases: dict[int, Sum]


@dataclass
class Matrix:
    """A dense unitary on the bits that ``masks`` read and ``flips`` turn over."""

    flips: list[int]
    masks: list[int]
    matrix: npt.NDArray[np.complex128]


@dataclass
class Fused:
    """``product`` on |0...0>, then ``items``; read out in ``frame``."""

    product: list[Rotation]
    items: list[list[Rotation] | Diagonal | Matrix]
    frame: Frame


class Fusion:
    """Takes the gates of a circuit; ``finish`` gives the fused one."""

    def __init__(self, qubits: int) -> None:
        self._frame = Frame(qubits)
        self._touched = 0
        self._layer: list[Rotation] = []
        self._phases: dict[int, Sum] = {}
        self._items: list[list[Rotation] | Diagonal | Matrix] = []

    def add_circuit(self, separated: QuantumCircuit) -> None:
        """Append a lowered circuit whose parametric gates have one angle each, numbered in circuit order."""
        count = 0
        for instruction in separated.data:
            gate = instruction.operation
            qubits = tuple(separated.find_bit(bit).index for bit in instruction.qubits)
            if is_parametric(gate):
                steps = _rotation_steps(gate.name, qubits, _Angle(0.0, count))
                count += 1
            else:
                steps = _fixed_steps(gate, qubits)
            for step in steps:
                match step:
                    case _RY():
                        self._rotation(step)
                    case _Phase():
                        self._phase(step)
                    case _Move():
                        self._move(step)
                    case _Dense():
                        self._dense(step)

    def finish(self, read_flips: set[int]) -> Fused:
        """Close the circuit; ``read_flips`` are the flips of all observables' Pauli strings."""
        # Behind the last rotation, a phase that commutes with every observable changes none of them.
        self._phases = {m: a for m, a in self._phases.items() if any(odd(m & flip) for flip in read_flips)}
        self._flush()
        product = self._split_product()
        items: list[list[Rotation] | Diagonal | Matrix] = []
        for item in self._items:
            items.extend(_passes(item) if isinstance(item, list) else [item])
        return Fused(product, items, self._frame)

    @property
    def frame(self) -> Frame:
        """The frame after all gates so far."""
        return self._frame

    def _rotation(self, step: _RY) -> None:
        flip = self._frame.flip((step.qubit,))
        mask, sign = self._frame.mask((step.qubit,))
        if any(odd(m & flip) for m in self._phases):
            self._flush()  # phases that do not commute with the rotation come before it
        self._touched |= flip  # also where the angle is zero now: the program must hold for any weights
        rotation = self._mergeable(flip, mask)
        if rotation is None:
            rotation = Rotation(flip, mask, Sum())
            self._layer.append(rotation)
        rotation.angle.add(step.angle, sign)

    def _mergeable(self, flip: int, mask: int) -> Rotation | None:
        """The rotation about the same axis that nothing after it blocks."""
        # From the last one back: whatever does not commute stands between, and merging would reorder the two.
        for rotation in reversed(self._layer):
            if (rotation.flip, rotation.mask) == (flip, mask):
                return rotation
            if odd(rotation.flip & mask) != odd(rotation.mask & flip):
                return None
        return None

    def _phase(self, step: _Phase) -> None:
        mask, sign = self._frame.mask(step.qubits)
        # Bits that no rotation has touched are zero, and a phase of them alone is global.
        mask &= self._touched
        if mask:
            self._phases.setdefault(mask, Sum()).add(step.angle, sign)

    def _move(self, step: _Move) -> None:
        if step.name == "cx":
            control, target = step.qubits
            # A control that no rotation has touched is a known bit, so that the CX is an X or nothing.
            if self._frame.row[control] & self._touched:
                self._frame.cx(control, target)
            elif self._frame.sign[control]:
                self._frame.x(target)
        elif step.name == "x":
            self._frame.x(*step.qubits)
        else:
            self._frame.swap(*step.qubits)

    def _dense(self, step: _Dense) -> None:
        self._flush()
        for place, qubit in enumerate(step.qubits):
            if self._frame.sign[qubit]:  # the matrix is to see the qubit as it is, so take X into it
                order = np.arange(len(step.matrix)) ^ (1 << place)
                step = _Dense(step.qubits, step.matrix[np.ix_(order, order)])
        flips = [self._frame.flip((q,)) for q in step.qubits]
        for flip in flips:  # after this no bit of the matrix counts as a known 0
            self._touched |= flip
        self._items.append(Matrix(flips, [self._frame.row[q] for q in step.qubits], step.matrix))

    def _flush(self) -> None:
        # Fixed phases cancel often (the frame of an RX, there and back): a zero constant alone needs no pass.
        phases = {m: a for m, a in self._phases.items() if a.slopes or a.constant}
        # The layer goes first: rotations that were added behind a pending phase commute with it.
        if self._layer:
            self._items.append(self._layer)
        if phases:
            self._items.append(Diagonal(phases))
        self._layer, self._phases = [], {}

    def _split_product(self) -> list[Rotation]:
        """Rotations of single bits of |0...0>, taken from the first layer."""
        if not self._items or not isinstance(self._items[0], list):
            return []
        product: list[Rotation] = []
        rest: list[Rotation] = []
        for rotation in self._items[0]:
            # Nothing before it in the layer may mind that it goes first, and each bit is written once.
            alone = rotation.flip == rotation.mask and rotation.flip.bit_count() == 1
            free = all(_commute(rotation, other) for other in rest)
            fresh = all(rotation.flip != other.flip for other in product)
            (product if alone and free and fresh else rest).append(rotation)
        self._items[0:1] = [rest] if rest else []
        return sorted(product, key=lambda rotation: rotation.flip)


def _commute(a: Rotation, b: Rotation) -> bool:
    """Whether the two axes commute: their symplectic product over GF(2) is zero."""
    return odd(a.flip & b.mask) == odd(a.mask & b.flip)


def _passes(layer: list[Rotation]) -> list[list[Rotation]]:
    """Split a layer into passes of at most ``MOST_ROTATIONS`` independent rotations, by list scheduling."""
    waiting, passes = list(layer), []
    while waiting:
        chosen: list[Rotation] = []
        held: list[Rotation] = []
        for rotation in waiting:
            # Neither mask may see the other's flip, which is more than to commute: the pass looks up both
            # bits before it moves along either flip.
            fits = len(chosen) < MOST_ROTATIONS and not any(
                odd(rotation.flip & other.mask) or odd(rotation.mask & other.flip) for other in chosen
            )
            free = all(_commute(rotation, other) for other in held)
            (chosen if fits and free else held).append(rotation)
        passes.append(chosen)
        waiting = held
    return passes

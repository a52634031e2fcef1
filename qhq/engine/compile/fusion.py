"""Primitives in circuit order -> few, large operations on stored amplitudes.

Turns that do not block each other gather in a *layer*, phases behind them in one diagonal; equal axes add
their angles; what acts on |0> or commutes with all observables disappears. All of it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qhq.engine.compile.frame import Frame, odd
from qhq.engine.compile.primitives import Angle, Dense, Move, Phase, Primitive, Turn

_WIDE = 3
"""Turns a pass: eight rows of the state and eight of the co-state fit the vector registers."""


@dataclass
class Sum:
    """``constant + sum_k slopes[k] * theta_k``."""

    constant: float = 0.0
    slopes: dict[int, float] = field(default_factory=dict)

    def add(self, angle: Angle, sign: int) -> None:
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
class Woven:
    """``product`` on |0...0>, then ``items``; read out in ``frame``."""

    product: list[Rotation]
    items: list[list[Rotation] | Diagonal | Matrix]
    frame: Frame


class Weaver:
    """Takes primitives one by one; ``finish`` gives the woven circuit."""

    def __init__(self, qubits: int) -> None:
        self._frame = Frame(qubits)
        self._touched = 0
        self._layer: list[Rotation] = []
        self._phases: dict[int, Sum] = {}
        self._items: list[list[Rotation] | Diagonal | Matrix] = []

    def add(self, step: Primitive) -> None:
        """Append one primitive."""
        match step:
            case Turn():
                self._turn(step)
            case Phase():
                self._phase(step)
            case Move():
                self._move(step)
            case Dense():
                self._dense(step)

    def finish(self, read_flips: set[int]) -> Woven:
        """Close the circuit; ``read_flips`` are the flips of all observables' Pauli strings."""
        seen = {m: a for m, a in self._phases.items() if any(odd(m & flip) for flip in read_flips)}
        self._phases = seen
        self._flush()
        product = self._split_product()
        items: list[list[Rotation] | Diagonal | Matrix] = []
        for item in self._items:
            items.extend(_passes(item) if isinstance(item, list) else [item])
        return Woven(product, items, self._frame)

    @property
    def frame(self) -> Frame:
        """The frame after all primitives so far."""
        return self._frame

    def _turn(self, step: Turn) -> None:
        flip = self._frame.flip((step.qubit,))
        mask, sign = self._frame.mask((step.qubit,))
        if any(odd(m & flip) for m in self._phases):
            self._flush()
        self._touched |= flip
        twin = self._twin(flip, mask)
        if twin is None:
            twin = Rotation(flip, mask, Sum())
            self._layer.append(twin)
        twin.angle.add(step.angle, sign)

    def _twin(self, flip: int, mask: int) -> Rotation | None:
        """The rotation about the same axis that nothing after it blocks."""
        for rotation in reversed(self._layer):
            if (rotation.flip, rotation.mask) == (flip, mask):
                return rotation
            if odd(rotation.flip & mask) != odd(rotation.mask & flip):
                return None
        return None

    def _phase(self, step: Phase) -> None:
        mask, sign = self._frame.mask(step.qubits)
        # Bits that no rotation has touched are zero, and a phase of them alone is global.
        mask &= self._touched
        if mask:
            self._phases.setdefault(mask, Sum()).add(step.angle, sign)

    def _move(self, step: Move) -> None:
        if step.name == "cx":
            control, target = step.qubits
            if self._frame.row[control] & self._touched:
                self._frame.cx(control, target)
            elif self._frame.sign[control]:
                self._frame.x(target)
        elif step.name == "x":
            self._frame.x(*step.qubits)
        else:
            self._frame.swap(*step.qubits)

    def _dense(self, step: Dense) -> None:
        self._flush()
        for place, qubit in enumerate(step.qubits):
            if self._frame.sign[qubit]:  # the matrix is to see the qubit as it is, so take X into it
                step = Dense(step.qubits, _flip_columns_and_rows(step.matrix, place))
        flips = [self._frame.flip((q,)) for q in step.qubits]
        for flip in flips:
            self._touched |= flip
        self._items.append(Matrix(flips, [self._frame.row[q] for q in step.qubits], step.matrix))

    def _flush(self) -> None:
        phases = {m: a for m, a in self._phases.items() if a.slopes or a.constant}
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
            alone = rotation.flip == rotation.mask and rotation.flip.bit_count() == 1
            free = all(_commute(rotation, other) for other in rest)
            fresh = all(rotation.flip != other.flip for other in product)
            (product if alone and free and fresh else rest).append(rotation)
        self._items[0:1] = [rest] if rest else []
        return sorted(product, key=lambda rotation: rotation.flip)


def _flip_columns_and_rows(matrix: npt.NDArray[np.complex128], bit: int) -> npt.NDArray[np.complex128]:
    order = np.arange(len(matrix)) ^ (1 << bit)
    return np.asarray(matrix[np.ix_(order, order)])


def _commute(a: Rotation, b: Rotation) -> bool:
    return odd(a.flip & b.mask) == odd(a.mask & b.flip)


def _independent(a: Rotation, b: Rotation) -> bool:
    return not odd(a.flip & b.mask) and not odd(a.mask & b.flip)


def _passes(layer: list[Rotation]) -> list[list[Rotation]]:
    """Split a layer into passes of at most ``_WIDE`` rotations of independent bits, by list scheduling."""
    waiting, passes = list(layer), []
    while waiting:
        chosen: list[Rotation] = []
        held: list[Rotation] = []
        for rotation in waiting:
            fits = len(chosen) < _WIDE and all(_independent(rotation, other) for other in chosen)
            free = all(_commute(rotation, other) for other in held)
            (chosen if fits and free else held).append(rotation)
        passes.append(chosen)
        waiting = held
    return passes

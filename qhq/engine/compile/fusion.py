"""Gate fusion: primitives in circuit order -> few, large operations on stored amplitudes.

Rotations that do not block each other gather in a *layer*, phases behind them in one diagonal; equal axes add
their angles; what acts on |0> or commutes with all observables disappears. All of it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qhq.engine.compile.frame import Frame, odd
from qhq.engine.compile.primitives import RY, Angle, Dense, Move, Phase, Primitive
from qhq.engine.program import MOST_ROTATIONS


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
class Fused:
    """``product`` on |0...0>, then ``items``; read out in ``frame``."""

    product: list[Rotation]
    items: list[list[Rotation] | Diagonal | Matrix]
    frame: Frame


class Fusion:
    """Takes primitives one by one; ``finish`` gives the fused circuit."""

    def __init__(self, qubits: int) -> None:
        self._frame = Frame(qubits)
        self._touched = 0
        self._layer: list[Rotation] = []
        self._phases: dict[int, Sum] = {}
        self._items: list[list[Rotation] | Diagonal | Matrix] = []

    def add(self, step: Primitive) -> None:
        """Append one primitive."""
        match step:
            case RY():
                self._rotation(step)
            case Phase():
                self._phase(step)
            case Move():
                self._move(step)
            case Dense():
                self._dense(step)

    def finish(self, read_flips: set[int]) -> Fused:
        """Close the circuit; ``read_flips`` are the flips of all observables' Pauli strings."""
        # Behind the last rotation, a phase that commutes with every observable changes none of them.
        seen = {m: a for m, a in self._phases.items() if any(odd(m & flip) for flip in read_flips)}
        self._phases = seen
        self._flush()
        product = self._split_product()
        items: list[list[Rotation] | Diagonal | Matrix] = []
        for item in self._items:
            items.extend(_passes(item) if isinstance(item, list) else [item])
        return Fused(product, items, self._frame)

    @property
    def frame(self) -> Frame:
        """The frame after all primitives so far."""
        return self._frame

    def _rotation(self, step: RY) -> None:
        flip = self._frame.flip((step.qubit,))
        mask, sign = self._frame.mask((step.qubit,))
        if any(odd(m & flip) for m in self._phases):
            self._flush()  # phases that do not commute with the rotation come before it
        self._touched |= flip
        rotation = self._mergeable(flip, mask)
        if rotation is None:
            rotation = Rotation(flip, mask, Sum())
            self._layer.append(rotation)
        rotation.angle.add(step.angle, sign)

    def _mergeable(self, flip: int, mask: int) -> Rotation | None:
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
            # A control that no rotation has touched is a known bit, so that the CX is an X or nothing.
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
                order = np.arange(len(step.matrix)) ^ (1 << place)
                step = Dense(step.qubits, step.matrix[np.ix_(order, order)])
        flips = [self._frame.flip((q,)) for q in step.qubits]
        for flip in flips:  # after this no bit of the matrix counts as a known 0
            self._touched |= flip
        self._items.append(Matrix(flips, [self._frame.row[q] for q in step.qubits], step.matrix))

    def _flush(self) -> None:
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


def _independent(a: Rotation, b: Rotation) -> bool:
    """Whether neither mask sees the other's flip, so that one pass does both. Stronger than to commute."""
    return not odd(a.flip & b.mask) and not odd(a.mask & b.flip)


def _passes(layer: list[Rotation]) -> list[list[Rotation]]:
    """Split a layer into passes of at most ``MOST_ROTATIONS`` independent rotations, by list scheduling."""
    waiting, passes = list(layer), []
    while waiting:
        chosen: list[Rotation] = []
        held: list[Rotation] = []
        for rotation in waiting:
            fits = len(chosen) < MOST_ROTATIONS and all(_independent(rotation, other) for other in chosen)
            free = all(_commute(rotation, other) for other in held)
            (chosen if fits and free else held).append(rotation)
        passes.append(chosen)
        waiting = held
    return passes

"""Gates that only move amplitudes cost nothing: they change the frame in which the others are read.

Stored amplitude ``z`` stands for the basis state whose qubit ``q`` is
``parity(row[q] & z) ^ sign[q]``; ``z ^ col[q]`` differs from it in qubit ``q`` alone. CX, X and SWAP rewrite
rows, columns and signs and touch no amplitude.
"""

from __future__ import annotations


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
        for part in (self.row, self.col, self.sign):
            part[a], part[b] = part[b], part[a]

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
        for pivot in sorted(reduced, reverse=True):
            rest = min(rest, rest ^ pivot)  # the smaller has a zero at the pivot's leading bit
        if rest:
            reduced.append(rest)
    return sorted(pivot.bit_length() - 1 for pivot in reduced)

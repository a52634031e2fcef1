"""A circuit and its observables as flat arrays: what the compiler writes and every engine interprets.

Amplitude ``z`` of the stored state is the pair of rows ``2 z`` (real part) and ``2 z + 1`` (imaginary part).
Columns have names, which Numba freezes into the machine code as the integers that they are.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

# Three rotations work on eight rows of the state and eight of the co-state, which the 32 vector registers of
# AVX-512 hold beside the angles; four would not fit.
NEXT, MOST_ROTATIONS = 3, 3
"""Columns from one rotation to the next, and rotations a pass."""


class Kind(IntEnum):
    """What an operation does; see ``Layout.ops``."""

    PRODUCT = 0
    ROTATIONS = 1
    PHASE_SHARED = 2
    PHASE_SAMPLE = 3
    DENSE = 4


class Op(IntEnum):
    """Columns of ``Layout.ops``. What those behind KIND mean depends on it, so their numbers repeat."""

    KIND = 0

    # PRODUCT: its rows of ``pairs``.
    PAIRS_BEGIN = 1
    PAIRS_END = 2

    # ROTATIONS: how many, then flip, mask and angle of the first (NEXT columns on, the second), leading bits.
    COUNT = 1
    FLIP = 2
    MASK = 3
    ANGLE = 4
    LEADING = 11

    # PHASE_SHARED and PHASE_SAMPLE: row of ``maps``, rows of ``terms``, and the table of a shared one.
    MAP = 1
    TERMS_BEGIN = 2
    TERMS_END = 3
    TABLE = 4

    # DENSE: qubits of the matrix, where its flips start, and where its numbers do.
    QUBITS = 1
    FLIPS = 2
    MATRIX = 3


OP_COLUMNS = Op.LEADING + MOST_ROTATIONS


class Pair(IntEnum):
    """Columns of ``Layout.pairs``."""

    BIT = 0
    ANGLE = 1


class Term(IntEnum):
    """Columns of ``terms``: the mask ``REST | 1 << LEVEL``, and the angle or Walsh coefficient of it."""

    LEVEL = 0
    REST = 1
    SLOT = 2


class Read(IntEnum):
    """Columns of ``Readout.reads``."""

    FLIP = 0
    ODD = 1
    MAP = 2
    BEGIN = 3
    END = 4


class Layout(NamedTuple):
    """What is done to the state, P operations on N = 2^n amplitudes.

    Attributes:
        bits: n.
        tables: Number of tables of shared phases.
        ops: Shape (P, OP_COLUMNS), one operation a row, in circuit order, by kind:

            - PRODUCT: from |0...0>, RY of angle ``pairs[j, ANGLE]`` on bit ``pairs[j, BIT]``, bits ascending,
              for PAIRS_BEGIN <= j < PAIRS_END.
            - ROTATIONS: ``exp(-i angle Y / 2)`` on the amplitudes ``z, z ^ flip``, of which the first has
              ``parity(mask & z) = 0``, up to three times. From LEADING on: the leading bits of the flips,
              ascending.
            - PHASE_SHARED or PHASE_SAMPLE: ``exp(-i sum_j angle_j s_j(y) / 2)`` over the terms TERMS_BEGIN
              <= j < TERMS_END with ``s_j(y) = (-1)^parity(mask_j & y)``, ``y = maps[MAP, z]``.
            - DENSE: the ``2^k x 2^k`` matrix that starts at ``dense[MATRIX]`` on the amplitudes ``base ^
              xor(flips[FLIPS + j] for the bits j of the row)``; the masks of the bits follow, then the
              leading bits of the flips.
        pairs: Shape (F, 2), the factors of the product.
        terms: Shape (M, 3): the mask ``REST | 1 << LEVEL`` (LEVEL -1: no bit at all) and the SLOT it belongs
            to, which is an angle or, for observables, a Walsh coefficient; ascending in level.
        maps: Shape (maps, N), ``y`` of each ``z``; row 0 is the identity.
        flips: Flips, masks and leading bits of the dense operations.
        dense: Each matrix and then its adjoint: real and imaginary parts, interleaved, row after row.
    """

    bits: int
    tables: int
    ops: Integers
    pairs: Integers
    terms: Integers
    maps: npt.NDArray[np.int32]
    flips: Integers
    dense: Numbers


class Angles(NamedTuple):
    """Angles as affine functions of ``inputs`` and ``weights`` (each with its curved angles behind it).

    Angle ``k`` is ``constant[k]`` plus the sum of ``w_slope[j] * weights[w_index[j]]`` over
    ``w_start[k] <= j < w_start[k + 1]``, plus that of ``x_slope[j] * inputs[b, x_index[j]]`` likewise. Angles
    ``k < sampled`` differ by sample, the others are shared by the batch.
    """

    sampled: int
    constant: Numbers
    w_start: Integers
    w_index: Integers
    w_slope: Numbers
    x_start: Integers
    x_index: Integers
    x_slope: Numbers


class Readout(NamedTuple):
    """How expectations are read from the final state.

    Attributes:
        bits: n.
        reads: Shape (R, 5), each a family of Pauli strings that flip the same bits: the flip, whether their
            number of Y is odd, row of ``maps``, rows of ``terms``. Those that flip nothing come first.
        terms: As in ``Layout``.
        maps: As in ``Layout``.
        starts: Shape (slots + 1,), which entries of the next two belong to a Walsh coefficient.
        places: Observable of each entry.
        values: Real coefficient of each entry.
    """

    bits: int
    reads: Integers
    terms: Integers
    maps: npt.NDArray[np.int32]
    starts: Integers
    places: Integers
    values: Numbers


class Program(NamedTuple):
    """Everything about a circuit that does not depend on inputs and weights."""

    layout: Layout
    angles: Angles
    readout: Readout


def cast(program: Program, dtype: npt.DTypeLike) -> Program:
    """The same program with its real numbers in ``dtype``."""
    layout, angles, readout = program
    return Program(
        layout._replace(dense=layout.dense.astype(dtype)),
        angles._replace(
            constant=angles.constant.astype(dtype),
            w_slope=angles.w_slope.astype(dtype),
            x_slope=angles.x_slope.astype(dtype),
        ),
        readout._replace(values=readout.values.astype(dtype)),
    )

"""A circuit and its observables as flat arrays: what the compiler writes and every engine interprets.

Amplitude ``z`` of the stored state is the pair of rows ``2 z`` (real part) and ``2 z + 1`` (imaginary part).
The columns below are plain integers, not an enumeration: Numba freezes them into the machine code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

KIND, OP_COLUMNS = 0, 14
"""Column of ``Layout.ops`` that holds the kind of an operation; the kind says what the others mean."""
PRODUCT, ROTATIONS, PHASE_SHARED, PHASE_SAMPLE, DENSE = range(5)
"""The kinds."""

PRODUCT_BEGIN, PRODUCT_END = 1, 2
"""Columns of PRODUCT: its rows of ``pairs``."""
PAIR_BIT, PAIR_ANGLE = range(2)
"""Columns of ``pairs``."""

COUNT, FLIP, MASK, ANGLE, LEADING = 1, 2, 3, 4, 11
"""Columns of ROTATIONS: the number of rotations; flip, mask and angle of the first; the leading bits."""
NEXT, MOST_ROTATIONS = 3, 3
"""Columns from one rotation to the next, and rotations a pass: three work on eight rows of the state and
eight of the co-state, which the 32 vector registers of AVX-512 hold beside the angles; four would not fit."""

MAP, BEGIN, END, TABLE = 1, 2, 3, 4
"""Columns of PHASE_SHARED and PHASE_SAMPLE: row of ``maps``, rows of ``terms``; the table of a shared one."""

QUBITS, FLIPS, MATRIX = 1, 2, 3
"""Columns of DENSE: the qubits of the matrix, where its flips start, and where its numbers do."""

LEVEL, REST, SLOT = range(3)
"""Columns of ``terms``."""

READ_FLIP, READ_ODD, READ_MAP, READ_BEGIN, READ_END = range(5)
"""Columns of ``Readout.reads``."""


class Layout(NamedTuple):
    """What is done to the state, P operations on N = 2^n amplitudes.

    Attributes:
        bits: n.
        tables: Number of tables of shared phases.
        ops: Shape (P, OP_COLUMNS), one operation a row, in circuit order, by kind:

            - PRODUCT: from |0...0>, RY of angle ``pairs[j, PAIR_ANGLE]`` on bit ``pairs[j, PAIR_BIT]``, bits
              ascending, for PRODUCT_BEGIN <= j < PRODUCT_END.
            - ROTATIONS: ``exp(-i angle Y / 2)`` on the amplitudes ``z, z ^ flip``, of which the first has
              ``parity(mask & z) = 0``, up to three times. From LEADING on: the leading bits of the flips,
              ascending.
            - PHASE_SHARED or PHASE_SAMPLE: ``exp(-i sum_j angle_j s_j(y) / 2)`` over the terms BEGIN <= j <
              END with ``s_j(y) = (-1)^parity(mask_j & y)``, ``y = maps[MAP, z]``.
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

"""A circuit and its observables as flat arrays: what the kernels and the torch twin interpret.

Amplitude ``z`` of the stored state is the pair of rows ``2 z`` (real part) and ``2 z + 1`` (imaginary part).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

PRODUCT, TURNS, PHASE_SHARED, PHASE_SAMPLE, DENSE = range(5)
"""Kinds of operation, the first column of ``Layout.ops``."""


class Layout(NamedTuple):
    """What is done to the state, P operations on N = 2^n amplitudes.

    Attributes:
        bits: n.
        tables: Number of tables of shared phases.
        ops: Shape (P, 14), one operation a row, in circuit order. The first column is the kind:

            - PRODUCT, begin, end: from |0...0>, RY of angle ``pairs[j, 1]`` on bit ``pairs[j, 0]``, bits
              ascending.
            - TURNS, count, then ``flip, mask, angle`` up to three times: ``exp(-i angle Y / 2)`` on the
              amplitudes ``z, z ^ flip``, of which the first has ``parity(mask & z) = 0``. Columns 11 to 13:
              the leading bits of the flips, ascending.
            - PHASE_SHARED or PHASE_SAMPLE, map, begin, end, table: ``exp(-i sum_j angle_j s_j(y) / 2)`` over
              the terms ``begin <= j < end`` with ``s_j(y) = (-1)^parity(mask_j & y)``, ``y = maps[map, z]``.
            - DENSE, k, flips, matrix: the ``2^k x 2^k`` matrix that starts at ``dense[matrix]`` on the
              amplitudes ``base ^ xor(flips[flips + j] for the bits j of the row)``; the masks of the bits
              follow, then the leading bits of the flips.
        pairs: Shape (F, 2), the factors of the product.
        terms: Shape (M, 3), columns level, rest, slot: the mask ``rest | 1 << level`` (level -1: no bit at
            all) and the angle or, for observables, the Walsh coefficient it belongs to; ascending in level.
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
        reads: Shape (R, 5), columns flip, odd, map, begin, end: a family of Pauli strings that flip the same
            bits; those that flip none come first.
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

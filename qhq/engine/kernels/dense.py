"""Any fixed unitary on k qubits: ``psi'[row] = sum_col matrix[row, col] psi[col]`` on each coset."""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.diagonal import times
from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, load, parity, spread, store
from qhq.engine.kernels.rotation import insert_zero
from qhq.engine.program import Integers, Numbers


@inner
def _member(corner: int, row: int, flips: Integers) -> int:
    """The amplitude of a coset that belongs to a row of the matrix."""
    z = corner
    for j in range(len(flips) // 3):
        if (row >> j) & 1:
            z ^= flips[j]
    return z


@inner
def _first_member(k: int, flips: Integers) -> int:
    """The amplitude of the k-th coset whose bits are all 0."""
    count = len(flips) // 3
    z = k
    for j in range(count):
        z = insert_zero(z, flips[2 * count + j])
    # The member with zeros at the leading bits need not be the one on which all masks read 0. Each flip
    # changes what its own mask reads and no other, so the flips to take are those whose masks read 1.
    start = z
    for j in range(count):
        if parity(flips[count + j] & start):
            z ^= flips[j]
    return z


@inner
def _gather(psi: Numbers, corner: int, flips: Integers, scratch: Numbers) -> None:
    """Copy one coset to the scratch rows."""
    for col in range(1 << (len(flips) // 3)):
        r = 2 * _member(corner, col, flips)
        store(scratch, 2 * col, load(psi, r))
        store(scratch, 2 * col + 1, load(psi, r + 1))


@inner
def _apply_row(matrix: Numbers, row: int, size: int, scratch: Numbers) -> Any:
    """One row of the matrix times the scratch rows."""
    ar, ai = fill(scratch, 0.0), fill(scratch, 0.0)
    for col in range(size):
        place = 2 * (row * size + col)
        br, bi = times(
            load(scratch, 2 * col),
            load(scratch, 2 * col + 1),
            spread(matrix, place),
            spread(matrix, place + 1),
        )
        ar, ai = ar + br, ai + bi
    return ar, ai


@inner
def multiply(psi: Numbers, bits: int, flips: Integers, matrix: Numbers, scratch: Numbers) -> None:
    """Apply the matrix (interleaved) to all cosets; ``scratch`` holds two rows a column."""
    size = 1 << (len(flips) // 3)
    for k in range((1 << bits) // size):
        corner = _first_member(k, flips)
        _gather(psi, corner, flips, scratch)  # every row needs every column, so none may be overwritten yet
        for row in range(size):
            r = 2 * _member(corner, row, flips)
            ar, ai = _apply_row(matrix, row, size, scratch)
            store(psi, r, ar)
            store(psi, r + 1, ai)

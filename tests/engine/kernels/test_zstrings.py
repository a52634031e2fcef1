"""The Walsh transforms beside the sums that they stand for."""

import numba
import numpy as np
import pytest

from qhq.engine.kernels import zstrings
from qhq.engine.kernels.lanes import ROW_BYTES

BITS, LANES = 4, ROW_BYTES // 8
MASKS = [[0], [1, 2, 4, 8], [0, 3, 5, 8, 15], [6, 7], []]


@numba.njit
def sums(f, bits, terms, out):
    zstrings.walsh_sums(f, bits, terms, out)


@numba.njit
def transpose(f, bits, terms, slots):
    zstrings.walsh_transpose(f, bits, terms, slots)


def rows(values):
    """An array (rows, LANES) as the kernels want it: one behind the other, from a multiple of 64 bytes on."""
    memory = np.empty((len(values) + 1) * LANES)
    skip = -(memory.ctypes.data // 8) % LANES
    array = memory[skip : skip + len(values) * LANES]
    array[:] = values.ravel()
    return array


def case(masks, seed):
    """Terms in order of level, each with a slot of its own, and the signs (terms, 2^BITS) they mean."""
    rng = np.random.default_rng(seed)
    slots = rng.permutation(len(masks))
    terms = [(m.bit_length() - 1, m ^ (1 << m.bit_length() - 1) if m else 0) for m in masks]
    table = np.array(sorted((*term, slot) for term, slot in zip(terms, slots, strict=True)), np.int64)
    signs = np.empty((len(masks), 2**BITS))
    for mask, slot in zip(masks, slots, strict=True):
        signs[slot] = [(-1) ** (mask & y).bit_count() for y in range(2**BITS)]
    return rng, table.reshape(-1, 3), signs


@pytest.mark.parametrize("masks", MASKS)
def test_sums_are_signed_sums(masks):
    rng, terms, signs = case(masks, 1)
    f, out = rng.normal(size=(2**BITS, LANES)), rows(np.zeros((len(masks), LANES)))
    sums(rows(f), BITS, terms, out)
    np.testing.assert_allclose(out.reshape(-1, LANES), signs @ f, atol=1e-12)


@pytest.mark.parametrize("masks", MASKS)
def test_transpose_is_the_transpose(masks):
    rng, terms, signs = case(masks, 2)
    slots, f = rng.normal(size=(len(masks), LANES)), rows(np.zeros((2**BITS, LANES)))
    transpose(f, BITS, terms, rows(slots))
    np.testing.assert_allclose(f.reshape(-1, LANES), signs.T @ slots, atol=1e-12)

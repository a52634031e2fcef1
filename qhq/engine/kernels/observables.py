"""Observables: all Pauli strings that flip the same bits in one pass, and the co-state they ask for.

A string moves amplitude ``z`` to ``z ^ flip`` with the sign ``(-1)^parity(mask & y(z))``, times i if its
number of Y is odd. So ``E_j = sum_z (-1)^parity(mask_j & y) f(y)`` with ``f = Re(conj(psi[z ^ flip]) i^odd
psi[z])``.
"""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, lanes, load, store
from qhq.engine.kernels.walsh import walsh_sums, walsh_transpose
from qhq.engine.program import Integers, Numbers, Read, Readout


@inner
def _write_overlaps(psi: Numbers, f: Numbers, read: Integers, index: Any) -> None:
    """Row ``y(z)`` of ``f`` becomes the overlap of amplitude ``z`` with its partner."""
    flip, odd = read[Read.FLIP], read[Read.ODD]
    for z in range(len(index)):
        pr, pi = load(psi, 2 * z), load(psi, 2 * z + 1)
        r = 2 * (z ^ flip)
        qr, qi = load(psi, r), load(psi, r + 1)
        # The real part of conj(q) p, or of i times that.
        store(f, int(index[z]), pr * qi - pi * qr if odd else pr * qr + pi * qi)


@inner
def add_values(out: Readout, slots: Numbers, values: Any, first: int) -> None:
    """Mix Walsh coefficients into observables, for the samples from ``first`` on."""
    width = lanes(slots)
    count = min(width, len(values) - first)
    for b in range(count):
        for o in range(values.shape[1]):
            values[first + b, o] = 0
        for slot in range(len(out.starts) - 1):
            for j in range(out.starts[slot], out.starts[slot + 1]):
                values[first + b, out.places[j]] += out.values[j] * slots[slot * width + b]


@inner
def read_out(out: Readout, psi: Numbers, f: Numbers, slots: Numbers) -> None:
    """Row ``slot`` of ``slots`` becomes the expectation of that Pauli string."""
    for k in range(len(out.reads)):
        read = out.reads[k]
        _write_overlaps(psi, f, read, out.maps[read[Read.MAP]])
        walsh_sums(f, out.bits, out.terms[read[Read.BEGIN] : read[Read.END]], slots)


@inner
def weigh_slots(out: Readout, slots: Numbers, cotangent: Any, first: int) -> None:
    """The transpose of ``add_values``; lanes beyond the batch are zero."""
    width = lanes(slots)
    for slot in range(len(out.starts) - 1):
        for b in range(width):
            # Zero beyond the batch, where a lane must not add to the slopes that all share.
            weight = slots.dtype.type(0)
            if first + b < len(cotangent):
                for j in range(out.starts[slot], out.starts[slot + 1]):
                    weight += out.values[j] * cotangent[first + b, out.places[j]]
            slots[slot * width + b] = weight


@inner
def _add_image(psi: Numbers, lam: Numbers, f: Numbers, read: Integers, index: Any) -> None:
    """``lam[z ^ flip] += i^odd f[y(z)] psi[z]``."""
    flip, odd = read[Read.FLIP], read[Read.ODD]
    for z in range(len(index)):
        h = load(f, int(index[z]))
        pr, pi = load(psi, 2 * z), load(psi, 2 * z + 1)
        r = 2 * (z ^ flip)
        if odd:
            store(lam, r, load(lam, r) - h * pi)
            store(lam, r + 1, load(lam, r + 1) + h * pr)
        else:
            store(lam, r, load(lam, r) + h * pr)
            store(lam, r + 1, load(lam, r + 1) + h * pi)


@inner
def _write_image(psi: Numbers, lam: Numbers, f: Numbers, index: Any) -> None:
    """``lam[z] = f[y(z)] psi[z]``."""
    for z in range(len(index)):
        h = load(f, int(index[z]))
        store(lam, 2 * z, h * load(psi, 2 * z))
        store(lam, 2 * z + 1, h * load(psi, 2 * z + 1))


@inner
def write_costate(out: Readout, psi: Numbers, lam: Numbers, f: Numbers, slots: Numbers) -> None:
    """``lam = sum_slot slots P_slot psi``; the reads that flip nothing come first."""
    # Most circuits are read in Z alone: writing that first read saves clearing ``lam``, and reading it back.
    plain = len(out.reads) > 0 and out.reads[0, Read.FLIP] == 0
    if not plain:
        for r in range(2 << out.bits):
            store(lam, r, fill(lam, 0.0))
    for k in range(len(out.reads)):
        # The strings of one flip differ in signs alone, which depend on y(z): one transform for all of them.
        read = out.reads[k]
        index = out.maps[read[Read.MAP]]
        walsh_transpose(f, out.bits, out.terms[read[Read.BEGIN] : read[Read.END]], slots)
        if plain and k == 0:
            _write_image(psi, lam, f, index)
        else:
            _add_image(psi, lam, f, read, index)

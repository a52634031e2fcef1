"""Families of Z-strings, whose signs are ``s_j(y) = (-1)^parity(mask_j & y)``, in their three uses.

**Walsh transforms**: ``S_j = sum_y s_j(y) f(y)`` for chosen masks, and the transposed map. Expectations,
slopes of diagonals and co-states are all of this form. The masks are few, so this is no full transform of
n 2^n additions: after each level, half of the rows are never looked at again. All single-bit masks together
cost one pass: at each level the upper half is taken off the lower half (what the bit tells) and added to it
(what the bits below see). A mask with more bits costs one more pass over its own level.

**Diagonals** ``exp(-i sum_j angle_j s_j(y) / 2)``: their tables, their action, their slopes. dE/dangle_j is
``sum_z s_j(y(z)) Im(conj(lam(z)) psi(z))``, so one pass leaves ``Im(conj(lam) psi)`` for ``walsh_sums``. A
table is built level by level: once the phases of the bits below ``level`` are known, the terms whose leading
bit it is multiply them by a factor where the bit is 0 and by its conjugate where it is 1. So a phase costs
two complex products, not one for each term. Angles that the batch shares make a table of numbers, once a
batch; those that differ by sample make a table of rows, once a tile and pass.

**Readout** of all Pauli strings that flip the same bits in one pass, and the co-state they ask for. A string
moves amplitude ``z`` to ``z ^ flip`` with the sign ``s(y(z))``, times i if its number of Y is odd. So ``E_j =
sum_z s_j(y(z)) f(y(z))`` with ``f = Re(conj(psi[z ^ flip]) i^odd psi[z])``.
"""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, lanes, load, parity, spread, store
from qhq.engine.program import Integers, Numbers, Read, Readout, Term


@inner
def _signed_sum(f: Numbers, half: int, rest: int) -> Any:
    """``sum_(y < half) (-1)^parity(rest & y) f[half + y]``."""
    acc = fill(f, 0.0)
    # The sign is a factor, so that there is no branch in the innermost loop.
    for y in range(half):
        acc += fill(f, 1.0 - 2.0 * parity(rest & y)) * load(f, half + y)
    return acc


@inner
def _butterfly(f: Numbers, half: int) -> Any:
    """``f[y], f[half + y] = sum, difference`` for ``y < half``; returns the sum of all differences."""
    acc = fill(f, 0.0)
    for y in range(half):
        a, b = load(f, y), load(f, half + y)
        store(f, y, a + b)
        store(f, half + y, a - b)
        acc += a - b
    return acc


@inner
def walsh_sums(f: Numbers, bits: int, terms: Integers, out: Numbers) -> None:
    """Row ``slot_j`` of ``out`` becomes ``S_j``; ``f`` (2^bits rows) is used up."""
    j = len(terms) - 1  # terms ascend in level, and the transform goes from the top bit down
    for level in range(bits - 1, -1, -1):
        if j < 0:  # nobody asks for the levels below
            return
        half = 1 << level
        single = _butterfly(f, half)
        while j >= 0 and terms[j, Term.LEVEL] == level:
            rest = terms[j, Term.REST]
            store(out, terms[j, Term.SLOT], single if rest == 0 else _signed_sum(f, half, rest))
            j -= 1
    while j >= 0:  # the empty mask: what is left is the sum of all
        store(out, terms[j, Term.SLOT], load(f, 0))
        j -= 1


@inner
def _level_sum(terms: Integers, span: Any, y: int, slots: Numbers) -> Any:
    """``sum_j (-1)^parity(rest_j & y) slots[j]`` over the terms ``span`` of one level."""
    acc = fill(slots, 0.0)
    for j in range(span[0], span[1]):
        acc += fill(slots, 1.0 - 2.0 * parity(terms[j, Term.REST] & y)) * load(slots, terms[j, Term.SLOT])
    return acc


@inner
def _level_end(terms: Integers, begin: int, level: int) -> int:
    """Where the terms of ``level``, which start at ``begin``, end."""
    end = begin
    while end < len(terms) and terms[end, Term.LEVEL] == level:
        end += 1
    return end


@inner
def _unfold_level(f: Numbers, half: int, terms: Integers, span: Any, slots: Numbers) -> None:
    """Double the rows of ``f``: plus the level's sum below, minus it above."""
    # With the level's bit alone, as for single Z, the sum is the same for every ``y``.
    plain = True
    for j in range(span[0], span[1]):
        plain = plain and terms[j, Term.REST] == 0
    change = _level_sum(terms, span, 0, slots)
    for y in range(half):
        if not plain:
            change = _level_sum(terms, span, y, slots)
        a = load(f, y)
        store(f, y, a + change)
        store(f, half + y, a - change)


@inner
def walsh_transpose(f: Numbers, bits: int, terms: Integers, slots: Numbers) -> None:
    """The transpose of ``walsh_sums``: ``f(y) = sum_j (-1)^parity(mask_j & y) slots[slot_j]``, all ``y``."""
    begin = _level_end(terms, 0, -1)  # the empty mask, a constant
    store(f, 0, _level_sum(terms, (0, begin), 0, slots))
    for level in range(bits):
        end = _level_end(terms, begin, level)
        _unfold_level(f, 1 << level, terms, (begin, end), slots)
        begin = end


@inner
def times(ar: Any, ai: Any, br: Any, bi: Any) -> Any:
    """A complex product."""
    return ar * br - ai * bi, ar * bi + ai * br


@inner
def _factor_rows(terms: Integers, span: Any, y: int, trig: Numbers) -> Any:
    """``prod_j exp(-i angle_j (-1)^parity(rest_j & y) / 2)`` of one level, as rows."""
    fr, fi = fill(trig, 1.0), fill(trig, 0.0)
    for j in range(span[0], span[1]):
        angle = terms[j, Term.SLOT]
        # A row has no unary minus: the sign is a factor.
        sine = fill(trig, 2.0 * parity(terms[j, Term.REST] & y) - 1.0) * load(trig, 2 * angle + 1)
        fr, fi = times(fr, fi, load(trig, 2 * angle), sine)
    return fr, fi


@inner
def build_rows(table: Numbers, bits: int, terms: Integers, trig: Numbers) -> None:
    """A table of complex rows over ``y`` for angles that differ by sample."""
    store(table, 0, fill(table, 1.0))
    store(table, 1, fill(table, 0.0))
    begin = 0  # no term of level -1: a phase of no bit at all is global, and the compiler has dropped it
    for level in range(bits):
        end = _level_end(terms, begin, level)
        for y in range(1 << level):
            fr, fi = _factor_rows(terms, (begin, end), y, trig)
            r, u = 2 * y, 2 * (y + (1 << level))
            # The upper half is new, so that the table can grow in place.
            ar, ai = load(table, r), load(table, r + 1)
            br, bi = times(ar, ai, fr, fill(table, 0.0) - fi)
            ar, ai = times(ar, ai, fr, fi)
            store(table, r, ar)
            store(table, r + 1, ai)
            store(table, u, br)
            store(table, u + 1, bi)
        begin = end


@inner
def _factor_numbers(terms: Integers, span: Any, y: int, trig: Numbers) -> Any:
    """``_factor_rows`` of shared angles, as numbers."""
    fr, fi = trig.dtype.type(1), trig.dtype.type(0)  # not 1 and 0, which would make a table of float64
    width = lanes(trig)
    for j in range(span[0], span[1]):
        place = 2 * terms[j, Term.SLOT] * width  # the first lane, since all lanes of a shared angle are equal
        sine = trig[place + width] if parity(terms[j, Term.REST] & y) else -trig[place + width]
        fr, fi = times(fr, fi, trig[place], sine)
    return fr, fi


@inner
def build_numbers(table: Numbers, bits: int, terms: Integers, trig: Numbers) -> None:
    """A table of complex numbers over ``y``, interleaved, for angles that the batch shares."""
    table[0], table[1] = 1, 0
    begin = 0
    for level in range(bits):
        end = _level_end(terms, begin, level)
        # One term of the level's bit alone, as in a layer of RZ: its factor does not depend on ``y``.
        plain = end == begin + 1 and terms[begin, Term.REST] == 0
        fr, fi = _factor_numbers(terms, (begin, end), 0, trig)
        for y in range(1 << level):
            if not plain:
                fr, fi = _factor_numbers(terms, (begin, end), y, trig)
            r, u = 2 * y, 2 * (y + (1 << level))
            ar, ai = table[r], table[r + 1]
            table[u], table[u + 1] = times(ar, ai, fr, -fi)
            table[r], table[r + 1] = times(ar, ai, fr, fi)
        begin = end


@inner
def reorder(source: Numbers, target: Numbers, index: Any) -> None:
    """``target[z] = source[index[z]]`` for complex numbers, interleaved.

    Once a batch, so that the many passes of ``phase_shared`` read their table in order.
    """
    for z in range(len(index)):
        y = index[z]
        target[2 * z], target[2 * z + 1] = source[2 * y], source[2 * y + 1]


@inner
def phase_shared(psi: Numbers, table: Numbers) -> None:
    """Multiply each amplitude by the number of the table that belongs to it."""
    for z in range(len(table) >> 1):
        r = 2 * z
        a, b = times(load(psi, r), load(psi, r + 1), spread(table, r), spread(table, r + 1))
        store(psi, r, a)
        store(psi, r + 1, b)


@inner
def phase_sample(psi: Numbers, table: Numbers, index: Any) -> None:
    """Multiply each amplitude by the row of the table that belongs to it."""
    for z in range(len(index)):
        r, t = 2 * z, 2 * int(index[z])  # looked up, not reordered: this table serves one pass of one tile
        a, b = times(load(psi, r), load(psi, r + 1), load(table, t), load(table, t + 1))
        store(psi, r, a)
        store(psi, r + 1, b)


@inner
def _divide(psi: Numbers, r: int, dr: Any, di: Any) -> Any:
    """Take a phase off one amplitude; returns what it becomes."""
    # The conjugate of a phase is its inverse, so that nothing is divided.
    a, b = times(load(psi, r), load(psi, r + 1), dr, fill(psi, 0.0) - di)
    store(psi, r, a)
    store(psi, r + 1, b)
    return a, b


@inner
def phase_shared_adjoint(psi: Numbers, lam: Numbers, table: Numbers, index: Any, slopes: Numbers) -> None:
    """Take the phases off state and co-state; row ``y`` of ``slopes`` becomes ``Im(conj(lam) psi)``."""
    for z in range(len(index)):
        r = 2 * z
        dr, di = spread(table, r), spread(table, r + 1)
        pr, pi = _divide(psi, r, dr, di)
        lr, li = _divide(lam, r, dr, di)
        # A diagonal commutes with its generators, so it does not matter that it is already taken off.
        store(slopes, int(index[z]), lr * pi - li * pr)


@inner
def phase_sample_adjoint(psi: Numbers, lam: Numbers, table: Numbers, index: Any) -> None:
    """``phase_shared_adjoint`` with a table of rows; the slopes are left in its place, in rows ``y``."""
    for z in range(len(index)):
        r, t = 2 * z, 2 * int(index[z])
        dr, di = load(table, t), load(table, t + 1)
        pr, pi = _divide(psi, r, dr, di)
        lr, li = _divide(lam, r, dr, di)
        store(table, t, lr * pi - li * pr)
    for y in range(len(index)):  # ascending, so that none is overwritten unread
        store(table, y, load(table, 2 * y))


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
    # Number by number, and the lanes beyond the batch left out: ``values`` belong to the caller, by sample.
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
    # A pass over the state for each flip: strings that flip other bits have other partners in their overlaps.
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

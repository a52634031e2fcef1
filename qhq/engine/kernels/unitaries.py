"""Operations that mix amplitudes: rotations about Y, the product state of the first, and any fixed unitary.

Each works on the cosets of its flips; a coset is found by its member with zeros at their leading bits.

Complex amplitudes are pairs of real rows, and RY is real, so real and imaginary parts are just one more bit
(the lowest) that no rotation looks at: row ``r = 2 z + part``. With ``a`` the row of bit 0 and ``b = a ^
flip``:

    a' = cos a - sin b,   b' = sin a + cos b,   dE/dangle = sum(lam_b psi_a - lam_a psi_b)

where ``cos`` and ``sin`` are of half the angle and ``lam = H psi`` is the co-state. Up to three rotations
share one pass, so that each row is loaded and stored once for all three. Their kernels are written out by
hand: Numba cannot index a tuple of rows by a variable, and through memory they would lose what they save.

The rotations that act on |0...0> first need no pass at all. Their state ``psi(z) = prod_q c_q or s_q`` is
real and written by doubling; its slopes come from contracting ``Re(lam)`` with the factors from the top bit
down, while the prefix product of the bits below is won back by ``P(z) = c P(z) + s P(z + half)``.

A fixed unitary on k qubits is ``psi'[row] = sum_col matrix[row, col] psi[col]`` on each coset.
"""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, load, parity, spread, store
from qhq.engine.kernels.zstrings import times
from qhq.engine.program import NEXT, Integers, Numbers, Op, Pair


@inner
def _insert_zero(index: int, bit: int) -> int:
    """Insert a zero at ``bit``; the bits from there on move up."""
    low = (1 << bit) - 1
    return ((index & ~low) << 1) | (index & low)


@inner
def _coset_row(k: int, op: Integers, count: int) -> int:
    """A row of the k-th coset of the flips: ``k`` with zeros at their leading bits."""
    for j in range(count):
        k = _insert_zero(k, op[Op.LEADING + j] + 1)  # + 1: bit 0 of a row chooses real or imaginary part
    return k


@inner
def _flip_and_mask(op: Integers, j: int) -> Any:
    """Flip and mask of the j-th rotation, over rows."""
    return op[Op.FLIP + NEXT * j] << 1, op[Op.MASK + NEXT * j] << 1


@inner
def _to_zero(r: int, f: int, m: int) -> Any:
    """What moves row ``r`` to the one of its pair where the rotated bit is 0: ``f`` or nothing."""
    return -parity(r & m) & f  # minus one has all bits set: no branch in the innermost loop


@inner
def _half_angle(trig: Numbers, angle: int) -> Any:
    """Rows of the cosine and sine of half an angle."""
    return load(trig, 2 * angle), load(trig, 2 * angle + 1)


@inner
def _half_angle_back(trig: Numbers, angle: int) -> Any:
    """Cosine, and sine with its sign turned: the rotation by minus the angle."""
    c, s = _half_angle(trig, angle)
    return c, fill(trig, 0.0) - s


@inner
def _rotated(c: Any, s: Any, a: Any, b: Any) -> Any:
    """The two rows after the rotation; with ``-s`` the two rows before it."""
    return c * a - s * b, s * a + c * b


@inner
def _load_four(psi: Numbers, r: int, f: int, g: int) -> Any:
    """Rows ``r, r ^ f, r ^ g, r ^ f ^ g``."""
    return load(psi, r), load(psi, r ^ f), load(psi, r ^ g), load(psi, r ^ f ^ g)


@inner
def _store_four(psi: Numbers, place: Any, a: Any) -> None:
    """The reverse of ``_load_four``, ``place`` is ``(r, f, g)``."""
    r, f, g = place
    store(psi, r, a[0])
    store(psi, r ^ f, a[1])
    store(psi, r ^ g, a[2])
    store(psi, r ^ f ^ g, a[3])


@inner
def _rotated_four(t: Any, a: Any) -> Any:
    """Rotate four rows about both bits; ``t`` is ``(cos, sin, cos, sin)``."""
    a0, a1 = _rotated(t[0], t[1], a[0], a[1])
    a2, a3 = _rotated(t[0], t[1], a[2], a[3])
    a0, a2 = _rotated(t[2], t[3], a0, a2)
    a1, a3 = _rotated(t[2], t[3], a1, a3)
    return a0, a1, a2, a3


@inner
def _rotated_across(c: Any, s: Any, a: Any, b: Any) -> Any:
    """Rotate two fours into each other."""
    a0, b0 = _rotated(c, s, a[0], b[0])
    a1, b1 = _rotated(c, s, a[1], b[1])
    a2, b2 = _rotated(c, s, a[2], b[2])
    a3, b3 = _rotated(c, s, a[3], b[3])
    return (a0, a1, a2, a3), (b0, b1, b2, b3)


@inner
def _rotate_one(psi: Numbers, rows: int, op: Integers, trig: Numbers) -> None:
    """One rotation."""
    # Read once for the whole pass, as rows: each lane is a sample and may have an angle of its own.
    c, s = _half_angle(trig, op[Op.ANGLE])
    f, m = _flip_and_mask(op, 0)
    for k in range(rows >> 1):
        r = _coset_row(k, op, 1)
        r ^= _to_zero(r, f, m)
        a, b = _rotated(c, s, load(psi, r), load(psi, r ^ f))
        store(psi, r, a)
        store(psi, r ^ f, b)


@inner
def _rotate_two(psi: Numbers, rows: int, op: Integers, trig: Numbers) -> None:
    """Two rotations in one pass."""
    t = _half_angle(trig, op[Op.ANGLE]) + _half_angle(trig, op[Op.ANGLE + NEXT])
    (f, m), (g, n) = _flip_and_mask(op, 0), _flip_and_mask(op, 1)
    for k in range(rows >> 2):
        r = _coset_row(k, op, 2)
        r ^= _to_zero(r, f, m) ^ _to_zero(r, g, n)
        _store_four(psi, (r, f, g), _rotated_four(t, _load_four(psi, r, f, g)))


@inner
def _rotate_three(psi: Numbers, rows: int, op: Integers, trig: Numbers) -> None:
    """Three rotations in one pass."""
    t = _half_angle(trig, op[Op.ANGLE]) + _half_angle(trig, op[Op.ANGLE + NEXT])
    c, s = _half_angle(trig, op[Op.ANGLE + 2 * NEXT])
    (f, m), (g, n), (h, o) = _flip_and_mask(op, 0), _flip_and_mask(op, 1), _flip_and_mask(op, 2)
    for k in range(rows >> 3):
        r = _coset_row(k, op, 3)
        r ^= _to_zero(r, f, m) ^ _to_zero(r, g, n) ^ _to_zero(r, h, o)
        a = _rotated_four(t, _load_four(psi, r, f, g))
        b = _rotated_four(t, _load_four(psi, r ^ h, f, g))
        a, b = _rotated_across(c, s, a, b)
        _store_four(psi, (r, f, g), a)
        _store_four(psi, (r ^ h, f, g), b)


@inner
def rotate(psi: Numbers, rows: int, op: Integers, trig: Numbers) -> None:
    """The operation ROTATIONS on a tile; angle ``k`` has the rows ``2 k, 2 k + 1`` of ``trig``."""
    # Chosen once a pass. A loop over COUNT in the innermost place would cost what the fusion saves.
    if op[Op.COUNT] == 1:
        _rotate_one(psi, rows, op, trig)
    elif op[Op.COUNT] == 2:
        _rotate_two(psi, rows, op, trig)
    else:
        _rotate_three(psi, rows, op, trig)


@inner
def _slope(pa: Any, pb: Any, la: Any, lb: Any) -> Any:
    """One pair's part of dE/dangle."""
    return lb * pa - la * pb


@inner
def _first_slope(p: Any, l: Any) -> Any:  # noqa: E741
    """Four rows' part of dE/dangle of the first bit."""
    return _slope(p[0], p[1], l[0], l[1]) + _slope(p[2], p[3], l[2], l[3])


@inner
def _second_slope(p: Any, l: Any) -> Any:  # noqa: E741
    """Four rows' part of dE/dangle of the second bit."""
    return _slope(p[0], p[2], l[0], l[2]) + _slope(p[1], p[3], l[1], l[3])


@inner
def _across_slope(p: Any, q: Any, l: Any, m: Any) -> Any:  # noqa: E741
    """Two fours' part of dE/dangle of the bit between them."""
    return (_slope(p[0], q[0], l[0], m[0]) + _slope(p[1], q[1], l[1], m[1])) + (
        _slope(p[2], q[2], l[2], m[2]) + _slope(p[3], q[3], l[3], m[3])
    )


@inner
def _adjoint_one(psi: Numbers, lam: Numbers, rows: int, op: Integers, angles: Any) -> None:
    """Take one rotation off."""
    trig, fresh = angles
    c, s = _half_angle_back(trig, op[Op.ANGLE])
    f, m = _flip_and_mask(op, 0)
    first = fill(psi, 0.0)
    for k in range(rows >> 1):
        r = _coset_row(k, op, 1)
        r ^= _to_zero(r, f, m)
        pa, pb, la, lb = load(psi, r), load(psi, r ^ f), load(lam, r), load(lam, r ^ f)
        # The slope is the same before and after the rotation, which commutes with its own generator.
        first += _slope(pa, pb, la, lb)
        pa, pb = _rotated(c, s, pa, pb)
        la, lb = _rotated(c, s, la, lb)
        store(psi, r, pa)
        store(psi, r ^ f, pb)
        store(lam, r, la)
        store(lam, r ^ f, lb)
    # Written, not added to: the compiler gives each rotation an angle of its own, whatever parameters it has.
    store(fresh, op[Op.ANGLE], first)


@inner
def _adjoint_two(psi: Numbers, lam: Numbers, rows: int, op: Integers, angles: Any) -> None:
    """Take two rotations off."""
    trig, fresh = angles
    t = _half_angle_back(trig, op[Op.ANGLE]) + _half_angle_back(trig, op[Op.ANGLE + NEXT])
    (f, m), (g, n) = _flip_and_mask(op, 0), _flip_and_mask(op, 1)
    first, second = fill(psi, 0.0), fill(psi, 0.0)
    for k in range(rows >> 2):
        r = _coset_row(k, op, 2)
        r ^= _to_zero(r, f, m) ^ _to_zero(r, g, n)
        a, b = _load_four(psi, r, f, g), _load_four(lam, r, f, g)
        first += _first_slope(a, b)
        second += _second_slope(a, b)
        _store_four(psi, (r, f, g), _rotated_four(t, a))
        _store_four(lam, (r, f, g), _rotated_four(t, b))
    store(fresh, op[Op.ANGLE], first)
    store(fresh, op[Op.ANGLE + NEXT], second)


@inner
def _adjoint_three(psi: Numbers, lam: Numbers, rows: int, op: Integers, angles: Any) -> None:
    """Take three rotations off."""
    trig, fresh = angles
    t = _half_angle_back(trig, op[Op.ANGLE]) + _half_angle_back(trig, op[Op.ANGLE + NEXT])
    c, s = _half_angle_back(trig, op[Op.ANGLE + 2 * NEXT])
    (f, m), (g, n), (h, o) = _flip_and_mask(op, 0), _flip_and_mask(op, 1), _flip_and_mask(op, 2)
    first, second, third = fill(psi, 0.0), fill(psi, 0.0), fill(psi, 0.0)
    for k in range(rows >> 3):
        r = _coset_row(k, op, 3)
        r ^= _to_zero(r, f, m) ^ _to_zero(r, g, n) ^ _to_zero(r, h, o)
        a, b = _load_four(psi, r, f, g), _load_four(lam, r, f, g)
        x, y = _load_four(psi, r ^ h, f, g), _load_four(lam, r ^ h, f, g)
        # All three slopes from the rows as they were loaded: the three rotations commute with each other.
        first += _first_slope(a, b) + _first_slope(x, y)
        second += _second_slope(a, b) + _second_slope(x, y)
        third += _across_slope(a, x, b, y)
        a, x = _rotated_across(c, s, _rotated_four(t, a), _rotated_four(t, x))
        _store_four(psi, (r, f, g), a)
        _store_four(psi, (r ^ h, f, g), x)
        b, y = _rotated_across(c, s, _rotated_four(t, b), _rotated_four(t, y))
        _store_four(lam, (r, f, g), b)
        _store_four(lam, (r ^ h, f, g), y)
    store(fresh, op[Op.ANGLE], first)
    store(fresh, op[Op.ANGLE + NEXT], second)
    store(fresh, op[Op.ANGLE + 2 * NEXT], third)


@inner
def rotate_adjoint(psi: Numbers, lam: Numbers, rows: int, op: Integers, angles: Any) -> None:
    """Take ROTATIONS off state and co-state; ``angles`` are ``trig`` and the rows ``fresh``.

    Row ``k`` of ``fresh`` becomes dE/dangle ``k`` of each lane.
    """
    if op[Op.COUNT] == 1:
        _adjoint_one(psi, lam, rows, op, angles)
    elif op[Op.COUNT] == 2:
        _adjoint_two(psi, lam, rows, op, angles)
    else:
        _adjoint_three(psi, lam, rows, op, angles)


@inner
def _append_bit(psi: Numbers, half: int, c: Any, s: Any) -> None:
    """Append a bit in the state ``(c, s)`` to a real product of lower bits."""
    for z in range(half):
        a = load(psi, 2 * z)
        store(psi, 2 * (z + half), s * a)
        store(psi, 2 * z, c * a)


@inner
def write_product(psi: Numbers, bits: int, pairs: Integers, trig: Numbers) -> None:
    """The product state of ``pairs`` (bit, angle), bits ascending; all other bits are 0."""
    zero = fill(psi, 0.0)
    store(psi, 0, fill(psi, 1.0))
    j = 0
    for bit in range(bits):
        half = 1 << bit
        if j < len(pairs) and pairs[j, Pair.BIT] == bit:
            c, s = _half_angle(trig, pairs[j, Pair.ANGLE])
            _append_bit(psi, half, c, s)
            j += 1
        else:
            for z in range(half, 2 * half):
                store(psi, 2 * z, zero)
    # The imaginary parts last: doubling them, too, would only copy zeros.
    for z in range(1 << bits):
        store(psi, 2 * z + 1, zero)


@inner
def _contract_bit(psi: Numbers, lam: Numbers, half: int, c: Any, s: Any) -> Any:
    """Take the top bit off product and co-state; returns dE/dangle of its factor."""
    acc = fill(psi, 0.0)
    for z in range(half):
        r, u = 2 * z, 2 * (z + half)
        p = c * load(psi, r) + s * load(psi, u)  # no division by c or s, either of which may be zero
        low, high = load(lam, r), load(lam, u)
        acc += p * (c * high - s * low)
        store(psi, r, p)
        store(lam, r, c * low + s * high)
    return acc


@inner
def product_adjoint(psi: Numbers, lam: Numbers, pairs: Integers, trig: Numbers, fresh: Numbers) -> None:
    """Slopes of the product's angles; state and co-state are used up.

    Bits without a rotation are 0 in the product, so that only the lower half of each counts and nothing is
    to be done for them.
    """
    # From the top bit down, the reverse of how it was written: what is left is the product of the bits below.
    for j in range(len(pairs) - 1, -1, -1):
        angle = pairs[j, Pair.ANGLE]
        c, s = _half_angle(trig, angle)
        store(fresh, angle, _contract_bit(psi, lam, 1 << pairs[j, Pair.BIT], c, s))


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
        z = _insert_zero(z, flips[2 * count + j])
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
    # The matrix is the same for all samples, so it is stored as numbers and spread over the lanes here.
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

"""Walsh transforms: ``S_j = sum_y (-1)^parity(mask_j & y) f(y)`` for chosen masks, and the transposed map.

Expectations of Z-strings, slopes of diagonals and co-states are all of this form. The masks are few, so this
is no full transform of n 2^n additions: after each level, half of the rows are never looked at again.

All single-bit masks together cost one pass: at each level the upper half is taken off the lower half (what
the bit tells) and added to it (what the bits below see). A mask with more bits costs one more pass over its
own level.
"""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, load, parity, store
from qhq.engine.program import Integers, Numbers, Term


@inner
def _signed_sum(f: Numbers, half: int, rest: int) -> Any:
    """``sum_(y < half) (-1)^parity(rest & y) f[half + y]``."""
    acc = fill(f, 0.0)
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
def level_end(terms: Integers, begin: int, level: int) -> int:
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
    begin = level_end(terms, 0, -1)  # the empty mask, a constant
    store(f, 0, _level_sum(terms, (0, begin), 0, slots))
    for level in range(bits):
        end = level_end(terms, begin, level)
        _unfold_level(f, 1 << level, terms, (begin, end), slots)
        begin = end

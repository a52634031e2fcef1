"""The compiled interpreter: a program on tiles of samples, forwards and backwards.

A tile is T samples, one a lane; tile ``k`` holds the samples ``k T <= b < (k + 1) T`` and needs no other
tile. The state of a tile is ``2 * 2^n`` rows. Backwards, state and co-state ``lam = H psi`` are taken
through the inverse of each operation (Jones and Gacon, arXiv:2009.02823), ``H = sum_o cotangent[b, o] O_o``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from qhq.engine.kernels.angles import (
    add_rows,
    copy_rows,
    spread_sampled,
    spread_shared,
    write_sampled,
    write_shared,
)
from qhq.engine.kernels.dense import multiply
from qhq.engine.kernels.diagonal import (
    build_numbers,
    build_rows,
    phase_rows,
    phase_shared,
    reorder,
    unphase_rows,
    unphase_shared,
)
from qhq.engine.kernels.handoff import FINISHED, PART, STATE, accept, await_all, next_order, order
from qhq.engine.kernels.jit import entry, inner
from qhq.engine.kernels.lanes import fill, lanes, store
from qhq.engine.kernels.observables import add_values, read_out, weigh_slots, write_costate
from qhq.engine.kernels.product import contract_product, write_product
from qhq.engine.kernels.rotation import turn
from qhq.engine.kernels.rotation_adjoint import unturn
from qhq.engine.kernels.signals import lay, peek, poke
from qhq.engine.kernels.walsh import halve
from qhq.engine.program import (
    PHASE_SAMPLE,
    PHASE_SHARED,
    PRODUCT,
    TURNS,
    Angles,
    Integers,
    Layout,
    Numbers,
    Program,
    Readout,
)


class Desk(NamedTuple):
    """Room to work in, all of it in rows of T lanes, A angles and N = 2^n amplitudes.

    Attributes:
        psi: States that are kept, ``2 N`` rows a slot.
        trig: Cosines and sines of half angles: ``2 A`` rows of the shared ones, then ``2 A`` rows a tile.
        tables: Tables of the shared phases, 2 N numbers each.
        angles: A.
        work: One thread's own: co-state 2 N, scratch 2 N, slopes A, their totals A, Walsh coefficients.
    """

    psi: Numbers
    trig: Numbers
    tables: Numbers
    work: Numbers
    angles: int


class Desks(NamedTuple):
    """The desks of all parts of a job: see ``Desk``. A row of ``psi`` and of ``work`` is one part's.

    Where states are kept, ``psi`` has one row for all.
    """

    psi: Numbers
    trig: Numbers
    tables: Numbers
    work: Numbers
    angles: int


@inner
def rows(array: Numbers, begin: int, count: int) -> Numbers:
    """A part of an array, counted in rows."""
    width = lanes(array)
    return array[begin * width : (begin + count) * width]


@inner
def tile_trig(desk: Desk, tile: int) -> Numbers:
    """The trigonometry of a tile; -1 is what all share."""
    return rows(desk.trig, (tile + 1) * 2 * desk.angles, 2 * desk.angles)


@inner
def table_of(layout: Layout, desk: Desk, number: int) -> Numbers:
    """A table of shared phases."""
    size = 2 << layout.bits
    return desk.tables[number * size : (number + 1) * size]


@inner
def build_tables(layout: Layout, trig: Numbers, desk: Desk) -> None:
    """All tables of shared phases."""
    for p in range(len(layout.ops)):
        op = layout.ops[p]
        if op[0] == PHASE_SHARED:
            build_numbers(desk.work, layout.bits, layout.terms[op[2] : op[3]], trig)
            reorder(desk.work, table_of(layout, desk, op[4]), layout.maps[op[1]])


@inner
def apply(layout: Layout, op: Integers, psi: Numbers, trig: Numbers, desk: Desk) -> None:
    """One operation on one tile."""
    bits = layout.bits
    scratch = rows(desk.work, 2 << bits, 2 << bits)
    if op[0] == TURNS:
        turn(psi, 2 << bits, op, trig)
    elif op[0] == PHASE_SHARED:
        phase_shared(psi, table_of(layout, desk, op[4]))
    elif op[0] == PHASE_SAMPLE:
        build_rows(scratch, bits, layout.terms[op[2] : op[3]], trig)
        phase_rows(psi, scratch, layout.maps[op[1]])
    elif op[0] == PRODUCT:
        write_product(psi, bits, layout.pairs[op[1] : op[2]], trig)
    else:
        count = 1 << op[1]
        flips = layout.flips[op[2] : op[2] + 3 * op[1]]
        multiply(psi, bits, flips, layout.dense[op[3] : op[3] + 2 * count * count], scratch)


@inner
def unapply(layout: Layout, op: Integers, states: Any, trig: Numbers, desk: Desk) -> None:
    """Take one operation off state and co-state and write the slopes of its angles."""
    bits = layout.bits
    psi, lam = states
    scratch = rows(desk.work, 2 << bits, 2 << bits)
    fresh = rows(desk.work, 4 << bits, desk.angles)
    if op[0] == TURNS:
        unturn(psi, lam, 2 << bits, op, (trig, fresh))
    elif op[0] == PHASE_SHARED:
        unphase_shared(psi, lam, table_of(layout, desk, op[4]), layout.maps[op[1]], scratch)
        halve(scratch, bits, layout.terms[op[2] : op[3]], fresh)
    elif op[0] == PHASE_SAMPLE:
        build_rows(scratch, bits, layout.terms[op[2] : op[3]], trig)
        unphase_rows(psi, lam, scratch, layout.maps[op[1]])
        halve(scratch, bits, layout.terms[op[2] : op[3]], fresh)
    elif op[0] == PRODUCT:
        contract_product(psi, lam, layout.pairs[op[1] : op[2]], trig, fresh)
    else:
        undo_dense(layout, op, states, scratch)


@inner
def undo_dense(layout: Layout, op: Integers, states: Any, scratch: Numbers) -> None:
    """The adjoint matrix lies behind the matrix."""
    size = 2 << (2 * op[1])
    flips = layout.flips[op[2] : op[2] + 3 * op[1]]
    for psi in states:
        multiply(psi, layout.bits, flips, layout.dense[op[3] + size : op[3] + 2 * size], scratch)


@inner
def run_tile(program: Program, data: Any, desk: Desk, psi: Numbers, tile: int) -> None:
    """Write the final state of a tile."""
    layout, angles, _ = program
    inputs, weights = data
    trig = tile_trig(desk, tile)
    write_sampled(angles, inputs, weights, tile * lanes(trig), trig)
    copy_rows(tile_trig(desk, -1), trig, 2 * angles.sampled, 2 * desk.angles)
    for p in range(len(layout.ops)):
        apply(layout, layout.ops[p], psi, trig, desk)


@inner
def slots_of(bits: int, desk: Desk) -> Numbers:
    """Rows of Walsh coefficients, which end the work."""
    begin = (4 << bits) + 2 * desk.angles
    return desk.work[begin * lanes(desk.work) :]


@inner
def totals_of(bits: int, desk: Desk) -> Numbers:
    """Rows of slopes, summed over the tiles."""
    return rows(desk.work, (4 << bits) + desk.angles, desk.angles)


@inner
def read_tile(readout: Readout, psi: Numbers, values: Any, desk: Desk, tile: int) -> None:
    """Expectations of one tile."""
    bits = readout.bits
    scratch, slots = rows(desk.work, 2 << bits, 2 << bits), slots_of(bits, desk)
    read_out(readout, psi, scratch, slots)
    add_values(readout, slots, values, tile * lanes(slots))


@inner
def lay_costate(readout: Readout, psi: Numbers, cotangent: Any, desk: Desk, tile: int) -> None:
    """Write the co-state of one tile."""
    bits = readout.bits
    lam, scratch, slots = (
        rows(desk.work, 0, 2 << bits),
        rows(desk.work, 2 << bits, 2 << bits),
        slots_of(bits, desk),
    )
    weigh_slots(readout, slots, cotangent, tile * lanes(slots))
    write_costate(readout, psi, lam, scratch, slots)


@inner
def sweep_back(layout: Layout, psi: Numbers, desk: Desk, tile: int) -> None:
    """Take all operations off; each writes the slopes of its angles. The state is used up."""
    lam, trig = rows(desk.work, 0, 2 << layout.bits), tile_trig(desk, tile)
    for p in range(len(layout.ops) - 1, -1, -1):
        unapply(layout, layout.ops[p], (psi, lam), trig, desk)


@inner
def spread_slopes(angles: Angles, bits: int, dinputs: Any, desk: Desk, tile: int) -> None:
    """Carry the slopes of one tile to its inputs and to the totals."""
    fresh = rows(desk.work, 4 << bits, desk.angles)
    spread_sampled(angles, fresh, dinputs, tile * lanes(fresh))
    add_rows(fresh, totals_of(bits, desk), desk.angles)


@inner
def clear_totals(bits: int, desk: Desk) -> None:
    """Before the first tile of a part."""
    totals = totals_of(bits, desk)
    for k in range(desk.angles):
        store(totals, k, fill(totals, 0.0))


@inner
def prepare(program: Program, weights: Numbers, desk: Desk) -> None:
    """Write what the whole batch shares."""
    layout, angles, _ = program
    trig = tile_trig(desk, -1)
    write_shared(angles, weights, trig)
    build_tables(layout, trig, desk)


@inner
def desk_of(desks: Desks, part: int) -> Desk:
    """The desk of one part."""
    own = part if len(desks.psi) > 1 else 0
    return Desk(desks.psi[own], desks.trig, desks.tables, desks.work[part], desks.angles)


@inner
def run_part(job: Any, part: int) -> None:
    """One span of tiles."""
    program, data, desks, results, spans = job
    layout, angles, readout = program
    desk, span = desk_of(desks, part), spans[part]
    keep, back = span[2], span[4]
    clear_totals(layout.bits, desk)
    for tile in range(span[0], span[1]):
        size = 2 << layout.bits
        psi = rows(desk.psi, (tile if keep else 0) * size, size)
        if not (keep and back):
            run_tile(program, data, desk, psi, tile)
        if back:
            lay_costate(readout, psi, results[0], desk, tile)
            sweep_back(layout, psi, desk, tile)
            spread_slopes(angles, layout.bits, results[1], desk, tile)
        else:
            read_tile(readout, psi, results[0], desk, tile)
    if back:
        spread_shared(angles, totals_of(layout.bits, desk), results[2][part])


@inner
def run_ordered(board: int, like: Any) -> None:
    """The part that was ordered. A function, so that the job is let go before the caller is told."""
    run_part(accept(board, like), peek(board, PART))


@inner
def serve(board: int, like: Any) -> None:
    """Do what is ordered until nothing has been for a while."""
    while next_order(board):
        run_ordered(board, like)
        poke(board, STATE, FINISHED)


@inner
def lead(job: Any, boards: Integers) -> None:
    """Do a job with the workers of these boards, who take the first parts."""
    program, data, desks, _, spans = job
    if len(spans) and spans[0, 3]:
        prepare(program, data[1], desk_of(desks, 0))
    address = lay(job)
    for k in range(len(boards)):
        order(boards[k], address, k)
    for part in range(len(boards), len(spans)):
        run_part(job, part)
    await_all(boards)


@entry
def run(job: Any, boards: Integers, serving: int) -> None:
    """Expectations, or their vector-Jacobian product, of spans of tiles. All in one, compiled once.

    Args:
        job: Program, data, desks, results, spans, all in the precision of the data:

            - data: ``inputs`` (B, variables), ``weights`` (variables,).
            - desks: Backwards, as the way forwards left them; kept states are used up.
            - results: ``values`` (B, O): written, or the cotangent if backwards. Then ``dinputs``
              (B, variables) and ``dweights`` (parts, variables), written if backwards.
            - spans: Each ``first, last, keep, prepare, back``: the tiles ``first <= tile < last``; whether
              the state of tile ``k`` is kept in slot ``k`` (else all of a part use its slot 0); whether to
              write first what the whole batch shares; whether to go backwards.
        boards: Workers to divide the parts with.
        serving: Whether to be, instead, the worker of the only board, for jobs like this one.
    """
    if serving:
        serve(boards[0], job)
    else:
        lead(job, boards)

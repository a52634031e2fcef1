"""The compiled interpreter: a program on tiles of samples, forwards and backwards.

A tile is T samples, one a lane; tile ``k`` holds the samples ``k T <= b < (k + 1) T`` and needs no other
tile. The state of a tile is ``2 * 2^n`` rows. Backwards, state and co-state ``lam = H psi`` are taken
through the adjoint of each operation (Jones and Gacon, arXiv:2009.02823), ``H = sum_o cotangent[b, o] O_o``:
one sweep for all observables and all angles, and no state is kept but the last.

Order of the file: angles from inputs and weights (and gradients back to them), the buffers of a job, one
operation, one tile, one span of tiles, the entry point.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, NamedTuple

from qhq.engine.kernels.handoff import (
    State,
    Word,
    address_of,
    await_all,
    next_order,
    order,
    ordered_job,
    read,
    write,
)
from qhq.engine.kernels.jit import entry, inner
from qhq.engine.kernels.lanes import fill, lanes, load, store, total
from qhq.engine.kernels.unitaries import multiply, product_adjoint, rotate, rotate_adjoint, write_product
from qhq.engine.kernels.zstrings import (
    add_values,
    build_numbers,
    build_rows,
    phase_sample,
    phase_sample_adjoint,
    phase_shared,
    phase_shared_adjoint,
    read_out,
    reorder,
    walsh_sums,
    weigh_slots,
    write_costate,
)
from qhq.engine.program import Angles, Integers, Kind, Layout, Numbers, Op, Program, Readout


@inner
def _shared_part(angles: Angles, weights: Numbers, k: int) -> Any:
    """What angle ``k`` is without inputs."""
    angle = angles.constant[k]
    # Sparse rows, since an angle has one or two parameters, and a circuit may have hundreds.
    for j in range(angles.w_start[k], angles.w_start[k + 1]):
        angle += angles.w_slope[j] * weights[angles.w_index[j]]
    return angle


@inner
def _write_shared(angles: Angles, weights: Numbers, trig: Numbers) -> None:
    """Rows ``2 k, 2 k + 1`` become cosine and sine of half of each angle that the batch shares."""
    for k in range(angles.sampled, len(angles.constant)):
        half = _shared_part(angles, weights, k) / 2  # all that any operation needs is of half the angle
        store(trig, 2 * k, fill(trig, math.cos(half)))
        store(trig, 2 * k + 1, fill(trig, math.sin(half)))


@inner
def _write_sampled(angles: Angles, inputs: Any, weights: Numbers, first: int, trig: Numbers) -> None:
    """The same for the angles that differ by sample, for the samples from ``first`` on."""
    width = lanes(trig)
    # Number by number: ``inputs`` are laid out by sample, and no loop over amplitudes waits for this one.
    for k in range(angles.sampled):
        base = _shared_part(angles, weights, k)
        for b in range(width):
            angle = base  # and stays so in a lane beyond the batch: any finite number, its cotangent is zero
            if first + b < len(inputs):
                for j in range(angles.x_start[k], angles.x_start[k + 1]):
                    angle += angles.x_slope[j] * inputs[first + b, angles.x_index[j]]
            trig[2 * k * width + b] = math.cos(angle / 2)
            trig[(2 * k + 1) * width + b] = math.sin(angle / 2)


@inner
def _copy_rows(source: Numbers, target: Numbers, begin: int, end: int) -> None:
    """Copy rows ``begin`` to ``end``."""
    for r in range(begin, end):
        store(target, r, load(source, r))


@inner
def _spread_sampled(angles: Angles, fresh: Numbers, dinputs: Any, first: int) -> None:
    """``dinputs[b, i] = sum_k x_slope[k, i] dE/dangle[b, k]`` for the samples from ``first`` on."""
    width = lanes(fresh)
    for b in range(min(width, len(dinputs) - first)):
        for i in range(dinputs.shape[1]):
            dinputs[first + b, i] = (
                0  # the caller's memory comes as it is, and an input may stand in no angle
            )
        for k in range(angles.sampled):
            for j in range(angles.x_start[k], angles.x_start[k + 1]):
                dinputs[first + b, angles.x_index[j]] += angles.x_slope[j] * fresh[k * width + b]


@inner
def _add_rows(fresh: Numbers, totals: Numbers, count: int) -> None:
    """``totals += fresh`` for the first ``count`` rows."""
    for k in range(count):
        store(totals, k, load(totals, k) + load(fresh, k))


@inner
def _spread_shared(angles: Angles, totals: Numbers, dweights: Numbers) -> None:
    """``dweights[w] = sum_k w_slope[k, w] sum_b dE/dangle[b, k]``."""
    for w in range(len(dweights)):
        dweights[w] = 0
    for k in range(len(angles.constant)):  # of all angles: one that has inputs may have weights as well
        slope = total(load(totals, k))
        for j in range(angles.w_start[k], angles.w_start[k + 1]):
            dweights[angles.w_index[j]] += angles.w_slope[j] * slope


class Span(IntEnum):
    """Columns of ``Job.spans``: the tiles ``FIRST <= tile < LAST``, and three switches.

    KEEP: the state of tile ``k`` is kept in slot ``k``; else all tiles of a span use its slot 0. PREPARE:
    write first what the whole batch shares. BACK: go backwards.
    """

    FIRST = 0
    LAST = 1
    KEEP = 2
    PREPARE = 3
    BACK = 4


class Buffers(NamedTuple):
    """Memory of a job, in rows of T lanes, for A angles and N = 2^n amplitudes. The way back uses up ``psi``.

    Attributes:
        psi: States, ``2 N`` rows a slot; shape (1, ...) where states are kept, else (spans, ...).
        trig: Cosines and sines of half angles: ``2 A`` rows of the shared ones, then ``2 A`` rows a tile.
        tables: Tables of the shared phases, 2 N numbers each.
        work: Shape (spans, ...), each thread's own: co-state 2 N, scratch 2 N, slopes A, their totals A,
            Walsh coefficients.
        angles: A.
    """

    psi: Numbers
    trig: Numbers
    tables: Numbers
    work: Numbers
    angles: int


class _SpanBuffers(NamedTuple):
    """One span's share of ``Buffers``: its own ``psi`` and ``work``, and what all share."""

    psi: Numbers
    trig: Numbers
    tables: Numbers
    work: Numbers
    angles: int


class Job(NamedTuple):
    """Expectations of a batch, or their vector-Jacobian product, cut in spans; one precision throughout.

    Flat, since each level of nesting is unpacked anew from Python objects in each call.

    Attributes:
        program: What to run.
        inputs: Variables that differ by sample (B, X).
        weights: Variables that all share (W,).
        buffers: Where to work; backwards, as the way forwards left them.
        values: Expectations (B, O), written. Backwards the cotangent, read.
        dinputs: Gradient (B, X), written backwards.
        dweights: Gradient (spans, W), written backwards: a row for each span, to be summed by the caller,
            since two threads must not add to one number.
        spans: Shape (spans, 5), see the columns above.
    """

    program: Program
    inputs: Numbers
    weights: Numbers
    buffers: Buffers
    values: Numbers
    dinputs: Numbers
    dweights: Numbers
    spans: Integers


@inner
def _rows(array: Numbers, begin: int, count: int) -> Numbers:
    """A part of an array, counted in rows."""
    width = lanes(array)
    return array[begin * width : (begin + count) * width]


@inner
def _tile_trig(own: _SpanBuffers, tile: int) -> Numbers:
    """The trigonometry of a tile; -1 is what all share."""
    return _rows(own.trig, (tile + 1) * 2 * own.angles, 2 * own.angles)


@inner
def _table_of(layout: Layout, own: _SpanBuffers, number: int) -> Numbers:
    """A table of shared phases."""
    size = 2 << layout.bits
    return own.tables[number * size : (number + 1) * size]


@inner
def _scratch_of(bits: int, own: _SpanBuffers) -> Numbers:
    """As many rows of scratch."""
    return _rows(own.work, 2 << bits, 2 << bits)


@inner
def _slopes_of(bits: int, own: _SpanBuffers) -> Numbers:
    """Rows of dE/dangle of one tile."""
    return _rows(own.work, 4 << bits, own.angles)


@inner
def _totals_of(bits: int, own: _SpanBuffers) -> Numbers:
    """The same, summed over the tiles."""
    return _rows(own.work, (4 << bits) + own.angles, own.angles)


@inner
def _slots_of(bits: int, own: _SpanBuffers) -> Numbers:
    """Rows of Walsh coefficients, which end the work."""
    begin = (4 << bits) + 2 * own.angles
    return own.work[begin * lanes(own.work) :]


@inner
def _apply(layout: Layout, op: Integers, psi: Numbers, trig: Numbers, own: _SpanBuffers) -> None:
    """One operation on one tile."""
    bits = layout.bits
    scratch = _scratch_of(bits, own)
    # A chain of tests, the commonest first: a table of functions would be calls that LLVM cannot see into.
    if op[Op.KIND] == Kind.ROTATIONS:
        rotate(psi, 2 << bits, op, trig)
    elif op[Op.KIND] == Kind.PHASE_SHARED:
        phase_shared(psi, _table_of(layout, own, op[Op.TABLE]))
    elif op[Op.KIND] == Kind.PHASE_SAMPLE:
        build_rows(scratch, bits, layout.terms[op[Op.TERMS_BEGIN] : op[Op.TERMS_END]], trig)
        phase_sample(psi, scratch, layout.maps[op[Op.MAP]])
    elif op[Op.KIND] == Kind.PRODUCT:
        write_product(psi, bits, layout.pairs[op[Op.PAIRS_BEGIN] : op[Op.PAIRS_END]], trig)
    else:
        size = 2 << (2 * op[Op.QUBITS])
        flips = layout.flips[op[Op.FLIPS] : op[Op.FLIPS] + 3 * op[Op.QUBITS]]
        multiply(psi, bits, flips, layout.dense[op[Op.MATRIX] : op[Op.MATRIX] + size], scratch)


@inner
def _apply_adjoint(layout: Layout, op: Integers, states: Any, trig: Numbers, own: _SpanBuffers) -> None:
    """Take one operation off state and co-state and write the slopes of its angles."""
    bits = layout.bits
    psi, lam = states
    scratch, slopes = _scratch_of(bits, own), _slopes_of(bits, own)
    if op[Op.KIND] == Kind.ROTATIONS:
        rotate_adjoint(psi, lam, 2 << bits, op, (trig, slopes))
    elif op[Op.KIND] == Kind.PHASE_SHARED:
        phase_shared_adjoint(psi, lam, _table_of(layout, own, op[Op.TABLE]), layout.maps[op[Op.MAP]], scratch)
        walsh_sums(scratch, bits, layout.terms[op[Op.TERMS_BEGIN] : op[Op.TERMS_END]], slopes)
    elif op[Op.KIND] == Kind.PHASE_SAMPLE:
        # The table is built again: to keep one for each such operation would cost a state each.
        build_rows(scratch, bits, layout.terms[op[Op.TERMS_BEGIN] : op[Op.TERMS_END]], trig)
        phase_sample_adjoint(psi, lam, scratch, layout.maps[op[Op.MAP]])
        walsh_sums(scratch, bits, layout.terms[op[Op.TERMS_BEGIN] : op[Op.TERMS_END]], slopes)
    elif op[Op.KIND] == Kind.PRODUCT:
        product_adjoint(psi, lam, layout.pairs[op[Op.PAIRS_BEGIN] : op[Op.PAIRS_END]], trig, slopes)
    else:
        size = 2 << (2 * op[Op.QUBITS])
        flips = layout.flips[op[Op.FLIPS] : op[Op.FLIPS] + 3 * op[Op.QUBITS]]
        adjoint = layout.dense[op[Op.MATRIX] + size : op[Op.MATRIX] + 2 * size]  # it lies behind the matrix
        multiply(psi, bits, flips, adjoint, scratch)
        multiply(lam, bits, flips, adjoint, scratch)


@inner
def _run_tile(program: Program, variables: Any, own: _SpanBuffers, psi: Numbers, tile: int) -> None:
    """Write the final state of a tile; ``variables`` are inputs and weights."""
    layout, angles, _ = program
    inputs, weights = variables
    trig = _tile_trig(own, tile)
    _write_sampled(angles, inputs, weights, tile * lanes(trig), trig)
    # Shared angles are copied into each tile, so that an operation need not ask where its angle lies.
    _copy_rows(_tile_trig(own, -1), trig, 2 * angles.sampled, 2 * own.angles)
    for p in range(len(layout.ops)):
        _apply(layout, layout.ops[p], psi, trig, own)


@inner
def _read_tile(readout: Readout, psi: Numbers, values: Any, own: _SpanBuffers, tile: int) -> None:
    """Expectations of one tile."""
    slots = _slots_of(readout.bits, own)
    read_out(readout, psi, _scratch_of(readout.bits, own), slots)
    add_values(readout, slots, values, tile * lanes(slots))


@inner
def _differentiate_tile(program: Program, psi: Numbers, gradient: Any, own: _SpanBuffers, tile: int) -> None:
    """From the final state of a tile back to its inputs, and to the totals; the state is used up.

    ``gradient`` are the cotangent, which is read, and ``dinputs``, which are written.
    """
    layout, angles, readout = program
    cotangent, dinputs = gradient
    bits = layout.bits
    lam = _rows(own.work, 0, 2 << bits)  # the co-state begins the work
    slots, slopes = _slots_of(bits, own), _slopes_of(bits, own)
    trig = _tile_trig(own, tile)
    weigh_slots(readout, slots, cotangent, tile * lanes(slots))
    write_costate(readout, psi, lam, _scratch_of(bits, own), slots)
    for p in range(len(layout.ops) - 1, -1, -1):
        _apply_adjoint(layout, layout.ops[p], (psi, lam), trig, own)
    _spread_sampled(angles, slopes, dinputs, tile * lanes(slopes))
    # Kept lane by lane until the span ends: one sum over lanes for all its tiles, and the same order each
    # time.
    _add_rows(slopes, _totals_of(bits, own), own.angles)


@inner
def _prepare(program: Program, weights: Numbers, own: _SpanBuffers) -> None:
    """Write what the whole batch shares: trigonometry, and all tables of shared phases."""
    layout, angles, _ = program
    trig = _tile_trig(own, -1)
    _write_shared(angles, weights, trig)
    for p in range(len(layout.ops)):
        op = layout.ops[p]
        if op[Op.KIND] == Kind.PHASE_SHARED:
            # In the place of the co-state, which nobody has written yet.
            build_numbers(own.work, layout.bits, layout.terms[op[Op.TERMS_BEGIN] : op[Op.TERMS_END]], trig)
            reorder(own.work, _table_of(layout, own, op[Op.TABLE]), layout.maps[op[Op.MAP]])


@inner
def _buffers_of(buffers: Buffers, span: int) -> _SpanBuffers:
    """The buffers of one span."""
    states = span if len(buffers.psi) > 1 else 0
    return _SpanBuffers(buffers.psi[states], buffers.trig, buffers.tables, buffers.work[span], buffers.angles)


@inner
def _run_span(job: Job, number: int) -> None:
    """One span of tiles."""
    # Unpacked once: reading a field of a tuple of arrays counts a reference, atomically, each time.
    program, inputs, weights, buffers, values, dinputs, dweights, spans = job
    layout, angles, readout = program
    own, span = _buffers_of(buffers, number), spans[number]
    keep, back = span[Span.KEEP], span[Span.BACK]
    totals = _totals_of(layout.bits, own)  # still those of an earlier job
    for k in range(own.angles):
        store(totals, k, fill(totals, 0.0))
    for tile in range(span[Span.FIRST], span[Span.LAST]):
        size = 2 << layout.bits
        # Without ``keep`` one state is used for tile after tile: it stays in the cache, and memory stays
        # small.
        psi = _rows(own.psi, (tile if keep else 0) * size, size)
        if not (keep and back):  # a state that was not kept is made again
            _run_tile(program, (inputs, weights), own, psi, tile)
        if back:
            _differentiate_tile(program, psi, (values, dinputs), own, tile)
        else:
            _read_tile(readout, psi, values, own, tile)
    if back:
        _spread_shared(angles, totals, dweights[number])


@inner
def _run_ordered(mailbox: int, like: Any) -> None:
    """The span that was ordered. A function, so that the job is let go before the caller hears of its end."""
    _run_span(ordered_job(mailbox, like), read(mailbox, Word.SPAN))


@inner
def _serve(mailbox: int, like: Any) -> None:
    """Do what is ordered until nothing has been for a while."""
    while next_order(mailbox):
        _run_ordered(mailbox, like)
        write(mailbox, Word.STATE, State.FINISHED)


@inner
def _lead(job: Job, mailboxes: Integers) -> None:
    """Do a job with the workers of these mailboxes, who take the first spans."""
    # Before the first order, by one thread alone: every span reads what this writes.
    if len(job.spans) and job.spans[0, Span.PREPARE]:
        _prepare(job.program, job.weights, _buffers_of(job.buffers, 0))
    # On this function's stack, where it lives until ``await_all`` has seen every worker finish.
    address = address_of(job)
    for k in range(len(mailboxes)):
        order(mailboxes[k], address, k)
    # All the others: more than the last one where fewer workers were free than the batch was cut for.
    for number in range(len(mailboxes), len(job.spans)):
        _run_span(job, number)
    await_all(mailboxes)


@entry
def run(job: Job, mailboxes: Integers, serving: int) -> None:
    """A job, or a worker for jobs like it. All in one entry point, compiled once a precision.

    Args:
        job: What to do. For a worker, anything of the same types.
        mailboxes: Workers to divide the spans with.
        serving: Whether to be, instead, the worker of the only mailbox.
    """
    if serving:
        _serve(mailboxes[0], job)
    else:
        _lead(job, mailboxes)

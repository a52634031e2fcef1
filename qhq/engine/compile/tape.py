"""A circuit, its parameters and its observables -> a ``Program``: the flat arrays that the kernels run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qhq.engine.compile.angles import AngleMap, map_angles
from qhq.engine.compile.fusion import (
    Basis,
    Diagonal,
    Frame,
    Fused,
    Fusion,
    Matrix,
    Rotation,
    Sum,
    leading_bits,
)
from qhq.engine.program import (
    MOST_ROTATIONS,
    NEXT,
    OP_COLUMNS,
    Angles,
    Kind,
    Layout,
    Op,
    Pair,
    Program,
    Read,
    Readout,
    Term,
)
from qhq.errors import ConfigError


@dataclass(frozen=True)
class Tape:
    """A program and what turns the user's numbers into its variables.

    Attributes:
        program: Real numbers in float64.
        angle_map: Of the lowered circuit. Its angles that are not affine are extra variables of the program:
            those that differ by sample follow the inputs, the others follow the weights.
        curved_sampled: Places in ``angle_map.curved`` that follow the inputs, in order.
        curved_shared: Places in ``angle_map.curved`` that follow the weights, in order.
        num_observables: O.
        num_angles: Angles of the program (merged ones count once).
        frame: Which basis state each stored amplitude of the final state belongs to.
    """

    program: Program
    angle_map: AngleMap
    curved_sampled: tuple[int, ...]
    curved_shared: tuple[int, ...]
    num_observables: int
    num_angles: int
    frame: Frame


def build_tape(
    circuit: QuantumCircuit,
    observables: Sequence[SparsePauliOp],
    inputs: Sequence[Parameter],
    weights: Sequence[Parameter],
) -> Tape:
    """Lower, fuse and flatten.

    Args:
        circuit: Unitary circuit on n qubits.
        observables: Hermitian Pauli sums on n qubits, Qiskit's qubit order.
        inputs: Parameters that differ by sample.
        weights: Parameters shared by the batch.

    Raises:
        ConfigError: If the circuit is not unitary, a parameter has no place, or an observable does not fit.
    """
    separated, angle_map = map_angles(circuit, inputs, weights)
    fusion = Fusion(circuit.num_qubits)
    fusion.add_circuit(separated)
    # Observables are expressed in the final frame; phases that commute with all of them can be dropped.
    strings = _strings(observables, fusion.frame)
    fused = fusion.finish({flip for flip, _ in strings})
    return _Flattener(angle_map, circuit.num_qubits).flatten(fused, strings, len(observables))


# (flip, odd number of Y) -> mask -> observable -> coefficient.
_Strings = dict[tuple[int, int], dict[int, dict[int, float]]]


def _strings(observables: Sequence[SparsePauliOp], frame: Frame) -> _Strings:
    """All Pauli strings over stored amplitudes, gathered by what they flip."""
    strings: _Strings = {}
    for o, observable in enumerate(observables):
        _check_observable(observable, len(frame.row))
        for (z, x), coefficient in zip(
            zip(observable.paulis.z, observable.paulis.x, strict=True), observable.coeffs, strict=True
        ):
            flip = frame.flip(tuple(np.flatnonzero(x).tolist()))
            mask, sign = frame.mask(tuple(np.flatnonzero(z).tolist()))
            ys = int(np.count_nonzero(z & x))
            # Y = i X Z: of i^ys the sign goes into the coefficient, and a factor i is left where ys is odd.
            value = float(coefficient.real) * (-1) ** (sign + ys // 2)
            # Observables share strings, as in a Hamiltonian beside its own terms: each string is read once.
            by_mask = strings.setdefault((flip, ys % 2), {})
            entry = by_mask.setdefault(mask, {})
            entry[o] = entry.get(o, 0.0) + value
    return strings


def _check_observable(observable: SparsePauliOp, qubits: int) -> None:
    if observable.num_qubits != qubits:
        raise ConfigError(
            "Every observable must act on the qubits of the circuit",
            got=f"{observable.num_qubits} qubits beside {qubits}",
            fix="Pad its labels with I",
        )
    # Products of Paulis leave an imaginary rounding; a real observable that somebody wrote has none.
    if not np.allclose(observable.coeffs.imag, 0, atol=1e-12):
        raise ConfigError(
            "Every observable must be Hermitian",
            got=f"complex coefficients {observable.coeffs}",
            fix="Take the real part, or split it in two",
        )


class _Flattener:
    """Lists of rows that become the arrays of a ``Program``."""

    def __init__(self, angle_map: AngleMap, qubits: int) -> None:
        self._map, self._qubits = angle_map, qubits
        num_inputs, num_weights = len(angle_map.input_slopes), len(angle_map.weight_slopes)
        places = range(len(angle_map.curved))
        self._sampled = tuple(p for p in places if angle_map.needs_inputs(p))
        self._shared = tuple(p for p in places if not angle_map.needs_inputs(p))
        self._x_of = {angle_map.curved[p]: num_inputs + j for j, p in enumerate(self._sampled)}
        self._w_of = {angle_map.curved[p]: num_weights + j for j, p in enumerate(self._shared)}
        self._angles: list[tuple[float, dict[int, float], dict[int, float]]] = []
        self._ops: list[list[int]] = []
        self._terms: list[tuple[int, int, int]] = []
        # Columns of a map -> its row. The identity is there from the start, and most circuits need no other.
        self._maps: dict[tuple[int, ...], int] = {tuple(1 << q for q in range(qubits)): 0}
        self._flips: list[int] = []
        self._dense: list[float] = []
        self._tables = 0

    def flatten(self, fused: Fused, strings: _Strings, num_observables: int) -> Tape:
        pairs = [(r.flip.bit_length() - 1, self._angle(r.angle)) for r in fused.product]
        # Also where it is empty: it writes |0...0>, and so clears what an earlier batch left in the memory.
        self._op(Kind.PRODUCT, {Op.PAIRS_END: len(pairs)})
        for item in fused.items:
            self._append(item)
        # Before the readout: the terms of observables hold Walsh coefficients, which must not be renumbered.
        order = self._sort_angles()
        pairs = [(bit, order[angle]) for bit, angle in pairs]
        reads = self._reads(strings)
        terms = _table(self._terms, len(Term))
        maps = np.array([_linear(columns) for columns in self._maps], np.int32)
        layout = Layout(
            bits=self._qubits,
            tables=self._tables,
            ops=_table(self._ops, OP_COLUMNS),
            pairs=_table(pairs, len(Pair)),
            terms=terms,
            maps=maps,
            flips=np.array(self._flips, np.int64),
            dense=np.array(self._dense, np.float64),
        )
        coefficients = [list(by[mask].items()) for _, by in sorted(strings.items()) for mask in sorted(by)]
        readout = Readout(self._qubits, _table(reads, len(Read)), terms, maps, *_ragged(coefficients))
        program = Program(layout, self._affine_angles(), readout)
        # Angles that are not affine are variables of their own, behind the inputs and the weights.
        variables = (
            len(self._map.input_slopes) + len(self._sampled),
            len(self._map.weight_slopes) + len(self._shared),
        )
        # Once, here, for all the calls to come.
        _check_bounds(program, *variables)
        counts = (num_observables, len(self._angles))
        return Tape(program, self._map, self._sampled, self._shared, *counts, fused.frame)

    def _op(self, kind: int, columns: dict[int, int]) -> None:
        row = [0] * OP_COLUMNS
        for column, value in {Op.KIND: kind, **columns}.items():
            row[column] = value
        self._ops.append(row)

    def _append(self, item: list[Rotation] | Diagonal | Matrix) -> None:
        if isinstance(item, Diagonal):
            self._diagonal(item)
        elif isinstance(item, Matrix):
            self._matrix(item)
        else:
            columns: dict[int, int] = {Op.COUNT: len(item)}
            for j, rotation in enumerate(item):
                columns[Op.FLIP + NEXT * j], columns[Op.MASK + NEXT * j] = rotation.flip, rotation.mask
                columns[Op.ANGLE + NEXT * j] = self._angle(rotation.angle)
            columns |= {Op.LEADING + j: bit for j, bit in enumerate(leading_bits([r.flip for r in item]))}
            self._op(Kind.ROTATIONS, columns)

    def _matrix(self, item: Matrix) -> None:
        start = len(self._flips)
        self._flips += item.flips + item.masks + leading_bits(item.flips)
        self._op(Kind.DENSE, {Op.QUBITS: len(item.flips), Op.FLIPS: start, Op.MATRIX: len(self._dense)})
        for matrix in (item.matrix, item.matrix.conj().T):  # the adjoint for the way back
            # As pairs of real numbers, which is what the kernels work on.
            self._dense += np.ascontiguousarray(matrix).ravel().view(np.float64).tolist()

    def _diagonal(self, item: Diagonal) -> None:
        shared: list[tuple[int, int]] = []
        sampled: list[tuple[int, int]] = []
        for mask, angle in item.phases.items():
            place = self._angle(angle)
            # One table for the whole batch is cheaper than one a tile: weights' phases apart from inputs'.
            (sampled if self._angles[place][1] else shared).append((mask, place))
        if shared:
            self._op(Kind.PHASE_SHARED, {**self._family(shared), Op.TABLE: self._tables})
            self._tables += 1
        if sampled:
            self._op(Kind.PHASE_SAMPLE, self._family(sampled))

    def _family(self, masks: list[tuple[int, int]]) -> dict[int, int]:
        """Write the terms of a family of masks; return its columns MAP, TERMS_BEGIN and TERMS_END."""
        basis = Basis([mask for mask, _ in masks if mask], self._qubits)
        number = self._maps.setdefault(tuple(basis.columns()), len(self._maps))
        terms = []
        for mask, slot in masks:
            y = basis.coordinates(mask)  # zero for the empty mask, whose level is then -1
            level = y.bit_length() - 1
            terms.append((level, y ^ (1 << level) if y else 0, slot))
        begin = len(self._terms)
        self._terms += sorted(terms)
        return {Op.MAP: number, Op.TERMS_BEGIN: begin, Op.TERMS_END: len(self._terms)}

    def _angle(self, angle: Sum) -> int:
        """Write an angle as an affine function of the program's variables; return its place."""
        constant, by_input, by_weight = angle.constant, dict[int, float](), dict[int, float]()
        for k, scale in angle.slopes.items():
            constant += scale * float(self._map.constant[k])
            if k in self._x_of:
                by_input[self._x_of[k]] = scale
            elif k in self._w_of:
                by_weight[self._w_of[k]] = scale
            # Fused gates may share a parameter, so that its slopes are added, not set.
            _add_column(by_input, self._map.input_slopes[:, k], scale)
            _add_column(by_weight, self._map.weight_slopes[:, k], scale)
        self._angles.append((constant, by_input, by_weight))
        return len(self._angles) - 1

    def _sort_angles(self) -> list[int]:
        """Angles that differ by sample come first, everywhere; returns the new place of each old one."""
        ranking = sorted(range(len(self._angles)), key=lambda k: not self._angles[k][1])
        self._angles = [self._angles[k] for k in ranking]
        order = [0] * len(ranking)
        for new, old in enumerate(ranking):
            order[old] = new
        self._terms = [(level, rest, order[slot]) for level, rest, slot in self._terms]
        for row in self._ops:
            if row[Op.KIND] == Kind.ROTATIONS:
                for j in range(row[Op.COUNT]):
                    row[Op.ANGLE + NEXT * j] = order[row[Op.ANGLE + NEXT * j]]
        return order

    def _reads(self, strings: _Strings) -> list[tuple[int, ...]]:
        reads: list[tuple[int, ...]] = []
        slot = 0
        # Sorted, so that flip 0 comes first: the kernels write the co-state of that one instead of adding.
        for (flip, is_odd), by_mask in sorted(strings.items()):
            masks = [(mask, slot + j) for j, mask in enumerate(sorted(by_mask))]
            slot += len(masks)
            reads.append((flip, is_odd, *self._family(masks).values()))
        return reads

    def _affine_angles(self) -> Angles:
        w = _ragged([list(by_weight.items()) for _, _, by_weight in self._angles])
        x = _ragged([list(by_input.items()) for _, by_input, _ in self._angles])
        constant = np.array([constant for constant, _, _ in self._angles], np.float64)
        return Angles(sum(bool(by_input) for _, by_input, _ in self._angles), constant, *w, *x)


def _check_bounds(program: Program, inputs: int, weights: int) -> None:
    """Compiled code reads and writes without asking: no index may lead out of an array."""
    layout, angles, readout = program
    size, count, slots = 1 << layout.bits, len(angles.constant), len(readout.starts) - 1
    kinds = layout.ops[:, Op.KIND]
    rotations, dense = layout.ops[kinds == Kind.ROTATIONS], layout.ops[kinds == Kind.DENSE]
    used = [(rotations[rotations[:, Op.COUNT] > j], NEXT * j) for j in range(MOST_ROTATIONS)]
    flips, masks, places = (
        np.concatenate([each[:, column + shift] for each, shift in used])
        for column in (Op.FLIP, Op.MASK, Op.ANGLE)
    )
    shared, sampled = layout.ops[kinds == Kind.PHASE_SHARED], layout.ops[kinds == Kind.PHASE_SAMPLE]
    phases = np.concatenate([shared, sampled])[:, [Op.MAP, Op.TERMS_BEGIN, Op.TERMS_END]]
    reads = readout.reads[:, [Read.MAP, Read.BEGIN, Read.END]]
    families = np.concatenate([phases, reads])
    levels, rest, terms = layout.terms[:, Term.LEVEL], layout.terms[:, Term.REST], layout.terms[:, Term.SLOT]
    good = (
        all(_within(each, size) for each in (flips, masks, layout.flips, readout.reads[:, Read.FLIP]))
        and _within(places, count)
        and _within(layout.pairs[:, Pair.ANGLE], count)
        and _within(layout.pairs[:, Pair.BIT], max(1, layout.bits))
        and _within(families[:, 0], len(layout.maps))
        and _within(families[:, 1:], len(layout.terms) + 1)
        and _within(levels + 1, layout.bits + 1)
        and _within(rest, size)
        and all(_within(terms[begin:end], count) for _, begin, end in phases)
        and all(_within(terms[begin:end], slots) for _, begin, end in reads)
        and _within(shared[:, Op.TABLE], layout.tables)
        and _within(dense[:, Op.FLIPS] + 3 * dense[:, Op.QUBITS], len(layout.flips) + 1)
        # A matrix and its adjoint, two numbers each entry.
        and _within(dense[:, Op.MATRIX] + 4 * 4 ** dense[:, Op.QUBITS], len(layout.dense) + 1)
        and _within(angles.x_index, inputs)
        and _within(angles.w_index, weights)
    )
    if not good:
        raise ConfigError(
            "Every index of a program must lie within its arrays",
            got=f"one outside, of a circuit on {layout.bits} qubits with {count} angles",
            fix="Report this with the circuit: qhq has lowered it wrongly, and nothing was run",
        )


def _within(indices: npt.NDArray[np.int64], end: int) -> bool:
    return indices.size == 0 or bool(indices.min() >= 0 and indices.max() < end)


def _add_column(row: dict[int, float], slopes: np.ndarray, scale: float) -> None:
    for j in np.flatnonzero(slopes).tolist():
        row[j] = row.get(j, 0.0) + scale * float(slopes[j])


def _linear(columns: tuple[int, ...]) -> np.ndarray:
    """All values of the linear map over GF(2) with these columns."""
    values = np.zeros(1, np.int32)
    for column in columns:
        values = np.concatenate([values, values ^ np.int32(column)])
    return values


def _table(rows: Sequence[Sequence[int]], columns: int) -> np.ndarray:
    # Of two dimensions also without a row, as Numba wants it
    table = np.zeros((len(rows), columns), np.int64)
    for k, row in enumerate(rows):
        table[k, : len(row)] = row
    return table


def _ragged(rows: list[list[tuple[int, float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start of each row, then all indices and all values behind each other."""
    start = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    flat = [pair for row in rows for pair in row]
    return start, np.array([k for k, _ in flat], np.int64), np.array([v for _, v in flat], np.float64)

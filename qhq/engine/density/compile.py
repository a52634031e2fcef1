"""A circuit and its channels -> two sweeps over Pauli vectors, cut where the inputs end.

Expectations are ``E[b, o] = <<o| A_K ... A_1 |0>>``. What follows the last gate that differs by sample is the
same for the batch: there the observables are pulled back, once, whatever the batch is. What precedes it takes
the states of the samples forwards. Where all inputs enter first, the states are products, and that is all
that the batch costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterExpression, Reset
from qiskit.circuit.library import CXGate
from qiskit.quantum_info import PTM, Operator

from qhq.engine.compile.definitions import is_parametric
from qhq.engine.compile.lowering import lower
from qhq.engine.density.kernels import BLOCK_COLUMNS, ROW_STARTS, BlockColumn, MapSweep
from qhq.errors import ConfigError

_Matrix = npt.NDArray[np.float64]

Channels = Mapping[tuple[str, tuple[int, ...]], _Matrix]
"""Pauli transfer matrix that follows a gate, by its name and qubits; the first qubit is the lowest digit."""

LETTERS = {
    "rx": "X", "ry": "Y", "rz": "Z", "p": "Z", "rxx": "XX", "ryy": "YY", "rzz": "ZZ", "rzx": "ZX",
}  # fmt: skip
"""Pauli string of the generator of each parametric gate, the letter of its first qubit first."""

# Entries of a product of transfer matrices below this are rounding of zeros.
_ROUNDING = 1e-15

# Entries that a fixed run may add to a sparse matrix: what multiplying by it on its own costs.
_DEAREST_MERGE = 64


@dataclass(frozen=True)
class _Fixed:
    """A transfer matrix on one or two qubits, the first of which is the lowest digit."""

    qubits: tuple[int, ...]
    matrix: _Matrix

    def transposed(self) -> _Fixed:
        """The same map on observables."""
        return _Fixed(self.qubits, self.matrix.T)


@dataclass(frozen=True)
class _Turn:
    """A rotation about Z by ``sign`` times an angle of the circuit, by its number."""

    qubits: tuple[int, ...]
    angle: int
    sign: float = 1.0

    def transposed(self) -> _Turn:
        """The same map on observables."""
        return _Turn(self.qubits, self.angle, -self.sign)


_Step = _Fixed | _Turn

_RESET = np.diag([1.0, 0, 0, 0])
_RESET[3, 0] = 1.0  # of whatever state Z becomes what I is: |0>


@dataclass(frozen=True)
class CompiledSweep:
    """A sweep, and what its turns turn by.

    Attributes:
        sweep: For the kernels, in float64.
        angles: Angle of each turn.
        signs: Its sign.
    """

    sweep: MapSweep
    angles: npt.NDArray[np.int64]
    signs: _Matrix


def transfer_steps(
    circuit: QuantumCircuit, channels: Channels
) -> tuple[list[_Step], list[ParameterExpression]]:
    """Write a circuit as transfer matrices and turns, each gate followed by its channel.

    Args:
        circuit: Resets, and gates of at most two qubits or that come apart into such.
        channels: What follows a gate.

    Returns:
        The steps in circuit order, and the angle of each parametric rotation.

    Raises:
        ConfigError: If a gate acts on more than two qubits, or cannot be lowered.
    """
    steps: list[_Step] = []
    angles: list[ParameterExpression] = []
    known: dict[tuple[Any, ...], _Matrix] = {}
    for gate, qubits in gates_of(circuit):
        for part, wires in parts_of(gate, qubits):
            if isinstance(part, Reset):
                steps.append(_Fixed(wires, _RESET))
            elif is_parametric(part):
                steps += _rotation(part.name, wires, len(angles))
                angles.append(part.params[0])
            else:
                steps.append(_Fixed(wires, _transfer_matrix(part, known)))
        channel = channels.get((gate.name, qubits))
        if channel is not None:
            steps.append(_Fixed(qubits, channel))
    return steps, angles


def gates_of(circuit: QuantumCircuit) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Each gate of a circuit and the numbers of its qubits."""
    for instruction in circuit.data:
        yield instruction.operation, tuple(circuit.find_bit(bit).index for bit in instruction.qubits)


def parts_of(gate: Any, qubits: tuple[int, ...]) -> Iterable[tuple[Any, tuple[int, ...]]]:
    """A gate in rotations about Pauli strings and fixed gates on one or two qubits, mostly itself.

    A gate that comes apart here is still one gate on the device: its channel follows the whole of it.

    Raises:
        ConfigError: If a part acts on more than two qubits, or the gate cannot be lowered.
    """
    if isinstance(gate, Reset):
        yield gate, qubits
        return
    plain = gate.name in LETTERS if is_parametric(gate) else 0 < gate.num_qubits <= 2 and gate.name != "delay"
    if plain:
        yield gate, qubits
        return
    alone = QuantumCircuit(gate.num_qubits)
    alone.append(gate, range(gate.num_qubits))
    for part, wires in gates_of(lower(alone)):
        if len(wires) > 2:
            raise ConfigError(
                "A gate of a circuit with noise must act on one or two qubits",
                got=f"'{gate.name}' on {gate.num_qubits}",
                fix="Transpile the circuit for its device first",
            )
        yield part, tuple(qubits[wire] for wire in wires)


def _transfer_matrix(gate: Any, known: dict[tuple[Any, ...], _Matrix]) -> _Matrix:
    # Made once for each gate that a device's circuit repeats. A gate is known by its class and numbers,
    # unless it holds a matrix or a control state.
    plain = not hasattr(gate, "ctrl_state") and all(np.ndim(each) == 0 for each in gate.params)
    key = (gate.base_class, *(float(each) for each in gate.params)) if plain else None
    if key is None or key not in known:
        # Complex in Qiskit, though the transfer matrix of whatever keeps states Hermitian is real.
        matrix = np.ascontiguousarray(PTM(Operator(gate)).data.real)
        if key is None:
            return matrix
        known[key] = matrix
    return known[key]


_H = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
# Letter -> the gate that turns Z into it.
_FRAMES = {"X": _H, "Y": np.diag([1, 1j]) @ _H}


def _rotation(name: str, qubits: tuple[int, ...], angle: int) -> Iterator[_Step]:
    """``exp(-i angle P / 2)`` as a turn about Z between fixed gates."""
    before: list[_Step] = []
    after: list[_Step] = []
    for letter, qubit in zip(LETTERS[name], qubits, strict=True):
        if letter != "Z":
            frame = PTM(Operator(_FRAMES[letter])).data.real
            before.append(_Fixed((qubit,), frame.T))
            after.append(_Fixed((qubit,), frame))
    if len(qubits) == 2:
        # CX takes Z of its target to Z Z.
        parity = _Fixed(qubits, PTM(Operator(CXGate())).data.real)
        before, after = [*before, parity], [parity, *after]
    yield from before
    yield _Turn(qubits[-1:], angle)
    yield from after


def cut_at_inputs(steps: Sequence[_Step], sampled: Callable[[int], bool]) -> tuple[list[_Step], list[_Step]]:
    """Steps that a sample's state goes through, and those that the observables are pulled through.

    Args:
        steps: In circuit order.
        sampled: Whether an angle differs by sample.
    """
    # From the end back, since a step can go over to the observables only if all behind it on its qubits do.
    touched: set[int] = set()
    front: list[_Step] = []
    rest: list[_Step] = []
    for step in reversed(steps):
        if (isinstance(step, _Turn) and sampled(step.angle)) or touched.intersection(step.qubits):
            touched.update(step.qubits)
            front.append(step)
        else:
            rest.append(step)
    front.reverse()
    # Before its first two-qubit step a qubit is a factor of a product: what it meets until then is cheap.
    joined = {qubit for step in front if len(step.qubits) == 2 for qubit in step.qubits}
    back: list[_Step] = []
    for step in reversed(rest):
        if joined.isdisjoint(step.qubits) and len(step.qubits) == 1:
            front.append(step)
        else:
            joined.update(step.qubits)
            back.append(step)
    return front, back


@dataclass
class _Run:
    """A product of one-qubit steps: a fixed matrix, then turns, each with the fixed matrix behind it."""

    matrices: list[_Matrix] = field(default_factory=lambda: [np.eye(4)])
    turns: list[_Turn] = field(default_factory=list)

    def add(self, step: _Step) -> None:
        if isinstance(step, _Turn):
            self.turns.append(step)
            self.matrices.append(np.eye(4))
        else:
            self.matrices[-1] = step.matrix @ self.matrices[-1]

    @property
    def is_identity(self) -> bool:
        return not self.turns and bool(np.abs(self.matrices[0] - np.eye(4)).max() < _ROUNDING)


@dataclass
class _Pair:
    """A block: two qubits, the runs on them, and the fixed matrix behind."""

    qubits: tuple[int, int]
    runs: tuple[_Run | None, _Run | None]
    matrix: _Matrix


def build_sweep(steps: Iterable[_Step], qubits: int, *, from_zero: bool) -> CompiledSweep:
    """Fuse steps into blocks.

    Args:
        steps: In the order of the sweep.
        qubits: n >= 2.
        from_zero: Whether it starts from |0...0>, so that the first run of each qubit makes a product state.
    """
    fusion = _Fusion(qubits, from_zero=from_zero)
    for step in steps:
        if len(step.qubits) == 1:
            fusion.runs[step.qubits[0]].add(step)
        else:
            assert isinstance(step, _Fixed)
            fusion.add((step.qubits[0], step.qubits[1]), step.matrix)
    fusion.finish()
    return _flatten(fusion.blocks, fusion.product, qubits)


class _Fusion:
    """Blocks in the making; one-qubit steps wait in runs for the next two-qubit step of their qubit."""

    def __init__(self, qubits: int, *, from_zero: bool) -> None:
        self.runs = [_Run() for _ in range(qubits)]
        self.product: dict[int, _Run] = {}
        self.blocks: list[_Pair] = []
        self._from_zero = from_zero
        self._last: dict[int, _Pair] = {}

    def add(self, pair: tuple[int, int], matrix: _Matrix) -> None:
        """Take a two-qubit step, with the runs that wait on its qubits."""
        runs, matrix = _merged([self._take(qubit) for qubit in pair], matrix)
        before = self._last.get(pair[0])
        # Two fixed blocks on the same pair with nothing between are one: a gate and its channel, mostly.
        if runs == [None, None] and before is not None and before is self._last.get(pair[1]):
            if before.qubits != pair:
                # The same map with its two qubits in the other order.
                matrix = matrix.reshape(4, 4, 4, 4).transpose(1, 0, 3, 2).reshape(16, 16)
            before.matrix = _cleaned(matrix @ before.matrix)
            return
        block = _Pair(pair, (runs[0], runs[1]), _cleaned(matrix))
        self.blocks.append(block)
        self._last.update(dict.fromkeys(pair, block))

    def finish(self) -> None:
        """Pair up the runs that no two-qubit step follows."""
        qubits = range(len(self.runs))
        started = [qubit for qubit in qubits if not self._from_zero or qubit in self.product]
        left = [qubit for qubit in started if not self.runs[qubit].is_identity]
        while left:
            one = left.pop()
            # Of an odd number the last one takes any other qubit along, on which nothing waits any more.
            self.add((one, left.pop() if left else (one + 1) % len(self.runs)), np.eye(16))
        if self._from_zero:
            for qubit in qubits:
                self.product.setdefault(qubit, self.runs[qubit])

    def _take(self, qubit: int) -> _Run | None:
        """The run that waits on a qubit, None for the identity; the first from |0> belongs to no block."""
        run, self.runs[qubit] = self.runs[qubit], _Run()
        if self._from_zero and qubit not in self.product:
            self.product[qubit] = run
            return None
        return None if run.is_identity else run


def _merged(runs: list[_Run | None], matrix: _Matrix) -> tuple[list[_Run | None], _Matrix]:
    """Multiply runs without an angle into the sparse matrix behind them, where that stays sparse."""
    kept = list(runs)
    for place, run in enumerate(runs):
        if run is None or run.turns:
            continue
        # The first qubit is the lowest digit, which is the last factor of a Kronecker product.
        both = [np.eye(4), run.matrices[0]] if place == 0 else [run.matrices[0], np.eye(4)]
        merged = _cleaned(matrix @ np.kron(*both))
        if np.count_nonzero(merged) <= np.count_nonzero(matrix) + _DEAREST_MERGE:
            matrix, kept[place] = merged, None
    return kept, matrix


def _cleaned(matrix: _Matrix) -> _Matrix:
    return np.where(np.abs(matrix) < _ROUNDING, 0.0, matrix)


def _flatten(blocks: Sequence[_Pair], product: Mapping[int, _Run], qubits: int) -> CompiledSweep:
    starts_of_runs, turns, fixed = [0], list[int](), list[_Matrix]()
    angles, signs = list[int](), list[float]()

    def place(run: _Run | None) -> int:
        """Write a run; its number, -1 for the identity."""
        if run is None or run.is_identity:
            return -1
        for k, matrix in enumerate(run.matrices):
            turns.append(len(angles) if k else -1)
            if k:
                angles.append(run.turns[k - 1].angle)
                signs.append(run.turns[k - 1].sign)
            fixed.append(matrix)
        starts_of_runs.append(len(turns))
        return len(starts_of_runs) - 2

    firsts = [place(product[qubit]) for qubit in range(qubits)] if product else []
    rows = np.zeros((len(blocks), BLOCK_COLUMNS), np.int64)
    starts = np.zeros((len(blocks), 2, ROW_STARTS), np.int64)
    columns, values, count = [np.zeros(0, np.int64)], [np.zeros(0)], 0
    for k, block in enumerate(blocks):
        rows[k, [BlockColumn.QUBIT_A, BlockColumn.QUBIT_B]] = block.qubits
        rows[k, [BlockColumn.RUN_A, BlockColumn.RUN_B]] = place(block.runs[0]), place(block.runs[1])
        rows[k, BlockColumn.MATRIX] = k
        # The transpose is stored, too: by rows both ways, the kernel adds up in registers and never scatters.
        for side, matrix in enumerate((block.matrix, block.matrix.T)):
            row, column = np.nonzero(matrix)
            starts[k, side] = count + np.searchsorted(row, np.arange(ROW_STARTS))
            columns.append(column)
            values.append(matrix[row, column])
            count += len(row)
    sweep = MapSweep(
        qubits=qubits,
        product=np.array(firsts, np.int64),
        blocks=rows,
        starts=starts.ravel(),
        columns=np.concatenate(columns),
        values=np.concatenate(values),
        runs=np.array(starts_of_runs, np.int64),
        turns=np.array(turns, np.int64),
        fixed=np.concatenate([each.ravel() for each in fixed]) if fixed else np.zeros(0),
    )
    return CompiledSweep(sweep, np.array(angles, np.int64), np.array(signs, np.float64))

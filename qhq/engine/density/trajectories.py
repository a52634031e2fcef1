"""Trajectories: unbiased noisy expectations and gradients where a density matrix is too large.

A channel is a sum over Kraus operators, ``rho -> sum_k K_k rho K_k^dagger``. A trajectory takes one of them,
``K_k / sqrt(q_k)`` with a probability ``q_k`` that is fixed beforehand, and keeps the norm that this leaves:

    E = sum_k q_k <K_k s / sqrt(q_k)| O |K_k s / sqrt(q_k)>

holds term by term, so the mean over trajectories is the exact value whatever the ``q_k`` are, and since these
depend on no angle, the gradient of a trajectory's value is an unbiased gradient as well. (Probabilities that
follow the state, as simulators of shots take them, would have to be differentiated too.)

Gates, Kraus operators and rotations between two gates on other pairs of qubits are multiplied into one 4 x 4
matrix for each trajectory first, so that the state is passed over once a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterExpression, Reset
from qiskit.quantum_info import Operator, Pauli

from qhq.engine.compile.angles import AngleMap, ChainedAngles
from qhq.engine.compile.definitions import is_parametric
from qhq.engine.density.compile import LETTERS, gates_of, parts_of
from qhq.engine.kernels.blocks import MATRIX_ROWS, blocks_back, blocks_forward
from qhq.engine.kernels.jit import announced
from qhq.engine.kernels.lanes import ROW_BYTES
from qhq.engine.runtime.jobs import aligned_rows
from qhq.limits import require_memory

_Reals = npt.NDArray[Any]
_Complex = npt.NDArray[np.complex128]

KrausChannels = Mapping[tuple[str, tuple[int, ...]], Sequence[_Complex]]
"""Kraus operators that follow a gate, by its name and qubits; the first qubit is the lowest bit."""

# Kraus operators of a reset.
_RESET = (np.array([[1, 0], [0, 0]], np.complex128), np.array([[0, 1], [0, 0]], np.complex128))

# A Kraus operator that is taken less often than this is rounding of a decomposition.
_UNLIKELY = 1e-14


@dataclass(frozen=True)
class _Fixed:
    """A gate without an angle."""

    qubits: tuple[int, ...]
    matrix: _Complex


@dataclass(frozen=True)
class _Rotation:
    """``exp(-i angle P / 2)``, its angle by its number."""

    qubits: tuple[int, ...]
    generator: _Complex
    angle: int


@dataclass(frozen=True)
class _Choice:
    """A channel: its operators over the roots of their probabilities (k, d, d), and where these add up to."""

    qubits: tuple[int, ...]
    operators: _Complex
    thresholds: npt.NDArray[np.float64]


_Factor = _Fixed | _Rotation | _Choice


@dataclass
class _Block:
    """Factors on two qubits, in circuit order."""

    qubits: tuple[int, int]
    factors: list[_Factor]

    def spread(self, matrix: _Complex, qubits: tuple[int, ...]) -> _Complex:
        """A matrix (..., d, d) on some of its qubits as one on both, shape (..., 4, 4)."""
        shape = (*matrix.shape[:-2], 4, 4)
        if len(qubits) == 1:
            # Index bit(a) + 2 bit(b): the matrix of the second qubit is the left factor.
            letters = "ij,...kl->...ikjl" if qubits[0] == self.qubits[0] else "kl,...ij->...ikjl"
            whole: _Complex = np.einsum(letters, np.eye(2), matrix).reshape(shape)
            return whole
        if qubits == self.qubits:
            return matrix
        swapped: _Complex = matrix[..., [0, 2, 1, 3], :][..., :, [0, 2, 1, 3]]
        return swapped


@dataclass
class _Lap:
    """What one circuit did in a forward pass.

    Attributes:
        factors: Matrix of each factor, in order: (d, d), or (R, d, d) where trajectories differ.
        matrices: Matrices (K, R, 4, 4) of the blocks, for R trajectories.
        turned: Product (R, 4, 4) of a block's factors up to and with each rotation, in order.
        tiles: States of each tile of lanes: slots in rows.
    """

    factors: list[_Complex]
    matrices: _Complex
    turned: list[_Complex]
    tiles: list[_Reals]


@dataclass
class TrajectoryResidual:
    """What ``forward`` leaves for ``backward``."""

    inputs: _Reals
    weights: _Reals
    laps: list[_Lap] = field(repr=False)


class TrajectoryEngine:
    """Estimates of noisy expectations from trajectories, and unbiased gradients; see the module.

    The precision follows the inputs: float32 in single, all others in double precision. Each call draws
    anew; the backward pass goes back along the trajectories of its forward pass.

    Args:
        settings: For each setting of the readout a circuit on n qubits, in Qiskit's order, and what an
            outcome is worth there, shape (2^n, O); the sum over settings counts.
        channels: What follows a gate.
        parameters: Parameters of the circuits, in the order of the angles of ``angle_map``.
        angle_map: What they are of ``inputs`` (B, I) and ``weights`` (W,).
        trajectories: How many a sample, at least one.
        generator: Where the choices come from.

    Raises:
        ConfigError: If a gate is too wide, or an angle is not real.
    """

    def __init__(
        self,
        settings: Sequence[tuple[QuantumCircuit, _Reals]],
        channels: KrausChannels,
        parameters: Sequence[Parameter],
        angle_map: AngleMap,
        *,
        trajectories: int,
        generator: np.random.Generator,
    ) -> None:
        self.trajectories, self._generator = trajectories, generator
        self._circuits = [_compile(circuit, channels) for circuit, _ in settings]
        # A circuit on one qubit has got a second, which is 0.
        self._values = [
            np.vstack([worth, np.zeros(((1 << each.qubits) - len(worth), worth.shape[1]))])
            for each, (_, worth) in zip(self._circuits, settings, strict=True)
        ]
        self.num_outputs = int(self._values[0].shape[1])
        self._angles = [
            ChainedAngles(angle_map, AngleMap(each.angles, parameters, ())) for each in self._circuits
        ]

    def estimate(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[_Reals, _Reals]:
        """Expectations (B, O) of ``inputs`` (B, I) and ``weights`` (W,), and their standard errors (B, O).

        The errors are NaN where there is one trajectory a sample.
        """
        each, _ = self._run(inputs, weights, keep=False)
        count = self.trajectories
        errors = np.full_like(each[:, 0], np.nan)
        if count > 1:
            errors = each.std(axis=1, ddof=1) / np.sqrt(count)
        return each.mean(axis=1), errors

    def expectations(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> _Reals:
        """Estimates (B, O) of the expectations."""
        return self.estimate(inputs, weights)[0]

    def forward(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[_Reals, TrajectoryResidual]:
        """``expectations``, and what ``backward`` goes on from."""
        each, residual = self._run(inputs, weights, keep=True)
        return each.mean(axis=1), residual

    def backward(self, residual: TrajectoryResidual, cotangent: npt.ArrayLike) -> tuple[_Reals, _Reals]:
        """Gradients of a forward pass by ``inputs`` (B, I) and ``weights`` (W,), along its trajectories."""
        inputs, weights = residual.inputs, residual.weights
        pull = np.repeat(np.asarray(cotangent) / self.trajectories, self.trajectories, axis=0)
        total = np.zeros(inputs.shape), np.zeros(weights.shape)
        for circuit, chained, worth, lap in zip(
            self._circuits, self._angles, self._values, residual.laps, strict=True
        ):
            slopes = circuit.slopes(lap, worth @ pull.T)
            by_sample = slopes.reshape(len(inputs), self.trajectories, -1).sum(axis=1)
            by_inputs, by_weights = chained.pullback(inputs, weights, by_sample)
            total = total[0] + by_inputs, total[1] + by_weights
        return total[0].astype(inputs.dtype), total[1].astype(inputs.dtype)

    def _run(
        self, inputs: npt.ArrayLike, weights: npt.ArrayLike, *, keep: bool
    ) -> tuple[_Reals, TrajectoryResidual]:
        """Values (B, trajectories, O)."""
        given = np.asarray(inputs)
        dtype = np.dtype(np.float32 if given.dtype == np.float32 else np.float64)
        given, shared = given.astype(dtype, copy=False), np.asarray(weights).astype(dtype, copy=False)
        each = np.zeros((len(given) * self.trajectories, self.num_outputs))
        laps = []
        for circuit, chained, worth in zip(self._circuits, self._angles, self._values, strict=True):
            angles = np.repeat(chained(given, shared), self.trajectories, axis=0)
            lap, probabilities = circuit.run(angles, dtype, self._generator, keep=keep)
            each += probabilities.T @ worth
            laps.append(lap)
        shaped = each.reshape(len(given), self.trajectories, -1).astype(dtype)
        return shaped, TrajectoryResidual(given, shared, laps)


@dataclass
class _Compiled:
    """A circuit as blocks on pairs of qubits.

    Attributes:
        qubits: n >= 2.
        blocks: In an order that the circuit's own allows.
        angles: Angle of each rotation, by its number.
    """

    qubits: int
    blocks: list[_Block]
    angles: list[ParameterExpression]

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Qubits (K, 2) of the blocks."""
        return np.array([block.qubits for block in self.blocks], np.int64).reshape(-1, 2)

    def run(
        self, angles: _Reals, dtype: np.dtype[Any], generator: np.random.Generator, *, keep: bool
    ) -> tuple[_Lap, _Reals]:
        """Take a trajectory for each row of angles (R, A); returns it and the probabilities (2^n, R)."""
        count, width = len(angles), ROW_BYTES // dtype.itemsize
        lap = _Lap([], np.empty((len(self.blocks), count, 4, 4), np.complex128), [], [])
        for k, block in enumerate(self.blocks):
            matrix = np.broadcast_to(np.eye(4, dtype=np.complex128), (count, 4, 4))
            for factor in block.factors:
                lap.factors.append(_drawn(factor, angles, generator))
                matrix = block.spread(lap.factors[-1], factor.qubits) @ matrix
                if isinstance(factor, _Rotation):
                    lap.turned.append(matrix)
            lap.matrices[k] = matrix
        size = 2 << self.qubits
        slots = 1 + len(self.blocks) if keep else 1
        tiles = -(-count // width)
        require_memory(
            # Only the way back needs all tiles; without it each tile's states are given up for the next.
            (tiles if keep else 1) * slots * size * ROW_BYTES,
            f"The states of {count} trajectories on {self.qubits} qubits",
            fix="Use fewer trajectories in the entry, a smaller batch, or fewer qubits",
        )
        probabilities = np.empty((1 << self.qubits, count))
        for tile in range(tiles):
            states = aligned_rows(dtype, slots * size)
            # Aligned rows hold whatever their memory did; row 0 is the real part of |0...0> in every lane.
            states[: size * width] = 0
            states[:width] = 1
            matrices = self._lanes(lap.matrices, tile, width, dtype)
            with announced("noisy"):
                blocks_forward(self.places, matrices, states, self.qubits, int(keep))
            last = states[-size * width :].reshape(-1, 2, width)
            lanes = slice(tile * width, min(count, (tile + 1) * width))
            found = (last.astype(np.float64) ** 2).sum(axis=1)
            probabilities[:, lanes] = found[:, : lanes.stop - lanes.start]
            if keep:
                lap.tiles.append(states)
        return lap, probabilities

    def slopes(self, lap: _Lap, pulls: _Reals) -> npt.NDArray[np.float64]:
        """Gradients (R, A) of the angles.

        Args:
            lap: The trajectories.
            pulls: What a probability of each outcome is worth to the value, shape (2^n, R).
        """
        count = pulls.shape[1]
        gradients = np.empty((len(self.blocks), count, 4, 4), np.complex128)
        for tile, states in enumerate(lap.tiles):
            dtype = states.dtype
            width = ROW_BYTES // dtype.itemsize
            size = 2 << self.qubits
            lanes = slice(tile * width, min(count, (tile + 1) * width))
            costate = aligned_rows(dtype, size)
            worth = np.zeros((1 << self.qubits, 1, width))
            worth[:, 0, : lanes.stop - lanes.start] = pulls[:, lanes]
            costate.reshape(-1, 2, width)[:] = worth * states[-size * width :].reshape(-1, 2, width)
            found = aligned_rows(dtype, MATRIX_ROWS * len(self.blocks))
            matrices = self._lanes(lap.matrices, tile, width, dtype)
            with announced("noisy"):
                blocks_back(self.places, matrices, states, costate, found, self.qubits)
            pairs = found.reshape(-1, 4, 4, 2, width).transpose(0, 4, 1, 2, 3)[:, : lanes.stop - lanes.start]
            gradients[:, lanes] = pairs[..., 0] + 1j * pairs[..., 1]
        return self._chain(lap, gradients)

    def _chain(self, lap: _Lap, gradients: _Complex) -> npt.NDArray[np.float64]:
        """From the gradient of each block's matrix to those of the angles in it."""
        slopes = np.zeros((gradients.shape[1], len(self.angles)))
        factors, turned = reversed(lap.factors), reversed(lap.turned)
        for k in range(len(self.blocks) - 1, -1, -1):
            block, left = self.blocks[k], gradients[k]
            for factor in reversed(block.factors):
                if isinstance(factor, _Rotation):
                    # d exp(-i t P / 2) = -i/2 P exp(-i t P / 2), and the value changes by 2 Re <G, dM>.
                    moved = block.spread(factor.generator, factor.qubits) @ next(turned)
                    slopes[:, factor.angle] += np.einsum("rij,rij->r", left.conj(), moved).imag
                left = np.conj(np.swapaxes(block.spread(next(factors), factor.qubits), -1, -2)) @ left
        return slopes

    def _lanes(self, matrices: _Complex, tile: int, width: int, dtype: np.dtype[Any]) -> _Reals:
        """The matrices of a tile as the kernels read them; lanes beyond the batch hold zeros."""
        part = matrices[:, tile * width : (tile + 1) * width]
        rows = aligned_rows(dtype, MATRIX_ROWS * len(matrices))
        shown = rows.reshape(-1, 4, 4, 2, width)
        shown[..., part.shape[1] :] = 0
        shown[..., 0, : part.shape[1]] = part.real.transpose(0, 2, 3, 1)
        shown[..., 1, : part.shape[1]] = part.imag.transpose(0, 2, 3, 1)
        return rows


def _drawn(factor: _Factor, angles: _Reals, generator: np.random.Generator) -> _Complex:
    """The matrix of a factor for the angles (R, A): (d, d) or (R, d, d)."""
    if isinstance(factor, _Fixed):
        return factor.matrix
    if isinstance(factor, _Rotation):
        half = 0.5 * angles[:, factor.angle, None, None].astype(np.float64)
        turn: _Complex = np.cos(half) * np.eye(len(factor.generator)) - 1j * np.sin(half) * factor.generator
        return turn
    # Draws lie in [0, 1), so an operator's interval holds its lower end, not its upper.
    taken = np.searchsorted(factor.thresholds, generator.random(len(angles)), side="right")
    operators: _Complex = factor.operators[taken]
    return operators


def _choice(qubits: tuple[int, ...], kraus: Sequence[_Complex]) -> _Choice:
    """A channel by its Kraus operators, each taken as often as it acts on the fully mixed state."""
    stacked = np.stack([np.asarray(each, np.complex128) for each in kraus])
    weights = (np.abs(stacked) ** 2).sum(axis=(1, 2)) / stacked.shape[1]
    stacked, weights = stacked[weights > _UNLIKELY], weights[weights > _UNLIKELY]
    probabilities = weights / weights.sum()
    operators = stacked / np.sqrt(probabilities)[:, None, None]
    # The last threshold is left out: a number below one that rounding leaves behind it belongs to the last.
    return _Choice(qubits, operators, np.cumsum(probabilities)[:-1])


def _factors(
    circuit: QuantumCircuit, channels: KrausChannels, angles: list[ParameterExpression]
) -> Iterator[_Factor]:
    """The factors in circuit order; the angles of rotations are appended."""
    known: dict[int, _Choice] = {}
    for gate, qubits in gates_of(circuit):
        for part, wires in parts_of(gate, qubits):
            if isinstance(part, Reset):
                yield _choice(wires, _RESET)
            elif is_parametric(part):
                # The letter of the first qubit comes first here, and last in Qiskit's label.
                yield _Rotation(wires, Pauli(LETTERS[part.name][::-1]).to_matrix(), len(angles))
                angles.append(part.params[0])
            else:
                yield _Fixed(wires, np.asarray(Operator(part).data, np.complex128))
        kraus = channels.get((gate.name, qubits))
        if kraus is not None:
            # Gates alike share a list of operators.
            if id(kraus) not in known:
                known[id(kraus)] = _choice(qubits, kraus)
            shared = known[id(kraus)]
            yield _Choice(qubits, shared.operators, shared.thresholds)


def _compile(circuit: QuantumCircuit, channels: KrausChannels) -> _Compiled:
    """Gather the factors in blocks: those on one qubit in the block that acts on it last, or comes next."""
    # A block has two qubits: a circuit on one gets a second that nothing happens to.
    qubits = max(2, int(circuit.num_qubits))
    blocks: list[_Block] = []
    latest: dict[int, _Block] = {}
    waiting: dict[int, list[_Factor]] = {qubit: [] for qubit in range(qubits)}
    angles: list[ParameterExpression] = []

    def opened(pair: tuple[int, int]) -> _Block:
        block = _Block(pair, [factor for qubit in pair for factor in waiting[qubit]])
        for qubit in pair:
            waiting[qubit] = []
            latest[qubit] = block
        blocks.append(block)
        return block

    for factor in _factors(circuit, channels, angles):
        here = [latest.get(qubit) for qubit in factor.qubits]
        if len(factor.qubits) == 1:
            (waiting[factor.qubits[0]] if here[0] is None else here[0].factors).append(factor)
            continue
        first, second = here
        joined = first is not None and first is second
        block = first if joined and first is not None else opened((factor.qubits[0], factor.qubits[1]))
        block.factors.append(factor)
    for qubit in range(qubits):
        if waiting[qubit]:
            # Blocks are on pairs: a qubit that meets no other is given any.
            opened((qubit, next(each for each in range(qubits) if each != qubit)))
    return _Compiled(qubits, blocks, angles)

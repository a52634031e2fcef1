"""The Fubini-Study metric of a circuit's final state by its weights, for the quantum natural gradient.

::

    g_ij = Re <d_i psi|d_j psi> - Re(<d_i psi|psi> <psi|d_j psi>)
    |<psi(w)|psi(w + dw)>|^2 = 1 - dw g dw + O(dw^3)

A phase that the engine drops does not matter, even where it depends on the weights: the second term takes it
out.

Its blocks are cheap: rotations ``exp(-i theta_j P_j / 2)`` that stand beside each other, on the state
``psi`` before them, have ``g_ij = (Re <P_i P_j> - <P_i> <P_j>) / 4`` (Stokes et al., section 4). So a block
takes one state a sample, where all of the metric takes four for each weight. What two blocks have in common
is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Parameter
from qiskit.circuit.library import (
    PhaseGate,
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
)

from qhq.engine.compile.angles import AngleMap, map_angles
from qhq.engine.compile.definitions import class_of, is_parametric
from qhq.engine.runtime.statevector import StateEngine, States

# A larger step loses to the truncation, h^4 / 30 = 5e-13 of the fifth derivative, a smaller one to the
# rounding of the states, 1e-16 / h.
_STEP = 2e-3
# Central differences of fourth order, in steps: with states in double precision the slopes are exact to
# about 1e-12. All states are one batch of the compiled engine. Forward mode over torch gives the same and
# takes a hundred times as long for a circuit of the usual size, since every gate is a call.
_STENCIL = ((1, 2 / 3), (2, -1 / 12))
# Of the states that are kept at once.
_BYTES = 256 << 20


class MetricEngine:
    """The metric of a circuit, averaged over samples (Stokes, Izaac, Killoran and Carleo, arXiv:1909.02108).

    Args:
        circuit: Unitary circuit on n qubits.
        inputs: The parameters that differ by sample, I in all.
        weights: The parameters that the batch shares, W in all.
        threads: Most threads to use; by default as in :class:`qhq.engine.StatevectorEngine`.

    Raises:
        ConfigError: If the circuit is not unitary, or a parameter has no place.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        inputs: Sequence[Parameter],
        weights: Sequence[Parameter],
        *,
        threads: int | None = None,
    ) -> None:
        # Weights as inputs: each point of the stencil is a sample, so that one batch holds them all.
        self._engine = StateEngine(circuit, [*inputs, *weights], [], threads=threads)
        self._size = 1 << int(circuit.num_qubits)

        self._recipe, self._threads = (circuit, inputs, weights), threads

    def blocks(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """`metric` without what two blocks of rotations have in common, by one state a sample and block."""
        rows, at = np.asarray(inputs, dtype=np.float64), np.asarray(weights, dtype=np.float64)
        total = np.zeros((len(at), len(at)))
        if not total.size or not len(rows):
            return total
        chunk = max(1, _BYTES // (16 * self._size * (1 + len(at))))
        for first in range(0, len(rows), chunk):
            some = rows[first : first + chunk]
            angles = self._angle_map.angles(some, at)
            slopes = self._angle_map.slopes_by_weight(some, at)
            for block in self._blocks:
                by_angle = block.metric(angles)
                of_block = slopes[:, list(block.angles)]
                total += np.einsum("bki,bkl,blj->ij", of_block, by_angle, of_block, optimize=True)
        return total / len(rows)

    @cached_property
    def _separated(self) -> tuple[QuantumCircuit, AngleMap]:
        return map_angles(*self._recipe)

    @property
    def _angle_map(self) -> AngleMap:
        return self._separated[1]

    @cached_property
    def _blocks(self) -> list[_Block]:
        return list(_cut(*self._separated, self._threads))

    def metric(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The mean of the metric (W, W) over inputs (B, I), at weights (W,); in double precision."""
        rows, at = np.asarray(inputs, dtype=np.float64), np.asarray(weights, dtype=np.float64)
        total = np.zeros((len(at), len(at)))
        # The mean over no samples would be 0 / 0.
        if not total.size or not len(rows):
            return total
        shifts = np.concatenate([sign * times * np.eye(len(at)) for times, _ in _STENCIL for sign in (1, -1)])
        points = at + _STEP * np.concatenate([np.zeros((1, len(at))), shifts])
        chunk = max(1, _BYTES // (16 * self._size * len(points)))
        for first in range(0, len(rows), chunk):
            total += self._sum(rows[first : first + chunk], points)
        return total / len(rows)

    def _sum(self, rows: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum of the metrics of some samples, from the states at the weights and at those about them."""
        batch, count = len(rows), len(points)
        asked = np.hstack([np.repeat(rows, count, axis=0), np.tile(points, (batch, 1))])
        states = self._engine.states(asked, np.zeros(0)).reshape(batch, count, -1)
        around = states[:, 1:].reshape(batch, len(_STENCIL), 2, points.shape[1], -1)
        factors = np.array([factor for _, factor in _STENCIL]) / _STEP
        slopes = np.einsum("s,bswn->bwn", factors, around[:, :, 0] - around[:, :, 1])
        along = np.einsum("bn,bwn->bw", states[:, 0].conj(), slopes)
        # With optimize NumPy makes it one matrix product of BLAS.
        overlaps = np.einsum("bin,bjn->ij", slopes.conj(), slopes, optimize=True)
        found: npt.NDArray[np.float64] = (overlaps - np.einsum("bi,bj->ij", along.conj(), along)).real
        return found


# Of each class of rotations the Pauli operator that it turns about, a letter a qubit; a phase turns about Z.
_AXES = {
    RXGate: "X", RYGate: "Y", RZGate: "Z", PhaseGate: "Z",
    RXXGate: "XX", RYYGate: "YY", RZZGate: "ZZ", RZXGate: "ZX",
}  # fmt: skip


class _Block:
    """Rotations that act on no qubit in common.

    Args:
        before: What stands before them, every angle a parameter of its own.
        members: The rotations, and for each the place of its angle.
        threads: As of `MetricEngine`.
    """

    def __init__(
        self,
        before: QuantumCircuit,
        members: Sequence[tuple[int, CircuitInstruction]],
        threads: int | None,
    ) -> None:
        self.angles = tuple(place for place, _ in members)
        named = {each.name: each for each in before.parameters}
        self._before = [int(name.removeprefix("theta_")) for name in named]
        self._engine = StateEngine(before, list(named.values()), [], threads=threads)
        self._turns = [_turn(before, member) for _, member in members]

    def metric(self, angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The metric (B, k, k) by its k angles, of all angles (B, K) of the circuit."""
        states = self._engine.states(np.ascontiguousarray(angles[:, self._before]), np.zeros(0))
        # A generator is a Pauli string: it permutes amplitudes and multiplies each by a phase.
        turned = np.stack([factors * states[:, source] for source, factors in self._turns], axis=1)
        along = np.einsum("bn,bkn->bk", states.conj(), turned).real
        overlaps = np.einsum("bkn,bln->bkl", turned.conj(), turned, optimize=True).real
        found: npt.NDArray[np.float64] = (overlaps - along[:, :, None] * along[:, None, :]) / 4
        return found


def _turn(circuit: QuantumCircuit, rotation: CircuitInstruction) -> tuple[npt.NDArray[np.int64], States]:
    """A rotation's Pauli operator: ``(P psi)[z] = factors[z] psi[source[z]]``."""
    basis = np.arange(1 << circuit.num_qubits)
    source, factors = basis.copy(), np.ones(len(basis), np.complex128)
    for letter, bit in zip(_AXES[class_of(rotation.operation)], rotation.qubits, strict=True):
        mask = 1 << circuit.find_bit(bit).index
        if letter in "XY":
            source ^= mask
        if letter in "YZ":  # Y is i X Z: the sign is that of the amplitude where it comes from
            factors *= np.where(source & mask, -1, 1)
        if letter == "Y":
            factors *= 1j
    return source, factors


def _cut(circuit: QuantumCircuit, angles: AngleMap, threads: int | None) -> Iterator[_Block]:
    """Cut a circuit into blocks of rotations by weights; ``theta_k`` is its k-th angle.

    A block ends before a rotation of a qubit that the block, or a gate behind it, has touched.
    """
    before, members = QuantumCircuit(circuit.num_qubits), list[tuple[int, CircuitInstruction]]()
    touched, late = set[int](), list[CircuitInstruction]()
    trained: npt.NDArray[np.bool_] = np.any(angles.weight_slopes != 0, axis=0)
    for place, curve in zip(angles.curved, angles.curves, strict=True):
        trained[place] = any(row >= angles.num_inputs for row in curve.rows)
    place = 0
    for step in circuit.data:
        qubits = {circuit.find_bit(bit).index for bit in step.qubits}
        own = None
        if is_parametric(step.operation):
            own, place = (place if trained[place] else None), place + 1
        if own is not None and qubits & touched:
            yield _Block(before, members, threads)
            # The circuit that was handed out ends where its block begins, and must not grow.
            before = before.copy()
            for each in late:
                before.append(each.operation, [circuit.find_bit(bit).index for bit in each.qubits])
            members, touched, late = [], set(), []
        if own is not None:
            members.append((own, step))
        if own is not None or qubits & touched:
            late.append(step)
            touched |= qubits
        else:
            before.append(step.operation, [circuit.find_bit(bit).index for bit in step.qubits])
    if members:
        yield _Block(before, members, threads)

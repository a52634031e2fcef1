"""Exact values of circuits that reset many qubits of many: a state as a few weighted pure states.

A reset leaves a mixture. Where deferring it would take a qubit for each, and a density matrix of all qubits
is too large, the mixture still has a low rank: behind a reset of k of n qubits it lives on the others, so
that ``2^(n - k)`` columns hold it, whatever came before. A reservoir of 10 qubits that resets 7 of them takes
8 columns, in place of 24 qubits.

Runs of gates without an angle are multiplied into one matrix first, where that is less work than to pass over
the states for each. Gradients are by parameter shift: two passes an angle.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, Reset
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp

from qhq.engine.compile.angles import AngleMap, separate_angles
from qhq.engine.compile.definitions import is_parametric
from qhq.limits import require_memory

_Reals = npt.NDArray[Any]
_Complex = npt.NDArray[np.complex128]

# Of the states that are worked on at once.
_CHUNK_BYTES = 1 << 28

# Widest run of gates that becomes one matrix: 64 MB.
_DENSE_QUBITS = 11

# Rows of a matrix that are multiplied in the time of one pass over the states by a gate.
_PASS = 32

# Of a matrix in the making.
_COLUMNS = 32

# Weight below which a column of a mixture is rounding.
_RANK = 1e-14

# Four matrices of the widest runs are a quarter of a gigabyte.
_KEPT_MATRICES, _KEPT_ROWS = 4, 1 << 16


@dataclass(frozen=True)
class _Fixed:
    qubits: tuple[int, ...]
    matrix: _Complex


@dataclass(frozen=True)
class _Turn:
    """``exp(-i angle P / 2)``, its angle by its number."""

    qubits: tuple[int, ...]
    generator: _Complex
    angle: int


@dataclass(frozen=True)
class _Resets:
    qubits: tuple[int, ...]


_Step = _Fixed | _Turn | _Resets

_LETTERS = {
    "rx": "X", "ry": "Y", "rz": "Z", "p": "Z", "rxx": "XX", "ryy": "YY", "rzz": "ZZ", "rzx": "ZX",
}  # fmt: skip

# Runs of gates as matrices, by what they are made of: a lag of a reservoir is the lag before, and every
# fold of a walk-forward has the same circuit.
_matrices: OrderedDict[bytes, _Complex] = OrderedDict()

# Program -> angles of a row -> its values. A window stands in hundreds of folds of a walk-forward.
_values: dict[bytes, dict[bytes, _Reals]] = {}


class MixtureEngine:
    """Exact expectations ``E[b, o]``, in double precision.

    Args:
        circuit: What ``lower`` returns: gates and resets on n qubits, Qiskit's qubit order.
        observables: Hermitian Pauli sums on n qubits, O in all.
        inputs: The parameters that differ by sample, I in all.
        weights: The parameters that the batch shares, W in all.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        observables: Sequence[SparsePauliOp],
        inputs: Sequence[Parameter],
        weights: Sequence[Parameter],
    ) -> None:
        self.qubits = int(circuit.num_qubits)
        separated, expressions = separate_angles(circuit)
        self._map = AngleMap(expressions, inputs, weights)
        self._observables = tuple(observables)
        steps = list(_steps(separated))
        self.columns = _most_columns(steps, self.qubits)
        require_memory(
            # The states, their copy with the axes moved, and the product.
            3 * 16 * self.columns << self.qubits,
            f"A mixture of {self.columns} states of {self.qubits} qubits",
            fix="Reset more qubits at once, or use fewer qubits",
        )
        self._steps = _fused(steps)
        self._key = _digest([repr(each.to_list()) for each in self._observables], steps)

    def expectations(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> _Reals:
        """Expectations (B, O) of ``inputs`` (B, I) and ``weights`` (W,)."""
        given = np.asarray(inputs)
        values = self._at(self._map.angles(given, np.asarray(weights)))
        return values.astype(given.dtype if given.dtype == np.float32 else np.float64)

    def forward(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[_Reals, tuple[_Reals, _Reals]]:
        """``expectations``, and what ``backward`` goes on from."""
        given = np.asarray(inputs), np.asarray(weights)
        return self.expectations(*given), given

    def backward(self, residual: tuple[_Reals, _Reals], cotangent: npt.ArrayLike) -> tuple[_Reals, _Reals]:
        """Gradients by ``inputs`` (B, I) and ``weights`` (W,) of a cotangent (B, O)."""
        inputs, weights = residual
        angles, pull = self._map.angles(inputs, weights), np.asarray(cotangent, np.float64)
        slopes = np.zeros_like(angles)
        for angle in range(angles.shape[1]):
            shift = np.pi / 2 * (np.arange(angles.shape[1]) == angle)
            change = self._at(angles + shift) - self._at(angles - shift)
            slopes[:, angle] = (change * pull).sum(axis=1) / 2
        dinputs, dweights = self._map.pullback(inputs, weights, slopes)
        return dinputs.astype(inputs.dtype), dweights.astype(inputs.dtype)

    def _at(self, angles: _Reals) -> _Reals:
        """Values (B, O) at angles (B, K); each row is worked out once a process."""
        known = _values.setdefault(self._key, {})
        # By their bits: windows that share angles, as of a constant input, are worked out once.
        keys = [row.tobytes() for row in np.ascontiguousarray(angles)]
        first_of = dict[bytes, int]()
        for place, key in enumerate(keys):
            first_of.setdefault(key, place)
        new = [place for key, place in first_of.items() if key not in known]
        chunk = max(1, _CHUNK_BYTES // (16 * self.columns << self.qubits))
        found = dict[bytes, _Reals]()
        for first in range(0, len(new), chunk):
            places = new[first : first + chunk]
            for place, values in zip(places, self._run(angles[places]), strict=True):
                found[keys[place]] = values
        rows = [found[key] if key in found else known[key] for key in keys]
        # Emptied only now that the rows of this call have been looked up.
        if len(known) + len(found) > _KEPT_ROWS:
            known.clear()
        known.update(found)
        return np.array(rows).reshape(len(rows), len(self._observables))

    def _run(self, angles: _Reals) -> _Reals:
        # Axes: sample, column, qubit n - 1, ..., qubit 0.
        states = np.zeros((len(angles), 1, *[2] * self.qubits), np.complex128)
        states.reshape(len(angles), -1)[:, 0] = 1
        for step in self._steps:
            if isinstance(step, _Resets):
                states = _reset(states, step.qubits)
            elif isinstance(step, _Fixed):
                states = _applied(states, step.matrix, step.qubits)
            else:
                half = 0.5 * angles[:, step.angle].reshape(-1, *[1] * (self.qubits + 1))
                turned = _applied(states, step.generator, step.qubits)
                states = np.cos(half) * states - 1j * np.sin(half) * turned
        return self._read(states.reshape(len(angles), states.shape[1], -1))

    def _read(self, states: _Complex) -> _Reals:
        basis, values = np.arange(states.shape[2]), np.zeros((len(states), len(self._observables)))
        probabilities = (states.real**2 + states.imag**2).sum(axis=1)
        for o, observable in enumerate(self._observables):
            for z, x, coefficient in zip(
                observable.paulis.z, observable.paulis.x, observable.coeffs, strict=True
            ):
                flip, mask = (int(sum(1 << q for q in np.flatnonzero(each))) for each in (x, z))
                signs = 1.0 - 2.0 * (np.bitwise_count(basis & mask) % 2)
                if not flip:
                    values[:, o] += coefficient.real * (probabilities @ signs)
                    continue
                # P |k> = i^(number of Y) (-1)^(z.k) |k ^ x>
                image = states * signs * 1j ** int(np.count_nonzero(z & x))
                overlap = (states[:, :, basis ^ flip].conj() * image).sum(axis=(1, 2))
                values[:, o] += coefficient.real * overlap.real
        return values


def _steps(circuit: QuantumCircuit) -> Iterator[_Step]:
    """Resets that follow each other are one step; the angle of the k-th parametric gate is number k."""
    waiting, angle = list[int](), 0
    for step in circuit.data:
        places = tuple(circuit.find_bit(bit).index for bit in step.qubits)
        if isinstance(step.operation, Reset):
            waiting += [each for each in places if each not in waiting]
            continue
        # A gate on other qubits goes first, so that resets of a circuit that mixes the two still meet.
        if waiting and not set(waiting).isdisjoint(places):
            yield _Resets(tuple(waiting))
            waiting = []
        if is_parametric(step.operation):
            # The letter of the first qubit comes first here, and last in Qiskit's label.
            yield _Turn(places, Pauli(_LETTERS[step.operation.name][::-1]).to_matrix(), angle)
            angle += 1
        else:
            yield _Fixed(places, np.asarray(Operator(step.operation).data, np.complex128))
    if waiting:
        yield _Resets(tuple(waiting))


def _most_columns(steps: Sequence[_Step], qubits: int) -> int:
    """The largest rank that the mixture may have."""
    rank = most = 1
    for step in steps:
        if isinstance(step, _Resets):
            rank = min(rank << len(step.qubits), 1 << (qubits - len(step.qubits)))
            most = max(most, rank)
    return most


def _fused(steps: Sequence[_Step]) -> list[_Step]:
    """The steps, long runs of fixed gates as one matrix each."""
    found, run = list[_Step](), list[_Fixed]()

    def close() -> None:
        qubits = tuple(sorted({qubit for each in run for qubit in each.qubits}))
        dense = len(qubits) <= _DENSE_QUBITS and len(run) * _PASS > 1 << len(qubits)
        found.extend([_Fixed(qubits, _product(run, qubits))] if dense else run)
        run.clear()

    for step in steps:
        if isinstance(step, _Fixed):
            run.append(step)
        else:
            close()
            found.append(step)
    close()
    return found


def _product(run: Sequence[_Fixed], qubits: tuple[int, ...]) -> _Complex:
    key = _digest([repr(qubits)], run)
    if key not in _matrices:
        size, place = 1 << len(qubits), {qubit: index for index, qubit in enumerate(qubits)}
        product = np.eye(size, dtype=np.complex128)
        # Columns as the states of a batch of one, so few at once that they stay in the cache.
        for first in range(0, size, _COLUMNS):
            states = product[first : first + _COLUMNS].reshape(1, -1, *[2] * len(qubits))
            for each in run:
                states = _applied(states, each.matrix, tuple(place[qubit] for qubit in each.qubits))
            product[first : first + _COLUMNS] = states.reshape(-1, size)
        # Columns were rows so far, for the cache; a product wants the matrix as it is.
        _matrices[key] = np.ascontiguousarray(product.T)
        while len(_matrices) > _KEPT_MATRICES:
            _matrices.popitem(last=False)
    return _matrices[key]


def _digest(heads: Sequence[str], steps: Sequence[_Step]) -> bytes:
    digest = hashlib.sha256("\n".join(heads).encode())
    for each in steps:
        digest.update(f"{type(each).__name__} {each.qubits} {getattr(each, 'angle', '')}".encode())
        for name in ("matrix", "generator"):
            digest.update(getattr(each, name, np.zeros(0)).tobytes())
    return digest.digest()


def _applied(states: _Complex, matrix: _Complex, qubits: tuple[int, ...]) -> _Complex:
    """A matrix on some qubits of states (B, K, 2, ..., 2), whose last axis is qubit 0."""
    count, last = len(qubits), states.ndim - 1
    axes = [last - qubit for qubit in reversed(qubits)]
    moved = np.moveaxis(states, axes, range(count))
    shape = moved.shape
    product = matrix @ moved.reshape(1 << count, -1)
    return np.moveaxis(product.reshape(shape), range(count), axes)


def _reset(states: _Complex, qubits: tuple[int, ...]) -> _Complex:
    """Trace some qubits out and put them in |0>, on as few columns as the mixture needs."""
    batch, columns, last = len(states), states.shape[1], states.ndim - 1
    axes = [last - qubit for qubit in sorted(qubits, reverse=True)]
    # (B, rest, K x what is traced out): each outcome of the traced qubits is a column of its own.
    rest = [axis for axis in range(2, states.ndim) if axis not in axes]
    left = 1 << len(rest)
    spread = states.transpose(0, *rest, 1, *axes).reshape(batch, left, columns << len(qubits))
    if spread.shape[2] > left:
        weights, vectors = np.linalg.eigh(spread @ spread.conj().transpose(0, 2, 1))
        # The samples are one array, so a column stays as long as one of them needs it; no sample needs none.
        kept = weights.max(axis=0, initial=0.0) > _RANK
        # A weight of zero may come out of eigh as -1e-17, whose root would be NaN.
        spread = vectors[:, :, kept] * np.sqrt(weights[:, None, kept].clip(min=0))
    found = spread.shape[2]
    fresh = np.zeros((1 << len(qubits), batch, found, left), np.complex128)
    fresh[0] = spread.transpose(0, 2, 1)
    count = len(qubits)
    whole = fresh.reshape(*[2] * count, batch, found, *[2] * len(rest))
    return np.moveaxis(whole, range(count), axes)

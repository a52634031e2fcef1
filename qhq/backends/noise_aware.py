"""What a noise-aware training runs on beyond one simulated device.

- `InTurnExecutor`: several backends in turn, so that a model learns no one calibration by heart.
- `InjectedExecutor`: the exact engine with a device's mean errors and shot noise added to each expectation
  value, for circuits that no simulation of noise holds.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from qhq.ansatz.program import Ansatz
from qhq.backends.backend import BackendSpec
from qhq.backends.executor import Executor, FloatArray, Parity, Report, measure_parity
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import find_backend, kind_of, open_parity_reference, open_training_backend
from qhq.errors import ConfigError
from qhq.seeding import child_generator, child_seed


class InTurnExecutor:
    """Several backends, one for each training step; values without gradients are the mean over all.

    Which one a step runs on follows from its inputs and weights alone, as if drawn at random. No state is
    kept, so a training that was cut off takes the same turns when it is resumed.

    Args:
        specs: The entries.
        ansatz: The program.
        seed: Where whatever is drawn comes from.

    Raises:
        BackendError: If one of them cannot run the ansatz.
    """

    def __init__(self, specs: Sequence[BackendSpec], ansatz: Ansatz, *, seed: int) -> None:
        self.specs, self._ansatz = tuple(specs), ansatz
        self.executors: list[Any] = [
            open_training_backend(spec, ansatz, seed=child_seed(seed, spec.name)) for spec in specs
        ]

    @property
    def ansatz(self) -> Ansatz:
        """What they were opened for."""
        return self._ansatz

    def turn(self, inputs: ArrayLike, weights: ArrayLike) -> int:
        """Number of the backend that a step with these inputs and weights runs on."""
        content = np.ascontiguousarray(inputs).tobytes() + np.ascontiguousarray(weights).tobytes()
        # Not hash(), which is salted: another process would take other turns.
        return zlib.crc32(content) % len(self.executors)

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Mean of the expectation values (B, O) for inputs (B, I), in radians, and weights (W,)."""
        mean: FloatArray = np.mean([each.expectations(inputs, weights) for each in self.executors], axis=0)
        return mean

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, Any]:
        """Values (B, O) of the backend whose turn it is, and what ``backward`` goes on from."""
        executor = self.executors[self.turn(inputs, weights)]
        if hasattr(executor, "forward"):
            values, residual = executor.forward(inputs, weights)
            return values, (executor, residual)
        # An executor without a way back pays for the gradient anew, from the same arguments.
        return executor.expectations(inputs, weights), (executor, (inputs, weights))

    def backward(self, residual: Any, cotangent: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) of a forward pass back to inputs (B, I) and weights (W,)."""
        executor, kept = residual
        found: tuple[FloatArray, FloatArray]
        if hasattr(executor, "backward"):
            found = executor.backward(kept, cotangent)
        else:
            found = executor.vjp(*kept, cotangent)
        return found

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back, on the backend whose turn it is."""
        return self.backward(self.forward(inputs, weights)[1], cotangent)

    def report(self) -> Report:
        """What ran on the first, under the names of all."""
        first: Report = self.executors[0].report()
        return replace(first, backend=", ".join(each.name for each in self.specs))

    def parity(self, inputs: FloatArray, weights: FloatArray, *, seed: int) -> Parity:
        """Largest differences between each engine and the backend that it stands for."""
        found = [Parity(0.0, 0.0)]
        for spec, executor in zip(self.specs, self.executors, strict=True):
            reference = open_parity_reference(spec, self._ansatz, seed=seed)
            if reference is not None:
                found.append(measure_parity(executor, reference, inputs, weights, density=spec.is_noisy))
        return Parity(max(each.values for each in found), max(each.gradients for each in found))


class InjectedExecutor:
    """Exact values ``e`` as a device would give them on average: ``a e + b``, and Gaussian shot noise.

    The slope ``a`` and offset ``b`` of each observable come from the calibration (see
    `Backend.affine_errors`), so nothing noisy is simulated and the width of the circuit does not matter. The
    noise has the variance of a mean of ``shots`` outcomes of +1 and -1. Its gradient is ``a`` times the exact
    one.

    Args:
        spec: An entry with noise.
        ansatz: The program.
        shots: Shots a value; None adds no shot noise.
        seed: Where the shot noise comes from.
        threads: Threads of the exact engine; 0 means all cores.

    Raises:
        ConfigError: If the entry has no noise.
        BackendError: If the program does not fit its device.
    """

    def __init__(
        self, spec: BackendSpec, ansatz: Ansatz, *, shots: int | None, seed: int, threads: int = 0
    ) -> None:
        self.exact = StatevectorExecutor(ansatz, threads=threads)
        self.slopes, self.offsets = kind_of(spec).affine_errors(spec, ansatz)
        # Of an observable that is a sum of strings the noise is that of its largest value.
        self._largest = np.array([np.abs(each.coeffs).sum() for each in ansatz.observables])
        self._spec, self._shots = spec, shots
        self._seed = child_seed(seed, "injected noise")

    @property
    def ansatz(self) -> Ansatz:
        """What it was opened for."""
        return self.exact.ansatz

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Noisy values (B, O) for inputs (B, I), in radians, and weights (W,)."""
        return self._noisy(self.exact.expectations(inputs, weights), inputs, weights)

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, Any]:
        """``expectations``, and what ``backward`` goes on from."""
        values, residual = self.exact.forward(inputs, weights)
        return self._noisy(values, inputs, weights), residual

    def backward(self, residual: Any, cotangent: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) of a forward pass back to inputs (B, I) and weights (W,)."""
        pulled = np.asarray(cotangent)
        return self.exact.backward(residual, pulled * self.slopes.astype(pulled.dtype))

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,)."""
        return self.backward(self.exact.forward(inputs, weights)[1], cotangent)

    def report(self) -> Report:
        """What ran, under the name of the entry whose errors were added."""
        return replace(self.exact.report(), backend=f"exact with the errors of {self._spec.name}")

    def _noisy(self, exact: FloatArray, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        values = exact * self.slopes + self.offsets
        if self._shots is not None:
            # From inputs and weights, not from a state: a resumed training meets the same noise.
            content = np.ascontiguousarray(inputs).tobytes() + np.ascontiguousarray(weights).tobytes()
            generator = child_generator(self._seed, f"step {zlib.crc32(content)}")
            # An offset can carry a value beyond the largest that shots can show, and rounding an exact one.
            variance = np.clip(self._largest**2 - values**2, 0.0, None) / self._shots
            values = values + np.sqrt(variance) * generator.normal(size=values.shape)
        noisy: FloatArray = values.astype(exact.dtype)
        return noisy


def open_noise_aware(
    backends: Sequence[str], injection: tuple[str, int | None] | None, ansatz: Ansatz, *, seed: int
) -> Executor:
    """Open what the keys ``training.backends`` or ``training.injection`` of a config ask for.

    Args:
        backends: Entries to train on in turn.
        injection: An entry whose errors are added to exact values, and shots; instead of ``backends``.
        ansatz: The program.
        seed: Where whatever is drawn comes from.

    Raises:
        ConfigError: If there is no such entry, or it has no noise to add.
        BackendError: If one of them cannot run the ansatz.
    """
    if injection is not None:
        name, shots = injection
        return InjectedExecutor(find_backend(name), ansatz, shots=shots, seed=seed)
    specs = [find_backend(name) for name in backends]
    paid = [spec.name for spec in specs if kind_of(spec).is_hardware]
    if paid:
        raise ConfigError(
            "training.backends must name simulators: a step on a device is a set of jobs",
            got=", ".join(paid),
            fix="Freeze its calibration with 'qhq backends snapshot' and train on that",
        )
    return InTurnExecutor(specs, ansatz, seed=seed)

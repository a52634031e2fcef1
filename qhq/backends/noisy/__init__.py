"""Kinds ``aer`` and ``fake``: what Aer simulates, without noise or with that of a device. No Qiskit here.

Beside it: ``noise`` (channels and readout errors of the qubits in use), ``layouts`` (which qubits these are),
``programs`` (three ways for Aer to run a program with them), ``mitigation``, and ``executor`` (all of it
behind the verbs, with qhq's noisy engine for gradients).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from qhq.backends.backend import Backend, Method, TranspileSpec
from qhq.backends.local import SimulatedSpec
from qhq.documents import Spec
from qhq.limits import MOST_FACTOR
from qhq.paths import beside

if TYPE_CHECKING:
    from qhq.ansatz.program import Ansatz
    from qhq.backends.devices.calibration import Calibration
    from qhq.backends.devices.isa import IsaProgram
    from qhq.backends.executor import Executor, FloatArray


class UniformNoiseSpec(Spec):
    """Noise that is the same on all qubits; ``rz`` is virtual and has none.

    Attributes:
        depolarizing_1q: Depolarising parameter of ``sx`` and ``x``.
        depolarizing_2q: Depolarising parameter of ``cz``.
        t1_us: Relaxation time, microseconds; null is none.
        t2_us: Dephasing time, microseconds, at most twice ``t1_us``; null is none beyond relaxation.
        gate_ns_1q: Duration of ``sx`` and ``x``, nanoseconds.
        gate_ns_2q: Duration of ``cz``, nanoseconds.
        readout_1_given_0: Probability to read 1 where the qubit is 0.
        readout_0_given_1: Probability to read 0 where the qubit is 1.
    """

    depolarizing_1q: float = Field(default=0.0, ge=0, le=1)
    depolarizing_2q: float = Field(default=0.0, ge=0, le=1)
    t1_us: float | None = Field(default=None, gt=0, le=MOST_FACTOR)
    t2_us: float | None = Field(default=None, gt=0, le=MOST_FACTOR)
    gate_ns_1q: float = Field(default=32.0, ge=0, le=MOST_FACTOR)
    gate_ns_2q: float = Field(default=68.0, ge=0, le=MOST_FACTOR)
    readout_1_given_0: float = Field(default=0.0, ge=0, le=1)
    readout_0_given_1: float = Field(default=0.0, ge=0, le=1)

    @property
    def on_gates(self) -> bool:
        """Whether any gate is noisy."""
        relaxing = (self.t1_us or self.t2_us) is not None and self.gate_ns_1q + self.gate_ns_2q > 0
        return bool(self.depolarizing_1q or self.depolarizing_2q or relaxing)

    @model_validator(mode="after")
    def _is_physical_noise(self) -> UniformNoiseSpec:
        if not (self.on_gates or self.readout_1_given_0 or self.readout_0_given_1):
            raise ValueError("some parameter must be above zero; write 'noise: none' for a noiseless entry")
        # Beyond that the relaxation would not be a channel: a state could come out with negative
        # probabilities.
        if self.t1_us is not None and self.t2_us is not None and self.t2_us > 2 * self.t1_us:
            raise ValueError("t2_us must be at most twice t1_us")
        return self


class NoiseSpec(Spec):
    """Where the noise of an ``aer`` entry comes from: one of three.

    Attributes:
        device: One of IBM's fake devices, such as ``fake_fez``.
        snapshot: File of a calibration snapshot, beside the file of the entry.
        parameters: Noise that is the same on all qubits.
    """

    device: str | None = None
    snapshot: str | None = None
    parameters: UniformNoiseSpec | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> NoiseSpec:
        if sum(each is not None for each in (self.device, self.snapshot, self.parameters)) != 1:
            raise ValueError("give exactly one of device, snapshot and parameters")
        return self


class AerSpec(SimulatedSpec):
    """Qiskit Aer in this process; with gradient ``adjoint`` training runs on an engine of qhq's.

    That is the exact engine, or with noise the noisy one. Entries with noise and no shots default to it.

    Attributes:
        noise: Where noise comes from; null or ``none`` is none.
    """

    kind: Literal["aer"]
    gradient: Literal["adjoint", "parameter_shift", "spsa"] = "parameter_shift"
    method: Literal["statevector", "density_matrix", "matrix_product_state"] = "statevector"
    noise: NoiseSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _noise_has_the_engine(cls, entry: Any) -> Any:
        # Before validation: afterwards a gradient that was written looks like the default.
        noisy = isinstance(entry, Mapping) and entry.get("noise") not in (None, "none")
        return _with_gradient(entry) if noisy else entry

    @field_validator("noise", mode="before")
    @classmethod
    def _none_is_a_word(cls, noise: Any) -> Any:
        return None if noise == "none" else noise

    @model_validator(mode="after")
    def _noise_fits(self) -> AerSpec:
        _check_gradient(self)
        if self.noise is None and (self.noise_scale != 1 or self.transpile != TranspileSpec()):
            raise ValueError("noise_scale and transpile need noise")
        if self.noise is not None:
            _check_method(self)
        return self

    @property
    def is_noisy(self) -> bool:
        """Whether it has noise."""
        return self.noise is not None

    @property
    def files(self) -> tuple[str, ...]:
        """The snapshot that it replays, if any."""
        return () if self.noise is None or self.noise.snapshot is None else (self.noise.snapshot,)

    def beside(self, registry: Path) -> Self:
        """The same entry, its snapshot one that lies beside the file it stands in."""
        if self.noise is None or self.noise.snapshot is None:
            return self
        snapshot = beside(self.noise.snapshot, registry)
        return self.model_copy(update={"noise": self.noise.model_copy(update={"snapshot": snapshot})})


class FakeSpec(SimulatedSpec):
    """One of IBM's fake devices, cut to the qubits in use: no account, no network, and a best case.

    Attributes:
        device: Its name, such as ``fake_fez``.
    """

    kind: Literal["fake"]
    description: str = "IBM's fake device: its noise on one past day, without crosstalk or drift; a best case"
    gradient: Literal["adjoint", "parameter_shift", "spsa"] = "parameter_shift"
    method: Literal["statevector", "density_matrix", "matrix_product_state"] = "density_matrix"
    device: str

    @model_validator(mode="before")
    @classmethod
    def _noise_has_the_engine(cls, entry: Any) -> Any:
        return _with_gradient(entry)

    @property
    def noise(self) -> NoiseSpec:
        """Where its noise comes from, as an ``aer`` entry says it."""
        return NoiseSpec(device=self.device)

    @property
    def is_noisy(self) -> bool:
        """Always."""
        return True

    @model_validator(mode="after")
    def _noise_fits(self) -> FakeSpec:
        _check_gradient(self)
        _check_method(self)
        return self


def _with_gradient(entry: Any) -> Any:
    """An entry with noise, its gradient ``adjoint`` where it says none and its values are exact."""
    if not isinstance(entry, Mapping) or "gradient" in entry or entry.get("shots") is not None:
        return entry
    return {**entry, "gradient": "adjoint"}


def _check_gradient(spec: AerSpec | FakeSpec) -> None:
    # Without a density matrix there are no exact values, and the engine follows trajectories for gradients.
    followed = spec.is_noisy and spec.method != "density_matrix"
    if spec.gradient == "adjoint" and spec.shots is not None and not followed:
        raise ValueError("gradient adjoint needs exact values; drop shots or use parameter_shift")


def _check_method(spec: SimulatedSpec) -> None:
    if spec.shots is None and spec.method != "density_matrix":
        raise ValueError("exact values with noise need method density_matrix; or give shots")


class AerBackend(Backend[AerSpec | FakeSpec]):
    """What Aer simulates; an entry whose gradient is ``adjoint`` trains on an engine of qhq's instead."""

    def open(
        self,
        spec: AerSpec | FakeSpec,
        ansatz: Ansatz,
        *,
        seed: int,
        connection: Any = None,  # noqa: ARG002
    ) -> Executor:
        """Open an entry for an ansatz: on the logical qubits, or with noise on those of its device.

        A circuit that falls apart is simulated part by part; with noise each lies on the qubits that are best
        for it, as if it were a circuit of its own.
        """
        from qhq.backends.factors import open_factors

        return open_factors(ansatz, lambda part, own: self._open(spec, part, own), seed)

    def _open(self, spec: AerSpec | FakeSpec, ansatz: Ansatz, seed: int) -> Executor:
        if spec.noise is None:
            from qhq.backends.local.aer import open_aer

            return open_aer(spec, ansatz, seed=seed)
        from qhq.backends.noisy.executor import open_noisy

        return open_noisy(spec, ansatz, seed=seed)

    def why_not(self, spec: AerSpec | FakeSpec, method: Method) -> str | None:
        """Why an entry cannot carry out a method of error mitigation."""
        if method == "none":
            return None
        if not spec.is_noisy:
            return "it has no noise that could be mitigated"
        if method == "pec" and spec.method != "density_matrix":
            return "PEC is simulated from exact probabilities alone: set method: density_matrix"
        if method == "pec" and self._turns_no_paulis(spec):
            return "the noise of its one-qubit gates cannot be twirled: they are no Clifford gates"
        return None

    def _turns_no_paulis(self, spec: AerSpec | FakeSpec) -> bool:
        """Whether a device has no SX: those of 2020 have one gate for every rotation, noise on it."""
        if spec.noise is None or spec.noise.parameters is not None:
            return False
        return "sx" not in self.calibration(spec).configuration["basis_gates"]

    def open_mitigated(
        self,
        spec: AerSpec | FakeSpec,
        ansatz: Ansatz,
        method: Method,
        *,
        seed: int,
        connection: Any = None,
    ) -> Executor:
        """Open an entry with a method against its noise."""
        if not spec.is_noisy:
            return self.open(spec, ansatz, seed=seed, connection=connection)
        from qhq.backends.factors import open_factors
        from qhq.backends.noisy.executor import open_mitigated_noisy

        def open_one(factor: Ansatz, own: int) -> Executor:
            return open_mitigated_noisy(spec, factor, method, seed=own)

        return open_factors(ansatz, open_one, seed)

    def train_on(self, spec: AerSpec | FakeSpec, ansatz: Ansatz, *, seed: int) -> Executor:
        """An engine of qhq's where the gradient is ``adjoint``, else the entry itself."""
        from qhq.backends.factors import open_factors

        return open_factors(ansatz, lambda part, own: self._train_on(spec, part, own), seed)

    def _train_on(self, spec: AerSpec | FakeSpec, ansatz: Ansatz, seed: int) -> Executor:
        if spec.gradient != "adjoint":
            opened = self._open(spec, ansatz, seed)
            # With shots, an engine draws them: see `local.shots`.
            return getattr(opened, "engine", opened)
        if spec.noise is None:
            from qhq.backends.local.statevector import StatevectorExecutor

            return StatevectorExecutor(ansatz, threads=spec.threads)
        from qhq.backends.noisy.executor import AdjointNoisyExecutor, open_noisy

        executor = open_noisy(spec, ansatz, seed=seed)
        return executor.engine if isinstance(executor, AdjointNoisyExecutor) else executor

    def parity_reference(self, spec: AerSpec | FakeSpec, ansatz: Ansatz, *, seed: int) -> Executor | None:
        """The entry itself with gradients by parameter shift, where training runs on an engine."""
        if spec.gradient != "adjoint":
            return None
        if spec.noise is None:
            return self.open(spec.model_copy(update={"gradient": "parameter_shift"}), ansatz, seed=seed)
        from qhq.ansatz.factors import factors_of
        from qhq.backends.factors import join_factors
        from qhq.backends.noisy.executor import AdjointNoisyExecutor, open_noisy

        parts = factors_of(ansatz)
        opened = [open_noisy(spec, part.ansatz, seed=seed) for part in parts]
        # Trajectories scatter: they compare themselves with Aer, within the errors of both.
        exact = [each.aer for each in opened if isinstance(each, AdjointNoisyExecutor) and each.is_exact]
        return join_factors(ansatz, parts, exact) if len(exact) == len(parts) else None

    def calibration(self, spec: AerSpec | FakeSpec) -> Calibration:
        """That of its fake device or snapshot."""
        if spec.noise is None or spec.noise.parameters is not None:
            return super().calibration(spec)
        from qhq.backends.noisy.noise import load_calibration

        return load_calibration(spec.noise)

    def affine_errors(self, spec: AerSpec | FakeSpec, ansatz: Ansatz) -> tuple[FloatArray, FloatArray]:
        """By the gates and readouts that an observable depends on; nothing is simulated."""
        if spec.noise is None:
            return super().affine_errors(spec, ansatz)
        from qhq.backends.noisy.noise import load_device
        from qhq.backends.noisy.programs import affine_errors, build_noisy_program

        device = load_device(spec.noise, ansatz.num_qubits)
        return affine_errors(build_noisy_program(self.lay_out(spec, ansatz), device, spec.noise_scale))

    def lay_out(self, spec: AerSpec | FakeSpec, ansatz: Ansatz) -> IsaProgram:
        """Write an ansatz for the device whose noise it has."""
        if spec.noise is None:
            return super().lay_out(spec, ansatz)
        from qhq.backends.noisy.layouts import build_smallest_isa
        from qhq.backends.noisy.noise import load_device

        device = load_device(spec.noise, ansatz.num_qubits)
        return build_smallest_isa(ansatz.lowered, ansatz.parameters, ansatz.observables, device, spec)

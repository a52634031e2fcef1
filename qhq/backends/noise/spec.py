"""The noise of an ``aer`` entry, as ``backends.yaml`` has it. No Qiskit here."""

from __future__ import annotations

from pydantic import Field, model_validator

from qhq.documents import Spec
from qhq.limits import MOST_FACTOR


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

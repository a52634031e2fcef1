"""Kind ``ibm``: what an entry may say, what that asks of IBM's estimator, and what can be done with it.

An entry is one device of an IBM Quantum account, or the template that stands for them all. No client here: it
takes two seconds to import. Then read ``account``, ``client`` (IBM's service behind plain verbs) on ``wire``
(IBM's client made harmless; what its results mean is in ``results``), ``budget`` (what it will cost),
``opening`` (may it be sent?), then ``records``, ``journal`` and ``job_runner`` (jobs that survive a crash,
``waiting`` for them and for the service), ``jobs`` (listing and resuming them) and ``executor``, which puts
all of it together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from qhq.backends.backend import Backend, BackendSpec, ListedDevice, Method, SpsaSpec, TranspileSpec
from qhq.documents import Spec
from qhq.limits import MOST_COUNT, MOST_SHOTS

if TYPE_CHECKING:
    from qhq.ansatz.program import Ansatz
    from qhq.backends.devices.calibration import Calibration
    from qhq.backends.devices.isa import IsaProgram
    from qhq.backends.executor import Executor
    from qhq.backends.ibm.opening import Connection

# ``level`` leaves it to the resilience level.
_Switch = Literal["level", "on", "off"]

# Tags of an entry: the service takes eight a job, and one of them is the journal's.
_MOST_TAGS = 7


class ZneSpec(Spec):
    """Zero-noise extrapolation.

    Attributes:
        enable: Whether it is done; resilience level 2 does it.
        amplifier: Which two-qubit gates are folded to amplify the noise.
        noise_factors: How strongly; each factor runs every circuit once more.
        extrapolator: What is fitted, in the order tried.
    """

    enable: _Switch = "level"
    amplifier: Literal["gate_folding", "gate_folding_front", "gate_folding_back"] = "gate_folding"
    noise_factors: tuple[float, ...] = (1.0, 3.0, 5.0)
    extrapolator: tuple[
        Literal["linear", "exponential", "polynomial_degree_2", "polynomial_degree_3", "fallback"], ...
    ] = ("exponential", "linear")

    @field_validator("noise_factors")
    @classmethod
    def _can_be_fitted(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if len(factors) < 2 or min(factors) < 1:
            raise ValueError("noise factors must be two or more, each 1 or more")
        return factors


class TwirlingSpec(Spec):
    """Averaging over circuits that differ by Pauli gates alone.

    Attributes:
        gates: Whether two-qubit gates are twirled; resilience level 2 does it.
        measure: Whether measurements are; levels 1 and 2 do it.
        randomizations: Circuits that the shots are divided over; null leaves it to the client.
        strategy: Which qubits of a layer are twirled.
    """

    gates: _Switch = "level"
    measure: _Switch = "level"
    randomizations: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    strategy: Literal["active", "active-accum", "active-circuit", "all"] = "active-accum"


class IBMSpec(BackendSpec):
    """A device of an IBM Quantum account; its name is the name of the entry.

    The account comes from the environment or from the client's own file: no secret stands in an entry.

    Attributes:
        shots: Measurements a value is estimated from, for each setting of the readout.
        mode: How jobs reach the device; the Open Plan has no ``session``.
        resilience_level: 0 nothing; 1 TREX; 2 gate twirling and ZNE as well.
        trex: Whether readout errors are measured and undone.
        zne: Zero-noise extrapolation.
        twirling: Averaging over equivalent circuits.
        dynamical_decoupling: Pulses on idle qubits, or ``off``.
        tags: Tags of every job, besides the journal's own.
        max_qpu_seconds: Refuse to go beyond it before anything is sent; null is no cap.
        samples_per_job: Most samples a job takes; more are split.
        poll_seconds: Pause between two questions for a job; 10 to 60 is kind to the service.
        patience_seconds: How long the service may be out of reach before waiting is left to
            ``qhq jobs resume``.
        settle_seconds: How long after a lost reply a job may still appear under its tag.
        training: Whether gradients may be asked for: each step of a training is a set of jobs.
        fractional_gates: Whether the circuit may have the device's gates with an angle of their own, rx and
            rzz; they cannot be twirled or folded.
        transpile: How the circuit is rewritten for the device.
        spsa: How gradients are estimated with gradient ``spsa``.
    """

    kind: Literal["ibm"]
    # What the client's default precision of 1/64 comes to.
    shots: int = Field(default=4096, ge=1, le=MOST_SHOTS)
    gradient: Literal["parameter_shift", "spsa"] = "spsa"
    mode: Literal["job", "batch", "session"] = "job"
    resilience_level: Literal[0, 1, 2] = 1
    trex: _Switch = "level"
    zne: ZneSpec = ZneSpec()
    twirling: TwirlingSpec = TwirlingSpec()
    dynamical_decoupling: Literal["off", "XX", "XpXm", "XY4"] = "off"
    tags: tuple[str, ...] = ()
    max_qpu_seconds: float | None = Field(default=None, gt=0)
    samples_per_job: int = Field(default=4096, ge=1, le=MOST_COUNT)
    poll_seconds: float = Field(default=15.0, gt=0, le=60)
    patience_seconds: float = Field(default=900.0, ge=0)
    settle_seconds: float = Field(default=30.0, ge=0)
    training: bool = False
    fractional_gates: bool = False
    transpile: TranspileSpec = TranspileSpec()
    spsa: SpsaSpec = SpsaSpec()

    @field_validator("tags")
    @classmethod
    def _are_few_words(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        if len(tags) > _MOST_TAGS or not all(re.fullmatch(r"[\w.-]{1,86}", tag) for tag in tags):
            raise ValueError(f"tags must be {_MOST_TAGS} at most, each of letters, digits, '_', '.' and '-'")
        return tags

    @model_validator(mode="after")
    def _fractional_gates_are_left_alone(self) -> IBMSpec:
        twirled = self.is_on(self.twirling.gates, from_level=2) or self.is_on(self.zne.enable, from_level=2)
        if self.fractional_gates and twirled:
            raise ValueError(
                "fractional_gates cannot be twirled or folded: set resilience_level 0 or 1, twirling.gates "
                "and zne.enable off"
            )
        return self

    @property
    def is_template(self) -> bool:
        """Whether the entry stands for any device and names none."""
        # Devices are called by letters, digits, _ and -; a template has a glob in it.
        return not re.fullmatch(r"[\w-]+", self.name)

    def is_on(self, switch: _Switch, *, from_level: int) -> bool:
        """Whether something is done that resilience levels from ``from_level`` on do by themselves."""
        return switch == "on" or (switch == "level" and self.resilience_level >= from_level)


def with_method(spec: IBMSpec, method: Method) -> IBMSpec:
    """An entry whose estimator does one thing against noise, and nothing by its resilience level.

    Amplified noise is extrapolated as if it were stochastic, which twirled gates make it; TREX learns the
    errors of twirled measurements alone. So each brings its twirling.

    >>> entry = IBMSpec(kind="ibm", name="ibm_fez")
    >>> with_method(entry, "none").resilience_level, with_method(entry, "trex").trex
    (0, 'on')
    """
    trex: _Switch = "on" if method == "trex" else "level"
    zne: _Switch = "on" if method == "zne" else "level"
    twirling = spec.twirling.model_copy(update={"measure": trex, "gates": zne})
    return spec.model_copy(
        update={
            "resilience_level": 0,
            "trex": trex,
            "zne": spec.zne.model_copy(update={"enable": zne}),
            "twirling": twirling,
        }
    )


# No job of the service may take longer, whatever it asks for.
_LONGEST_SECONDS = 10_800

# How the client divides shots over randomizations: at least 64 each, at most 32 of them.
_AUTO_SHOTS, _AUTO_RANDOMIZATIONS = 64, 32


def estimator_options(spec: IBMSpec, tag: str, limit: int | None) -> dict[str, object]:
    """Options of ``qiskit_ibm_runtime.executor_estimator.Estimator`` for one job.

    Args:
        spec: The entry.
        tag: The journal's tag of the job; those of the entry come after it.
        limit: Seconds on the device after which the service is to stop it; None for none.
    """
    return {
        "default_shots": spec.shots,
        "resilience_level": spec.resilience_level,
        "max_execution_time": None if limit is None else min(limit, _LONGEST_SECONDS),
        "environment": {"job_tags": [tag, *spec.tags]},
        "resilience": {
            "measure_mitigation": _flag(spec.trex),
            "zne_mitigation": _flag(spec.zne.enable),
            "zne": {
                "amplifier": spec.zne.amplifier,
                "noise_factors": spec.zne.noise_factors,
                "extrapolator": spec.zne.extrapolator,
            },
        },
        "twirling": {
            "enable_gates": _flag(spec.twirling.gates),
            "enable_measure": _flag(spec.twirling.measure),
            "num_randomizations": spec.twirling.randomizations or "auto",
            "strategy": spec.twirling.strategy,
        },
        "dynamical_decoupling": {"enable": False}
        if spec.dynamical_decoupling == "off"
        else {"enable": True, "sequence_type": spec.dynamical_decoupling},
    }


def circuits_per_sample(spec: IBMSpec) -> int:
    """How often a sample runs for each setting of the readout: once, or once for each noise factor."""
    return len(spec.zne.noise_factors) if spec.is_on(spec.zne.enable, from_level=2) else 1


def shots_per_circuit(spec: IBMSpec) -> int:
    """Shots of a circuit once they are divided over randomizations: those asked for, rounded up."""
    measured = spec.is_on(spec.twirling.measure, from_level=1) or spec.is_on(spec.trex, from_level=1)
    if not measured and not spec.is_on(spec.twirling.gates, from_level=2):
        return spec.shots
    # As the client divides them, rounding up: more may be measured, and paid, than was asked for.
    if spec.twirling.randomizations is not None:
        return spec.twirling.randomizations * math.ceil(spec.shots / spec.twirling.randomizations)
    each = max(_AUTO_SHOTS, math.ceil(spec.shots / _AUTO_RANDOMIZATIONS))
    return each * math.ceil(spec.shots / each)


def calibration_circuits(spec: IBMSpec) -> int:
    """Circuits that a job runs to learn the readout errors: one for TREX."""
    return 1 if spec.is_on(spec.trex, from_level=1) else 0


def _flag(switch: _Switch) -> bool | None:
    # None leaves it to the client, which goes by the resilience level.
    return None if switch == "level" else switch == "on"


_NO_PEC = (
    "PEC on a device needs the noise of every layer of gates learned first, in jobs of their own, which qhq"
    " does not send; a fake device or a snapshot of it simulates PEC"
)


class IBMBackend(Backend[IBMSpec]):
    """The devices of an IBM Quantum account."""

    def open(self, spec: IBMSpec, ansatz: Ansatz, *, seed: int, connection: Any = None) -> Executor:
        """Open a device for an ansatz; nothing is sent yet."""
        from qhq.backends.ibm.executor import open_ibm

        return open_ibm(spec, ansatz, seed=seed, connection=connection)

    def why_not(self, spec: IBMSpec, method: Method) -> str | None:
        """Why a device cannot carry out a method of error mitigation."""
        if method == "pec":
            return _NO_PEC
        if method == "zne" and spec.fractional_gates:
            return "its fractional_gates cannot be folded"
        return None

    def open_mitigated(
        self, spec: IBMSpec, ansatz: Ansatz, method: Method, *, seed: int, connection: Any = None
    ) -> Executor:
        """Open a device with one method in place of the entry's ``resilience_level`` and switches."""
        return self.open(with_method(spec, method), ansatz, seed=seed, connection=connection)

    def train_on(self, spec: IBMSpec, ansatz: Ansatz, *, seed: int) -> Executor:
        """The device itself, if its entry allows it."""
        from qhq.backends.ibm.executor import open_ibm

        executor = open_ibm(spec, ansatz, seed=seed)
        if not spec.training:
            raise executor.training_refusal(batch=1)
        return executor

    def connector(self) -> Callable[[IBMSpec], Connection]:
        """What reaches a device: its service, and its latest calibration."""
        from qhq.backends.ibm.opening import connect

        return connect

    def devices(self, template: IBMSpec) -> Sequence[ListedDevice]:
        """The devices of the account."""
        from qhq.backends.ibm.opening import list_devices

        return list_devices(template)

    def calibration(self, spec: IBMSpec) -> Calibration:
        """The latest one of a device."""
        return self.connector()(spec).device.calibration

    def lay_out(self, spec: IBMSpec, ansatz: Ansatz) -> IsaProgram:
        """Write an ansatz for a device as it is calibrated now."""
        from qhq.backends.devices.isa import build_isa

        device = self.connector()(spec).device
        return build_isa(ansatz.lowered, ansatz.parameters, ansatz.observables, device, spec.transpile)

"""How long a circuit takes on a device: its gates, its readout, and the pause after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qiskit.circuit import QuantumCircuit
from qiskit.transpiler import Target

from qhq.backends.devices.calibration import Calibration

REP_DELAY_SECONDS = 250e-6
"""Pause between two shots where a device does not say: that of IBM's devices."""

JOB_SECONDS = 2.0
"""What a job takes on the device besides its shots: IBM's own rule of thumb."""

Duration = Callable[[str, tuple[int, ...]], float]
"""Name of a gate and its qubits -> seconds."""


def circuit_seconds(circuit: QuantumCircuit, duration: Target | Duration) -> float:
    """Time that the gates of a circuit take: its longest path.

    Args:
        circuit: In the gates of a device.
        duration: The device, or what says how long each of its gates takes.
    """
    lasts = _durations(duration) if isinstance(duration, Target) else duration
    ends = [0.0] * circuit.num_qubits
    for step in circuit.data:
        qubits = tuple(circuit.find_bit(bit).index for bit in step.qubits)
        end = max(ends[qubit] for qubit in qubits) + lasts(step.name, qubits)
        for qubit in qubits:
            ends[qubit] = end
    return max(ends, default=0.0)


def shot_seconds(calibration: Calibration, target: Target, layout: Sequence[int]) -> float:
    """Time between two shots besides the gates: the slowest readout, and the pause of the device."""
    microseconds = calibration.configuration.get("default_rep_delay")
    pause = REP_DELAY_SECONDS if microseconds is None else float(microseconds) * 1e-6
    lasts = _durations(target)
    return pause + max(lasts("measure", (qubit,)) for qubit in layout)


def _durations(target: Target) -> Duration:
    def seconds(name: str, qubits: tuple[int, ...]) -> float:
        properties = target[name].get(qubits) if name in target.operation_names else None
        return 0.0 if properties is None or properties.duration is None else float(properties.duration)

    return seconds

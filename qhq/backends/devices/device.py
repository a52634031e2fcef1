"""What the transpiler sees of a device: its gates and where they may act, from its calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from qiskit.circuit import Measure
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

from qhq.backends.devices.calibration import Calibration, gate_number


class Device(Protocol):
    """A device that a program can be written for."""

    @property
    def name(self) -> str:
        """As it calls itself."""

    @property
    def date(self) -> str | None:
        """When its calibration was last updated: ISO 8601, UTC; None without one."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that a transpiled circuit depends on."""

    @property
    def target(self) -> Target:
        """Gates, where they may act, and their errors."""


@dataclass(frozen=True)
class CalibratedDevice:
    """A device known by its configuration and properties: fake, frozen in a snapshot, or real.

    ``fractional`` is whether programs for it may have fractional gates.
    """

    calibration: Calibration
    fractional: bool = False

    @property
    def name(self) -> str:
        """Name of the device, as it calls itself."""
        return self.calibration.name

    @property
    def date(self) -> str | None:
        """When its calibration was last updated: ISO 8601, UTC."""
        return self.calibration.date

    @property
    def fingerprint(self) -> str:
        """Digest of all that a transpiled circuit depends on."""
        return self.calibration.fingerprint + ("+fractional" if self.fractional else "")

    @cached_property
    def target(self) -> Target:
        """Gates, where they may act, and their errors."""
        return build_target(self.calibration, fractional=self.fractional)


LEFT_OUT = frozenset({"delay", "id", "measure", "reset"})
"""No gates of a program; measurements are made from the readout of each qubit."""

FRACTIONAL = frozenset({"rx", "rzz"})
"""Gates with an angle of their own; a device restricts that of rzz."""


def build_target(calibration: Calibration, *, fractional: bool = False) -> Target:
    """All working qubits and gates of a device with their errors, durations (s), T1 and T2 (s).

    Args:
        calibration: The device.
        fractional: Whether its fractional gates are among them.
    """
    target = Target(num_qubits=calibration.num_qubits, qubit_properties=_qubits(calibration))
    standard = get_standard_gate_name_mapping()
    for name, places in _gates(calibration, LEFT_OUT if fractional else LEFT_OUT | FRACTIONAL).items():
        if places:
            target.add_instruction(standard[name], places)
    target.add_instruction(Measure(), _measurements(calibration))
    return target


def _qubits(calibration: Calibration) -> list[QubitProperties]:
    # Frequencies matter for thermal excitation alone, which IBM's noise models leave out.
    return [
        QubitProperties(t1=calibration.qubit(qubit, "T1"), t2=calibration.qubit(qubit, "T2"))
        for qubit in range(calibration.num_qubits)
    ]


def _gates(
    calibration: Calibration, left_out: frozenset[str]
) -> dict[str, dict[tuple[int, ...], InstructionProperties]]:
    standard = get_standard_gate_name_mapping()
    names = [name for name in calibration.configuration["basis_gates"] if name in standard.keys() - left_out]
    gates: dict[str, dict[tuple[int, ...], InstructionProperties]] = {name: {} for name in names}
    for gate in calibration.properties["gates"]:
        if gate["gate"] in gates and _works(calibration, gate):
            gates[gate["gate"]][tuple(gate["qubits"])] = InstructionProperties(
                error=gate_number(gate["parameters"], "gate_error"),
                duration=gate_number(gate["parameters"], "gate_length"),
            )
    return gates


def _works(calibration: Calibration, gate: dict[str, Any]) -> bool:
    switches = [calibration.qubit(qubit, "operational") for qubit in gate["qubits"]]
    if 0.0 in [*switches, gate_number(gate["parameters"], "operational")]:
        return False
    # An error of 1 is IBM's mark of a gate that could not be calibrated.
    return (gate_number(gate["parameters"], "gate_error") or 0.0) < 1.0


def _measurements(calibration: Calibration) -> dict[tuple[int], InstructionProperties]:
    return {
        (qubit,): InstructionProperties(
            error=calibration.qubit(qubit, "readout_error"),
            duration=calibration.qubit(qubit, "readout_length"),
        )
        for qubit in range(calibration.num_qubits)
        if calibration.qubit(qubit, "operational") != 0.0
    }

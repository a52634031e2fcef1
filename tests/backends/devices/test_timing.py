"""Seconds follow the calibration: the longest path of the gates, the slowest readout, the pause."""

import pytest
from qiskit.circuit import QuantumCircuit

from qhq.backends.devices.calibration import build_target, load_fake
from qhq.backends.devices.timing import circuit_seconds, shot_seconds


def test_the_gates_of_a_device_take_the_time_of_the_longest_path():
    target = build_target(load_fake("fake_manila"))
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.rz(0.3, 1)
    circuit.sx(4)
    wanted = target["sx"][(0,)].duration + target["cx"][(0, 1)].duration + target["rz"][(1,)].duration
    assert circuit_seconds(circuit, target) == pytest.approx(wanted)
    assert circuit_seconds(QuantumCircuit(5), target) == 0


def test_between_shots_a_device_reads_out_and_pauses():
    calibration = load_fake("fake_fez")
    target = build_target(calibration)
    readout = max(target["measure"][(qubit,)].duration for qubit in (1, 2))
    assert shot_seconds(calibration, target, (1, 2)) == pytest.approx(250e-6 + readout)

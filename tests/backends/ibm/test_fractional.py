"""Fractional gates: the same values, with every angle of an rzz where the device has it."""

import math

import numpy as np
import pytest
from pydantic import ValidationError
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import Operator

from qhq.ansatz.program import Ansatz
from qhq.backends.devices.isa import within_range
from qhq.backends.ibm.records import question_key
from tests.loopback.fixtures import *  # noqa: F403

from .cases import FIVE_SIGMA, Clock, check_each_sent_once, entry, opened, points, small_ansatz

KEY = "a1f044edf9df6df2b769957075b46949da79fd9efa507026893b383f28911a7d"

ANGLES = [0.0, 0.3, math.pi / 2, 1.9, math.pi, 3.5, 3 * math.pi / 2, 5.0, 2 * math.pi, -0.7, -4.0, 20.0]


def _circuit(angle):
    circuit = QuantumCircuit(3)
    circuit.sx([0, 1, 2])
    circuit.rzz(angle, 0, 2)
    circuit.rz(0.4, 1)
    circuit.rzz(2 * angle if isinstance(angle, float) else 1.0 - 3 * angle, 2, 1)
    circuit.sx([0, 1])
    return circuit


def _rzz_angles(circuit, names, values):
    bound = [circuit.assign_parameters(dict(zip(names, row, strict=True))) for row in values]
    return bound, [
        float(step.operation.params[0]) for each in bound for step in each.data if step.name == "rzz"
    ]


@pytest.mark.parametrize("angle", ANGLES)
def test_a_fixed_angle_is_brought_into_range(angle):
    circuit, names, values = within_range(_circuit(angle), [], np.zeros((2, 0)))
    assert (names, values.shape) == ((), (2, 0))
    assert Operator(circuit).equiv(Operator(_circuit(angle)))
    _, angles = _rzz_angles(circuit, names, values)
    assert all(0 <= each <= math.pi / 2 for each in angles)


def test_a_free_angle_is_brought_into_range_in_every_row_of_one_circuit():
    theta = Parameter("theta")
    rows = np.array(ANGLES)[:, None]
    circuit, names, values = within_range(_circuit(theta), ["theta"], rows)
    assert "theta" not in names
    bound, angles = _rzz_angles(circuit, names, values)
    assert all(0 <= each <= math.pi / 2 for each in angles)
    for each, angle in zip(bound, ANGLES, strict=True):
        assert Operator(each).equiv(Operator(_circuit(theta).assign_parameters({theta: angle})))


def test_angles_that_are_in_range_cost_no_gate():
    theta = Parameter("theta")
    circuit = QuantumCircuit(2)
    circuit.rzz(theta, 0, 1)
    written, names, values = within_range(circuit, ["theta"], np.array([[0.1], [1.5]]))
    assert written.count_ops() == {"rzz": 1}
    np.testing.assert_array_equal(values, [[0.1], [1.5]])
    same = small_ansatz().circuit
    assert within_range(same, ["x"], values)[0] is same
    assert len(names) == 1


@pytest.mark.usefixtures("study", "no_backoff")
@pytest.mark.parametrize("level", [0, 1])
def test_a_device_runs_them_and_the_values_are_right(noiseless, level):
    x, y, w = Parameter("x"), Parameter("y"), Parameter("w")
    circuit = QuantumCircuit(2)
    circuit.ry(x, 0)
    circuit.rx(y, 1)
    circuit.rzz(w, 0, 1)
    circuit.rx(0.3, 0)
    circuit.ry(0.4, 1)
    ansatz = Ansatz(circuit, (x, y), (w,), small_ansatz().observables)
    executor = opened(
        Clock(),
        ansatz=ansatz,
        name="ibm_rzz",
        fractional_gates=True,
        resilience_level=level,
        shots=1024,
    )
    ops = executor._program.circuit.count_ops()
    assert ops["rzz"] == executor.report().two_qubit_gates == 1
    inputs, _ = points()
    values = executor.expectations(inputs, [4.0])
    from qhq.backends.local.aer import open_aer
    from qhq.backends.noisy import AerSpec

    wanted = open_aer(AerSpec(kind="aer"), ansatz, seed=0).expectations(inputs, [4.0])
    np.testing.assert_allclose(values, wanted, rtol=0, atol=FIVE_SIGMA)
    check_each_sent_once(noiseless.service)
    plain = opened(Clock(), ansatz=ansatz, name="ibm_rzz")
    assert "rzz" not in plain._program.circuit.count_ops()


@pytest.mark.parametrize(
    "changes", [{"resilience_level": 2}, {"zne": {"enable": "on"}}, {"twirling": {"gates": "on"}}]
)
def test_they_cannot_be_twirled_or_folded(changes):
    with pytest.raises(ValidationError, match="cannot be twirled or folded"):
        entry(fractional_gates=True, **changes)


def test_questions_that_were_paid_before_there_were_any_keep_their_keys():
    values = np.ones((2, 3))
    assert question_key(entry(), "circuit", 0, 1, values) == (KEY)
    assert question_key(entry(fractional_gates=True), "circuit", 0, 1, values) != KEY

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SuperOp, average_gate_fidelity
from qiskit_aer.noise import depolarizing_error, thermal_relaxation_error

from qhq.backends.devices.calibration import load_fake, make_calibration
from qhq.backends.noisy import UniformNoiseSpec
from qhq.backends.noisy.noise import attached_noise, calibrated_noise, scale_noise, uniform_noise
from qhq.errors import BackendError

NAIROBI = load_fake("fake_nairobi")
PAIR = calibrated_noise(NAIROBI.cut([3, 5]))


def relaxation(place):
    """T1 and T2 alone, for the duration of a gate: what no depolarising can mend."""
    name, qubits = place
    (gate,) = (g for g in NAIROBI.properties["gates"] if (g["gate"], tuple(g["qubits"])) == (name, qubits))
    seconds = 1e-9 * next(item["value"] for item in gate["parameters"] if item["name"] == "gate_length")
    channel = None
    for qubit in qubits:
        t1, t2 = NAIROBI.qubit(qubit, "T1"), NAIROBI.qubit(qubit, "T2")
        one = thermal_relaxation_error(t1, min(t2, 2 * t1), seconds)
        channel = one if channel is None else channel.expand(one)
    return channel


def superoperators(noise):
    return {place: SuperOp(error).data for place, error in noise.channels.items()}


def test_each_gate_is_as_faulty_as_it_was_measured():
    measured = {
        (gate["gate"], tuple(gate["qubits"])): gate["parameters"][0]["value"]
        for gate in NAIROBI.properties["gates"]
    }
    for (name, qubits), error in PAIR.channels.items():
        place = (name, tuple([3, 5][qubit] for qubit in qubits))
        infidelity = 1 - average_gate_fidelity(SuperOp(error))
        relaxing = 1 - average_gate_fidelity(SuperOp(relaxation(place)))
        np.testing.assert_allclose(infidelity, max(measured[place], relaxing), rtol=1e-6)


def test_readout_has_two_probabilities_a_qubit():
    np.testing.assert_allclose(
        PAIR.flips,
        [[NAIROBI.qubit(q, "prob_meas1_prep0"), NAIROBI.qubit(q, "prob_meas0_prep1")] for q in (3, 5)],
    )


def test_virtual_gates_have_no_noise():
    assert {name for name, _ in PAIR.channels} == {"sx", "x", "cx"}


def test_uniform_noise_is_the_same_everywhere():
    noise = uniform_noise(UniformNoiseSpec(depolarizing_2q=0.01, readout_1_given_0=0.02), 3)
    assert set(noise.channels) == {("cz", (a, b)) for a in range(3) for b in range(3) if a != b}
    np.testing.assert_allclose(superoperators(noise)["cz", (0, 2)], SuperOp(depolarizing_error(0.01, 2)).data)
    np.testing.assert_allclose(noise.flips, [[0.02, 0.0]] * 3)


def test_uniform_relaxation_follows_t1_and_t2():
    noise = uniform_noise(UniformNoiseSpec(t1_us=100, t2_us=50, gate_ns_1q=1000), 1)
    channel = superoperators(noise)["x", (0,)]
    # Columns are stacked: the last entry is what stays excited, the second the coherence.
    np.testing.assert_allclose([channel[3, 3], channel[1, 1]], np.exp([-1 / 100, -1 / 50]))


def test_noise_that_meets_no_gate_is_an_error():
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cz(0, 1)
    with pytest.raises(BackendError, match="attach to some gate.*gates cz, h, and noise on cx, sx, x"):
        attached_noise(PAIR, [circuit])


def test_a_device_without_gate_errors_is_an_error():
    bare = make_calibration(NAIROBI.configuration, {**NAIROBI.properties, "gates": []})
    circuit = QuantumCircuit(1)
    circuit.sx(0)
    with pytest.raises(BackendError, match="noise on none"):
        attached_noise(calibrated_noise(bare), [circuit])


def test_noise_on_readout_alone_needs_no_gate():
    noise = uniform_noise(UniformNoiseSpec(readout_1_given_0=0.1), 1)
    assert attached_noise(noise, [QuantumCircuit(1)]).channels == {}


@pytest.mark.parametrize("scale", [0.25, 1 - 1e-12, 2.5])
def test_scaled_channels_are_channels(scale):
    scaled = scale_noise(PAIR, scale)
    assert all(SuperOp(error).is_cptp() for error in scaled.channels.values())
    np.testing.assert_allclose(scaled.flips, scale * PAIR.flips)


def test_scale_one_is_the_noise_itself_and_so_is_nearly_one():
    assert scale_noise(PAIR, 1) is PAIR
    near, exact = superoperators(scale_noise(PAIR, 1 - 1e-13)), superoperators(PAIR)
    for place, channel in exact.items():
        np.testing.assert_allclose(near[place], channel, atol=1e-12)


def test_scale_two_is_the_channel_twice():
    twice, once = superoperators(scale_noise(PAIR, 2)), superoperators(PAIR)
    for place, channel in once.items():
        np.testing.assert_allclose(twice[place], channel @ channel, atol=1e-12)


def test_scale_zero_is_no_noise():
    none = scale_noise(PAIR, 0)
    assert none.channels == {}
    assert not none.flips.any()


def test_a_readout_error_cannot_be_scaled_past_certainty():
    noise = uniform_noise(UniformNoiseSpec(readout_1_given_0=0.3), 1)
    with pytest.raises(BackendError, match="stay a probability when scaled.*4 times 0.3"):
        scale_noise(noise, 4)


def test_a_channel_without_a_logarithm_cannot_be_scaled():
    noise = uniform_noise(UniformNoiseSpec(depolarizing_1q=1.0), 1)
    with pytest.raises(BackendError, match="must have a logarithm"):
        scale_noise(noise, 2)

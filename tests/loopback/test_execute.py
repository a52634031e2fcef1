"""Jobs are executed for real: values against the exact ones and against the whole device's noise."""

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from .cut import cut_noise, readout, split_qubits
from .devices import load_device
from .lone import chances_of_one
from .problem import FIVE_SIGMA, SHOTS, eight_by_four, estimate, flip, to_device


@pytest.mark.parametrize(("device", "level"), [("ibm_manila", 0), ("ibm_fez", 0), ("ibm_fez", 1)])
def test_one_job_of_eight_rows_and_four_observables_is_right(noiseless, connect, device, level):
    job = estimate(connect(noiseless.url).backend(device), level=level)
    np.testing.assert_allclose(job.result()[0].data.evs, eight_by_four()[3], atol=FIVE_SIGMA, rtol=0)
    assert job.done()


def test_what_was_received_is_on_record(noiseless, connect):
    estimate(connect(noiseless.url).backend("ibm_fez"), tags=("mine", "all"), level=1).wait_for_final_state()
    (job,) = noiseless.service.jobs()
    assert (job["backend"], job["tags"], job["status"]) == ("ibm_fez", ["mine", "all"], "Completed")
    assert job["pubs"] == [{"parameters": [8], "observables": 4, "bases": 1}]
    assert [item["shape"] for item in job["items"]] == [[16, 8], [16]]
    assert job["shots"] == 8 * SHOTS + SHOTS
    assert noiseless.service.submissions() == {"mine": 1, "all": 1}


def test_a_sampler_runs_too(noiseless, connect):
    backend = connect(noiseless.url).backend("ibm_fez")
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    counts = (
        Sampler(mode=backend).run([to_device(bell, backend)], shots=SHOTS).result()[0].data.meas.get_counts()
    )
    assert set(counts) == {"00", "11"}
    np.testing.assert_allclose(counts["00"] / SHOTS, 0.5, atol=FIVE_SIGMA / 2)
    assert noiseless.service.jobs()[0]["pubs"] == [{"parameters": []}]


def test_a_lone_qubit_is_read_with_its_own_errors(loopback, connect):
    up, down = readout(load_device("ibm_manila"), 2)
    assert (up, down) != (0, 0)
    value = flip(connect(loopback.url).backend("ibm_manila")).result()[0].data.evs
    np.testing.assert_allclose(value, -1 + 2 * down, atol=FIVE_SIGMA)


def test_the_cut_noise_is_that_of_the_whole_device():
    kept = [3, 1, 2]
    whole = NoiseModel.from_backend(FakeManilaV2())._local_quantum_errors
    cut = cut_noise(load_device("ibm_manila"), kept)._local_quantum_errors
    for gate in ("cx", "sx", "x"):
        for qubits, error in cut[gate].items():
            same = whole[gate][tuple(kept[qubit] for qubit in qubits)]
            np.testing.assert_allclose(_matrix(error), _matrix(same), atol=1e-12)
    assert set(cut["cx"]) == {(0, 2), (2, 0), (1, 2), (2, 1)}


def test_noisy_values_are_those_of_the_device(loopback, connect):
    client = connect(loopback.url)
    circuit, _, values, exact = eight_by_four()
    isa = to_device(circuit, client.backend("ibm_manila"))
    evs = estimate(client.backend("ibm_manila")).result()[0].data.evs
    np.testing.assert_allclose(evs, _locally(isa, values), atol=2 * FIVE_SIGMA)
    assert np.abs(evs - exact).max() > FIVE_SIGMA


def test_lone_qubits_agree_with_aer():
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.rz(0.7, 0)
    circuit.sx(0)
    circuit.x(1)
    circuit.measure([0, 1], [0, 1])
    assert split_qubits(circuit) == ([], [0, 1])
    counts = AerSimulator(seed_simulator=1).run(circuit, shots=SHOTS).result().get_counts()
    ones = sum(count for bits, count in counts.items() if bits[1] == "1") / SHOTS
    np.testing.assert_allclose(
        chances_of_one(circuit, [0, 1], np.zeros((1, 0))), [[ones, 1.0]], atol=FIVE_SIGMA
    )


def _matrix(error):
    return error.to_quantumchannel().data


def _locally(isa: QuantumCircuit, values: np.ndarray) -> np.ndarray:
    """<Z> (4, 8) on the whole fake device, its two readout errors a qubit applied in closed form."""
    noise = NoiseModel.from_backend(FakeManilaV2(), readout_error=False)
    simulator = AerSimulator(noise_model=noise, method="density_matrix")
    circuit, places = isa.copy(), isa.layout.final_index_layout()
    for number, place in enumerate(places):
        circuit.save_probabilities([place], label=str(number))
    bound = [circuit.assign_parameters(row) for row in values]
    results = simulator.run(bound, shots=1).result()
    found = np.array([[results.data(row)[str(n)] for row in range(len(values))] for n in range(len(places))])
    errors = np.array([readout(load_device("ibm_manila"), place) for place in places])
    up, down = errors[:, 0, None], errors[:, 1, None]
    return 1 - 2 * (found[..., 1] * (1 - down) + found[..., 0] * up)

"""A reservoir: fresh input qubits at each lag are the same as input qubits that are reset."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, Operator, SparsePauliOp
from qiskit_aer import AerSimulator
from scipy.linalg import expm

from qhq.ansatz.assemble import build
from qhq.ansatz.encodings import ReservoirEncoding
from qhq.ansatz.spec import AnsatzSpec
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import ConfigError
from qhq.seeding import child_generator


def spec(hidden: int, inputs: int, lags: int, **fields: object) -> AnsatzSpec:
    encoding = {"kind": "reservoir", "hidden": hidden, "lags": lags, **fields}
    return AnsatzSpec.model_validate({"qubits": hidden + inputs * lags, "depth": 0, "encoding": encoding})


def values(ansatz: AnsatzSpec, angles: np.ndarray) -> np.ndarray:
    return StatevectorExecutor(build(ansatz)).expectations(angles[None], np.zeros(0))[0]


def read_last(found: np.ndarray, hidden: int, inputs: int) -> np.ndarray:
    return np.concatenate([found[:hidden], found[len(found) - inputs :]])


@pytest.mark.parametrize("seed", range(50))
def test_agrees_with_real_resets_on_aer(seed):
    generator = np.random.default_rng(seed)
    hidden, inputs, lags = (int(generator.integers(1, top)) for top in (4, 3, 4))
    ansatz = spec(hidden, inputs, lags, time=generator.uniform(0.2, 2), coupling=1.5, seed=seed, steps=3)
    angles = generator.uniform(-np.pi, np.pi, inputs * lags)
    circuit = QuantumCircuit(hidden + inputs)
    for lag in range(lags):
        if lag:
            circuit.reset(range(hidden, hidden + inputs))
        for place in range(inputs):
            circuit.ry(angles[lag * inputs + place], hidden + place)
        circuit.compose(ansatz.encoding.evolution(hidden + inputs), inplace=True)
    circuit.save_density_matrix()
    result = AerSimulator(method="density_matrix").run(circuit).result()
    state = DensityMatrix(result.data()["density_matrix"])
    wanted = [
        state.expectation_value(SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], hidden + inputs)).real
        for qubit in range(hidden + inputs)
    ]
    found = read_last(values(ansatz, angles), hidden, inputs)
    np.testing.assert_allclose(found, wanted, atol=1e-8)


def test_many_steps_are_the_evolution_itself():
    encoding = ReservoirEncoding(kind="reservoir", steps=400, coupling=0.8, time=0.7, seed=3)
    qubits = 3
    couplings = iter(child_generator(3, "couplings").uniform(0, 0.8, 3))
    hamiltonian = sum(
        SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], qubits).to_matrix() for qubit in range(qubits)
    )
    for one, other in ((0, 1), (0, 2), (1, 2)):
        term = SparsePauliOp.from_sparse_list([("XX", [one, other], next(couplings))], qubits)
        hamiltonian = hamiltonian + term.to_matrix()
    found = Operator(encoding.evolution(qubits)).data
    np.testing.assert_allclose(found, expm(-0.7j * hamiltonian), atol=1e-5)


def test_the_past_is_remembered_by_the_hidden_qubits():
    ansatz, angles = spec(2, 1, 3, coupling=1.5), np.array([0.3, 1.1, -0.4])
    other = angles + np.array([1.0, 0.0, 0.0])
    change = np.abs(values(ansatz, other) - values(ansatz, angles))
    assert read_last(change, 2, 1).max() > 1e-3
    np.testing.assert_allclose(values(spec(2, 1, 3, coupling=1e-12), other)[3:],
                               values(spec(2, 1, 3, coupling=1e-12), angles)[3:], atol=1e-9)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_resets_and_lags_with_qubits_of_their_own_are_the_same(seed):
    fields = {"coupling": 1.5, "seed": seed, "steps": 1, "order": 4}
    angles = np.random.default_rng(seed).uniform(-np.pi, np.pi, 6)
    shared = AnsatzSpec.model_validate(
        {
            "qubits": 3,
            "depth": 0,
            "encoding": {"kind": "reservoir", "hidden": 1, "lags": 3, "reset": True, **fields},
        }
    )
    found = values(shared, angles)
    np.testing.assert_allclose(found, read_last(values(spec(1, 2, 3, **fields), angles), 1, 2), atol=1e-10)


def test_couplings_come_from_a_file_in_the_order_of_the_qubits(tmp_path):
    matrix = np.array([[0, 0.3, 0.7], [0.3, 0, -0.2], [0.7, -0.2, 0]])
    np.savetxt(tmp_path / "j.csv", matrix, delimiter=",")
    fields = {"kind": "reservoir", "hidden": 1, "lags": 2, "reset": True, "hidden_last": True, "steps": 24,
              "order": 4, "couplings": str(tmp_path / "j.csv")}  # fmt: skip
    hamiltonian = sum(
        SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], 3).to_matrix() for qubit in range(3)
    )
    for pair in ((0, 1), (0, 2), (1, 2)):
        term = SparsePauliOp.from_sparse_list([("XX", list(pair), matrix[pair])], 3)
        hamiltonian = hamiltonian + term.to_matrix()
    encoding = ReservoirEncoding.model_validate(fields)
    np.testing.assert_allclose(Operator(encoding.evolution(3)).data, expm(-1j * hamiltonian), atol=1e-6)
    circuit = encoding.circuit(3, first=True)
    assert [circuit.find_bit(step.qubits[0]).index for step in circuit.data if step.name == "reset"] == [0, 1]
    for content in ("1,2\n3,4\n", "0,1,2\n9,0,3\n2,3,0\n", "a,b\n", ""):
        (tmp_path / "j.csv").write_text(content)
        with pytest.raises(ConfigError, match="symmetric 3 x 3 matrix"):
            encoding.circuit(3, first=True)


def test_width_must_share_out_to_the_lags():
    with pytest.raises(ValueError, match="a multiple of 3 more"):
        AnsatzSpec(qubits=6, depth=0, encoding=spec(2, 1, 3).encoding)


# --- Several readout times ---


def at_times(times: list[float], **fields: object) -> AnsatzSpec:
    """A reservoir of 3 qubits for each time, two of them inputs that are reset."""
    encoding = {"kind": "reservoir", "hidden": 1, "lags": 3, "reset": True, "coupling": 1.5, **fields}
    qubits = 3 * max(1, len(times))
    return AnsatzSpec.model_validate(
        {"qubits": qubits, "depth": 0, "encoding": {**encoding, "readout_times": times}}
    )


def test_each_readout_time_is_a_reservoir_that_stops_there():
    angles, times = np.random.default_rng(0).uniform(-np.pi, np.pi, 6), [0.5, 1.0, 0.2]
    alone = [values(at_times([time]), angles) for time in times]
    np.testing.assert_allclose(values(at_times(times), angles), np.concatenate(alone), atol=1e-10)
    np.testing.assert_allclose(alone[1], values(at_times([]), angles), atol=1e-12)


def test_a_file_that_says_last_time_still_reads():
    one = ReservoirEncoding.model_validate({"kind": "reservoir", "last_time": 0.5})
    assert one.readout_times == (0.5,)
    assert ReservoirEncoding.model_validate({"kind": "reservoir", "last_time": None}).readout_times == ()


def test_qubits_must_share_out_to_the_readout_times():
    with pytest.raises(ValueError, match="for each of 2 readout times, not 7"):
        AnsatzSpec(qubits=7, depth=0, encoding=at_times([0.5, 1.0]).encoding)


def test_a_run_of_another_seed_has_other_couplings_unless_the_file_names_one():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, 6)
    one, other = (values(at_times([]).drawn_from(seed), angles) for seed in (0, 1))
    np.testing.assert_array_equal(one, values(at_times([]), angles))
    assert np.abs(one - other).max() > 1e-3
    named = [values(at_times([], seed=3).drawn_from(seed), angles) for seed in (0, 1)]
    np.testing.assert_array_equal(*named)

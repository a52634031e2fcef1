import numpy as np
import pytest
from qiskit import qpy
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import Operator, SparsePauliOp

from qhq.ansatz.assemble import Ansatz
from qhq.ansatz.stored import fingerprint, load_built, save_ansatz
from qhq.errors import ConfigError
from tests.ansatz.circuits import SPECS, built, matrix, random_values


@pytest.mark.parametrize("name", SPECS)
def test_a_stored_ansatz_comes_back_whole(tmp_path, name):
    ansatz = built(name)
    save_ansatz(ansatz, tmp_path / "circuit.qpy")
    again = load_built(tmp_path / "circuit.qpy")
    assert [each.name for each in again.parameters] == [each.name for each in ansatz.parameters]
    assert again.num_inputs == ansatz.num_inputs
    assert again.observables == ansatz.observables
    row = np.concatenate(random_values(ansatz, 1), axis=None)
    assert Operator(matrix(again, row)).equiv(Operator(matrix(ansatz, row)))
    assert fingerprint(again) == fingerprint(ansatz)


def test_angle_scaling_and_coefficients_are_stored(tmp_path):
    x = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.ry(x, 0)
    observable = SparsePauliOp.from_list([("Z", 0.5), ("X", -2.0)])
    save_ansatz(Ansatz(circuit, (x,), (), (observable,), "pi_sin"), tmp_path / "circuit.qpy")
    again = load_built(tmp_path / "circuit.qpy")
    assert (again.angle_scaling, again.observables) == ("pi_sin", (observable,))


def test_storing_leaves_the_ansatz_as_it_was(tmp_path):
    ansatz = built("ry")
    before = dict(ansatz.circuit.metadata or {})
    save_ansatz(ansatz, tmp_path / "circuit.qpy")
    assert (ansatz.circuit.metadata or {}) == before


def test_every_program_has_a_fingerprint_of_its_own():
    assert len({fingerprint(built(name)) for name in SPECS}) == len(SPECS)


def test_a_fingerprint_sees_into_a_users_own_gate():
    def wrapped(gate: str) -> Ansatz:
        x, inner, circuit = Parameter("x"), QuantumCircuit(1, name="mine"), QuantumCircuit(1)
        getattr(inner, gate)(x, 0)
        circuit.append(inner.to_gate(), [0])
        return Ansatz(circuit, (x,), (), (SparsePauliOp("Z"),))

    assert fingerprint(wrapped("rx")) != fingerprint(wrapped("ry"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no file .*circuit.qpy"):
        load_built(tmp_path / "circuit.qpy")


def test_a_damaged_file_is_named(tmp_path):
    ansatz, path = built("ry"), tmp_path / "circuit.qpy"
    save_ansatz(ansatz, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ConfigError, match=r"must be readable QPY.*circuit.qpy"):
        load_built(path)


def test_plain_qpy_is_not_an_ansatz(tmp_path):
    path = tmp_path / "circuit.qpy"
    with path.open("wb") as stream:
        qpy.dump(built("ry").circuit, stream)
    with pytest.raises(ConfigError, match="must say which of its parameters are inputs"):
        load_built(path)

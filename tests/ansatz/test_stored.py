from pathlib import Path

import numpy as np
import pytest
from qiskit import qpy
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import Operator, SparsePauliOp

from qhq.ansatz.assemble import Ansatz
from qhq.ansatz.stored import ansatz_fingerprint, as_stored, load_built, program_digest, save_ansatz
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
    assert ansatz_fingerprint(again) == ansatz_fingerprint(ansatz)


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
    assert len({ansatz_fingerprint(built(name)) for name in SPECS}) == len(SPECS)


def test_a_fingerprint_sees_into_a_users_own_gate():
    def wrapped(gate: str) -> Ansatz:
        x, inner, circuit = Parameter("x"), QuantumCircuit(1, name="mine"), QuantumCircuit(1)
        getattr(inner, gate)(x, 0)
        circuit.append(inner.to_gate(), [0])
        return Ansatz(circuit, (x,), (), (SparsePauliOp("Z"),))

    assert ansatz_fingerprint(wrapped("rx")) != ansatz_fingerprint(wrapped("ry"))


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


def test_a_circuit_of_format_1_is_read_and_known_by_its_fingerprint():
    """Stored by qhq 0.1.0: a gate of its own, an angle that is no sum, vectors and names in Greek."""
    ansatz = load_built(Path(__file__).parent / "stored_by_0_1" / "circuit.qpy")
    assert ansatz_fingerprint(ansatz) == "4f2f1f82415fd2195ef3c8aaf3ef4cfcaf5e5b777956b2caf657ce0296ceda12"
    assert [each.name for each in ansatz.parameters] == ["x[0]", "x[1]", "θ", "β"]
    assert ansatz.angle_scaling == "pi_sin"
    x0, x1, theta, beta = 0.3, -0.7, 1.1, 0.4
    wanted = QuantumCircuit(2)
    wanted.ry(x0, 0)
    wanted.u(x1, 0.3, -0.2, 1)
    wanted.ry(2 * theta + 0.1, 0)
    wanted.cx(0, 1)
    wanted.rx((np.pi - x0) * beta, 1)
    wanted.rzz(0.7, 0, 1)
    wanted.ry(beta, 0)
    np.testing.assert_allclose(matrix(ansatz, [x0, x1, theta, beta]), Operator(wanted).data, atol=1e-12)
    assert program_digest(as_stored(ansatz)) == program_digest(ansatz)


def test_a_circuit_that_cannot_be_stored_is_refused(monkeypatch):
    def stumble(*arguments):
        raise OSError("no such gate")

    monkeypatch.setattr(qpy, "dump", stumble)
    with pytest.raises(ConfigError, match="must be able to store its circuit.*OSError: no such gate"):
        as_stored(built("ry"))


def test_a_circuit_that_comes_back_as_another_is_refused(monkeypatch):
    other = built("rot")
    monkeypatch.setattr("qhq.ansatz.stored.read_bytes_back", lambda *arguments: other)
    with pytest.raises(ConfigError, match="another program when it is read back"):
        as_stored(built("ry"))


def test_names_and_writing_do_not_count_in_a_fingerprint_but_values_do():
    def written(name, angle):
        x, circuit = Parameter(name), QuantumCircuit(1)
        circuit.ry(angle(x), 0)
        return ansatz_fingerprint(Ansatz(circuit, (x,), (), (SparsePauliOp("Z"),)))

    plain = written("x", lambda x: 2 * x + 1)
    assert plain == written("y", lambda x: 1 + x + x) == written("x", lambda x: np.float64(2) * x + 1)
    assert plain != written("x", lambda x: 2 * x + 1.000001)

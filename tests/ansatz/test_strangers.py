"""A circuit that the engine can run can be stored, read back, drawn and exported, whatever it is made of."""

import numpy as np
import pytest
from qiskit import qasm2, qasm3
from qiskit.quantum_info import Statevector

from qhq.ansatz.assemble import Ansatz
from qhq.ansatz.draw import draw_circuit
from qhq.ansatz.export import export
from qhq.ansatz.stored import ansatz_fingerprint, as_stored, load_built, save_ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import ConfigError
from tests.ansatz.strangers import BEYOND_OPENQASM, STRANGERS, stranger

NARROW = [name for name in STRANGERS if name != "wide"]
"""Those for which Statevector and a picture are quick."""


def rows(ansatz):
    generator = np.random.default_rng(0)
    return generator.uniform(0.1, 1.5, (2, ansatz.num_inputs)), generator.uniform(
        0.1, 1.5, ansatz.num_weights
    )


def values(ansatz):
    return StatevectorExecutor(ansatz).expectations(*rows(ansatz))


def texts(ansatz):
    """All of a circuit that a drawer could have changed."""
    operations = [step.operation for step in ansatz.circuit.data]
    angles = [[str(angle) for angle in getattr(each, "params", [])] for each in operations]
    return [(each.name, getattr(each, "label", None)) for each in operations], angles


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stored_circuit_comes_back_the_same(tmp_path, name):
    ansatz = stranger(name)
    settled = as_stored(ansatz)
    save_ansatz(settled, tmp_path / "circuit.qpy")
    again = load_built(tmp_path / "circuit.qpy")
    np.testing.assert_allclose(values(again), values(ansatz), atol=1e-12)
    assert ansatz_fingerprint(again) == ansatz_fingerprint(settled) == ansatz_fingerprint(ansatz)
    assert ansatz_fingerprint(as_stored(again)) == ansatz_fingerprint(ansatz)
    assert [each.name for each in again.parameters] == [each.name for each in ansatz.parameters]


@pytest.mark.parametrize("name", STRANGERS)
def test_openqasm_3_is_read_back_with_the_same_values(name):
    ansatz = stranger(name)
    if name in BEYOND_OPENQASM:
        with pytest.raises(ConfigError, match="must be OpenQASM 3 that Qiskit reads back"):
            export(ansatz, "qasm3")
        return
    circuit = qasm3.loads(export(ansatz, "qasm3").decode())
    named = {each.name: each for each in circuit.parameters}
    inputs = tuple(named[f"x_{index}"] for index in range(ansatz.num_inputs))
    weights = tuple(named[f"w_{index}"] for index in range(ansatz.num_weights))
    again = Ansatz(circuit, inputs, weights, ansatz.observables)
    np.testing.assert_allclose(values(again), values(ansatz), atol=1e-8)


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize(("form", "read"), [("qasm3", qasm3.loads), ("qasm2", qasm2.loads)])
def test_values_in_place_of_parameters_are_read_back(name, form, read):
    ansatz = stranger(name)
    inputs, weights = rows(ansatz)
    state = Statevector(read(export(ansatz, form, [*inputs[0], *weights]).decode()))
    got = [state.expectation_value(each).real for each in ansatz.observables]
    np.testing.assert_allclose(got, values(ansatz)[0], atol=1e-8)


@pytest.mark.parametrize("name", STRANGERS)
def test_qpy_is_read_back_with_the_same_values(tmp_path, name):
    ansatz = stranger(name)
    (tmp_path / "export.qpy").write_bytes(export(ansatz, "qpy"))
    np.testing.assert_allclose(values(load_built(tmp_path / "export.qpy")), values(ansatz), atol=1e-12)


@pytest.mark.painted
@pytest.mark.parametrize("form", ["txt", "svg", "png"])
@pytest.mark.parametrize("name", NARROW)
def test_it_is_drawn_and_stays_as_it_is(tmp_path, capfd, name, form):
    ansatz = stranger(name)
    before = texts(ansatz)
    draw_circuit(ansatz, tmp_path / f"circuit.{form}")
    assert (tmp_path / f"circuit.{form}").stat().st_size > 100
    assert texts(ansatz) == before
    assert capfd.readouterr() == ("", "")

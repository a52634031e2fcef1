"""A circuit that the engine can run can be stored, read back, drawn and exported, whatever it is made of."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from qiskit import qasm2, qasm3
from qiskit.circuit import Gate, Parameter, QuantumCircuit
from qiskit.quantum_info import Statevector

from qhq.ansatz.assemble import Ansatz, build_ansatz
from qhq.ansatz.draw import draw_circuit, draw_text, latex_of
from qhq.ansatz.export import export
from qhq.ansatz.roles import draw_roles, draw_roles_to
from qhq.ansatz.stored import ansatz_fingerprint, as_stored, load_built, save_ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import as_run
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
@pytest.mark.parametrize("form", ["txt", "svg", "tex"])
@pytest.mark.parametrize("name", NARROW)
def test_it_is_drawn_and_stays_as_it_is(tmp_path, capfd, name, form):
    ansatz = stranger(name)
    before = texts(ansatz)
    draw_circuit(ansatz, tmp_path / f"circuit.{form}")
    assert (tmp_path / f"circuit.{form}").stat().st_size > 100
    assert texts(ansatz) == before
    assert capfd.readouterr() == ("", "")
    if form == "tex":
        assert_is_latex((tmp_path / "circuit.tex").read_text())


@pytest.mark.painted
@pytest.mark.parametrize("name", ["unicode names", "odd labels", "long names", "long angle"])
def test_texts_of_every_kind_are_painted(tmp_path, capfd, name):
    draw_circuit(stranger(name), tmp_path / "circuit.png")
    assert (tmp_path / "circuit.png").stat().st_size > 100
    assert capfd.readouterr() == ("", "")


@pytest.mark.painted
@pytest.mark.parametrize("name", NARROW)
def test_its_roles_are_drawn(tmp_path, capfd, name):
    ansatz = stranger(name)
    draw_roles_to(ansatz, tmp_path / "circuit.svg", np.zeros(ansatz.num_weights))
    ElementTree.parse(tmp_path / "circuit.svg")
    assert capfd.readouterr() == ("", "")


def assert_is_latex(source: str) -> None:
    """Of characters that LaTeX knows, braces in pairs, and no name that it would read as a command."""
    assert source.isascii()
    _, body = source.split("\\begin{document}")
    body = re.sub(r"\\[^A-Za-z]", "", body)
    depth = [0, *np.cumsum([{"{": 1, "}": -1}.get(letter, 0) for letter in body]).tolist()]
    assert min(depth) == depth[-1] == 0
    assert body.count("$") % 2 == 0
    assert "%" not in body
    assert "#" not in body
    # A second index behind a first one is no mathematics.
    assert not re.search(r"_\w+_|_\{[^{}]*\}_", body)


def test_what_cannot_be_run_can_be_drawn(tmp_path):
    """A gate without a definition: Qiskit draws it as a box."""
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("x"), 0)
    circuit.append(Gate("nameless", 2, []), [0, 1])
    ansatz = build_ansatz(circuit, inputs=["x"])
    assert "nameless" in draw_text(ansatz).lower()
    assert "nameless" in latex_of(ansatz).lower()
    with pytest.raises(ConfigError, match="neither a definition"):
        export(ansatz, "qasm3")


def test_an_annotated_gate_shows_what_it_takes():
    figure = draw_roles(stranger("annotated"))
    assert {"RY†^2", "0.3"} <= {text.get_text() for text in figure.axes[0].texts}


@pytest.mark.parametrize("name", ["angles that cancel", "annotated", "registers with marks"])
def test_a_device_takes_it_with_the_same_values(name):
    ansatz = stranger(name)
    written, _ = as_run(ansatz, "fake_nairobi")
    np.testing.assert_allclose(values(written), values(ansatz), atol=1e-9)

"""Roles of gates, and the law of every drawing: it looks, and leaves no trace."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from qiskit import qpy
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit

from qhq.ansatz.assemble import build_ansatz
from qhq.ansatz.draw import draw_circuit, draw_figure, draw_text
from qhq.ansatz.roles import _COLOURS, draw_roles, draw_roles_to, role_of
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.backends.registry import as_run, errors_as_run
from qhq.errors import ConfigError
from qhq.quantum.layer import QuantumLayer
from tests.ansatz.circuits import SPECS, built, random_values
from tests.no_trace import no_trace

pytestmark = pytest.mark.painted


def mixed():
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.rx(x[0], 0)
    circuit.ry(w[0], 1)
    circuit.rz(x[1] * w[1], 2)
    circuit.cx(0, 1)
    circuit.cz(1, 2)
    circuit.swap(0, 2)
    return build_ansatz(circuit)


def texts(figure) -> list[str]:
    return [each.get_text() for each in figure.findobj(Text) if isinstance(each, Text)]


def test_every_gate_has_its_role():
    ansatz = mixed()
    roles = [
        role_of(step, frozenset(ansatz.inputs), frozenset(ansatz.weights)) for step in ansatz.circuit.data
    ]
    assert roles == ["fixed", "data", "weight", "data and weight", *["entangler"] * 3]


def test_roles_differ_in_colour_and_in_shape():
    boxes = [each for each in draw_roles(mixed()).findobj(FancyBboxPatch) if isinstance(each, FancyBboxPatch)]
    looks = {
        to_hex(box.get_facecolor()): (type(box.get_boxstyle()).__name__, box.get_linewidth())
        for box in boxes
        if box.get_linewidth() and to_hex(box.get_facecolor()) in {face for face, _ in _COLOURS.values()}
    }
    by_role = {role: looks[face] for role, (face, _) in _COLOURS.items() if role != "entangler"}
    assert len(set(by_role.values())) == 4


def test_the_values_of_a_trained_run_stand_on_its_gates():
    shown = texts(draw_roles(mixed(), [0.25, -1.5]))
    assert "0.25" in shown
    assert "w[0]" not in shown
    assert "x[0]" in shown


def test_an_angle_of_trained_weights_alone_is_one_number_and_no_name_is_cut_in_two():
    x, w, other, more = (Parameter(name) for name in ("x", "w", "w10", "p"))
    circuit = QuantumCircuit(1)
    circuit.rx(np.pi - 0.5 * w, 0)
    circuit.ry(x * w + other, 0)
    circuit.rz(x.exp() + more, 0)
    shown = texts(draw_roles(build_ansatz(circuit, inputs=["x"]), [0.5, 0.1, -7.0]))  # p, w, w10
    assert "3.09" in shown
    assert {"0.1*x + (-7)", "(-7) + 0.1*x", "x*0.1 + (-7)", "(-7) + x*0.1"} & set(shown)
    assert {"0.5 + exp(x)", "exp(x) + 0.5"} & set(shown)


def test_a_box_says_which_qubit_is_which_where_its_place_does_not():
    circuit = QuantumCircuit(3)
    circuit.rx(Parameter("x"), 0)
    circuit.ecr(0, 1)
    assert not {"0", "1"} & set(texts(draw_roles(build_ansatz(circuit))))
    circuit.ecr(2, 0)
    assert {"0", "1"} <= set(texts(draw_roles(build_ansatz(circuit))))


def test_the_errors_of_a_device_stand_below_its_gates():
    ansatz = built("ry")
    written, _ = as_run(ansatz, "fake_nairobi")
    errors = errors_as_run(ansatz, "fake_nairobi")
    assert len(errors) == written.circuit.size()
    two = [error for step, error in zip(written.circuit.data, errors, strict=True) if len(step.qubits) == 2]
    assert all(error is not None and 0 < error < 1 for error in two)
    shown = texts(draw_roles(written, errors=errors))
    assert f"{100 * two[0]:.2g} %" in shown
    assert any("3.14" in each and "w[0]" in each for each in shown)
    assert any(each.startswith("p") and "_q0" in each for each in shown)


def test_too_few_values_are_refused():
    with pytest.raises(ConfigError, match="one finite value for each weight"):
        draw_roles(mixed(), [0.25])


def test_names_are_text_and_no_mathematics():
    circuit = QuantumCircuit(1)
    x = ParameterVector("$\\frac{", 1)
    circuit.rx(x[0], 0)
    figure = draw_roles(build_ansatz(circuit, inputs=["$\\frac{[0]"]))
    figure.canvas.draw()
    assert any("frac" in each for each in texts(figure))


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_picture_is_the_same_each_time(tmp_path, ending):
    paths = [tmp_path / f"{name}.{ending}" for name in ("one", "two")]
    for path in paths:
        draw_roles_to(mixed(), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


DRAWINGS = {
    "roles": lambda ansatz, folder: draw_roles(ansatz, np.zeros(ansatz.num_weights)),
    "roles to a file": lambda ansatz, folder: draw_roles_to(ansatz, folder / "one.svg"),
    "figure": lambda ansatz, folder: draw_figure(ansatz),
    "text": lambda ansatz, folder: draw_text(ansatz),
    "file": lambda ansatz, folder: draw_circuit(ansatz, folder / "one.png"),
    "latex": lambda ansatz, folder: draw_circuit(ansatz, folder / "one.tex"),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("drawing", DRAWINGS)
def test_a_drawing_leaves_no_trace(name, drawing, tmp_path, monkeypatch):
    """Law: state, random generators, hooks and the number of forward passes are as they were."""
    ansatz = built(name)
    layer = QuantumLayer(ansatz, seed=3)
    layer(torch.ones(1, ansatz.num_inputs)).sum().backward()
    calls = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    layer.register_full_backward_hook(lambda *_: calls.append(1))
    executor = type(layer.neural_network.executor)
    for method in ("expectations", "vjp"):
        monkeypatch.setattr(executor, method, lambda *_, **__: calls.append(1))

    def circuit():
        stream = io.BytesIO()
        qpy.dump(ansatz.circuit, stream)
        return stream.getvalue(), ansatz_fingerprint(ansatz)

    before = circuit()
    with no_trace(layer):
        DRAWINGS[drawing](layer.ansatz, tmp_path)
    assert circuit() == before
    assert not calls


def test_a_circuit_of_many_columns_is_refused():
    circuit = QuantumCircuit(1)
    circuit.rx(ParameterVector("x", 1)[0], 0)
    for _ in range(700):
        circuit.h(0)
    with pytest.raises(ConfigError, match="at most 600 columns"):
        draw_roles(build_ansatz(circuit))


def test_random_values_can_be_drawn_on_every_kind():
    for name in SPECS:
        ansatz = built(name)
        draw_roles(ansatz, random_values(ansatz, 1)[1])

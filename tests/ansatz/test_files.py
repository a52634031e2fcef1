import sys

import numpy as np
import pytest
from qiskit import qasm3, qpy

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec, load_ansatz
from qhq.errors import ConfigError
from tests.ansatz.circuits import built, matrix, random_values


def spec_of(path, **more):
    return AnsatzSpec.model_validate({"qubits": 3, "file": {"path": str(path), **more}})


@pytest.fixture
def own(tmp_path):
    return tmp_path / "own.py"


@pytest.mark.parametrize("ending", ["qpy", "qasm"])
@pytest.mark.parametrize("inputs", ["x", ["x[0]", "x[1]", "x[2]"]])
def test_a_circuit_file_gives_the_circuit_it_was_saved_from(tmp_path, ending, inputs):
    ansatz, path = built("ry"), tmp_path / f"mine.{ending}"
    if ending == "qpy":
        with path.open("wb") as stream:
            qpy.dump(ansatz.circuit, stream)
    else:
        path.write_text(qasm3.dumps(ansatz.circuit))
        inputs = "_x" if isinstance(inputs, str) else ["_x_0_", "_x_1_", "_x_2_"]
    again = build(spec_of(path, inputs=inputs))
    row = np.concatenate(random_values(ansatz, 1), axis=None)
    np.testing.assert_allclose(matrix(again, row), matrix(ansatz, row), atol=1e-12)


def test_weights_of_a_file_come_in_natural_order(tmp_path):
    path = tmp_path / "mine.qasm"
    lines = [f"input float[64] w{index};" for index in range(12)]
    gates = [f"rx(w{index}) q[0];" for index in range(12)]
    text = ["OPENQASM 3.0;", 'include "stdgates.inc";', "input float[64] data;", *lines, "qubit[1] q;"]
    path.write_text("\n".join([*text, "ry(data) q[0];", *gates]))
    spec = AnsatzSpec.model_validate({"qubits": 1, "file": {"path": str(path), "inputs": "data"}})
    assert [each.name for each in build(spec).weights] == [f"w{index}" for index in range(12)]


def test_the_example_follows_qubits_and_depth():
    ansatz = build(load_ansatz("brickwork", {"qubits": 6, "depth": 3}))
    assert (ansatz.num_qubits, ansatz.num_inputs, ansatz.num_weights) == (6, 6, 26)


def test_a_python_file_stays_out_of_the_import_system(own):
    own.write_text(
        "import sys\nfrom pathlib import Path\nassert str(Path(__file__).parent) not in sys.path\n"
    )
    before = (list(sys.path), set(sys.modules))
    with pytest.raises(ConfigError, match="has no attribute 'build'"):
        build(spec_of(own))
    assert (list(sys.path), set(sys.modules)) == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def build(qubits, depth)\n", r"SyntaxError.*own\.py:1"),
        ("\n\nraise RuntimeError('no')\n", r"RuntimeError: no at .*own\.py:3"),
        ("def build(qubits, depth):\n    return 1 / 0\n", r"ZeroDivisionError.*own\.py:2"),
        ("import sys\nsys.exit(3)\n", r"SystemExit.*own\.py:2"),
        ("def build(qubits):\n    pass\n", "takes 1 positional argument"),
        ("def build(qubits, depth):\n    return None\n", "must return a QuantumCircuit.* Got NoneType"),
        ("def build(qubits, depth):\n    return 1, 2, 3\n", "must return a QuantumCircuit"),
    ],
)
def test_a_fault_of_a_python_file_is_named_by_line(own, source, message):
    own.write_text(source)
    with pytest.raises(ConfigError, match=message):
        build(spec_of(own))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("c = QuantumCircuit(2); c.ry(x, 0); return c, [x], []", "2 qubits in .*own.py, qubits: 3"),
        ("c = QuantumCircuit(3); c.ry(x, 0); return c, x, [w]", "without a gate: w"),
        ("c = QuantumCircuit(3); c.ry(x, 0); c.ry(w, 1); return c, x, []", "neither: w"),
        ("c = QuantumCircuit(3); c.ry(w, 0); return c, [], w", "at least one input"),
    ],
)
def test_a_circuit_that_breaks_its_promises_is_refused(own, lines, message):
    header = "from qiskit.circuit import Parameter, QuantumCircuit\nx, w = Parameter('x'), Parameter('w')\n"
    own.write_text(f"{header}def build(qubits, depth):\n    {lines}\n")
    with pytest.raises(ConfigError, match=message):
        build(spec_of(own))


@pytest.mark.parametrize("ending", ["qpy", "qasm"])
def test_a_damaged_file_is_named(tmp_path, ending):
    path = tmp_path / f"mine.{ending}"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match=f"must be readable.*mine.{ending}"):
        build(spec_of(path, inputs="x"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no file .*mine.qpy"):
        build(spec_of(tmp_path / "mine.qpy", inputs="x"))


@pytest.mark.parametrize("inputs", ["y", ["x[0]", "x[9]"]])
def test_inputs_must_be_parameters_of_the_file(tmp_path, inputs):
    path = tmp_path / "mine.qpy"
    with path.open("wb") as stream:
        qpy.dump(built("ry").circuit, stream)
    with pytest.raises(ConfigError, match=r"must name parameters .* Choose from w\[0\]"):
        build(spec_of(path, inputs=inputs))


def test_depth_of_a_fixed_circuit_cannot_be_set(tmp_path):
    path = tmp_path / "mine.qpy"
    path.touch()
    spec = spec_of(path, inputs="x").model_copy(update={"depth": 2})
    with pytest.raises(ConfigError, match="depth must stay 1"):
        build(spec)

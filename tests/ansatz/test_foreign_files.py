"""Circuit files that others wrote: OpenQASM 2 and 3, QPY, and what is none of them."""

import gzip
import io
import warnings

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import CHGate, CRXGate, RXGate, UnitaryGate
from qiskit.quantum_info import Operator

from qhq.ansatz.assemble import build
from qhq.ansatz.files import read_circuit
from qhq.ansatz.spec import AnsatzSpec
from qhq.errors import ConfigError
from tests.ansatz.circuits import matrix

QASM2 = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\n'
QASM3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float[64] in_0;\ninput float[64] turn;\n'
PROGRAM = "qubit[2] q;\nbit[2] c;\nrx(in_0) q[0];\nry(2*turn) q[1];\ncx q[0], q[1];\n"


@pytest.fixture
def read(tmp_path):
    """Build the ansatz of a file with this name and content."""

    def read(name, content, qubits=2, spec=None, **roles):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        file = {"path": str(path), **roles}
        return build(AnsatzSpec.model_validate({"qubits": qubits, "file": file, **(spec or {})}))

    return read


def packed(*circuits):
    stream = io.BytesIO()
    qpy.dump(list(circuits), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.qasm", QASM3 + PROGRAM),
        ("a.qasm3", "\ufeff" + QASM3 + PROGRAM),
        ("a.qasm", ("/* é */\n// OPENQASM 2.0;\n" + QASM3 + PROGRAM).replace("\n", "\r\n")),
        ("a.inc", QASM3.split("\n", 1)[1] + PROGRAM),
        ("a.qasm", QASM3.replace("stdgates", "qelib1") + PROGRAM),
        ("a.qasm", QASM3 + PROGRAM + "barrier q;\nc = measure q;\n"),
        ("a.qasm", gzip.compress((QASM3 + PROGRAM).encode())),
        ("a.qasm", QASM3 + 'include "own.inc";\n' + PROGRAM.replace("rx(in_0)", "own(in_0)")),
    ],
)
def test_openqasm_3_in_each_dress_is_the_same_circuit(read, tmp_path, name, content):
    (tmp_path / "own.inc").write_text("gate own(t) a {\n  rx(t) a;\n}\n")
    ansatz = read(name, content, inputs="in_")
    wanted = QuantumCircuit(2)
    wanted.rx(0.3, 0)
    wanted.ry(1.4, 1)
    wanted.cx(0, 1)
    np.testing.assert_allclose(matrix(ansatz, [0.3, 0.7]), Operator(wanted).data, atol=1e-12)


@pytest.mark.parametrize(
    ("head", "body", "row"),
    [
        (QASM2, "rx(0.1) q[0]; cu1(0.2) q[0],q[1]; u3(0.3,0.4,0.5) q[1];", [0.1, 0.2, 0.3, 0.4, 0.5]),
        (QASM2, "crz(pi/4) q[0],q[1];", [np.pi / 4]),
        (
            QASM2,
            "h q[0]; swap q[0],q[1]; sx q[1]; rzz(0.2) q[0],q[1]; cu(1,2,3,4) q[0],q[1];",
            [0.2, 1, 2, 3, 4],
        ),
        (QASM2, "gate two(t) a,b { rx(t) a; ry(2*t) b; } two(0.3) q[0],q[1];", [0.3, 0.6]),
        (QASM2, "gate rzz(t) a,b { cx a,b; u1(t) b; cx a,b; } rzz(0.3) q[0],q[1];", [0.3]),
        (QASM2, "gate ryy(t) a,b { rz(t) a; cx a,b; } ryy(0.3) q[0],q[1];", [0.3]),
        (QASM2, "gphase(pi/2) q[0],q[1]; rx(0.4) q[0];\ngphase(0.1);", [0.4]),
        (QASM2, "rx(asin(0.5)) q[0]; barrier q; measure q -> c;", [np.arcsin(0.5)]),
        ("\ufeff/* a */" + QASM2.replace("\n", "\r\n"), "ry(-pi/3) q[1];", [-np.pi / 3]),
        ("OPENQASM 2.0;\nqreg p[1];\nqreg u[1];\n", "U(0.1,0.2,0.3) p[0]; CX p[0],u[0];", [0.1, 0.2, 0.3]),
        (QASM2, "h q[0]; cx q[0],q[1];", []),
    ],
)
def test_angles_of_openqasm_2_become_weights(read, head, body, row):
    trained = read("a.qasm", head + body, weights="angles")
    fixed = read("a.qasm", head + body, weights="none")
    assert (trained.num_inputs, trained.num_weights, fixed.num_weights) == (2, len(row), 0)
    inputs = [0.7, -0.4]
    assert Operator(matrix(trained, [*inputs, *row])).equiv(Operator(matrix(fixed, inputs)))


def test_a_block_from_a_file_follows_encoding_and_depth(read):
    spec = {"depth": 3, "encoding": {"gates": "RX", "repeat": True}}
    ansatz = read("a.qasm", QASM2 + "ry(0.3) q[0];", spec=spec, weights="angles")
    assert (ansatz.num_inputs, ansatz.num_weights) == (2, 3)
    assert dict(ansatz.circuit.count_ops()) == {"rx": 6, "ry": 3}


def test_gates_of_a_library_stay_whole_in_a_block(read):
    circuit = QuantumCircuit(2)
    circuit.append(UnitaryGate(Operator(CHGate()).data), [0, 1])
    circuit.append(CHGate(ctrl_state=0), [0, 1])
    circuit.append(CRXGate(0.2, ctrl_state=0), [0, 1])
    circuit.append(RXGate(0.4), [0])
    ansatz = read("a.qpy", packed(circuit), weights="angles")
    assert ansatz.num_weights == 2
    wanted = read("a.qpy", packed(circuit), weights="none")
    np.testing.assert_allclose(matrix(ansatz, [0.1, 0.5, 0.2, 0.4]), matrix(wanted, [0.1, 0.5]), atol=1e-12)


@pytest.mark.parametrize("ending", ["qpy", "qpy.gz", "qasm"])
def test_qpy_is_known_by_its_content(read, ending):
    x, odd = ParameterVector("x", 3), [Parameter("w²"), Parameter("w10"), Parameter("w9")]
    circuit = QuantumCircuit(2)
    circuit.rx(x[1], 0)  # two elements of the vector are nowhere
    for each in odd:
        circuit.ry(each, 1)
    circuit.measure_all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = packed(circuit)
    ansatz = read(f"a.{ending}", gzip.compress(content) if ending.endswith("gz") else content, inputs="x")
    assert [each.name for each in ansatz.inputs] == ["x[1]"]
    assert [each.name for each in ansatz.weights] == ["w9", "w10", "w²"]


def simple():
    circuit = QuantumCircuit(2, name="simple")
    circuit.rx(Parameter("x"), 0)
    return circuit


BROKEN = {
    "cut off": ("a.qpy", packed(simple())[:90], "must be readable QPY.*damaged or cut off"),
    "newer": ("a.qpy", b"QISKIT\x63" + packed(simple())[7:], "format version being read, 99.*newer Qiskit"),
    "two circuits": ("a.qpy", packed(simple(), simple()), "must hold one circuit. Got 2 programs.*'simple'"),
    "half a gzip": ("a.qpy", gzip.compress(packed(simple()))[:30], "must be gzip content.*ends before"),
    "a picture": ("a.qpy", b"\x89PNG\r\n", "which is a PNG image"),
    "a workbook": ("a.qpy", b"PK\x03\x04", "damaged zip archive or workbook"),
    "text": ("a.qpy", "just text", "of no kind that qhq knows"),
    "prices": (
        "a.qasm",
        "Date,Close\n2020-01-02,1\n2020-01-03,2\n",
        "a table separated by commas.*data check",
    ),
    "UTF-16": ("a.qasm", (QASM3 + PROGRAM).encode("utf-16"), "text in UTF-16. Save it in the encoding UTF-8"),
    "nothing": ("a.qasm", "", "an empty file"),
    "no QASM": ("a.qasm", "hello world", "must be readable OpenQASM 3"),
    "function": (
        "a.qasm",
        QASM3 + "qubit q;\nrx(sin(in_0)) q;",
        r"a.qasm:6:4: 'FunctionCall'",
    ),
    "syntax": (
        "a.qasm",
        QASM3 + "qubit q;\nrx(in_0 q;",
        r"a.qasm:6:9: no viable alternative",
    ),
    "loop": ("a.qasm", QASM3 + "qubit[2] q; bit c; while (c) { rx(in_0) q[0]; }", "Got .*'while_loop'"),
    "version 2 with inputs": ("a.qasm", QASM2 + "rx(0.3) q[0];", "it is OpenQASM 2.*weights: angles"),
    "free angle in version 2": (
        "a.qasm",
        QASM2 + "rx(t) q[0];",
        r"OpenQASM 2. Got .*a.qasm:5:4: 't'",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_refused_with_what_it_is(read, capfd, kind):
    name, content, message = BROKEN[kind]
    with pytest.raises(ConfigError, match=message):
        read(name, content, inputs="x" if name.endswith("qpy") or "2.0" in str(content) else "in_")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("measure q[0] -> c[0]; x q[0];", "measure"),
        ("if(c==1) x q[1];", "if_else"),
    ],
)
def test_a_block_that_measures_on_its_way_is_refused(read, body, name):
    with pytest.raises(ConfigError, match=f"must be made of gates and resets.*Got '{name}'"):
        read("a.qasm", QASM2 + body, weights="angles")


def test_a_circuit_with_free_parameters_is_no_block(read):
    with pytest.raises(ConfigError, match=r"without free parameters. Got x in .*a.qpy"):
        read("a.qpy", packed(simple()), weights="angles")


def test_a_python_file_that_is_none_is_refused(read):
    with pytest.raises(ConfigError, match=r"ends in .py must be Python. Got .*a.py, which is a QPY file"):
        read("a.py", packed(simple()))


def test_a_folder_is_no_circuit(tmp_path):
    (tmp_path / "a.qpy").mkdir()
    file = {"path": str(tmp_path / "a.qpy"), "inputs": "x"}
    with pytest.raises(ConfigError, match="Got a folder"):
        build(AnsatzSpec.model_validate({"qubits": 2, "file": file}))


def test_damage_of_any_byte_is_answered(tmp_path):
    """Whatever Qiskit's reader makes of damage, panics included, comes out as a circuit or a ConfigError."""
    content, generator = packed(simple()), np.random.default_rng(0)
    path = tmp_path / "a.qpy"
    file = {"path": str(path), "inputs": "x"}
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 3):
            damaged[place] = generator.integers(0, 256)
        path.write_bytes(damaged)
        try:
            build(AnsatzSpec.model_validate({"qubits": 2, "file": file}))
        except ConfigError:
            refused += 1
    assert refused > 50


SIZES = [
    "qubit[1000000000] q;", "qubit[99999*99999] q;", "qubit[9**9**9] q;", "qubit[0xffffffffff] q;",
    "qubit[1_000_000] q;", "bit[999999999] c;", "qreg q[2147483647];", "creg c[1e9];",
    "qubit[3] q; ctrl(1000000000) @ x q[0], q[1];", "qubit[3] q; pow(1e9) @ x q[0];",
]  # fmt: skip


@pytest.mark.parametrize("text", SIZES)
def test_a_size_that_would_fill_the_machine_is_refused_before_it_is_read(tmp_path, text):
    path = tmp_path / "c.qasm"
    for head in ('OPENQASM 3.0;\ninclude "stdgates.inc";\n', 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'):
        path.write_text(head + text)
        with pytest.raises(ConfigError, match="the most that can be read"):
            read_circuit(path)


def test_a_size_that_is_meant_is_read(tmp_path):
    path = tmp_path / "c.qasm"
    path.write_text('OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[0x1_0] q;\npow(2) @ x q[0];\n')
    assert read_circuit(path).num_qubits == 16

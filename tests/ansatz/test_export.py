import io

import numpy as np
import pytest
from qiskit import qasm2, qasm3, qpy
from qiskit.quantum_info import Operator

from qhq.ansatz.export import EXPORT_FORMS, export, export_circuit, to_qasm2, to_qasm3
from qhq.errors import ConfigError
from tests.ansatz.circuits import SPECS, built, matrix, random_values


def read_qasm2(text):
    # Qiskit writes p, which its own edition of qelib1.inc knows and the paper's does not.
    return qasm2.loads(text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)


@pytest.mark.parametrize("name", SPECS)
def test_qasm3_loads_back_as_the_same_operator(name):
    ansatz = built(name)
    loaded = qasm3.loads(to_qasm3(ansatz))
    row = np.concatenate(random_values(ansatz, 1), axis=None)
    names = [f"x_{index}" for index in range(ansatz.num_inputs)]
    names += [f"w_{index}" for index in range(ansatz.num_weights)]
    values = dict(zip(names, row, strict=True))
    again = loaded.assign_parameters({each: values[each.name] for each in loaded.parameters})
    np.testing.assert_allclose(Operator(again).data, matrix(ansatz, row), atol=1e-12)


@pytest.mark.parametrize("name", SPECS)
def test_qpy_loads_back_as_the_same_operator(name):
    ansatz = built(name)
    (loaded,) = qpy.load(io.BytesIO(export(ansatz, "qpy")))
    row = np.concatenate(random_values(ansatz, 1), axis=None)
    again = loaded.assign_parameters(dict(zip(ansatz.parameters, row, strict=True)))
    np.testing.assert_allclose(Operator(again).data, matrix(ansatz, row), atol=1e-12)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("write", "read"), [(to_qasm2, read_qasm2), (to_qasm3, qasm3.loads)])
def test_values_are_written_in_place_of_parameters(name, write, read):
    ansatz = built(name)
    row = np.concatenate(random_values(ansatz, 1), axis=None)
    again = read(write(ansatz, row))
    assert again.num_parameters == 0
    np.testing.assert_allclose(Operator(again).data, matrix(ansatz, row), atol=1e-12)


def test_qasm2_without_values_is_refused():
    with pytest.raises(ConfigError, match=r"must have a number at every angle\. Got 9 free parameters"):
        export(built("ry"), "qasm2")


@pytest.mark.parametrize("form", ["qasm2", "qasm3"])
def test_too_few_values_are_refused(form):
    with pytest.raises(ConfigError, match=r"shape \(3,\) for 3 inputs and 6 weights"):
        export(built("ry"), form, np.zeros(3))


def test_qpy_keeps_its_parameters():
    with pytest.raises(ConfigError, match="QPY must keep the parameters"):
        export(built("ry"), "qpy", np.zeros(9))


def test_an_unknown_form_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'qasm3'"):
        export(built("ry"), "qasm33")


@pytest.mark.parametrize("form", [form for form in EXPORT_FORMS if form != "qasm2"])
def test_a_file_holds_the_export(tmp_path, form):
    ansatz = built("ry")
    export_circuit(ansatz, tmp_path / "circuit", form)
    assert (tmp_path / "circuit").read_bytes() == export(ansatz, form)

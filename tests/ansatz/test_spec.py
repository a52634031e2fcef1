import subprocess
import sys

import pytest
from pydantic import ValidationError

from qhq.ansatz.spec import AnsatzSpec


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"qubits": 0}, "greater than or equal to 1"),
        ({"depth": -1}, "greater than or equal to 0"),
        ({"angle_scaling": "relu"}, "Input should be 'pi_tanh'"),
        ({"encoding": {"gates": "Rot"}}, "gates must be one or more of RX, RY, RZ"),
        ({"encoding": {"gates": "RY RY"}}, "would only add their inputs"),
        ({"encoding": {"gates": "RZ"}}, "RZ first does nothing"),
        ({"encoding": {"kind": "zz_feature_map"}, "qubits": 1}, "pairs of qubits"),
        ({"encoding": {"kind": "amplitude"}}, "does not match any of the expected tags"),
        ({"blocks": []}, "at least 1 item"),
        ({"blocks": [{"gates": ""}]}, "gates must be one or more of RX, RY, RZ, Rot"),
        ({"blocks": [{"gates": "RX RQ"}]}, "gates must be one or more"),
        ({"blocks": [{"kind": "zz_feature_map"}]}, "expected tags"),
        ({"blocks": [{"gates": "RX", "on": "outer"}]}, "'all' or 'inner'"),
        ({"blocks": [{"kind": "couplings", "gate": "crz", "pattern": "star"}]}, "'linear', 'falling'"),
        ({"blocks": [{"kind": "couplings", "gate": "cry", "pattern": "ring"}]}, "'cx', 'cz', 'crx' or 'crz'"),
        ({"encoding": {"gates": "H RY"}}, "gates must be one or more of RX, RY, RZ"),
        ({"entangler": {"pattern": "star"}}, "'ring', 'linear', 'full' or 'none'"),
        ({"observables": []}, "at least one Pauli operator"),
        ({"observables": ["Z0 Q1"]}, "'Z0 Q1' is no Pauli operator"),
        ({"file": {"path": "a.txt", "inputs": "x"}}, "must end in"),
        ({"file": {"path": "a.qpy"}}, "inputs must name"),
        ({"file": {"path": "a.py", "inputs": "x"}}, "inputs must be left out"),
        ({"file": {"path": "a.py"}, "blocks": [{"gates": "Rot"}]}, "file and blocks exclude each other"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_a_broken_rule_is_named(content, message):
    with pytest.raises(ValidationError, match=message):
        AnsatzSpec.model_validate(content)


@pytest.mark.parametrize("content", [{}, {"file": {"path": "a.py"}}, {"observables": ["ZZII", "X0 Y3"]}])
def test_a_spec_survives_being_written_and_read(content):
    spec = AnsatzSpec.model_validate(content)
    assert AnsatzSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_reading_a_spec_imports_no_qiskit():
    code = (
        "import sys, qhq.ansatz.catalogue, qhq.backends.registry; "
        "print([name for name in ('qiskit', 'torch', 'pandas', 'numpy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"

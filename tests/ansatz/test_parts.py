"""Circuits side by side on one register: each is what it is alone, and the whole is one ansatz."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from qhq.ansatz.assemble import build, build_ansatz
from qhq.ansatz.program import PartSizes, without_entanglers
from qhq.ansatz.spec import AnsatzSpec, load_ansatz
from qhq.ansatz.stored import ansatz_fingerprint, as_stored
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import ConfigError

PARTS = [
    {"ansatz": "reference", "qubits": 3, "depth": 2},
    {"ansatz": "real_amplitudes", "qubits": 2, "observables": ["X0", "Z0 Z1", "YI"]},
    {"qubits": 1, "blocks": [{"gates": "Rot"}]},
]


def alone():
    named = [
        load_ansatz(each["ansatz"], {k: v for k, v in each.items() if k != "ansatz"}) for each in PARTS[:2]
    ]
    return [build(each) for each in (*named, AnsatzSpec.model_validate(PARTS[2]))]


def test_each_part_has_its_own_values_and_gradients():
    whole, parts = build_ansatz("side_by_side", parts=PARTS), alone()
    rng = np.random.default_rng(0)
    inputs, weights = rng.uniform(-3, 3, (4, whole.num_inputs)), rng.uniform(-3, 3, whole.num_weights)
    cotangent = rng.normal(size=(4, whole.num_outputs))
    executors = [StatevectorExecutor(each, threads=1) for each in parts]
    rows = np.split(inputs, np.cumsum([each.num_inputs for each in parts])[:-1], axis=1)
    own = np.split(weights, np.cumsum([each.num_weights for each in parts])[:-1])
    pulls = np.split(cotangent, np.cumsum([each.num_outputs for each in parts])[:-1], axis=1)
    given = list(zip(executors, rows, own, pulls, strict=True))
    executor = StatevectorExecutor(whole, threads=1)
    wanted = np.hstack([each.expectations(x, w) for each, x, w, _ in given])
    np.testing.assert_allclose(executor.expectations(inputs, weights), wanted, atol=1e-12)
    pulled = [each.vjp(x, w, c) for each, x, w, c in given]
    by_inputs, by_weights = executor.vjp(inputs, weights, cotangent)
    np.testing.assert_allclose(by_inputs, np.hstack([each[0] for each in pulled]), atol=1e-12)
    np.testing.assert_allclose(by_weights, np.concatenate([each[1] for each in pulled]), atol=1e-12)


def test_a_stored_circuit_knows_its_parts():
    whole = build_ansatz("side_by_side", parts=PARTS)
    assert whole.parts == (PartSizes(3, 6, 3), PartSizes(2, 4, 3), PartSizes(1, 3, 1))
    again = as_stored(whole)
    assert again.parts == whole.parts
    assert ansatz_fingerprint(again) == ansatz_fingerprint(whole)


def test_without_entanglers_each_part_counts_the_weights_that_are_left():
    crx = {
        "qubits": 2,
        "blocks": [{"kind": "couplings", "gate": "crx", "pattern": "linear"}, {"gates": "RY"}],
    }
    product = without_entanglers(build_ansatz("side_by_side", parts=[crx, PARTS[2]]))
    assert product.parts == (PartSizes(2, 2, 2), PartSizes(1, 3, 1))
    assert product.num_weights == 5


def test_a_part_is_named_by_its_path_beside_the_file(tmp_path):
    (tmp_path / "one.yaml").write_text("qubits: 2\n")
    (tmp_path / "both.yaml").write_text("parts: [{ansatz: ./one.yaml}, {ansatz: ./one.yaml, depth: 2}]\n")
    found = load_ansatz(str(tmp_path / "both.yaml"))
    assert (found.qubits, found.depth) == (4, 2)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"qubits": 3}, r"must have every key but its description in the parts. Got qubits: 3. Set it there"),
        ({"parts": [{"ansatz": "side_by_side"}]}, "parts have no parts of their own"),
        ({"parts": [{"ansatz": "reference"}, {"ansatz": "qlstm"}]}, "not pi_tanh and arctan: set it"),
        ({"parts": [{"ansatz": "referense"}]}, "Did you mean 'reference'"),
        ({"parts": [{"ansatz": "reference", "qbits": 2}]}, "Did you mean 'qubits'"),
        ({"parts": [{"qubits": 0}]}, "must be at least 1. Got 0 at a part in"),
        ({"parts": [{"file": {"path": "x.py"}}]}, "must be an ansatz of its own"),
        ({"parts": [3]}, "parts"),
        ({"parts": 3}, "it must be a list"),
        ({"parts": [{"qubits": 16}, {"qubits": 16}]}, "must be at most 30"),
    ],
)
def test_parts_that_do_not_fit_are_refused(keys, said):
    with pytest.raises(ConfigError, match=said):
        load_ansatz("side_by_side", keys)


def test_parts_are_given_as_objects():
    one = AnsatzSpec(qubits=2)
    assert AnsatzSpec(parts=(one, one)).qubits == 4
    with pytest.raises(ValidationError, match="set depth in them"):
        AnsatzSpec(parts=(one,), depth=2)

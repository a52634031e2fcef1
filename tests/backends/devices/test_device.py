import copy
from dataclasses import replace

import pytest

from qhq.backends.devices.calibration import load_fake
from qhq.backends.devices.device import build_target

NAIROBI = load_fake("fake_nairobi")


def test_a_target_has_the_gates_with_their_errors():
    target = build_target(NAIROBI)
    assert set(target.operation_names) == {"cx", "rz", "sx", "x", "measure"}
    (gate,) = (g for g in NAIROBI.properties["gates"] if (g["gate"], g["qubits"]) == ("cx", [3, 5]))
    numbers = {item["name"]: item["value"] for item in gate["parameters"]}
    assert target["cx"][3, 5].error == numbers["gate_error"]
    assert target["cx"][3, 5].duration == pytest.approx(1e-9 * numbers["gate_length"])


def test_only_real_neighbours_are_coupled():
    assert set(build_target(NAIROBI)["cx"]) == {tuple(p) for p in NAIROBI.configuration["coupling_map"]}


def test_a_broken_qubit_and_a_broken_gate_are_left_out():
    properties = copy.deepcopy(NAIROBI.properties)
    broken = {"name": "operational", "unit": "", "value": 0}
    properties["qubits"][6].append(broken)
    for gate in properties["gates"]:
        if (gate["gate"], sorted(gate["qubits"])) == ("cx", [0, 1]):
            gate["parameters"].append(broken)
    target = build_target(replace(NAIROBI, properties=properties))
    assert (6,) not in target["measure"]
    assert not {(0, 1), (1, 0), (5, 6), (6, 5)} & set(target["cx"])
    assert (1, 2) in target["cx"]


def test_a_gate_that_was_not_calibrated_is_left_out():
    properties = copy.deepcopy(NAIROBI.properties)
    (gate,) = (g for g in properties["gates"] if (g["gate"], g["qubits"]) == ("cx", [3, 5]))
    gate["parameters"][0] = {"name": "gate_error", "unit": "", "value": 1}
    assert (3, 5) not in build_target(replace(NAIROBI, properties=properties))["cx"]


def test_fractional_gates_are_left_out():
    fractional = load_fake("fake_fractional")
    assert "rzz" in fractional.configuration["basis_gates"]
    assert not {"rx", "rzz"} & set(build_target(fractional).operation_names)

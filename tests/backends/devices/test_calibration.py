"""A device as data, its fake devices, and its snapshots."""

from __future__ import annotations

import copy
import gzip
import json
import os
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from qhq.backends.devices.calibration import (
    CalibratedDevice,
    build_target,
    list_fakes,
    load_fake,
    load_snapshot,
    make_calibration,
    save_snapshot,
)
from qhq.backends.noisy import AerSpec, FakeSpec
from qhq.backends.registry import open_backend
from qhq.errors import BackendError, ConfigError
from tests.ansatz.circuits import built, random_values

NAIROBI = load_fake("fake_nairobi")


def parts():
    return copy.deepcopy(NAIROBI.configuration), copy.deepcopy(NAIROBI.properties)


def test_the_fake_devices_of_ibm_are_there():
    assert {"fake_kingston", "fake_fez", "fake_torino", "fake_nairobi"} <= set(list_fakes())
    assert len(list_fakes()) >= 60


def test_an_unknown_fake_device_names_the_nearest():
    with pytest.raises(ConfigError, match="'fake_fes'.*Did you mean 'fake_fez'"):
        load_fake("fake_fes")


def test_a_calibration_says_what_it_is_of_and_when():
    assert (NAIROBI.name, NAIROBI.num_qubits) == ("fake_nairobi", 7)
    assert NAIROBI.date == "2024-05-27T18:45:40+00:00"


def test_times_come_in_seconds():
    # The file says 105.9 us.
    assert 1e-5 < NAIROBI.qubit(0, "T1") < 1e-3
    assert NAIROBI.qubit(0, "no such number") is None


def test_a_cut_keeps_the_numbers_and_renumbers():
    cut = NAIROBI.cut([5, 1, 3])
    assert cut.num_qubits == 3
    for place, qubit in enumerate([5, 1, 3]):
        assert cut.qubit(place, "T1") == NAIROBI.qubit(qubit, "T1")
    pairs = {tuple(gate["qubits"]) for gate in cut.properties["gates"] if gate["gate"] == "cx"}
    # 3-5 and 1-3 are neighbours on the device, 5-1 are not.
    assert pairs == {(0, 2), (2, 0), (1, 2), (2, 1)} == {tuple(p) for p in cut.configuration["coupling_map"]}


def test_dates_may_come_as_objects_and_do_not_change_the_fingerprint():
    configuration, properties = parts()
    properties["last_update_date"] = datetime.fromisoformat("2030-01-01T00:00:00+01:00")
    configuration["u_channel_lo"] = [1 + 2j]
    other = make_calibration(configuration, properties)
    assert other.date == "2029-12-31T23:00:00+00:00"
    assert other.fingerprint == NAIROBI.fingerprint


def test_the_objects_of_the_client_say_the_same_as_its_files():
    from qiskit_ibm_runtime.fake_provider import FakeNairobiV2

    device = FakeNairobiV2()
    calibration = make_calibration(device.configuration().to_dict(), device.properties().to_dict())
    assert (calibration.fingerprint, calibration.date) == (NAIROBI.fingerprint, NAIROBI.date)


def test_a_number_changes_the_fingerprint():
    configuration, properties = parts()
    properties["qubits"][3][0]["value"] *= 1.001
    assert make_calibration(configuration, properties).fingerprint != NAIROBI.fingerprint


@pytest.mark.parametrize("key", ["n_qubits", "basis_gates"])
def test_a_device_without_its_configuration_is_refused(key):
    configuration, properties = parts()
    del configuration[key]
    with pytest.raises(BackendError, match="with its configuration and calibrated properties"):
        make_calibration(configuration, properties)


def test_a_device_with_an_uncalibrated_qubit_is_refused():
    configuration, properties = parts()
    properties["qubits"].pop()
    with pytest.raises(BackendError, match="7 qubits, 6 calibrated"):
        make_calibration(configuration, properties)


def _add_gate(gate, qubits):
    return lambda configuration, properties: properties["gates"].append(
        {"gate": gate, "qubits": qubits, "parameters": []}
    )


BROKEN = {
    "a gate on too few qubits": _add_gate("cx", [0]),
    "a gate on too many qubits": _add_gate("x", [0, 1]),
    "a gate without a name": _add_gate(["x"], [0]),
    "a pair of three": lambda configuration, properties: configuration.update(coupling_map=[[0, 1, 2]]),
    "a unit that is no text": lambda configuration, properties: properties["qubits"][0][0].update(unit=[]),
    "a name that is no text": lambda configuration, properties: properties["qubits"][0][0].update(name=7),
    # A negative pause would make an estimate that fits every cap.
    "a negative pause": lambda configuration, properties: configuration.update(default_rep_delay=-1e9),
    "a pause in words": lambda configuration, properties: configuration.update(default_rep_delay="long"),
    "a pause without end": lambda configuration, properties: configuration.update(default_rep_delay=1e300),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_no_device_is_is_refused_before_anything_is_made_of_it(name):
    configuration, properties = parts()
    BROKEN[name](configuration, properties)
    with pytest.raises(BackendError, match="fake_nairobi"):
        make_calibration(configuration, properties)


def test_a_device_may_list_measurements_among_its_gates():
    configuration, properties = parts()
    configuration["basis_gates"].append("measure")
    _add_gate("measure", [0])(configuration, properties)
    target = CalibratedDevice(make_calibration(configuration, properties)).target
    assert len(target["measure"]) == 7


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "nairobi.json.gz"
    save_snapshot(load_fake("fake_nairobi"), path)
    return path


def test_a_snapshot_reads_back_whole(snapshot):
    assert load_snapshot(snapshot) == load_fake("fake_nairobi")


def test_a_device_of_156_qubits_is_a_small_file(tmp_path):
    save_snapshot(load_fake("fake_fez"), tmp_path / "fez.json.gz")
    assert (tmp_path / "fez.json.gz").stat().st_size < 100_000


def test_the_same_calibration_gives_the_same_bytes(snapshot, tmp_path):
    save_snapshot(load_snapshot(snapshot), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == snapshot.read_bytes()


def test_the_json_inside_is_read_too(snapshot, tmp_path):
    plain = tmp_path / "plain.json"
    plain.write_bytes(gzip.decompress(snapshot.read_bytes()))
    assert load_snapshot(plain) == load_snapshot(snapshot)


@pytest.mark.parametrize("shots", [None, 500])
def test_a_replay_gives_the_values_of_the_device(snapshot, shots):
    ansatz = built("rot")
    values = random_values(ansatz, 3)
    device = FakeSpec(kind="fake", device="fake_nairobi", shots=shots, threads=1)
    replay = AerSpec(
        kind="aer", method="density_matrix", noise={"snapshot": str(snapshot)}, shots=shots, threads=1
    )
    opened = [open_backend(spec, ansatz, seed=3) for spec in (device, replay)]
    one, other = (executor.expectations(*values) for executor in opened)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    assert opened[0].report().layout == opened[1].report().layout
    assert opened[0].report().calibration == opened[1].report().calibration


OTHER_FILES = {
    "nothing": b"",
    "an object": b"{}",
    "a list": b"[]",
    "damaged gzip": b"\x1f\x8bno",
    "another format": b'{"qhq_snapshot": 9}',
    "prose": b"prose",
    "no text": b"\xff\xfe\x00",
    "NaN": b'{"qhq_snapshot": NaN}',
    "infinity": b'{"qhq_snapshot": -Infinity}',
    "nested without end": b"[" * 100_000,
    "half a file": gzip.compress(b'{"qhq_snapshot": 1}')[:-9],
    "a number of many digits": b'{"qhq_snapshot": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_another_file_is_refused(tmp_path, name):
    (tmp_path / "file").write_bytes(OTHER_FILES[name])
    with pytest.raises(ConfigError, match=r"must (be|have)"):
        load_snapshot(tmp_path / "file")


def test_a_bomb_and_a_large_file_are_refused_before_they_are_in_memory(tmp_path):
    (tmp_path / "bomb").write_bytes(gzip.compress(b" " * (64 << 20), 1))
    (tmp_path / "large").write_bytes(b" " * (17 << 20))
    for name in ("bomb", "large"):
        with pytest.raises(ConfigError, match="at most 16 MiB"):
            load_snapshot(tmp_path / name)


def _change(place, value):
    """Set a place of a snapshot's content, a path of keys, to a value."""

    def change(content):
        for key in place[:-1]:
            content = content[key]
        content[place[-1]] = value

    return change


def _entry(content, name, gate=False):
    rows = content["properties"]["gates" if gate else "qubits"]
    entries = (entry for row in rows for entry in (row["parameters"] if gate else row))
    return next(entry for entry in entries if entry["name"] == name)


def _number(name, value, gate=False, key="value"):
    return lambda content: _entry(content, name, gate).update({key: value})


HOSTILE = {
    **{
        f"called {name!r}": _change(("configuration", "backend_name"), name)
        for name in (
            "../../x",
            "/etc/passwd",
            "a/b",
            "..",
            ".hidden",
            "",
            "a\nb",
            "x" * 300,
            7,
            None,
            "\x1b[31m",
        )
    },
    **{f"readout {value}": _number("readout_error", value) for value in (7, -0.1, 1e300, "0.1", True, [1])},
    **{f"gate error {value}": _number("gate_error", value, gate=True) for value in (-1e-3, 1.5, "x", {})},
    **{f"T1 {value}": _number("T1", value) for value in (-5, 0, 1e99, "long")},
    **{f"T2 {value}": _number("T2", value) for value in (-5, 0)},
    "T1 in feet": _number("T1", "ft", key="unit"),
    "T1 without a unit": _number("T1", "", key="unit"),
    "gate length": _number("gate_length", -1, gate=True),
    "readout length": _number("readout_length", 1e12),
    "a probability of reading": _number("prob_meas0_prep1", 3),
    "an integer without end": _number("readout_error", 10**400),
    "qubits that are none": _change(("configuration", "n_qubits"), 7.5),
    "many qubits": _change(("configuration", "n_qubits"), 10**9),
    "no qubits": _change(("configuration", "n_qubits"), 0),
    "qubits that are true": _change(("configuration", "n_qubits"), True),
    "a gate elsewhere": _change(("properties", "gates", 0, "qubits"), [99]),
    "a gate on a half": _change(("properties", "gates", 0, "qubits"), [0.5]),
    "a gate on one qubit twice": _change(("properties", "gates", 0, "qubits"), [1, 1]),
    "a pair elsewhere": _change(("configuration", "coupling_map"), [[0, 99]]),
    "a pair of words": _change(("configuration", "coupling_map"), [["a", "b"]]),
    "basis gates that are none": _change(("configuration", "basis_gates"), [1, 2]),
    "no basis gates": _change(("configuration", "basis_gates"), None),
    "no date": _change(("properties", "last_update_date"), "yesterday"),
    "qubits that are words": _change(("properties", "qubits"), ["a"] * 7),
    "properties that are words": _change(("properties",), "none"),
    "configuration that is a list": _change(("configuration",), []),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_device_that_cannot_be_is_refused(snapshot, tmp_path, name):
    content = json.loads(gzip.decompress(snapshot.read_bytes()))
    HOSTILE[name](content)
    (tmp_path / "file").write_bytes(json.dumps(content).encode())
    with pytest.raises(ConfigError, match="must be a file that 'qhq backends snapshot' wrote"):
        load_snapshot(tmp_path / "file")


def test_a_fifo_or_a_folder_is_no_snapshot(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(ConfigError, match="must be"):
            load_snapshot(tmp_path / name)


def test_every_fake_device_is_one_that_can_be():
    # Their numbers are those of real devices; reading one checks them.
    assert [load_fake(name).name for name in list_fakes()] == list_fakes()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none.json.gz"):
        load_snapshot(tmp_path / "none.json.gz")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(BackendError, match="snapshot must be writable"):
        save_snapshot(load_fake("fake_manila"), tmp_path)


NAIROBI = load_fake("fake_nairobi")


def test_a_target_has_the_gates_with_their_errors():
    target = build_target(NAIROBI)
    assert set(target.operation_names) == {"cx", "rz", "sx", "x", "measure", "reset"}
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

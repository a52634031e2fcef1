import copy
from datetime import datetime

import pytest

from qhq.backends.devices.calibration import list_fakes, load_fake, make_calibration
from qhq.backends.devices.device import CalibratedDevice
from qhq.errors import BackendError, ConfigError

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
    # A negative pause would make an estimate that every cap has room for.
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

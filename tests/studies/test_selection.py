"""Which backends and which windows an evaluation takes."""

from __future__ import annotations

import numpy as np
import pytest

from qhq.backends.backend import DeviceState, ListedDevice
from qhq.data.prepare import prepare
from qhq.data.spec import DataSpec
from qhq.errors import BackendError, ConfigError
from qhq.experiment.evaluate import choose_windows
from qhq.studies.selection import select_backends, with_shots

ENTRIES = """\
aer: {kind: aer}
aer_shots: {kind: aer, shots: 100}
noisy: {kind: aer, method: density_matrix, noise: {parameters: {depolarizing_2q: 0.01}}}
ibm_*: {kind: ibm}
ibm_own: {kind: ibm, shots: 77}
"""


@pytest.fixture
def registry(study):
    (study / "backends.yaml").write_text(ENTRIES)


def devices(template):
    assert template.name == "ibm_*"
    state = DeviceState(online=True, queue=0, message="active")
    return [ListedDevice(name, 156, state) for name in ("ibm_fez", "ibm_own")]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["aer"], ["aer"]),
        (["aer*"], ["aer", "aer_shots"]),
        (["noisy", "*er*"], ["noisy", "aer", "aer_shots"]),
        (["aer", "aer"], ["aer"]),
        (["*"], ["aer", "aer_shots", "noisy", "ibm_own"]),
        (["ibm_*"], ["ibm_fez", "ibm_own"]),
        (["ibm_f*", "aer"], ["ibm_fez", "aer"]),
        (["ibm_torino"], ["ibm_torino"]),
    ],
)
def test_names_and_globs_select_each_entry_once(registry, wanted, names):
    assert [entry.name for entry in select_backends(wanted, devices).entries] == names


def test_devices_that_take_no_jobs_are_left_out_with_a_word(registry):
    def some_offline(template):
        states = {"ibm_on": DeviceState(True, 0, "active"), "ibm_off": DeviceState(False, 3, "maintenance")}
        return [ListedDevice(name, 5, state) for name, state in [*states.items(), ("ibm_mute", None)]]

    found = select_backends(["ibm_o*", "ibm_m*"], some_offline)
    assert [entry.name for entry in found.entries] == ["ibm_on", "ibm_own"]
    assert {each.backend: each.reason for each in found.skipped} == {
        "ibm_off": "maintenance",
        "ibm_mute": "it does not say its state",
    }
    assert (found.globbed, found.qubits["ibm_on"]) == ({"ibm_on", "ibm_own"}, 5)
    with pytest.raises(BackendError, match="ibm_off: maintenance"):
        select_backends(["ibm_off*"], some_offline)


def test_own_entry_of_a_device_wins_over_the_template(registry):
    assert [entry.shots for entry in select_backends(["ibm_*"], devices).entries] == [4096, 77]


@pytest.mark.parametrize("wanted", ["aerr", "x*"])
def test_what_stands_for_no_backend_is_refused(registry, wanted):
    with pytest.raises(ConfigError, match="must be an entry of backends.yaml"):
        select_backends([wanted], devices)


def test_shots_replace_those_of_entries_that_can_sample(registry):
    entries = select_backends(["aer", "aer_shots", "noisy", "ibm_fez"], devices).entries
    assert [entry.shots for entry in with_shots(entries, 7)] == [None, 7, 7, 7]
    assert with_shots(entries, None) == list(entries)


def test_shots_need_a_sampling_entry(registry):
    with pytest.raises(ConfigError, match="--shots needs a sampling backend"):
        with_shots(select_backends(["aer"], devices).entries, 7)


@pytest.mark.parametrize("count", [1, 7, 30, 99])
def test_subset_is_seeded_stratified_and_in_order(count):
    windows = prepare(DataSpec(start="2011-01-01")).test
    chosen, same, other = (choose_windows(windows, count, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(chosen.starts, same.starts)
    assert count == 1 or not np.array_equal(chosen.starts, other.starts)
    assert len(chosen) == len(set(chosen.starts.tolist())) == count
    assert (np.diff(chosen.starts) > 0).all()
    shares = np.bincount(windows.code) / len(windows)
    assert (np.abs(np.bincount(chosen.code, minlength=3) - count * shares) <= 1).all()


def test_whole_test_part_without_samples():
    windows = prepare(DataSpec(start="2011-01-01")).test
    assert choose_windows(windows, None, 0) is windows
    with pytest.raises(ConfigError, match="must not exceed the test split"):
        choose_windows(windows, len(windows) + 1, 0)

"""Which backends and which windows an evaluation takes."""

from __future__ import annotations

import numpy as np
import pytest

from qhq.backends.spec import AerSpec
from qhq.data.prepare import prepare
from qhq.data.spec import DataSpec
from qhq.errors import ConfigError
from qhq.studies.portability import select_backends
from qhq.studies.subset import choose_windows

KNOWN = {
    "aer": AerSpec(kind="aer", name="aer"),
    "aer_shots": AerSpec(kind="aer", name="aer_shots", shots=100),
    "other": AerSpec(kind="aer", name="other", shots=50),
}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (("aer",), ["aer"]),
        (("aer*",), ["aer", "aer_shots"]),
        (("other", "*"), ["other", "aer", "aer_shots"]),
        (("aer", "aer"), ["aer"]),
    ],
)
def test_names_and_globs_select_each_entry_once(wanted, names):
    assert [entry.name for entry in select_backends(wanted, KNOWN, None)] == names


def test_shots_replace_those_of_sampling_entries_only():
    assert [entry.shots for entry in select_backends(("*",), KNOWN, 7)] == [None, 7, 7]


def test_shots_need_a_sampling_entry():
    with pytest.raises(ConfigError, match="--shots needs a sampling backend"):
        select_backends(("aer",), KNOWN, 7)


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
    with pytest.raises(ConfigError, match="must not exceed the test part"):
        choose_windows(windows, len(windows) + 1, 0)

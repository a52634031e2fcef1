"""Where a program lies on a device: its gates over time, what each qubit idles, and what errs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qhq.backends.devices.isa import circuit_seconds
from qhq.backends.devices.placement import place
from qhq.backends.registry import find_backend, kind_of, place_on
from qhq.errors import BackendError
from tests.ansatz.circuits import built


def laid_out(name: str, device: str):
    spec = find_backend(device)
    return kind_of(spec).lay_out(spec, built(name))


@pytest.mark.parametrize("device", ["fake_nairobi", "fake_fez"])
def test_every_moment_of_a_qubit_is_busy_idle_or_before_its_first_gate(device):
    isa = laid_out("reuploading", device)
    found = place(isa, device)
    np.testing.assert_allclose(found.seconds, circuit_seconds(isa.circuit, isa.target))
    assert [each.qubit for each in found.qubits] == list(isa.qubits)
    assert {each.logical for each in found.qubits} - {None} == set(range(len(isa.layout)))
    for each in found.qubits:
        own = sorted(
            (use.start, use.seconds) for use in found.uses if each.qubit in use.qubits and use.seconds
        )
        for (start, lasts), (following, _) in itertools.pairwise(own):
            assert start + lasts <= following + 1e-15
        assert own[-1][0] + own[-1][1] <= found.seconds + 1e-15
        np.testing.assert_allclose(each.busy_seconds + each.idle_seconds + own[0][0], found.seconds)


def test_errors_and_depth_are_those_of_the_calibration():
    isa = laid_out("ry", "fake_nairobi")
    found = place(isa, "fake_nairobi")
    assert sum(each.times for each in found.kinds) == len(found.uses) == isa.circuit.size()
    assert found.depth == isa.circuit.depth()
    two = [each for each in found.kinds if len(each.qubits) == 2]
    assert found.kinds[: len(two)] == two
    for each in two:
        assert each.error == isa.target[each.name][each.qubits].error
    readout = [isa.target["measure"][each.qubit,].error for each in found.qubits]
    assert [each.readout_error for each in found.qubits] == readout
    fine = np.prod([1 - (error or 0) for error in isa.errors]) * np.prod([1 - each for each in readout])
    np.testing.assert_allclose(found.without_error, fine)


def test_a_part_of_a_device_cannot_be_placed():
    with pytest.raises(BackendError, match="with its device"):
        place(laid_out("ry", "fake_nairobi").cut(), "fake_nairobi")


def test_a_device_keeps_its_broken_pairs_on_the_map():
    found = place_on(built("ry"), "fake_fez")
    working = laid_out("ry", "fake_fez").target.build_coupling_map().get_edges()
    assert {(min(pair), max(pair)) for pair in working} < set(found.coupling)


def test_a_device_known_by_parameters_has_a_place_too():
    found = place_on(built("ry"), "aer_noisy")
    assert len(found.qubits) == built("ry").num_qubits
    assert found.seconds >= 0

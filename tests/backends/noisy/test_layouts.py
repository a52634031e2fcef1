"""A circuit whose routing could not be simulated stays on its own number of qubits, and computes the same."""

from __future__ import annotations

import pytest

from qhq.ansatz.assemble import build_ansatz
from qhq.backends.devices.isa import check_isa
from qhq.backends.noisy import FakeSpec
from qhq.backends.noisy.layouts import _costs, _quiet_parts, build_smallest_isa
from qhq.backends.noisy.noise import load_device


def laid_out():
    ansatz = build_ansatz("reference", qubits=10, depth=1)
    plain = {"kind": "fake", "name": "fake_fez", "device": "fake_fez"}
    spec = FakeSpec.model_validate(plain)
    device = load_device(spec.noise, 10)
    return ansatz, build_smallest_isa(ansatz.lowered, ansatz.parameters, ansatz.observables, device, spec)


def test_ten_qubits_of_a_ring_stay_on_ten_and_compute_the_same(capsys):
    ansatz, isa = laid_out()
    assert len(isa.qubits) == 10
    assert set(isa.layout) == set(isa.qubits)
    assert all(error is not None for error in isa.errors)
    check_isa(isa, ansatz, seed=0)
    assert "routed within 10 of them" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 4, 7])
def test_parts_of_a_device_hang_together(size):
    costs = _costs(load_device(FakeSpec(kind="fake", device="fake_nairobi").noise, size))
    parts = _quiet_parts(costs, size)
    assert parts
    for part in parts:
        assert len(set(part)) == size
        reached, edge = {part[0]}, [part[0]]
        while edge:
            new = set(costs[edge.pop()]) & set(part) - reached
            reached |= new
            edge += new
        assert reached == set(part)
    assert _quiet_parts(costs, 8) == []

"""`qhq circuit info --deep` through the command line."""

from __future__ import annotations

import json

import pytest

from qhq.cli.circuit import LateProgress


def test_deep_facts_are_one_json_object(qhq):
    result = qhq("circuit", "info", "reference", "--deep", "--seed", "3", "--json")
    facts = json.loads(result.stdout)
    assert facts["qubits"] == 4
    assert facts["deep"]["seed"] == 3
    assert facts["deep"]["trend"]["qubits"] == [2, 3, 4, 5, 6, 7, 8]
    assert facts["deep"]["gradients"]["mean"]["low"] < facts["deep"]["gradients"]["mean"]["value"]
    assert {each["verdict"] for each in facts["deep"]["readings"]} <= {"good", "fair", "poor"}


def test_people_get_a_table_with_a_reading_of_each_figure(qhq):
    lines = qhq("circuit", "info", "sim_01", "--qubits", "2", "--deep").stdout
    for words in ("gradient variance", "entanglement", "entangles nothing", "effective dimension"):
        assert words in lines


def test_a_device_circuit_has_no_other_width(qhq):
    arguments = ("--qubits", "2", "--isa", "fake_nairobi", "--deep", "--json")
    assert json.loads(qhq("circuit", "info", "reference", *arguments).stdout)["deep"]["trend"] is None


def test_wide_circuits_are_refused(qhq):
    result = qhq("circuit", "info", "reference", "--qubits", "13", "--deep")
    assert result.exit_code == 2
    assert "at most 12 qubits" in result.stderr


@pytest.mark.parametrize(("waited", "shown"), [(0.0, False), (5.0, True)])
def test_the_bar_appears_only_when_it_takes_long(monkeypatch, waited, shown):
    now = [100.0]
    monkeypatch.setattr("qhq.cli.circuit.time.monotonic", lambda: now[0])
    with LateProgress() as progress:
        now[0] += waited
        progress.step(1, 2, "spectrum")
        assert progress.bar.live.is_started == shown

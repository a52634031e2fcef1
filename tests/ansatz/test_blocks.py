import pytest

from qhq.ansatz.blocks import _PATTERNS


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("none", ""),
        ("linear", "01 12 23"),
        ("falling", "32 21 10"),
        ("ring", "01 12 23 30"),
        ("rising_ring", "30 23 12 01"),
        ("falling_ring", "32 03 10 21"),
        ("full", "01 02 03 12 13 23"),
        ("all_to_all", "32 31 30 23 21 20 13 12 10 03 02 01"),
        ("even", "10 32"),
        ("odd", "21"),
    ],
)
def test_pairs_on_four_qubits(name, pairs):
    assert [f"{control}{target}" for control, target in _PATTERNS[name](4)] == pairs.split()


@pytest.mark.parametrize("name", _PATTERNS)
@pytest.mark.parametrize("qubits", [1, 2, 3, 7])
def test_pairs_are_two_qubits_of_the_circuit_and_come_once(name, qubits):
    pairs = _PATTERNS[name](qubits)
    assert len(set(pairs)) == len(pairs)
    assert all(control != target and {control, target} <= set(range(qubits)) for control, target in pairs)


@pytest.mark.parametrize("name", ["ring", "rising_ring", "falling_ring"])
def test_a_ring_of_two_is_one_gate(name):
    assert len(_PATTERNS[name](2)) == 1
    assert _PATTERNS[name](1) == []

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhq.engine.compile.fusion import Basis, Frame, leading_bits, odd

QUBITS = 4
moves = st.lists(
    st.one_of(
        st.tuples(st.just("x"), st.integers(0, QUBITS - 1)),
        st.tuples(st.sampled_from(["cx", "swap"]), st.permutations(range(QUBITS))),
    )
)
masks = st.lists(st.integers(1, 2**QUBITS - 1), max_size=6)


def apply(move, state):
    """The basis state after a move."""
    name, wires = move
    if name == "x":
        return state ^ 1 << wires
    a, b = wires[:2]
    if name == "cx":
        return state ^ (state >> a & 1) << b
    bit_a, bit_b = state >> a & 1, state >> b & 1
    return state & ~(1 << a | 1 << b) | bit_a << b | bit_b << a


def meaning(frame, z):
    return sum((odd(frame.row[q] & z) ^ frame.sign[q]) << q for q in range(QUBITS))


@given(moves)
def test_frame_follows_the_basis_states(sequence):
    frame = Frame(QUBITS)
    states = list(range(2**QUBITS))
    for name, wires in sequence:
        getattr(frame, name)(*(wires[:2] if name != "x" else [wires]))
        states = [apply((name, wires), state) for state in states]
    assert [meaning(frame, z) for z in range(2**QUBITS)] == states
    for q in range(QUBITS):
        assert all(meaning(frame, z ^ frame.flip((q,))) == state ^ 1 << q for z, state in enumerate(states))
        mask, sign = frame.mask((q,))
        assert all(odd(mask & z) ^ sign == state >> q & 1 for z, state in enumerate(states))


@given(masks)
def test_basis_reads_the_same_bits(chosen):
    basis = Basis(chosen, QUBITS)
    assert len(basis.vectors) == QUBITS
    columns = basis.columns()
    for z in range(2**QUBITS):
        y = 0
        for q in range(QUBITS):
            y ^= columns[q] * (z >> q & 1)
        assert all(odd(basis.coordinates(mask) & y) == odd(mask & z) for mask in chosen)


@given(masks)
def test_leading_bits_choose_one_of_each_coset(flips):
    span = {0}
    for flip in flips:
        span |= {member ^ flip for member in span}
    zeros = sum(1 << bit for bit in leading_bits(flips))
    corners = [z for z in range(2**QUBITS) if not z & zeros]
    assert sorted(z ^ member for z in corners for member in span) == list(range(2**QUBITS))


@pytest.mark.parametrize("single", [[1, 4], [8, 2, 1], []])
def test_single_bits_keep_the_identity(single):
    np.testing.assert_array_equal(Basis(single, QUBITS).columns(), [1, 2, 4, 8])

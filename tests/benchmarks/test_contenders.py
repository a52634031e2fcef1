import numpy as np
import pytest

from benchmarks.contenders import CONTENDERS, load_contender
from benchmarks.problem import Problem

LIBRARIES = {
    "TensorCircuit-NG": ("jax", "tensorcircuit"),
    "PennyLane default.qubit": ("pennylane",),
    "PennyLane lightning.qubit": ("pennylane", "pennylane_lightning"),
}
SIZES = [Problem(3, 2, 2), Problem(4, 1, 1)]


def results(name, problem):
    return [np.asarray(each) for each in load_contender(name).open_step(problem)()]


@pytest.mark.filterwarnings("ignore")  # of the peers and what they import
@pytest.mark.parametrize("problem", SIZES, ids=str)
@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "plain torch"])
def test_every_contender_computes_the_same(name, problem):
    for library in LIBRARIES.get(name, ()):
        pytest.importorskip(library, exc_type=ImportError)
    for mine, reference in zip(results(name, problem), results("plain torch", problem), strict=True):
        np.testing.assert_allclose(mine, reference, atol=1e-5)


def test_numbers_are_the_same_for_each_contender_and_differ_by_role():
    first, second = Problem(4, 2, 16), Problem(4, 2, 16)
    np.testing.assert_array_equal(first.inputs, second.inputs)
    assert not np.array_equal(first.inputs, first.cotangent)
    assert first.num_weights == first.ansatz.num_weights

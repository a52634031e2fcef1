import numpy as np
import pytest

from qhq.backends.executor import as_values
from qhq.errors import BackendError


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_taken_as_float64(dtype):
    assert as_values(np.ones((2, 3), dtype), (None, 3), "inputs").dtype == np.float64


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_another_shape_is_refused(shape):
    with pytest.raises(BackendError, match=r"inputs of an executor must have the shape \(B, 3\)"):
        as_values(np.zeros(shape), (None, 3), "inputs")


def test_a_vector_is_named_as_one():
    with pytest.raises(BackendError, match=r"shape \(5,\)\. Got \(4,\)"):
        as_values(np.zeros(4), (5,), "weights")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_must_be_finite(value):
    with pytest.raises(BackendError, match="weights of an executor must be finite"):
        as_values([0.0, value], (2,), "weights")

import math

import pytest
import torch

from qhq.errors import ConfigError
from qhq.quantum.angle_scaling import SCALINGS, AngleScaling


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_are_bounded_and_keep_shape_and_dtype(kind, dtype):
    values = torch.linspace(-1e3, 1e3, 1001, dtype=dtype).reshape(7, 11, 13)
    angles = AngleScaling(kind)(values)
    assert (angles.shape, angles.dtype) == (values.shape, dtype)
    assert angles.abs().max() <= math.pi * (1 + 1e-6)


@pytest.mark.parametrize("kind", SCALINGS)
def test_no_input_is_dead_near_zero(kind):
    values = torch.linspace(-0.5, 0.5, 11, dtype=torch.float64, requires_grad=True)
    AngleScaling(kind)(values).sum().backward()
    assert values.grad.min() > 0.5


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'pi_tanh'"):
        AngleScaling("pi_tan")


def test_the_kind_is_shown():
    assert str(AngleScaling("pi_sin")) == "AngleScaling(pi_sin)"

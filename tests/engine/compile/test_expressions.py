import math

import numpy as np
import pytest
from qiskit.circuit import Parameter

from qhq.engine.compile import AngleMap
from qhq.errors import ConfigError
from tests.engine.library import FORMS

A, B = Parameter("a b"), Parameter("θ[0]")


def angle_at(expression, row):
    return AngleMap([expression], [A, B], []).angles(np.array([row]), np.zeros(0))[0, 0]


def slopes_at(expression, row):
    return AngleMap([expression], [A, B], []).pullback(np.array([row]), np.zeros(0), np.ones((1, 1)))[0][0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_every_operator_is_what_python_computes(form, seed):
    generator = np.random.default_rng(seed)
    row, number = generator.uniform(0.2, 1.4, 2) * generator.choice([-1, 1], 2), float(generator.normal())
    function = lambda values: FORMS[form](*values.tolist(), number)  # noqa: E731
    expression = FORMS[form](A, B, number)
    if isinstance(expression, float):
        return
    np.testing.assert_allclose(angle_at(expression, row), function(row), rtol=1e-12)
    step = 1e-5
    wanted = [(function(row + by) - function(row - by)) / (2 * step) for by in step * np.eye(2)]
    np.testing.assert_allclose(slopes_at(expression, row), wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (2**A, 2**0.7),
        (A**0, 1.0),
        (A - A + B, -0.4),
        ((A**2).conjugate() - B**2, 0.49 - 0.16),
        (((1j * A) ** 2) * 1.0, -0.49),
        ((1j * A).exp() * (-1j * A).exp(), 1.0),
        ((B**0.5) ** 2, -0.4),
        (abs(A.arcsin() - B), math.asin(0.7) + 0.4),
        ((A * B).subs({A: A + B}), -0.12),
        ((A.sin() + B).subs({B: A * A}), math.sin(0.7) + 0.49),
        (A.assign(A, 0.7) * B, -0.28),
        (abs(A.sign()).arcsin() + 0 * A, math.pi / 2),
        (1e-300 * A + 1e300 * 0, 0.7e-300),
    ],
    ids=str,
)
def test_expressions_that_qiskit_stumbles_over(expression, value):
    np.testing.assert_allclose(angle_at(expression, [0.7, -0.4]), value, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("expression", [A.arcsin(), A.log(), A**0.5, (A - 3).arccos()], ids=str)
def test_a_value_outside_the_reals_is_refused_by_name(expression):
    with pytest.raises(ConfigError, match=r"must be finite for the values of a b .*a b = -1\.5"):
        angle_at(expression, [-1.5, 0.0])


def test_kinks_are_flat_as_in_torch():
    np.testing.assert_array_equal(slopes_at(abs(A) + A.sign() * B, [0.0, 0.3]), [0.0, 0.0])


def test_an_imaginary_angle_is_refused():
    with pytest.raises(ConfigError, match="Every angle must be a real expression"):
        AngleMap([1j * A + B], [A, B], [])

import numpy as np
import pytest
from qiskit.circuit import Parameter, ParameterVector

from qhq.engine.compile import AngleMap, lower, separate_angles
from qhq.errors import ConfigError
from tests.engine.circuits import PARAMETRIC, random_problem


def expressions_of(x, w):
    return [
        x[0],
        2 * x[1] - 0.5 * w[0] + 1.25,
        2 * (np.pi - x[0]) * (np.pi - x[1]),
        w[0] * w[1] + x[0].sin(),
        (x[0] * w[1]).exp() / (w[0] ** 2 + 1),
        w[1] * x[1].abs(),
        x[0] - x[0] + 0.0 * w[1],
    ]


def numbers(rng, batch=3):
    return rng.normal(size=(batch, 2)), rng.normal(size=2)


def test_angles_are_the_bound_expressions():
    rng = np.random.default_rng(0)
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    expressions = expressions_of(x, w)
    inputs, weights = numbers(rng)
    angles = AngleMap(expressions, list(x), list(w)).angles(inputs, weights)
    for b, row in enumerate(inputs):
        binding = dict(zip([*x, *w], [*row, *weights], strict=True))
        expected = [float(e.bind(binding, allow_unknown_parameters=True)) for e in expressions]
        np.testing.assert_allclose(angles[b], expected, atol=1e-13)


def test_pullback_is_the_finite_difference():
    rng = np.random.default_rng(1)
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    angle_map = AngleMap(expressions_of(x, w), list(x), list(w))
    inputs, weights = numbers(rng)
    cotangent = rng.normal(size=(3, 7))
    dinputs, dweights = angle_map.pullback(inputs, weights, cotangent)
    step = 1e-6
    for i, shift in enumerate(step * np.eye(2)):
        up, down = angle_map.angles(inputs + shift, weights), angle_map.angles(inputs - shift, weights)
        expected = ((up - down) * cotangent).sum(axis=1) / (2 * step)
        np.testing.assert_allclose(dinputs[:, i], expected, rtol=1e-6, atol=1e-8)
        up, down = angle_map.angles(inputs, weights + shift), angle_map.angles(inputs, weights - shift)
        expected = ((up - down) * cotangent).sum() / (2 * step)
        np.testing.assert_allclose(dweights[i], expected, rtol=1e-6, atol=1e-8)


def test_only_products_are_curved():
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    angle_map = AngleMap(expressions_of(x, w), list(x), list(w))
    assert angle_map.curved == (2, 3, 4, 5)
    assert angle_map.num_angles == 7
    assert [angle_map.needs_inputs(place) for place in range(4)] == [True] * 4


def test_separated_circuit_is_the_lowered_one():
    rng = np.random.default_rng(2)
    problem = random_problem(rng, 3, PARAMETRIC)
    lowered = lower(problem.circuit)
    separated, expressions = separate_angles(lowered)
    assert [p.name for p in separated.parameters] == sorted(f"theta_{k}" for k in range(len(expressions)))
    theta = {p.name: p for p in separated.parameters}
    back = separated.assign_parameters({theta[f"theta_{k}"]: e for k, e in enumerate(expressions)})
    assert back == lowered


def test_stranger_is_refused():
    with pytest.raises(ConfigError, match=r"input or a weight.*in neither"):
        AngleMap([Parameter("x") + Parameter("lost")], [], [])


def test_parameter_in_both_lists_is_refused():
    x = Parameter("x")
    with pytest.raises(ConfigError, match="once"):
        AngleMap([x], [x], [x])


OUTSIDE = {
    "arcsin above 1": (lambda x, w: (2 * x[0]).arcsin(), [0.9, 0.0]),
    "arccos of a square": (lambda x, w: (x[1] * x[1]).arccos(), [0.0, -1.5]),
    "log of a negative": (lambda x, w: x[0].log(), [-0.5, 0.0]),
    "log of zero": (lambda x, w: x[0].log(), [0.0, 0.0]),
    "division by zero": (lambda x, w: w[0] / x[1], [0.3, 0.0]),
    "root of a negative": (lambda x, w: x[0] ** 0.5, [-0.3, 0.0]),
    "negative power of zero": (lambda x, w: x[1] ** -2, [0.3, 0.0]),
    "overflow": (lambda x, w: (1000 * x[0]).exp(), [1.0, 0.0]),
    "tan of arcsin": (lambda x, w: (x[0].arcsin()).tan(), [-1.1, 0.0]),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_input_outside_a_functions_domain_is_named(name):
    make, bad = OUTSIDE[name]
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    angle_map = AngleMap([x[0], make(x, w)], list(x), list(w))
    good = np.full((3, 2), 0.25)
    assert np.isfinite(angle_map.angles(good, np.full(2, 0.5))).all()
    with pytest.raises(ConfigError, match=r"(?s)angle '.*x\[.*\] = .*1 of 4 samples.*unit_tanh"):
        angle_map.angles(np.vstack([good, [bad]]), np.full(2, 0.5))


def test_a_slope_that_is_infinite_is_named_and_one_through_nan_is_not():
    x, w = ParameterVector("x", 1), ParameterVector("w", 0)
    angle_map = AngleMap([x[0].arcsin()], list(x), list(w))
    with pytest.raises(ConfigError, match=r"slope of the angle 'asin\(x\[0\]\)'.*x\[0\] = 1"):
        angle_map.pullback(np.ones((1, 1)), np.zeros(0), np.ones((1, 1)))
    # What is not finite already is a diverged training's affair, not the circuit's.
    assert np.isnan(angle_map.angles(np.full((1, 1), np.nan), np.zeros(0))).all()


def test_an_angle_that_is_never_finite_is_refused():
    x = ParameterVector("x", 1)
    with pytest.raises(ConfigError, match="finite"):
        AngleMap([x[0] + 2.0, 1e308 * (1e308 * x[0])], list(x), [])

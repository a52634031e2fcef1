"""Circuits drawn from the whole of Qiskit's library, on every executor, beside Statevector and differences.

``QHQ_FUZZ=1000`` draws a thousand of them instead of a few (``make fuzz``).
"""

import os

import numpy as np
import pytest

from qhq.ansatz.program import Ansatz
from qhq.backends import open_backend
from qhq.backends.registry import find_backend
from tests.engine.library import (
    MAKERS,
    NO_GATE,
    WRAPPED,
    build,
    library_classes,
    observables,
    parameters,
    truth,
)

MANY = int(os.environ.get("QHQ_FUZZ", "0"))
DEVICES = ("aer", "aer_noisy", "fake_nairobi")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of Qiskit, about its own classes
    pytest.mark.timeout(36000 if MANY else 300),
]


class Case:
    """One circuit with its parameters' values, and what must come of them."""

    def __init__(self, seed, **options):
        x, w = parameters()
        self.seed, self.options, self.qubits = seed, options, options.get("qubits", 4)
        generator = np.random.default_rng(10_000 + seed)
        signs = generator.choice([-1, 1], 7)
        self.row = signs * generator.uniform(0.2, 1.4, 7)  # away from the kinks of abs and sign
        self.observables = observables(self.qubits)
        self.ansatz = Ansatz(build(seed, x, w, **options), tuple(x), tuple(w), self.observables)
        self.cotangent = generator.normal(size=(1, len(self.observables)))

    def values(self, row):
        return truth(build(self.seed, row[:3].tolist(), row[3:].tolist(), **self.options), self.observables)

    def check(self, name, *, gradients):
        spec = find_backend(name)
        if name in ("aer_noisy", "fake_nairobi"):
            spec = spec.model_copy(update={"noise_scale": 0.0})
        executor = open_backend(spec, self.ansatz, seed=0)
        inputs, weights = self.row[None, :3], self.row[3:]
        atol = 1e-10 if name == "statevector" else 1e-9
        np.testing.assert_allclose(
            executor.expectations(inputs, weights)[0], self.values(self.row), atol=atol, rtol=0
        )
        if gradients:
            found = np.concatenate([each.ravel() for each in executor.vjp(inputs, weights, self.cotangent)])
            np.testing.assert_allclose(found, self.slopes(), atol=1e-6, rtol=1e-6)

    def slopes(self, step=1e-4):
        """Differences of fourth order of the cotangent's sum of outputs."""
        return [
            (
                8 * (self.values(self.row + by) - self.values(self.row - by))
                - (self.values(self.row + 2 * by) - self.values(self.row - 2 * by))
            )
            @ self.cotangent[0]
            / (12 * step)
            for by in step * np.eye(7)
        ]


def case(seed, **options):
    """The circuit of a seed, or a skip where Qiskit itself cannot build it of parameters."""
    try:
        return Case(seed, **options)
    except TypeError as error:
        if "unbound parameters" in str(error):
            pytest.skip("Qiskit cannot build it of free parameters")
        raise


def test_every_class_of_the_library_is_drawn():
    assert library_classes() - set(MAKERS) == NO_GATE


@pytest.mark.parametrize("kind", [*MAKERS, *WRAPPED])
def test_each_kind_alone_is_exact(kind):
    case(1, qubits=5, kinds=[kind], gates=1).check("statevector", gradients=False)


@pytest.mark.parametrize("seed", range(MANY or 24))
def test_random_circuits_are_exact_on_the_engine(seed):
    case(seed, qubits=3 + seed % 3).check("statevector", gradients=True)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("seed", range(MANY // 10 or 4))
def test_random_circuits_are_exact_on_every_executor(seed, name):
    case(1000 + seed, qubits=3, gates=4).check(name, gradients=seed % 4 == 0)

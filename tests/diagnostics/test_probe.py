import numpy as np
import pytest

from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.probe import Probe, check_has_weights
from qhq.diagnostics.sampling import Sampling
from qhq.errors import ConfigError

from .circuits import shipped

NAMES = ["reference", "efficient_su2", "zz_feature_map", "sim_06", "sim_13"]


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_executor(name):
    ansatz = shipped(name)
    values = Sampling(3).draw(ansatz, "probe")
    executor, split = StatevectorExecutor(ansatz), ansatz.num_inputs
    expected = [executor.expectations(row[None, :split], row[split:])[0] for row in values]
    np.testing.assert_allclose(Probe(ansatz).expectations(values), expected, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name):
    probe = Probe(shipped(name))
    values = Sampling(2).draw(probe.ansatz, "probe")
    found = probe.gradients(values)
    for place in range(values.shape[1]):
        step = 1e-5 * np.eye(values.shape[1])[place]
        slope = (probe.expectations(values + step) - probe.expectations(values - step)) / 2e-5
        np.testing.assert_allclose(found[:, :, place], slope, atol=1e-8)


def test_gradients_come_apart_into_those_of_inputs_and_of_weights():
    probe = Probe(shipped("reference", depth=2))
    values = Sampling(2).draw(probe.ansatz, "probe")
    parts = [probe.input_gradients(values), probe.weight_gradients(values)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), probe.gradients(values))


def test_states_have_the_expectations():
    probe = Probe(shipped("sim_14"))
    values = Sampling(4).draw(probe.ansatz, "probe")
    shares = np.abs(probe.states(values)) ** 2
    signs = 1 - 2 * (np.arange(16)[:, None] >> np.arange(4) & 1)
    np.testing.assert_allclose(shares @ signs, probe.expectations(values), atol=1e-12)


def test_an_encoding_alone_has_no_weights():
    with pytest.raises(ConfigError, match="must have weights"):
        check_has_weights(shipped("reference", depth=0))

"""Methods against noise: refused where a backend would ignore them, and right where theory says what is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import CZGate
from qiskit.quantum_info import (
    Clifford,
    DensityMatrix,
    Pauli,
    SparsePauliOp,
    Statevector,
    SuperOp,
    pauli_basis,
)
from qiskit_aer.noise import thermal_relaxation_error

from qhq.ansatz.program import Ansatz
from qhq.backends.backend import Method
from qhq.backends.ibm import IBMSpec, estimator_options, with_method
from qhq.backends.local import StatevectorSpec
from qhq.backends.noisy import AerSpec, FakeSpec
from qhq.backends.noisy.mitigation import NOISE_FACTORS, _cancelled, line_shares
from qhq.backends.registry import KINDS, check_mitigation, kind_of, open_backend, open_mitigated
from qhq.errors import BackendError, ConfigError
from tests.backends.ibm.cases import small_ansatz

NOISE = {"depolarizing_2q": 0.02, "readout_1_given_0": 0.03, "readout_0_given_1": 0.08}


def noisy(**changes) -> AerSpec:
    plain = {"kind": "aer", "name": "noisy", "method": "density_matrix", "noise": {"parameters": NOISE}}
    return AerSpec.model_validate(plain | changes)


ENTRIES = {
    "statevector": StatevectorSpec(kind="statevector", name="statevector"),
    "aer": AerSpec(kind="aer", name="aer"),
    "fake": FakeSpec(kind="fake", name="fake_nairobi", device="fake_nairobi"),
    "ibm": IBMSpec(kind="ibm", name="ibm_fez"),
}
CARRIED: dict[str, set[Method]] = {
    "statevector": {"none"},
    "aer": {"none"},
    "fake": {"none", "trex", "zne", "pec"},
    "ibm": {"none", "trex", "zne"},
}


def test_every_kind_says_what_it_can_carry_out():
    assert ENTRIES.keys() == CARRIED.keys() == KINDS.keys()


@pytest.mark.parametrize("method", ["none", "trex", "zne", "pec"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_method_that_a_backend_would_ignore_is_refused(kind, method):
    entry = ENTRIES[kind]
    if method in CARRIED[kind]:
        check_mitigation(entry, method)
        return
    with pytest.raises(ConfigError, match="must carry out") as refused:
        open_mitigated(entry, small_ansatz(), method)
    assert method in refused.value.got
    assert entry.name in refused.value.got
    assert "affine or head" in refused.value.fix


def test_a_kind_of_another_package_refuses_all_that_it_does_not_name():
    class Other(type(KINDS["statevector"])):
        pass

    found = Other(StatevectorSpec)
    assert found.why_not(ENTRIES["statevector"], "none") is None
    assert "would ignore it" in found.why_not(ENTRIES["statevector"], "zne")


def test_fractional_gates_are_not_folded():
    entry = IBMSpec(kind="ibm", name="ibm_fez", fractional_gates=True)
    assert kind_of(entry).why_not(entry, "trex") is None
    assert "cannot be folded" in kind_of(entry).why_not(entry, "zne")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_method_on_a_device_stands_alone_whatever_its_entry_says(level):
    entry = IBMSpec(kind="ibm", name="ibm_fez", resilience_level=level, trex="on")
    asked = {method: estimator_options(with_method(entry, method), "t", None) for method in CARRIED["ibm"]}
    for method, options in asked.items():
        assert options["resilience_level"] == 0
        assert bool(options["resilience"]["measure_mitigation"]) is (method == "trex")
        assert bool(options["resilience"]["zne_mitigation"]) is (method == "zne")
        assert bool(options["twirling"]["enable_measure"]) is (method == "trex")


def exact_and_points(ansatz):
    generator = np.random.default_rng(5)
    inputs = generator.uniform(-3, 3, (6, ansatz.num_inputs))
    weights = generator.uniform(-1, 1, ansatz.num_weights)
    exact = open_backend(AerSpec(kind="aer"), ansatz).expectations(inputs, weights)
    return exact, (inputs, weights)


def test_trex_undoes_readout_errors_and_nothing_else():
    """With exact values it gives what the device would without readout errors."""
    ansatz = small_ansatz(("IZ", "ZI", "ZZ", "XX"))
    _, points = exact_and_points(ansatz)
    silent = noisy(noise={"parameters": {"depolarizing_2q": NOISE["depolarizing_2q"]}})
    wanted = open_backend(silent, ansatz).expectations(*points)
    found = open_mitigated(noisy(), ansatz, "trex").expectations(*points)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert np.abs(open_backend(noisy(), ansatz).expectations(*points) - wanted).max() > 0.05


@pytest.mark.parametrize("method", ["density_matrix", "statevector"])
def test_trex_of_shots_is_right_on_average(method):
    """Within five standard errors of each value, those of shots divided by the factor and of the factor."""
    ansatz, shots = small_ansatz(("IZ", "ZZ")), 20_000
    exact, points = exact_and_points(ansatz)
    entry = noisy(
        method=method, shots=shots, gradient="parameter_shift",
        noise={"parameters": {**NOISE, "depolarizing_2q": 0.0}},
    )  # fmt: skip
    found = open_mitigated(entry, ansatz, "trex", seed=2).expectations(*points)
    factor = (1 - NOISE["readout_1_given_0"] - NOISE["readout_0_given_1"]) ** 2
    assert np.abs(found - exact).max() < 5 * np.sqrt(2 / shots) / factor


def test_trex_of_shots_has_the_variance_of_theory():
    """Of a string that keeps f of itself in the readout, v f is measured: (1 - (v f)^2) / f^2 of a shot."""
    shots, kept = 400, 1 - NOISE["readout_1_given_0"] - NOISE["readout_0_given_1"]
    entry = noisy(
        shots=shots, gradient="parameter_shift",
        noise={"parameters": {name: value for name, value in NOISE.items() if name.startswith("readout")}},
    )  # fmt: skip
    circuit, angle = QuantumCircuit(1), Parameter("x")
    circuit.ry(angle, 0)
    ansatz = Ansatz(circuit, (angle,), (), (SparsePauliOp("Z"),))
    found = open_mitigated(entry, ansatz, "trex", seed=1).expectations(np.full((1500, 1), 1.1), np.zeros(0))
    # One circuit tells f to a few percent, which all rows share, and 1500 rows the variance to about 4 %.
    np.testing.assert_allclose(found.var(), (1 - (np.cos(1.1) * kept) ** 2) / (shots * kept**2), rtol=0.25)


def test_zne_leaves_what_theory_says_of_depolarizing():
    """Z behind k gates that keep (1 - p) of it is (1 - p)^k; the line through k = 1, 3, 5 is taken at 0."""
    circuit, angle = QuantumCircuit(2), Parameter("x")
    circuit.ry(angle, 0)
    circuit.cz(0, 1)
    ansatz = Ansatz(circuit, (angle,), (), (SparsePauliOp("IZ"),))
    strength = 0.1
    entry = noisy(noise={"parameters": {"depolarizing_2q": strength}})
    inputs = np.array([[0.3], [1.1], [2.0]])
    found = open_mitigated(entry, ansatz, "zne").expectations(inputs, np.zeros(0))
    kept = (1 - strength) ** np.array(NOISE_FACTORS) @ line_shares(NOISE_FACTORS)
    np.testing.assert_allclose(found, kept * np.cos(inputs), atol=1e-9)
    raw = open_backend(entry, ansatz).expectations(inputs, np.zeros(0))
    assert np.abs(found - np.cos(inputs)).max() < 0.3 * np.abs(raw - np.cos(inputs)).max()


def test_zne_of_shots_has_the_variance_of_its_shares():
    ansatz, shots = small_ansatz(("IZ",)), 500
    entry = noisy(shots=shots, gradient="parameter_shift")
    inputs, weights = np.tile([[0.4, 1.3]], (1500, 1)), np.array([0.4])
    draws = {
        each: open_mitigated(entry, ansatz, each).expectations(inputs, weights) for each in ("none", "zne")
    }
    ratio = draws["zne"].var() / draws["none"].var()
    # 1500 draws tell a variance to about 4 %; the folded values are a little smaller, and so scatter more.
    np.testing.assert_allclose(ratio, (line_shares(NOISE_FACTORS) ** 2).sum(), rtol=0.2)


def test_pec_undoes_the_noise_of_gates_and_leaves_that_of_the_readout():
    ansatz = small_ansatz(("IZ", "ZI", "ZZ", "XX", "II"))
    _, points = exact_and_points(ansatz)
    parameters = {**NOISE, "depolarizing_1q": 0.01, "t1_us": 20, "t2_us": 25}
    readout = {name: value for name, value in NOISE.items() if name.startswith("readout")}
    wanted = open_backend(noisy(noise={"parameters": readout}), ansatz).expectations(*points)
    found = open_mitigated(noisy(noise={"parameters": parameters}), ansatz, "pec").expectations(*points)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    raw = open_backend(noisy(noise={"parameters": parameters}), ansatz).expectations(*points)
    assert np.abs(raw - wanted).max() > 0.02


def test_shots_of_pec_are_those_of_every_circuit_that_could_be_drawn():
    """A CZ that relaxes, in each of 16 twirls, with each of 16 Paulis behind it: all of them one by one."""
    error = thermal_relaxation_error(2.0, 1.5, 0.3).tensor(thermal_relaxation_error(3.0, 4.0, 0.4))
    channel, cost = _cancelled(("cz", (0, 1)), error)
    start = DensityMatrix(Statevector([0.1, 0.5j, -0.7, 0.5]))
    noise, gate, paulis = SuperOp(error), CZGate(), pauli_basis(2)
    # From theory, not from the code: twirled, the channel is a mean over Paulis before the gate and behind.
    kept = np.diag(_pauli_transfer(noise))
    signs = np.array([[1 if one.commutes(other) else -1 for other in paulis] for one in paulis])
    shares = signs @ (1 / kept) / 16
    np.testing.assert_allclose(cost, np.abs(shares).sum())
    signed, alike = np.zeros(4), np.zeros(4)
    for twirl, (share, pauli) in itertools.product(paulis, zip(shares, paulis, strict=True)):
        behind = Pauli(twirl).evolve(Clifford(gate), frame="s")
        state = start.evolve(Pauli(twirl)).evolve(gate).evolve(noise).evolve(behind).evolve(Pauli(pauli))
        signed += share * state.probabilities() / 16
        alike += abs(share) / cost * state.probabilities() / 16
    np.testing.assert_allclose(signed, start.evolve(gate).probabilities(), atol=1e-12)
    np.testing.assert_allclose(alike, start.evolve(gate).evolve(SuperOp(channel)).probabilities(), atol=1e-12)


def _pauli_transfer(channel):
    """Element P, Q is the share of P in what the channel makes of Q."""
    paulis = [each.to_matrix() for each in pauli_basis(2)]
    made = [DensityMatrix(each).evolve(channel).data for each in paulis]
    return np.array([[np.trace(one @ other).real / 4 for other in made] for one in paulis])


def test_pec_of_shots_is_right_on_average_and_has_the_variance_of_theory():
    """Depolarizing of strength p costs (15 / (1 - p) - 7) / 8 a gate, and each shot counts with the product.

    1500 rows tell the mean to 1/40 of a standard error of one, and the variance to about 4 %.
    """
    strength, shots, angle = 0.05, 200, 0.7
    circuit, x = QuantumCircuit(2), Parameter("x")
    circuit.ry(x, 0)
    for _ in range(3):
        circuit.cz(0, 1)
        circuit.barrier()
    ansatz = Ansatz(circuit, (x,), (), (SparsePauliOp("IZ"),))
    entry = noisy(
        shots=shots, gradient="parameter_shift", noise={"parameters": {"depolarizing_2q": strength}},
        transpile={"optimization_level": 0},
    )  # fmt: skip
    found = open_mitigated(entry, ansatz, "pec", seed=3).expectations(np.full((1500, 1), angle), np.zeros(0))
    cost = ((15 / (1 - strength) - 7) / 8) ** 3
    variance = (cost**2 - np.cos(angle) ** 2) / shots
    np.testing.assert_allclose(found.mean(), np.cos(angle), atol=5 * np.sqrt(variance / 1500))
    np.testing.assert_allclose(found.var(), variance, rtol=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"method": "statevector", "shots": 10, "gradient": "parameter_shift"}, "method: density_matrix"),
     ({"noise": {"device": "fake_burlington"}}, "no Clifford gates"),
     ({"noise": {"parameters": {"depolarizing_2q": 1.0}}}, "keep at least"),
     ({"noise": {"parameters": {"depolarizing_2q": 0.98, "depolarizing_1q": 0.9}}},
      "of each shot at most")],
)  # fmt: skip
def test_pec_is_refused_where_it_cannot_be_had(changes, message):
    with pytest.raises((ConfigError, BackendError), match=message):
        open_mitigated(noisy(**changes), small_ansatz(), "pec")


def test_noise_on_a_gate_that_turns_no_pauli_into_a_pauli_is_not_cancelled():
    with pytest.raises(BackendError, match="Clifford gates"):
        _cancelled(("u3", (0,)), thermal_relaxation_error(2.0, 1.5, 0.3))


def test_a_circuit_without_a_gate_to_fold_is_refused():
    circuit, angle = QuantumCircuit(1), Parameter("x")
    circuit.ry(angle, 0)
    ansatz = Ansatz(circuit, (angle,), (), (SparsePauliOp("Z"),))
    with pytest.raises(BackendError, match="needs a two-qubit gate"):
        open_mitigated(noisy(noise={"parameters": {"depolarizing_1q": 0.01}}), ansatz, "zne")


def test_a_readout_that_says_nothing_is_refused():
    entry = noisy(noise={"parameters": {"readout_1_given_0": 0.5, "readout_0_given_1": 0.5}})
    with pytest.raises(BackendError, match="readout that keeps"):
        open_mitigated(entry, small_ansatz(), "trex")


def test_what_a_simulated_device_would_cost_counts_what_a_method_adds():
    ansatz, rows, shots = small_ansatz(), 10, 100
    cost = {
        each: open_mitigated(ENTRIES["fake"], ansatz, each).forecast_cost(rows, shots)
        for each in ("none", "trex", "zne", "pec")
    }
    assert [each.circuits for each in cost.values()] == [rows, rows + 1, rows * len(NOISE_FACTORS), rows]
    assert all(each.executions == shots * each.circuits for each in cost.values())
    assert cost["none"].seconds < cost["trex"].seconds < cost["zne"].seconds

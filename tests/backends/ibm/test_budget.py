"""What a device will cost: counts are exact, seconds follow the documented formula, caps refuse."""

import math

import pytest
from qiskit.circuit import QuantumCircuit

from qhq.backends.ibm import shots_per_circuit
from qhq.backends.ibm.budget import (
    _MOST_EXECUTIONS,
    check_cap,
    check_plan,
    count_circuits,
    estimate_seconds,
    job_limits,
    rows_of_jobs,
    rows_per_job,
)
from qhq.backends.ibm.records import LaidOut
from qhq.errors import BackendError

from .cases import entry

GATES, IDLE = 2e-6, 252e-6


def program(settings: int = 1) -> LaidOut:
    return LaidOut(QuantumCircuit(1), (), (), 1, (0,), None, settings, GATES, IDLE)


def test_a_plain_job_costs_its_shots_and_two_seconds():
    seconds = estimate_seconds(entry(shots=1000), program(), [32])
    assert seconds == pytest.approx(2 + 32 * 1000 * (GATES + IDLE))


def test_each_setting_job_and_noise_factor_costs_more():
    plain = estimate_seconds(entry(), program(), [8])
    assert estimate_seconds(entry(), program(3), [8]) == pytest.approx(2 + 3 * (plain - 2))
    assert estimate_seconds(entry(), program(), [4, 4]) == pytest.approx(plain + 2)
    zne = entry(zne={"enable": "on", "noise_factors": [1, 3]})
    assert estimate_seconds(zne, program(), [8]) == pytest.approx(2 + 8 * 256 * (2 * IDLE + 4 * GATES))


@pytest.mark.parametrize(
    ("level", "circuits"), [(0, 8), (1, 8 + 1), (2, 3 * 8 + 1)], ids=["none", "trex", "zne and trex"]
)
def test_circuits_are_counted_with_those_that_learn(level, circuits):
    assert count_circuits(entry(resilience_level=level), program(), [8]) == circuits


@pytest.mark.parametrize(("shots", "level", "wanted"), [(1000, 0, 1000), (1000, 1, 1024), (4096, 1, 4096)])
def test_twirling_rounds_shots_up(shots, level, wanted):
    assert shots_per_circuit(entry(shots=shots, resilience_level=level)) == wanted
    fixed = entry(shots=shots, resilience_level=level, twirling={"randomizations": 10})
    assert shots_per_circuit(fixed) == (shots if level == 0 else 10 * math.ceil(shots / 10))


def test_shots_are_rounded_as_the_client_rounds_them():
    from qiskit_ibm_runtime.executor.calculate_twirling_shots import calculate_twirling_shots

    for shots in (1, 63, 64, 65, 1000, 1024, 2048, 2049, 5000, 100_000):
        each, count = calculate_twirling_shots(shots, "auto", "auto")
        assert shots_per_circuit(entry(shots=shots, resilience_level=1)) == each * count


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 1234])
def test_jobs_hold_all_samples_and_no_more_than_they_may(samples):
    spec = entry(shots=100_000, samples_per_job=1000)
    rows = rows_of_jobs(spec, program(), samples)
    assert (sum(rows), max(rows)) == (samples, min(samples, 100))
    assert max(rows) * spec.shots <= _MOST_EXECUTIONS
    assert rows_per_job(entry(samples_per_job=7), program()) == 7


def test_a_sample_that_is_too_much_for_a_job_is_refused():
    with pytest.raises(BackendError, match="too many for one sample"):
        rows_per_job(entry(shots=9_000_000, resilience_level=2), program(3))


def test_the_cap_counts_what_was_spent():
    check_cap(entry(max_qpu_seconds=10), [4.0], spent=6)
    check_cap(entry(max_qpu_seconds=None), [1e9], spent=1e9)
    with pytest.raises(BackendError, match=r"max_qpu_seconds.*4\.0 s on ibm_manila after 7\.0 s, cap 10 s"):
        check_cap(entry(max_qpu_seconds=10), [4.0], spent=7)


def test_a_cap_holds_whole_seconds_of_each_job():
    check_cap(entry(max_qpu_seconds=6), [2.2, 2.2], spent=0)
    with pytest.raises(BackendError, match="4.4 s, 6 s in whole seconds a job on ibm_manila, cap 5 s"):
        check_cap(entry(max_qpu_seconds=5), [2.2, 2.2], spent=0)


@pytest.mark.parametrize("cap", [10.0, 11.5, 60.0, 7200.0])
@pytest.mark.parametrize("spent", [0.0, 0.7, 1.0])
def test_all_jobs_together_are_stopped_within_the_cap_and_none_before_its_forecast(cap, spent):
    jobs = [2.1, 2.9, 2.0]
    limits = job_limits(entry(max_qpu_seconds=cap), jobs, spent)
    assert sum(limits) + spent <= cap
    assert all(limit >= needed for limit, needed in zip(limits, jobs, strict=True))
    # One after the other, each under what those before it were given, they are given the same.
    given = []
    for place in range(len(jobs)):
        given.append(job_limits(entry(max_qpu_seconds=cap), jobs[place:], spent + sum(given))[0])
    assert sum(given) + spent <= cap
    assert job_limits(entry(max_qpu_seconds=None), jobs, spent) is None


def test_a_plan_without_time_is_refused_and_one_without_limit_is_not():
    check_plan(entry(), needed=1e9, remaining=None)
    check_plan(entry(), needed=5, remaining=5)
    for remaining in (0.0, 4.9):
        with pytest.raises(BackendError, match=r"must have the time.*nothing was sent"):
            check_plan(entry(), needed=5, remaining=remaining)

"""An ansatz on a device, over the real client: values, gradients, what arrives, what is reported."""

import numpy as np
import pytest

from qhq.backends.local.aer import open_aer
from qhq.backends.noisy import AerSpec
from qhq.backends.registry import find_backend, open_backend
from qhq.errors import BackendError
from tests.loopback.fixtures import *  # noqa: F403

from .cases import (
    FIVE_SIGMA,
    ROWS,
    SHOTS,
    Clock,
    check_each_sent_once,
    entry,
    exact,
    opened,
    points,
    run_and_check,
    small_ansatz,
)

pytestmark = pytest.mark.usefixtures("study", "no_backoff")


def test_all_samples_and_observables_are_one_pub_and_its_values_are_right(noiseless):
    executor = opened()
    run_and_check(executor)
    (job,) = noiseless.service.jobs()
    assert job["pubs"] == [{"parameters": [ROWS], "observables": 2, "bases": 1}]
    check_each_sent_once(noiseless.service)


def test_the_report_says_what_ran(noiseless):
    executor = opened()
    assert (executor.report().job_ids, executor.report().qpu_seconds) == ((), 0.0)
    run_and_check(executor)
    report, (job,) = executor.report(), noiseless.service.jobs()
    assert (report.backend, report.qubits, report.shots) == ("ibm_manila", 2, SHOTS)
    assert (report.job_ids, report.qpu_seconds) == ((job["id"],), job["seconds"])
    assert (len(report.layout), report.calibration[:10]) == (2, "2024-05-27")
    assert (report.two_qubit_gates, report.depth) == (1, executor.report().depth)


def test_commuting_observables_cost_what_one_costs(noiseless):
    for observables in (("ZI",), ("ZI", "IZ", "ZZ")):
        opened(ansatz=small_ansatz(observables)).expectations(*points())
    one, many = noiseless.service.jobs()
    assert (one["shots"], len(one["pubs"]), len(one["items"])) == (ROWS * SHOTS, 1, 1)
    assert (many["shots"], len(many["pubs"]), many["items"]) == (one["shots"], 1, one["items"])


@pytest.mark.parametrize("level", [1, 2])
def test_the_forecast_counts_the_shots_that_arrive(noiseless, level):
    executor = opened(resilience_level=level)
    forecast = executor.forecast(ROWS)
    run_and_check(executor)
    (job,) = noiseless.service.jobs()
    assert (forecast.jobs, forecast.pubs, forecast.executions) == (1, 1, job["shots"])
    assert 0.5 < forecast.qpu_seconds / job["seconds"] < 2
    assert (forecast.online, forecast.queue, forecast.remaining_seconds) == (True, 0, 600)


def test_a_layout_that_crosses_qubits_gives_the_same_values(noiseless):
    executor = opened(transpile={"layout": [3, 1]})
    run_and_check(executor)
    assert set(executor.report().layout) <= {1, 2, 3}


def test_the_noise_is_that_of_the_device(loopback):
    ansatz = small_ansatz()
    values = opened(ansatz=ansatz, transpile={"layout": [0, 1]}).expectations(*points())
    assert np.abs(values).max() < np.abs(exact()).max() + FIVE_SIGMA
    np.testing.assert_allclose(values, exact(), rtol=0, atol=2 * FIVE_SIGMA)


def test_no_samples_are_no_job(noiseless):
    inputs, weights = points()
    assert opened().expectations(inputs[:0], weights).shape == (0, 2)
    assert noiseless.service.jobs() == []


def test_the_same_question_is_answered_from_the_journal_and_another_is_not(noiseless):
    first = run_and_check(opened())
    again = opened()
    np.testing.assert_array_equal(again.expectations(*points()), first)
    check_each_sent_once(noiseless.service)
    assert again.report().job_ids == (noiseless.service.jobs()[0]["id"],)
    assert noiseless.service.requests()["GET /jobs/{id}/results"] == 1
    again.expectations(*points())
    opened(seed=1).expectations(*points())
    check_each_sent_once(noiseless.service, jobs=3)


def test_more_samples_than_a_job_may_have_are_split(noiseless):
    run_and_check(opened(samples_per_job=3))
    assert [job["pubs"][0]["parameters"] for job in noiseless.service.jobs()] == [[3], [1]]


@pytest.mark.parametrize("gradient", ["parameter_shift", "spsa"])
def test_gradients_come_from_one_more_job(noiseless, gradient):
    executor = opened(gradient=gradient, training=True, shots=1024)
    inputs, weights = points()
    cotangent = np.ones((ROWS, 2))
    found = executor.vjp(inputs, weights, cotangent)
    assert [each.shape for each in found] == [(ROWS, 2), (1,)]
    check_each_sent_once(noiseless.service)
    if gradient == "parameter_shift":
        wanted = open_aer(AerSpec(kind="aer"), small_ansatz(), seed=0).vjp(inputs, weights, cotangent)
        np.testing.assert_allclose(found[0], wanted[0], atol=2 * 5 / np.sqrt(1024))


def test_training_must_be_asked_for_and_the_refusal_says_what_it_costs(noiseless):
    with pytest.raises(BackendError, match=r"2 jobs and about \d+ s on the device a step"):
        opened().vjp(*points(), np.ones((ROWS, 2)))
    assert noiseless.service.jobs() == []


def test_a_batch_takes_all_jobs_and_is_closed(noiseless):
    run_and_check(opened(mode="batch", samples_per_job=2))
    (batch,) = noiseless.service.sessions.values()
    assert (batch["mode"], batch["accepting_jobs"]) == ("batch", False)
    assert {job["session_id"] for job in noiseless.service.jobs()} == {batch["id"]}


def test_polling_starts_soon_and_slows_down(noiseless):
    clock, service = Clock(), noiseless.service
    service.hold()
    clock.on_sleep = [lambda: None] * 79 + [service.release]
    run_and_check(opened(clock, poll_seconds=15))
    assert (clock.slept[:8], clock.slept[-1]) == ([1] * 8, 15)
    waited = np.cumsum(clock.slept)
    assert (clock.slept[1:] <= np.maximum(waited[:-1] / 16, 1)).all()


def test_tags_of_the_entry_come_after_the_journals(noiseless):
    run_and_check(opened(tags=["mine"]))
    (job,) = noiseless.service.jobs()
    assert job["tags"][1:] == ["mine"]


def test_the_registry_opens_a_device_by_its_name(noiseless):
    executor = open_backend("ibm_manila", small_ansatz(), seed=0)
    assert executor.report().backend == "ibm_manila"
    with pytest.raises(BackendError, match=r"A device must be named.*ibm_fez, ibm_kingston"):
        open_backend(find_backend("ibm_*"), small_ansatz(), seed=0)


def test_options_reach_the_estimator(noiseless):
    zne = {"enable": "on", "noise_factors": [1, 2]}
    executor = opened(zne=zne, trex="off", twirling={"gates": "on", "randomizations": 2})
    forecast = executor.forecast(ROWS)
    assert executor.expectations(*points()).shape == (ROWS, 2)
    (job,) = noiseless.service.jobs()
    assert [item["shape"] for item in job["items"]] == [[2, ROWS], [2, ROWS]]
    assert job["shots"] == forecast.executions


def test_decoupling_is_accepted(noiseless):
    run_and_check(opened(dynamical_decoupling="XpXm"))
    assert entry(dynamical_decoupling="XY4").dynamical_decoupling == "XY4"

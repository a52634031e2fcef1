"""What comes back is read and checked before it is believed, and never paid for twice."""

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.ibm.jobs import discard_jobs, list_jobs, resume_jobs
from qhq.backends.ibm.journal import Journal
from qhq.backends.ibm.records import LaidOut
from qhq.backends.ibm.results import CircuitResult, Estimates, check_estimates
from qhq.backends.ibm.waiting import ServiceError
from qhq.backends.ibm.wire import decode
from qhq.errors import BackendError, ConfigError, JobError
from tests.loopback.fixtures import *  # noqa: F403
from tests.loopback.spoil import SPOILED

from .cases import FIVE_SIGMA, Clock, check_each_sent_once, entry, exact, opened, points, run_and_check

pytestmark = pytest.mark.usefixtures("study", "no_backoff")

OF_TREX = {"half_readout", "random_readout", "stretching_readout", "lost_flips"}
WHOLE = sorted(SPOILED.keys() - OF_TREX)


@pytest.fixture
def service(noiseless):
    return noiseless.service


def spoil(service, name, times=1):
    service.fault("spoiled_result", spoil=name, times=times)


@pytest.mark.parametrize("name", WHOLE)
def test_a_reply_that_is_bad_once_is_asked_for_again(service, name):
    spoil(service, name)
    run_and_check(opened())
    check_each_sent_once(service)
    assert service.requests()["GET /jobs/{id}/results"] == 2


@pytest.mark.parametrize("name", sorted(OF_TREX))
def test_a_calibration_of_the_readout_that_failed_is_not_believed(service, name):
    spoil(service, name)
    run_and_check(opened(resilience_level=1))
    assert service.requests()["GET /jobs/{id}/results"] == 2
    check_each_sent_once(service)


@pytest.mark.parametrize("name", ["truncated", "half_shots"])
def test_a_reply_that_stays_bad_is_left_to_resume_and_never_sent_again(service, name):
    spoil(service, name, times=None)
    clock = Clock()
    executor = opened(clock, samples_per_job=2)
    with pytest.raises(JobError, match="jobs resume") as error:
        executor.expectations(*points())
    assert error.value.exit_status == 4
    assert {row.state for row in list_jobs()} == {"unreadable"}
    assert all(row.message for row in list_jobs())
    with pytest.raises(JobError, match="jobs resume"):
        executor.expectations(*points())
    assert len(service.jobs()) == 2
    service.clear()
    assert {row.state for row in resume_jobs(clock=clock)} == {"stored"}
    run_and_check(executor)
    check_each_sent_once(service, jobs=2)


def test_what_could_not_be_read_is_kept_and_read_by_a_later_version(service, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("qhq.backends.ibm.executor.decode", _cannot_read)
        with pytest.raises(JobError, match="can be read"):
            opened().expectations(*points())
    asked = service.requests()["GET /jobs/{id}/results"]
    assert [row.state for row in list_jobs()] == ["unreadable"]
    run_and_check(opened())
    assert service.requests()["GET /jobs/{id}/results"] == asked
    check_each_sent_once(service)


def _cannot_read(raw):
    raise ServiceError("garbled", "schema of tomorrow")


def test_one_bad_job_does_not_hold_up_the_others(service):
    spoil(service, "html", times=5)
    with pytest.raises(JobError, match="can be read"):
        opened(samples_per_job=2).expectations(*points())
    assert [row.state for row in list_jobs()] == ["unreadable", "stored"]
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(service, jobs=2)


def test_a_job_that_is_unknown_for_a_while_is_not_taken_for_failed(service):
    service.fault(on="GET /jobs/{id}", status=404, times=1)
    service.hold()
    clock = Clock()
    clock.on_sleep = [service.release]
    executor = opened(clock)
    with pytest.raises(JobError, match="still be known"):
        executor.expectations(*points())
    assert [row.state for row in list_jobs()] == ["sent"]
    run_and_check(executor)
    check_each_sent_once(service)


@pytest.mark.parametrize("status", [400, 404, 410, 418])
def test_no_status_of_a_reply_makes_a_paid_job_fail(service, status):
    service.fault(on="GET /jobs/{id}/results", status=status, times=1)
    executor = opened()
    with pytest.raises(JobError):
        executor.expectations(*points())
    assert [row.state for row in list_jobs()] == ["sent"]
    run_and_check(executor)
    check_each_sent_once(service)


def test_an_unreadable_result_can_be_given_up_and_asked_for_anew(service):
    spoil(service, "html", times=None)
    with pytest.raises(JobError, match="can be read"):
        opened().expectations(*points())
    service.clear()
    (row,) = discard_jobs(list_jobs()[0].job_id)
    assert (row.state, resume_jobs()) == ("discarded", [])
    run_and_check(opened())
    assert len(service.jobs()) == 2


def test_a_job_that_may_still_run_is_not_given_up(service):
    service.hold()
    executor = opened()
    executor.send(*points())
    (row,) = list_jobs()
    with pytest.raises(ConfigError, match="qhq jobs cancel"):
        discard_jobs(row.job_id)
    service.release()
    run_and_check(executor)


def test_standard_errors_are_the_clients(service):
    executor = opened()
    values = run_and_check(executor)
    np.testing.assert_allclose(executor.stds, np.sqrt((1 - values**2) / 256), atol=0.01)
    again = opened()
    again.expectations(*points())
    np.testing.assert_array_equal(again.stds, executor.stds)
    assert np.abs(values - exact()).max() < FIVE_SIGMA


def _measured(shots=64, randomizations=4, qubits=2, flips=True, misread=0.0):
    generator = np.random.default_rng(1)
    flip = generator.random((randomizations, 1, qubits)) < 0.5
    bits = np.broadcast_to(flip, (randomizations, shots, qubits)) ^ (
        generator.random((randomizations, shots, qubits)) < misread
    )
    return CircuitResult({"_meas": bits, **({"measurement_flips._meas": flip} if flips else {})})


def _program(observables=("IZ", "ZI")):
    operators = tuple(SparsePauliOp(each) for each in observables)
    return LaidOut(QuantumCircuit(2), (), operators, 2, (0, 1), None)


def _found(value=0.0, std=0.01, items=None, **changes):
    content = {"values": np.array([[value, 0.0]]), "stds": np.array([[std, 0.01]]), "settings": 1}
    items = items or (_measured(), _measured())
    return Estimates(**{**content, "items": items, "tags": ("tag",), **changes})


@pytest.mark.parametrize(
    ("level", "changes", "word"),
    [
        (1, {"value": 2.06}, "2.06"),
        (1, {"value": 2.06, "std": 9.0}, "2.06"),
        (2, {"value": -2.06, "std": 9.0}, "2.06"),
        (0, {"value": 1.01}, "at most 1"),
        (1, {"value": np.nan}, "not finite"),
        (1, {"value": np.inf}, "not finite"),
        (1, {"std": np.nan}, "standard errors"),
        (1, {"std": -1.0}, "standard errors"),
        (1, {"values": np.zeros((2, 2))}, "shape"),
        (1, {"values": np.zeros((1, 1))}, "shape"),
        (1, {"stds": np.zeros((1, 1))}, "shape"),
        (1, {"tags": ("other",)}, "another job"),
        (1, {"items": (_measured(),)}, "1 circuits of 2"),
        (1, {"items": (_measured(), _measured(misread=0.4))}, "wrong 4"),
        (1, {"items": (_measured(), _measured(randomizations=2))}, "128 shots of the readout"),
        (1, {"items": (_measured(shots=32), _measured())}, "different numbers of shots"),
        (1, {"items": (_measured(), CircuitResult({}))}, "0 shots"),
        (1, {"settings": 2}, "128 shots of each value"),
        (1, {"settings": 0}, "shots"),
    ],
)
def test_what_cannot_be_is_refused(level, changes, word):
    spec = entry(resilience_level=level, zne={"enable": "on" if level == 2 else "off"})
    if level == 0:
        changes["items"] = (_measured(),)
    if level == 2:
        changes["items"] = (_measured(),) * 3 + (_measured(),)
    with pytest.raises(ServiceError, match=word) as error:
        check_estimates(_found(**changes), spec, _program(), 1, "tag")
    assert error.value.kind == "wrong"


@pytest.mark.parametrize("value", [-1.0, 1.0, 1.06, 1.3])
def test_what_mitigation_stretched_a_little_is_good(value):
    std = 0.01 if value < 1.1 else 0.1
    check_estimates(_found(value, std), entry(resilience_level=1), _program(), 1, "tag")


def test_an_observable_of_several_terms_has_their_sum_as_bound():
    program = LaidOut(
        QuantumCircuit(2),
        (),
        (SparsePauliOp(["ZZ", "IZ"], [2.0, -1.0]), SparsePauliOp("ZI")),
        2,
        (0, 1),
        None,
    )
    check_estimates(_found(-2.9, items=(_measured(),)), entry(resilience_level=0), program, 1, "tag")
    with pytest.raises(ServiceError, match="at most 3"):
        check_estimates(_found(3.1, items=(_measured(),)), entry(resilience_level=0), program, 1, "tag")


def test_a_result_is_looked_at_again_before_it_is_asked_for(service):
    spoil(service, "empty", times=None)
    with pytest.raises(JobError):
        opened().expectations(*points())
    (part,) = Journal().parts()
    assert Journal().raw(part.tag) == ""


@pytest.mark.parametrize("state", ["sent", "unreadable"])
def test_a_paid_result_is_fetched_though_its_request_cannot_be_read(service, state):
    if state == "unreadable":
        spoil(service, "html", times=5)
        with pytest.raises(JobError):
            opened().expectations(*points())
    else:
        opened().send(*points())
    journal = Journal()
    (part,) = journal.parts()
    journal._change("UPDATE requests SET circuit = x'00ff' WHERE key = ?", part.key)
    service.await_final(part.job_id, 5)
    with pytest.raises(BackendError, match="must be readable"):
        resume_jobs(clock=Clock())
    assert [row.state for row in list_jobs()] == ["stored"]
    assert decode(journal.raw(part.tag)).values.shape == (4, 2)


@pytest.mark.parametrize("raw", ["<html>", "", "{}"])
def test_what_an_earlier_version_stored_unseen_is_asked_for_again(service, raw):
    run_and_check(opened())
    journal = Journal()
    journal._change("UPDATE parts SET raw = ?, instance = NULL, qubits = NULL", raw)
    run_and_check(opened())
    check_each_sent_once(service)
    assert [row.state for row in list_jobs()] == ["stored"]

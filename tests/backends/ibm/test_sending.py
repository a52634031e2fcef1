"""What is sent: once, for the device of the moment; what a gateway doubles is found and cancelled."""

from dataclasses import replace

import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.ibm import opening
from qhq.backends.ibm.budget import estimate_seconds
from qhq.backends.ibm.client import IBMClient
from qhq.backends.ibm.jobs import cancel_jobs, discard_jobs, jobs_to_send, list_jobs, resume_jobs
from qhq.backends.ibm.journal import Journal
from qhq.backends.ibm.waiting import talking
from qhq.errors import BackendError, ConfigError, JobError
from tests.loopback.fixtures import *  # noqa: F403

from .cases import Clock, Heard, check_each_sent_once, opened, points, run_and_check, small_ansatz

pytestmark = pytest.mark.usefixtures("study", "no_backoff")


@pytest.fixture
def service(noiseless):
    return noiseless.service


@pytest.mark.parametrize("fault", ["gateway_502", "gateway_504"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_gateway_that_fails_after_the_job_was_taken_gives_one_job(service, fault, times):
    service.fault(fault, times=times)
    run_and_check(opened())
    check_each_sent_once(service)


def _double(service, count, *, late=False):
    """Let a gateway deliver each submission several times more, at once or only as the job is done."""
    real, doubles = service.submit, []

    def submit(body):
        answer = real(body)
        doubles.append(lambda: [real(body) for _ in range(count)])
        if not late:
            doubles.pop()()
        return answer

    service.submit = submit
    return doubles


@pytest.mark.parametrize("count", [1, 5])
def test_what_a_gateway_delivered_twice_is_cancelled_and_reported(service, count):
    service.hold()
    _double(service, count)
    clock, heard = Clock(), Heard()
    clock.on_sleep = [service.release]
    with talking(heard):
        executor = opened(clock)
        run_and_check(executor)
    first, *others = service.jobs()
    assert executor.report().job_ids == (first["id"],)
    assert [job["status"] for job in others] == ["Cancelled"] * count
    assert sum("one submission became two jobs" in line for line in heard.notes) == count
    extra = [row for row in list_jobs() if row.state == "extra"]
    assert {row.job_id for row in extra} == {job["id"] for job in others}
    assert executor.report().qpu_seconds == first["seconds"]


def test_an_extra_job_that_ran_counts_as_spent_and_against_the_cap(service):
    doubles = _double(service, 1, late=True)
    clock, heard = Clock(), Heard()
    service.hold()

    def deliver():
        doubles.pop()()
        service.release()
        for job in service.jobs():
            service.await_final(job["id"], 5)

    clock.on_sleep = [deliver]
    with talking(heard):
        executor = opened(clock, max_qpu_seconds=4)
        run_and_check(executor)
    first, second = service.jobs()
    assert executor.report().qpu_seconds == first["seconds"] + second["seconds"]
    assert any("counts as spent" in line for line in heard.notes)
    with pytest.raises(BackendError, match="max_qpu_seconds"):
        executor.expectations(*points())


def test_a_lost_reply_that_became_two_jobs_is_one_afterwards(service):
    service.hold()
    _double(service, 1)
    service.fault("reply_lost")
    clock = Clock()
    clock.on_sleep = [lambda: None, service.release]
    run_and_check(opened(clock))
    assert [job["status"] for job in service.jobs()] == ["Completed", "Cancelled"]


@pytest.fixture
def half_sent(service):
    """One of two parts is with the service, and the other was never sent."""
    clock = Clock()
    service.fault(on="POST /jobs", status=429, skip=1, times=None)
    executor = opened(clock, samples_per_job=2, patience_seconds=0, settle_seconds=0)
    with pytest.raises(JobError, match="capacity for another request"):
        executor.send(*points())
    service.clear()
    assert sorted(row.state for row in list_jobs()) == ["planned", "sent"]
    return clock


def test_a_device_that_changed_is_followed_by_what_was_not_sent(service, half_sent):
    (before,) = {part.key for part in Journal().parts()}
    old = Journal().request(before).program
    service.recalibrate("ibm_manila", without=[old.layout[0]])
    heard = Heard()
    with talking(heard):
        rows = resume_jobs(clock=half_sent)
    assert {row.state for row in rows} == {"stored"}
    new = Journal().request(before).program
    assert old.layout[0] not in new.layout
    assert new.fingerprint != old.fingerprint
    assert any("layout" in line and str(list(new.layout)) in line for line in heard.asked)
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(service, jobs=2)


def test_nothing_is_sent_in_a_new_layout_that_is_not_agreed_to(service, half_sent):
    (key,) = {part.key for part in Journal().parts()}
    service.recalibrate("ibm_manila", without=[Journal().request(key).program.layout[0]])
    with talking(Heard(agrees=False)), pytest.raises(JobError, match="agreed to"):
        resume_jobs(clock=half_sent)
    assert len(service.jobs()) == 1


def test_a_calibration_alone_that_changed_is_followed_through_the_gate(service, half_sent, monkeypatch):
    compared = []
    real = opening.check_same
    monkeypatch.setattr(opening, "check_same", lambda *args, **named: compared.append(real(*args, **named)))
    service.recalibrate("ibm_manila", times=1.5)
    resume_jobs(clock=half_sent)
    assert len(compared) == 1
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(service, jobs=2)


def test_a_device_that_changes_between_two_submissions_is_followed(service):
    clock = Clock()
    executor = opened(clock, samples_per_job=2)
    before = executor._program.layout
    service.fault(on="POST /jobs", status=429, skip=1, times=6)
    clock.on_sleep = [lambda: None, lambda: service.recalibrate("ibm_manila", without=[before[0]])]
    heard = Heard()
    with talking(heard):
        run_and_check(executor)
    assert len(heard.asked) == 1
    assert before[0] not in executor.report().layout
    check_each_sent_once(service, jobs=2)


def test_a_device_that_no_longer_holds_the_circuit_is_said_and_nothing_is_sent(service):
    small = small_ansatz()
    circuit = QuantumCircuit(3)
    circuit.compose(small.circuit, [0, 1], inplace=True)
    circuit.cx(1, 2)
    ansatz = replace(small, circuit=circuit, observables=(SparsePauliOp("ZII"),))
    executor = opened(ansatz=ansatz)
    # A line of five qubits without the middle one.
    service.recalibrate("ibm_manila", without=[2])
    with pytest.raises(BackendError, match="must fit the device"):
        executor.expectations(*points())
    assert service.jobs() == []


def test_a_fixed_layout_is_kept_or_refused_never_moved(service):
    executor = opened(transpile={"layout": [3, 4]})
    service.recalibrate("ibm_manila", times=1.5)
    run_and_check(executor)
    assert set(executor.report().layout) == {3, 4}
    executor = opened(transpile={"layout": [3, 4]}, seed=1)
    service.recalibrate("ibm_manila", without=[3])
    with pytest.raises(BackendError, match="no longer there"):
        executor.expectations(*points())
    check_each_sent_once(service)


@pytest.mark.parametrize("when", ["before", "queued", "after"])
def test_the_calibration_reported_is_that_of_the_moment_the_job_ran(service, when):
    clock = Clock()
    service.hold()

    def change():
        service.recalibrate("ibm_manila", updated="2026-03-04T05:06:07+00:00", times=1.2)

    executor = None
    if when == "before":
        change()
    executor = opened(clock)
    if when == "queued":
        clock.on_sleep = [change, service.release]
    else:
        clock.on_sleep = [service.release]
    if when == "after":
        real = service.await_final

        def await_final(job_id, seconds):
            found = real(job_id, seconds)
            if found["status"] == "Completed" and not service.calibrations:
                change()
            return found

        service.await_final = await_final
    run_and_check(executor)
    expected = "2024-05-27" if when == "after" else "2026-03-04"
    assert executor.report().calibration[:10] == expected
    assert executor.calibration.date[:10] == expected
    again = opened()
    run_and_check(again)
    assert again.report().calibration[:10] == expected


def test_without_consent_only_results_are_fetched(service, half_sent):
    assert [row.state for row in jobs_to_send()] == ["planned"]
    rows = resume_jobs(send=False, clock=half_sent)
    assert sorted(row.state for row in rows) == ["planned", "stored"]
    assert len(service.jobs()) == 1


def test_a_submission_whose_end_nobody_saw_is_found_without_sending(service):
    service.fault("reply_lost")
    with pytest.raises(JobError):
        opened(patience_seconds=0, settle_seconds=0).send(*points())
    clock = Clock()
    assert [row.state for row in list_jobs()] == ["sending"]
    assert [row.state for row in resume_jobs(send=False, clock=clock)] == ["stored"]
    check_each_sent_once(service)


def test_a_submission_that_never_arrived_is_not_sent_without_consent(service):
    service.fault("submit_dropped")
    with pytest.raises(JobError):
        opened(patience_seconds=0, settle_seconds=0).send(*points())
    assert [row.state for row in resume_jobs(send=False, clock=Clock())] == ["planned"]
    assert service.jobs() == []


def test_jobs_are_cancelled_at_the_service_and_sent_again_on_request_alone(service, half_sent):
    service.hold()
    executor = opened(samples_per_job=4, seed=5)
    executor.send(*points())
    sent = next(row for row in list_jobs() if row.state == "sent" and row.samples == 4)
    (row,) = cancel_jobs(sent.job_id)
    assert row.state == "cancelled"
    assert service.jobs()[-1]["status"] == "Cancelled"
    with pytest.raises(ConfigError, match="must stand in the journal"):
        cancel_jobs("d-nobody")
    service.release()
    rows = resume_jobs(row.job_id)
    assert {each.state for each in rows} == {"stored"}


def test_a_job_that_ran_is_not_lost_by_cancelling_it_too_late(service):
    executor, heard = opened(), Heard()
    executor.send(*points())
    service.await_final(service.jobs()[0]["id"], 5)
    with talking(heard):
        (row,) = cancel_jobs(list_jobs()[0].tag)
    assert row.state == "sent"
    assert any("jobs resume" in line for line in heard.notes)
    run_and_check(executor)
    check_each_sent_once(service)


def test_what_was_planned_is_cancelled_or_given_up_without_the_service(service, half_sent):
    planned = next(row for row in list_jobs() if row.state == "planned")
    requests = sum(service.requests().values())
    (row,) = [each for each in cancel_jobs(planned.tag) if each.tag == planned.tag]
    assert row.state == "cancelled"
    discard_jobs(planned.tag)
    assert sum(service.requests().values()) == requests
    assert [each.state for each in jobs_to_send()] == []
    assert {each.state for each in resume_jobs(clock=half_sent)} == {"stored", "discarded"}
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(service, jobs=2)


def test_all_is_sent_before_anything_is_waited_for(service):
    service.hold()
    executors = [opened(seed=seed) for seed in range(3)]
    for executor in executors:
        executor.send(*points())
    assert len(service.jobs()) == 3
    service.release()
    for executor in executors:
        run_and_check(executor)
    check_each_sent_once(service, jobs=3)


@pytest.mark.parametrize("word", ["internal", "dedicated"])
def test_a_device_that_takes_jobs_and_runs_none_is_not_sent_to(service, word):
    executor = opened()
    service.set_status("ibm_manila", online=True, word=word)
    with pytest.raises(BackendError, match=word):
        executor.expectations(*points())
    assert service.jobs() == []


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_session_that_a_killed_process_left_open_is_closed_by_resume(service, monkeypatch, mode):
    service.plan = "premium"
    executor = opened(mode=mode)
    executor.send(*points())
    (session,) = service.sessions.values()
    assert session["accepting_jobs"]
    resume_jobs(clock=Clock())
    executor = opened(mode=mode, seed=1)
    executor.send(*points())
    assert Journal().orphaned_sessions() == []
    monkeypatch.setattr("qhq.backends.ibm.journal.is_running", lambda pid: False)
    heard = Heard()
    with talking(heard):
        resume_jobs(clock=Clock())
    assert not any(each["accepting_jobs"] for each in service.sessions.values())
    assert any("left open" in line for line in heard.notes)
    assert Journal().orphaned_sessions() == []


def test_what_fails_after_a_job_was_taken_does_not_send_it_again(service, monkeypatch):
    real = service.submit
    # The client then looks for the device that the reply names.
    monkeypatch.setattr(service, "submit", lambda body: {**real(body), "backend": "ibm_elsewhere"})
    run_and_check(opened())
    check_each_sent_once(service)


@pytest.mark.parametrize("status", [408, 409, 425, 499])
def test_a_submission_of_unknown_end_is_looked_for_before_it_is_sent_again(service, status):
    service.fault(on="POST /jobs", do="act", status=status)
    run_and_check(opened())
    check_each_sent_once(service)


def _lost(service, **settings):
    """A submission that arrived, and of which this side knows nothing."""
    service.hold()
    service.fault("reply_lost")
    with pytest.raises(JobError):
        opened(patience_seconds=0, settle_seconds=0, **settings).send(*points())
    assert [row.state for row in list_jobs()] == ["sending"]


def test_a_submission_is_looked_for_in_the_instance_it_was_sent_through(service, monkeypatch):
    _lost(service)
    # The account of another project, in which there is no such job.
    with monkeypatch.context() as patch:
        patch.setattr(IBMClient, "instances", lambda client: ["crn:v1:another::"])
        patch.setattr(IBMClient, "find", lambda client, tag: [])
        for act in (resume_jobs, lambda **named: cancel_jobs(list_jobs()[0].tag, **named)):
            with pytest.raises(JobError, match="QHQ_IBM_INSTANCE"):
                act(clock=Clock())
        assert [row.state for row in list_jobs()] == ["sending"]
    service.release()
    assert [row.state for row in resume_jobs(clock=Clock())] == ["stored"]
    check_each_sent_once(service)


def test_a_submission_that_may_still_arrive_is_not_called_cancelled(service):
    service.fault("submit_dropped")
    with pytest.raises(JobError):
        opened(patience_seconds=0, settle_seconds=0).send(*points())
    tag, clock = list_jobs()[0].tag, Clock()
    with pytest.raises(JobError, match="found or ruled out"):
        cancel_jobs(tag, clock=clock)
    assert [row.state for row in list_jobs()] == ["sending"]
    clock.sleep(31)
    assert [row.state for row in cancel_jobs(tag, clock=clock)] == ["cancelled"]


def test_what_a_lost_submission_became_is_cancelled(service):
    _double(service, 1)
    _lost(service)
    (row,) = cancel_jobs(list_jobs()[0].tag, clock=Clock())
    assert row.state == "cancelled"
    assert [job["status"] for job in service.jobs()] == ["Cancelled"] * 2
    assert sorted(each.state for each in list_jobs()) == ["cancelled", "extra"]


def test_jobs_of_others_are_neither_used_nor_cancelled(service, monkeypatch):
    service.hold()
    opened(seed=5).send(*points())
    # A service that does not know the filter gives all jobs for any tag.
    monkeypatch.setattr("tests.loopback.routes._is_wanted", lambda job, request: True)
    executor = opened(patience_seconds=0, settle_seconds=0)
    executor.send(*points())
    service.fault("reply_lost")
    for reason in ("must be reachable", "without the tag"):
        with pytest.raises(JobError, match=reason):
            opened(seed=6, patience_seconds=0, settle_seconds=0).send(*points())
    assert [job["status"] for job in service.jobs()] == ["Queued"] * 3


def test_jobs_of_a_tag_are_found_on_every_page(service, monkeypatch):
    monkeypatch.setattr("qhq.backends.ibm.client._PAGE", 2)
    service.hold()
    _double(service, 4)
    executor = opened()
    executor.send(*points())
    assert [job["status"] for job in service.jobs()] == ["Queued"] + ["Cancelled"] * 4


def test_all_sessions_are_closed_though_the_service_was_reached_afresh(service):
    service.plan = "premium"
    service.fault(on="POST /jobs", status=401, code=1201)
    executor = opened(mode="session")
    run_and_check(executor)
    assert len(service.sessions) == 2
    assert not any(each["accepting_jobs"] for each in service.sessions.values())


def test_a_part_is_judged_by_the_qubits_it_ran_on(service, half_sent):
    (key,) = {part.key for part in Journal().parts()}
    old = Journal().request(key).program
    service.recalibrate("ibm_manila", without=[old.layout[0]])
    resume_jobs(clock=half_sent)
    measured = [part.measured for part in Journal().parts(key)]
    assert measured[0] == sorted(old.layout)
    assert measured[1] == sorted(Journal().request(key).program.layout)


def test_resume_sends_all_before_it_waits_for_anything(service):
    service.fault(on="POST /jobs", status=429, times=2)
    for seed in range(2):
        with pytest.raises(JobError, match="capacity for another request"):
            opened(seed=seed, patience_seconds=0, settle_seconds=0).send(*points())
    service.hold()
    clock, seen = Clock(), []
    clock.on_sleep = [lambda: (seen.append(len(service.jobs())), service.release())]
    assert [row.state for row in resume_jobs(clock=clock)] == ["stored"] * 2
    assert seen == [2]


def test_every_request_that_cannot_be_resumed_is_reported(service):
    for seed in range(2):
        opened(seed=seed).send(*points())
    for job in service.jobs():
        service.await_final(job["id"], 5)
    service.fault("spoiled_result", spoil="html", times=None)
    heard = Heard()
    with talking(heard), pytest.raises(JobError) as error:
        resume_jobs(clock=Clock())
    errors = [line for line in heard.notes if line.startswith("Error")]
    assert len(errors) == 1
    ids = [job["id"] for job in service.jobs()]
    assert ids[0] in str(error.value)
    assert ids[1] in errors[0]


def test_jobs_that_are_still_out_count_against_the_cap(service, half_sent):
    service.hold()
    (key,) = {part.key for part in Journal().parts()}
    request = Journal().request(key)
    each = estimate_seconds(request.spec, request.program, [2])
    # The cap allows one of the two jobs, and one is out.
    with pytest.raises(BackendError, match="max_qpu_seconds"):
        opened(half_sent, samples_per_job=2, max_qpu_seconds=1.5 * each).send(*points())
    assert len(service.jobs()) == 1

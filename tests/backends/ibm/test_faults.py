"""The fault table, through the real client: no job lost, none doubled, and a clear word where it ends."""

import os

import numpy as np
import pytest

from qhq.backends.ibm.jobs import list_jobs, resume_jobs
from qhq.backends.ibm.journal import Journal
from qhq.errors import BackendError, ConfigError, JobError
from tests.loopback.fixtures import *  # noqa: F403
from tests.loopback.service import KEY

from .cases import (
    ROWS,
    Clock,
    check_each_sent_once,
    exact,
    opened,
    points,
    run_and_check,
    small_ansatz,
)

pytestmark = pytest.mark.usefixtures("study", "no_backoff")


@pytest.fixture
def service(noiseless):
    return noiseless.service


def check_message(error, *parts: str) -> None:
    """Exit status 4, all parts said, and no key."""
    text = str(error.value)
    assert error.value.exit_status == 4
    assert all(part in text for part in parts), text
    assert KEY not in text


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        ("submit_500", 2),
        ("poll_dropped", 2),
        ("poll_dropped", 9),
        ("poll_502", 3),
        ("poll_502", 20),
        ("results_dropped", 2),
        ("results_dropped", 12),
    ],
)
def test_a_service_that_stumbles_gives_one_job_and_its_result(service, fault, times):
    service.fault(fault, times=times)
    run_and_check(opened())
    check_each_sent_once(service)


def test_a_job_whose_reply_was_lost_is_found_by_its_tag(service):
    service.fault("reply_lost")
    run_and_check(opened())
    check_each_sent_once(service)
    assert service.requests()["POST /jobs"] == 1


def test_a_submission_that_never_arrived_is_sent_again_after_it_had_time_to_appear(service):
    service.fault("submit_dropped")
    clock = Clock()
    run_and_check(opened(clock, settle_seconds=30))
    check_each_sent_once(service)
    assert sum(clock.slept) >= 30
    assert service.requests()["GET /jobs"] > 2


def test_500_for_ever_on_submission_is_left_to_a_later_resume(service):
    service.fault("submit_500", times=None)
    clock = Clock()
    executor = opened(clock, patience_seconds=100)
    with pytest.raises(JobError, match="reachable") as error:
        executor.expectations(*points())
    check_message(error, "qhq jobs resume", "500")
    service.clear()
    assert [row.state for row in resume_jobs(clock=clock)] == ["stored"]
    run_and_check(executor)
    check_each_sent_once(service)


def test_a_service_that_goes_down_for_a_while_is_waited_for(noiseless):
    clock = Clock()
    noiseless.service.hold()
    clock.on_sleep = [noiseless.stop, lambda: None, noiseless.start, noiseless.service.release]
    run_and_check(opened(clock))
    check_each_sent_once(noiseless.service)


def test_a_service_that_stays_down_leaves_the_job_to_a_later_resume(noiseless):
    clock = Clock()
    noiseless.service.hold()
    clock.on_sleep = [noiseless.stop]
    executor = opened(clock, patience_seconds=60)
    with pytest.raises(JobError, match="The service must be reachable") as error:
        executor.expectations(*points())
    check_message(error, "Nothing is lost", "ibm_manila, job d")
    assert [row.state for row in list_jobs()] == ["sent"]
    noiseless.start()
    noiseless.service.release()
    assert [row.state for row in resume_jobs(clock=clock)] == ["stored"]
    run_and_check(executor)
    check_each_sent_once(noiseless.service)


def test_a_token_that_expires_is_renewed(service):
    service.expire()
    run_and_check(opened())
    check_each_sent_once(service)


def test_a_401_rebuilds_the_connection_once(service):
    executor = opened()
    service.revoke()
    run_and_check(executor)
    check_each_sent_once(service)


def test_a_revoked_key_is_said_and_the_job_stays_open(service):
    clock = Clock()
    service.hold()
    clock.on_sleep = [lambda: service.revoke(key=True)]
    with pytest.raises(JobError, match="The service must accept the API key") as error:
        opened(clock).expectations(*points())
    check_message(error, "QHQ_IBM_TOKEN", "qhq jobs resume")
    assert [row.state for row in list_jobs()] == ["sent"]
    service.identity.key_revoked = False
    service.release()
    run_and_check(opened())
    check_each_sent_once(service)


@pytest.mark.parametrize("part", ["key", "instance"])
def test_a_wrong_account_is_said_when_a_device_is_opened(service, monkeypatch, part):
    name = "QHQ_IBM_TOKEN" if part == "key" else "QHQ_IBM_INSTANCE"
    monkeypatch.setenv(name, "crn:v1:bluemix:public:quantum-computing:us-east:a/0:other::")
    with pytest.raises(BackendError, match="The service must") as error:
        opened()
    check_message(error, "ibm_manila")


def test_413_splits_until_it_fits(service):
    opened(seed=9).expectations(*points())
    size = len(service.ledger.find(service.jobs()[0]["id"])["params"])
    service.limit(job_bytes=size - 20)
    run_and_check(opened())
    assert [job["pubs"][0]["parameters"] for job in service.jobs()[1:]] == [[2], [2]]
    check_each_sent_once(service, jobs=3)
    service.limit(job_bytes=100)
    with pytest.raises(JobError, match="limit of size") as error:
        opened(seed=1).expectations(*points())
    check_message(error, "One sample alone is too large")


def test_429_waits(service):
    service.fault("too_many", times=3)
    clock = Clock()
    run_and_check(opened(clock))
    assert clock.slept[:3] == [1, 2, 4]
    check_each_sent_once(service)


def test_code_1305_splits(service):
    service.limit(job_seconds=1.2)
    run_and_check(opened())
    assert [job["pubs"][0]["parameters"] for job in service.jobs()] == [[4], [2], [2]]
    assert [row.samples for row in list_jobs()] == [2, 2]
    service.limit(job_seconds=0.1)
    with pytest.raises(JobError, match="1305") as error:
        opened(seed=1).expectations(*points())
    check_message(error, "lower shots")


@pytest.mark.parametrize(("doom", "word"), [("cancelled", "cancelled"), ("failed", "9701")])
def test_a_job_that_ended_in_vain_says_so_and_is_sent_again_on_request_alone(service, doom, word):
    service.doom(doom)
    clock = Clock()
    with pytest.raises(JobError, match="A job must run to its end") as error:
        opened(clock, samples_per_job=2).expectations(*points())
    check_message(error, word, "finished parts are kept")
    assert [row.state for row in list_jobs()] == [doom, "stored"]
    assert resume_jobs(clock=clock) == []
    assert len(service.jobs()) == 2
    again = resume_jobs(list_jobs()[0].job_id, clock=clock)
    assert {row.state for row in again} == {"stored"}
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(service, jobs=3)


def test_a_job_that_was_deleted_is_said(service):
    clock = Clock()
    service.hold()
    clock.on_sleep = [lambda: service.ledger.change(service.jobs()[0]["id"], deleted=1)]
    with pytest.raises(JobError, match="still be known") as error:
        opened(clock).expectations(*points())
    check_message(error, "QHQ_IBM_INSTANCE")


def test_the_open_plan_has_no_session(service):
    with pytest.raises(JobError, match="the Open Plan has none") as error:
        opened(mode="session").expectations(*points())
    check_message(error, "mode: batch or mode: job")
    assert service.jobs() == []


def test_what_the_client_refuses_is_said_and_nothing_is_sent(service):
    zne = {"enable": "on", "noise_factors": [1, 3], "extrapolator": ["polynomial_degree_3"]}
    with pytest.raises(JobError, match="must accept what is asked") as error:
        opened(zne=zne).expectations(*points())
    check_message(error, "Correct the entry", "ibm_manila")
    assert (service.jobs(), [row.state for row in list_jobs()]) == ([], ["planned"])


def test_looking_for_jobs_makes_no_journal(service, study):
    assert (list_jobs(), resume_jobs()) == ([], [])
    assert not (study / "runs").exists()


def test_an_address_may_name_the_api_and_the_search_may_be_left_to_the_client(service, monkeypatch):
    monkeypatch.setenv("QHQ_IBM_URL", os.environ["QHQ_IBM_URL"] + "/api/v1/")
    opened()
    assert "POST /v3/resources/search" not in service.requests()
    monkeypatch.delenv("QHQ_IBM_INSTANCE")
    run_and_check(opened())
    assert "POST /v3/resources/search" in service.requests()


def test_a_session_is_closed_where_the_plan_has_them(service):
    service.plan = "premium"
    run_and_check(opened(mode="session"))
    (session,) = service.sessions.values()
    assert (session["mode"], session["accepting_jobs"]) == ("dedicated", False)


@pytest.mark.parametrize(("spent", "got"), [(600.0, "0.0 s left"), (599.0, "1.0 s left")])
def test_nothing_is_sent_when_the_plan_has_too_little_time(service, spent, got):
    service.spend(spent)
    with pytest.raises(BackendError, match="The plan must have the time") as error:
        opened().expectations(*points())
    check_message(error, got, "nothing was sent")
    assert service.jobs() == []
    service.spend(0)
    run_and_check(opened())
    check_each_sent_once(service)


def test_nothing_is_sent_beyond_the_cap_and_what_was_spent_counts(service):
    executor = opened(max_qpu_seconds=3)
    run_and_check(executor)
    with pytest.raises(BackendError, match="max_qpu_seconds") as error:
        executor.expectations(*points())
    check_message(error, "after 1.3 s, cap 3 s")
    check_each_sent_once(service)


def test_an_offline_device_is_said_with_others_and_a_sent_job_is_waited_for(service):
    clock = Clock()
    executor = opened(clock)
    service.set_status("ibm_manila", online=False)
    with pytest.raises(BackendError, match="A device must be online") as error:
        executor.expectations(*points())
    check_message(error, "ibm_fez, ibm_kingston, ibm_nairobi")
    assert service.jobs() == []
    service.set_status("ibm_manila", online=True)
    service.hold()
    offline, online = (lambda up=up: service.set_status("ibm_manila", online=up) for up in (False, True))
    clock.on_sleep = [offline, service.release, online]
    run_and_check(executor)
    check_each_sent_once(service)


def test_a_retired_device_is_said_with_others_and_its_old_jobs_can_be_read(service):
    clock = Clock()
    service.hold()
    clock.on_sleep = [lambda: service.revoke(key=True)]
    with pytest.raises(JobError, match="API key"):
        opened(clock).expectations(*points())
    service.identity.key_revoked = False
    service.release()
    service.await_final(service.jobs()[0]["id"], 5)
    service.retire("ibm_manila")
    with pytest.raises(BackendError, match="A device must be one of the account's") as error:
        opened()
    check_message(error, "ibm_fez", "old jobs can still be read")
    assert [row.state for row in resume_jobs(clock=clock)] == ["stored"]
    check_each_sent_once(service)


def test_what_is_asked_of_a_retired_device_is_not_sent(service):
    executor = opened()
    service.retire("ibm_manila")
    with pytest.raises(BackendError, match="must"):
        executor.expectations(*points())
    assert service.jobs() == []


def test_several_jobs_through_all_at_once(service):
    for fault in ("submit_500", "reply_lost", "too_many", "poll_502", "submit_dropped", "results_dropped"):
        service.fault(fault)
    run_and_check(opened(samples_per_job=1))
    check_each_sent_once(service, jobs=ROWS)


def test_no_key_stands_in_any_file(service, study):
    service.doom("failed")
    with pytest.raises(JobError, match="run to its end"):
        opened(ansatz=small_ansatz()).expectations(*points())
    run_and_check(opened())
    Journal().close()
    files = [file for file in study.rglob("*") if file.is_file()]
    assert any(file.name == ".jobs.sqlite" for file in files)
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert {oct(file.stat().st_mode & 0o777) for file in files if file.name.startswith(".jobs")} == {"0o600"}


def test_a_job_to_resume_must_be_known(service):
    run_and_check(opened())
    with pytest.raises(ConfigError, match="must stand in the journal"):
        resume_jobs("d-nobody")
    (row,) = list_jobs()
    assert resume_jobs(row.tag[:12]) == [row]
    np.testing.assert_equal(exact().shape, (ROWS, 2))

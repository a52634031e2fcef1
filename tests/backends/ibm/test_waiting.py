"""Waiting: never silent for long, never longer than was asked, and every odd reply has its word."""

import threading

import pytest

from qhq.backends.ibm import waiting
from qhq.backends.ibm.jobs import list_jobs, resume_jobs
from qhq.backends.ibm.waiting import heartbeat, let_pass, talking
from qhq.backends.ibm.wire import retry_after
from qhq.errors import BackendError, JobError
from tests.loopback.fixtures import *  # noqa: F403

from .cases import Clock, Heard, Listening, check_each_sent_once, opened, points, run_and_check

pytestmark = pytest.mark.usefixtures("study", "no_backoff")


@pytest.fixture
def service(noiseless):
    return noiseless.service


@pytest.mark.parametrize("status", [429, 503])
def test_a_wish_to_wait_is_followed_aloud(service, status):
    service.fault("retry_after", status=status)
    heard = Heard()
    clock = Listening(heard)
    with talking(heard):
        run_and_check(opened(clock))
    assert sum(clock.slept) >= 300
    assert clock.longest <= 30
    assert any("as the service asks" in line for line in heard.waited)
    check_each_sent_once(service)


def test_a_wish_to_wait_longer_than_patience_is_said_and_left_to_resume(service):
    service.fault("retry_after", headers={"Retry-After": "86400"})
    clock, executor = Clock(), None
    executor = opened(clock)
    with pytest.raises(JobError, match="come back in 86400 s"):
        executor.expectations(*points())
    assert sum(clock.slept) < 60
    assert [row.state for row in list_jobs()] == ["sent"]
    assert [row.state for row in resume_jobs(clock=clock)] == ["stored"]


@pytest.mark.parametrize("value", ["7", "Thu, 01 Jan 1970 00:00:07 GMT", "-3", "soon", "inf", ""])
def test_when_to_come_back_is_read_as_seconds_or_as_a_date(value):
    class Reply(Exception):
        response = type("Response", (), {"headers": {"Retry-After": value}})

    wanted = 7.0 if value in ("7", "Thu, 01 Jan 1970 00:00:07 GMT") else None
    assert retry_after(Reply(), now=0.0) == wanted


@pytest.mark.parametrize("fault", ["poll_502", "poll_dropped", "submit_500", "too_many"])
def test_a_service_that_is_away_for_long_is_waited_for_aloud(service, fault):
    service.fault(fault, times=None)
    heard = Heard()
    clock = Listening(heard)
    with talking(heard), pytest.raises(JobError):
        opened(clock, patience_seconds=400).expectations(*points())
    assert clock.longest <= 30
    assert sum(clock.slept) >= 400


def test_polling_a_minute_apart_is_not_silent(service):
    service.hold()
    heard = Heard()
    clock = Listening(heard)
    clock.on_sleep = [lambda: None] * 90 + [service.release]
    with talking(heard):
        run_and_check(opened(clock, poll_seconds=60))
    assert clock.longest <= 30
    (job,) = service.jobs()
    assert any(f"job {job['id']}: queued, place 1" in line for line in heard.waited)


def test_a_reply_that_does_not_come_is_reported(monkeypatch):
    monkeypatch.setattr(waiting, "_LONGEST_SILENCE_SECONDS", 0.01)
    heard, came = Heard(), threading.Event()
    heard.wait = lambda text: (heard.waited.append(text), came.set())
    with talking(heard), heartbeat("ibm_x, usage"):
        assert came.wait(10)
    assert heard.waited[0].startswith("ibm_x, usage: no reply for")


def test_pauses_are_cut_into_pieces_that_are_reported():
    heard, clock = Heard(), Clock()
    with talking(heard):
        let_pass(clock, 50.0, "why")
    assert clock.slept == [20, 20, 10]
    assert heard.waited == ["why; again in 50 s", "why; again in 30 s", "why; again in 10 s"]


QUESTIONS = {
    "GET /backends": "opening",
    "GET /instances/usage": "both",
    "GET /backends/{id}/configuration": "opening",
    "GET /backends/{id}/properties": "both",
    "GET /backends/{id}/status": "sending",
    "POST /jobs": "sending",
    "GET /jobs": "sending",
    "GET /jobs/{id}": "sending",
    "GET /jobs/{id}/results": "sending",
    "GET /jobs/{id}/metrics": "sending",
    "POST /identity/token": "opening",
}
ODD = ("object", "null", "html")


def _said(act):
    """The error of a backend that something comes to, if any; no other comes through."""
    try:
        act()
    except BackendError as error:
        return error
    return None


@pytest.mark.parametrize("spoil", ODD)
@pytest.mark.parametrize("on", QUESTIONS)
def test_an_odd_reply_once_is_got_over_or_said_and_nothing_is_lost(service, on, spoil):
    if QUESTIONS[on] in ("opening", "both"):
        service.fault(on=on, do="spoil", spoil=spoil, times=1)
        _said(opened)
        service.clear()
    clock = Clock()
    executor = opened(clock)
    if QUESTIONS[on] != "opening":
        service.fault(on=on, do="spoil", spoil=spoil, times=1)
    run_and_check(executor)
    check_each_sent_once(service)


@pytest.mark.parametrize("on", [on for on, when in QUESTIONS.items() if when != "opening"])
def test_an_odd_reply_for_ever_is_said_and_nothing_is_sent_twice(service, on):
    clock = Clock()
    executor = opened(clock, patience_seconds=60)
    service.fault(on=on, do="spoil", spoil="object", times=None)
    error = _said(lambda: executor.expectations(*points()))
    assert error is None or "jobs resume" in str(error) or not service.jobs()
    service.clear()
    run_and_check(opened(clock))
    check_each_sent_once(service)


@pytest.mark.parametrize("on", ["GET /jobs/{id}", "POST /jobs", "GET /instances/usage"])
def test_a_redirect_to_another_host_is_not_followed(service, on):
    executor = opened(patience_seconds=30)
    service.fault("redirect", on=on, times=None)
    with pytest.raises(JobError, match=r"own address.*elsewhere.invalid"):
        executor.expectations(*points())
    service.clear()
    run_and_check(opened())
    check_each_sent_once(service)


def test_a_redirect_of_the_identity_service_does_not_carry_the_key_along(service):
    service.fault("redirect", on="POST /identity/token", status=307, times=None)
    with pytest.raises(BackendError, match="own address"):
        opened()


@pytest.mark.parametrize("on", ["GET /backends/{id}/properties", "GET /instances/usage"])
def test_a_service_that_asks_to_wait_while_a_device_is_opened_is_waited_for_aloud(service, on):
    service.fault("retry_after", on=on)
    heard = Heard()
    clock = Listening(heard)
    with talking(heard):
        opened(clock)
    assert sum(clock.slept) == 300
    assert clock.longest <= 30


def test_a_service_that_is_away_while_a_device_is_opened_is_not_waited_for_long(service):
    service.fault(on="GET /backends/{id}/properties", do="spoil", spoil="html", times=None)
    clock = Clock()
    with pytest.raises(JobError, match="can be read"):
        opened(clock)
    assert 5 < sum(clock.slept) < 60

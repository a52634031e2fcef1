"""Faults of the wire, each as the real client shows it."""

import socket

import pytest
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError, IBMRuntimeError

from .faults import FaultBook
from .problem import flip

pytestmark = pytest.mark.usefixtures("no_backoff")


@pytest.fixture
def client(noiseless, connect):
    return connect(noiseless.url)


@pytest.fixture
def backend(client):
    return client.backend("ibm_manila")


def test_a_fault_strikes_as_often_as_asked():
    book = FaultBook()
    fault = book.add("poll_502", times=1, skip=1)
    asked = ["GET /jobs/a", "GET /jobs/a/results", "POST /jobs", "GET /jobs/a", "GET /jobs/a"]
    assert [book.strike(request) is fault for request in asked] == [False, False, False, True, False]
    assert fault.hits == 1


def test_500_twice_on_submission_is_one_job(noiseless, backend):
    noiseless.service.fault("submit_500")
    assert flip(backend, tags=("mine",)).result()[0].data.evs == -1
    assert noiseless.service.requests()["POST /jobs"] == 3
    assert noiseless.service.submissions() == {"mine": 1}


def test_a_lost_reply_leaves_a_job_that_its_tag_finds(noiseless, client, backend):
    noiseless.service.fault("reply_lost")
    with pytest.raises(IBMRuntimeError, match="Failed to run program"):
        flip(backend, tags=("mine",))
    (orphan,) = client.jobs(job_tags=["mine"])
    assert orphan.result()[0].data.evs == -1
    assert noiseless.service.submissions() == {"mine": 1}


def test_a_submission_that_never_arrived_leaves_no_job(noiseless, client, backend):
    noiseless.service.fault("submit_dropped")
    with pytest.raises(IBMRuntimeError, match="Failed to run program"):
        flip(backend, tags=("mine",))
    assert client.jobs(job_tags=["mine"]) == []


def test_a_client_killed_while_it_submits_leaves_no_job(noiseless, backend):
    with socket.create_connection(("127.0.0.1", noiseless.port)) as connection:
        connection.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{")
    assert flip(backend).result()[0].data.evs == -1
    assert len(noiseless.service.jobs()) == 1


@pytest.mark.parametrize(("name", "times"), [("poll_dropped", 2), ("poll_502", 3), ("results_dropped", 2)])
def test_the_client_gets_over_a_few_failures(noiseless, backend, name, times):
    job = flip(backend)
    noiseless.service.fault(name, times=times)
    assert job.result()[0].data.evs == -1


def test_nine_dropped_polls_are_too_many_for_one_call(noiseless, backend):
    job = flip(backend)
    noiseless.service.fault("poll_dropped", times=9)
    with pytest.raises(RequestsApiError, match="Connection"):
        job.result()
    assert job.result()[0].data.evs == -1


def test_a_service_that_was_down_still_has_the_job(noiseless, backend):
    noiseless.service.hold()
    job = flip(backend)
    noiseless.stop()
    with pytest.raises(RequestsApiError, match="Connection refused"):
        job.status()
    noiseless.start()
    noiseless.service.release()
    assert job.result()[0].data.evs == -1


@pytest.mark.parametrize(("name", "status"), [("too_large", "413"), ("too_many", "429")])
def test_a_refused_submission_is_no_job(noiseless, backend, name, status):
    noiseless.service.fault(name)
    with pytest.raises(IBMRuntimeError, match=f"{status} Client Error"):
        flip(backend)
    assert noiseless.service.jobs() == []
    assert flip(backend).result()[0].data.evs == -1


def test_a_401_on_submission_is_not_tried_again(noiseless, backend):
    noiseless.service.fault("unauthorized")
    with pytest.raises(IBMNotAuthorizedError, match="401"):
        flip(backend)
    assert (noiseless.service.requests()["POST /jobs"], noiseless.service.jobs()) == (1, [])


def test_a_fault_of_ones_own(noiseless, backend):
    noiseless.service.fault(on="GET /backends/{id}/status", status=418, message="Teapot.", times=None)
    for _ in range(2):
        with pytest.raises(RequestsApiError, match="Teapot"):
            backend.status()
    noiseless.service.clear()
    assert backend.status().operational

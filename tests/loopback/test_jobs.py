"""The life of a job: states, lookups, tags, metrics, and what can go wrong with it."""

import pytest
from qiskit_ibm_runtime.exceptions import (
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeJobTimeoutError,
)

from .problem import estimate, flip


@pytest.fixture
def client(noiseless, connect):
    return connect(noiseless.url)


@pytest.fixture
def backend(client):
    return client.backend("ibm_manila")


def test_a_held_job_waits_until_it_is_released(noiseless, backend):
    noiseless.service.hold()
    first, second = flip(backend), flip(backend)
    assert (first.status(), second.status()) == ("QUEUED", "QUEUED")
    with pytest.raises(RuntimeJobTimeoutError, match="Timed out"):
        first.result(timeout=0)
    noiseless.service.release(1)
    assert (first.status(), second.status()) == ("DONE", "QUEUED")
    noiseless.service.release()
    assert second.result()[0].data.evs == -1


def test_jobs_are_found_by_tags_and_by_page(client, backend):
    jobs = [flip(backend, tags=("all", f"job-{number}")) for number in range(3)]
    ids = [job.job_id() for job in jobs]
    assert [job.job_id() for job in client.jobs(job_tags=["all"])] == ids[::-1]
    assert [job.job_id() for job in client.jobs(job_tags=["all", "job-1"])] == [ids[1]]
    assert [job.job_id() for job in client.jobs(limit=1, skip=1, descending=False)] == [ids[1]]
    assert client.jobs(job_tags=["none"]) == []
    for job in jobs:
        job.wait_for_final_state()
    assert len(client.jobs(limit=None, pending=False)) == 3
    assert client.jobs(limit=None, pending=True) == []


def test_many_jobs_are_listed_page_by_page(noiseless, client):
    for number in range(45):
        noiseless.service.submit(
            {"backend": "ibm_manila", "program_id": "executor", "params": {}, "tags": [str(number)]}
        )
    assert [job.tags for job in client.jobs(limit=None, descending=False)] == [[str(n)] for n in range(45)]


def test_a_job_can_be_read_by_its_id_alone(client, backend):
    job = flip(backend, tags=("mine",))
    job.wait_for_final_state()
    again = client.job(job.job_id())
    assert (again.tags, again.backend().name, again.primitive_id) == (["mine"], "ibm_manila", "executor")
    assert again.result()[0].data.evs == job.result()[0].data.evs == -1
    assert again.inputs["schema_version"] == "v2.0"
    assert again.usage() == again.usage_estimation["quantum_seconds"] > 1
    assert set(again.metrics()["timestamps"]) == {"created", "running", "finished"}
    assert again.properties().backend_name == "ibm_manila"
    assert job.job_id() in again.logs()


def test_tags_can_be_changed_and_a_job_deleted(noiseless, client, backend):
    job = flip(backend, tags=("old",))
    assert job.update_tags(["new"]) == ["new"]
    assert [found.job_id() for found in client.jobs(job_tags=["new"])] == [job.job_id()]
    client.delete_job(job.job_id())
    with pytest.raises(RuntimeJobNotFound, match="not found"):
        client.job(job.job_id())
    assert noiseless.service.submissions() == {"old": 1}


def test_the_result_of_a_private_job_is_read_once(client, backend):
    job = flip(backend, private=True)
    assert job.result()[0].data.evs == -1
    with pytest.raises(Exception, match="can be read once"):
        client.job(job.job_id()).result()


@pytest.mark.parametrize("by", ["client", "service"])
def test_a_cancelled_job_says_so(noiseless, backend, by):
    noiseless.service.hold()
    job = flip(backend)
    job.cancel() if by == "client" else noiseless.service.cancel(job.job_id())
    with pytest.raises(RuntimeInvalidStateError, match="was cancelled"):
        job.result()
    with pytest.raises(RuntimeInvalidStateError, match="cannot be cancelled"):
        job.cancel()


def test_a_job_that_ran_too_long_has_code_1305(noiseless, backend):
    noiseless.service.doom("timeout", "failed")
    with pytest.raises(RuntimeJobMaxTimeoutError, match="1305"):
        flip(backend).result()
    with pytest.raises(RuntimeJobFailureError, match="9701"):
        flip(backend).result()
    assert flip(backend).result()[0].data.evs == -1


def test_limits_refuse_what_is_too_large_or_too_long_and_nothing_else(noiseless, backend):
    noiseless.service.limit(job_seconds=2)
    assert flip(backend).result()[0].data.evs == -1
    with pytest.raises(RuntimeJobMaxTimeoutError, match="1305"):
        estimate(backend).result()
    noiseless.service.limit(job_bytes=100)
    with pytest.raises(IBMRuntimeError, match="413 Client Error"):
        flip(backend)

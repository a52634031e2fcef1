"""Account, devices, budget and sessions, as the real client sees them."""

import pytest
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import Batch, Session
from qiskit_ibm_runtime.accounts import InvalidAccountError
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMNotAuthorizedError

from .devices import DEVICES
from .problem import flip
from .server import Loopback
from .service import INSTANCE, Service


@pytest.fixture
def client(loopback, connect):
    return connect(loopback.url)


def test_the_account_is_found_and_its_token_is_bought_once_a_client(loopback, client):
    assert client.active_instance() == INSTANCE
    assert client.instances()[0]["plan"] == "open"
    assert loopback.service.identity.issued == loopback.service.requests()["POST /identity/token"] == 2


def test_the_token_search_can_be_skipped(loopback, connect, monkeypatch):
    monkeypatch.setenv("QISKIT_FUNCTIONS_EXPERIMENTAL", "1")
    assert connect(loopback.url).backend("ibm_manila").num_qubits == 5
    assert "POST /v3/resources/search" not in loopback.service.requests()


def test_a_bad_key_and_a_foreign_instance_are_refused(loopback, connect):
    with pytest.raises(InvalidAccountError, match="valid API token"):
        connect(loopback.url, token="another")
    with pytest.raises(IBMInputValueError, match="does not have access"):
        connect(loopback.url, instance=INSTANCE.replace("loopback", "foreign"))


def test_every_device_is_listed_with_its_calibration(client):
    assert {backend.name for backend in client.backends()} == set(DEVICES)
    backend = client.backend("ibm_kingston")
    assert (backend.num_qubits, backend.properties().backend_name) == (156, "ibm_kingston")
    assert {"cz", "rz", "sx", "x", "measure"} <= set(backend.target.operation_names)
    assert (backend.status().operational, backend.status().status_msg) == (True, "active")


def test_an_offline_device_takes_jobs_and_lets_them_wait(loopback, client):
    backend = client.backend("ibm_manila")
    loopback.service.set_status("ibm_manila", online=False)
    job = flip(backend)
    assert (backend.status().operational, backend.status().pending_jobs) == (False, 1)
    assert job.status() == "QUEUED"
    loopback.service.set_status("ibm_manila", online=True)
    assert job.status() == "DONE"


def test_a_retired_device_is_gone_and_its_jobs_can_be_read(loopback, connect, client):
    job = flip(client.backend("ibm_manila"))
    job.wait_for_final_state()
    loopback.service.retire("ibm_manila")
    late = connect(loopback.url)
    with pytest.raises(QiskitBackendNotFoundError, match="No backend matches"):
        late.backend("ibm_manila")
    assert late.job(job.job_id()).result()[0].data.evs < -0.6


def test_usage_counts_and_a_spent_budget_only_warns(loopback, client):
    backend = client.backend("ibm_manila")
    assert flip(backend).usage() == 0 or client.usage()["usage_consumed_seconds"] > 0
    loopback.service.spend(1000)
    assert client.usage()["usage_remaining_seconds"] == 0
    with pytest.warns(UserWarning, match="met its usage limit"):
        job = flip(backend)
    assert job.status() == "QUEUED"
    loopback.service.spend(0)
    assert job.status() == "DONE"


def test_the_open_plan_has_batches_but_no_sessions(client):
    backend = client.backend("ibm_manila")
    with pytest.raises(RequestsApiError, match=r"400 Client Error.*1352.*open plan"):
        Session(backend=backend)
    with Batch(backend=backend) as batch:
        job = flip(backend, mode=batch)
        assert (batch.details()["mode"], batch.details()["accepting_jobs"]) == ("batch", True)
    assert (job.session_id, batch.details()["accepting_jobs"]) == (batch.session_id, False)
    assert [found.job_id() for found in client.jobs(session_id=batch.session_id)] == [job.job_id()]
    assert job.result()[0].data.evs < -0.6


def test_another_plan_has_sessions(monkeypatch, connect):
    loopback = Loopback(Service(plan="premium")).start()
    for name, value in loopback.environment().items():
        monkeypatch.setenv(name, value)
    with Session(backend=connect(loopback.url).backend("ibm_manila")) as session:
        assert session.details()["mode"] == "dedicated"
    loopback.close()


def test_a_client_renews_its_token_by_itself(loopback, connect):
    loopback.service.expire()
    client = connect(loopback.url)
    issued = loopback.service.identity.issued
    assert flip(client.backend("ibm_manila")).result()[0].data.evs < -0.6
    assert loopback.service.identity.issued > issued + 2


def test_a_revoked_token_is_refused_until_the_client_is_rebuilt(loopback, connect, client):
    backend = client.backend("ibm_manila")
    loopback.service.revoke()
    with pytest.raises(IBMNotAuthorizedError, match="401 Client Error"):
        flip(backend)
    assert flip(connect(loopback.url).backend("ibm_manila")).result()[0].data.evs < -0.6
    loopback.service.revoke(key=True)
    with pytest.raises(InvalidAccountError, match="valid API token"):
        connect(loopback.url)

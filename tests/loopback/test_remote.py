"""The service as a process of its own: steered from here, killed, and back with its jobs."""

import pytest

from .problem import flip
from .remote import Remote
from .server import environment


def test_a_killed_service_comes_back_with_its_jobs(tmp_path, monkeypatch, connect):
    with Remote(tmp_path / "jobs.sqlite", noise="none") as service:
        for name, value in environment(service.url).items():
            monkeypatch.setenv(name, value)
        client = connect(service.url)
        service.hold()
        waiting = flip(client.backend("ibm_manila"), tags=("mine",))
        assert waiting.status() == "QUEUED"
        service.kill()
        assert service.start().url == client._account.url
        assert waiting.result()[0].data.evs == -1
        assert [job["tags"] for job in service.jobs()] == [["mine"]]
        assert service.submissions() == {"mine": 1}
        service.fault("reply_lost", times=1)
        with pytest.raises(Exception, match="Failed to run program"):
            flip(client.backend("ibm_manila"), tags=("lost",))
        assert service.submissions() == {"mine": 1, "lost": 1}
        assert service.record()["requests"]["POST /jobs"] == 1


def test_an_unknown_verb_is_no_verb():
    with pytest.raises(AttributeError, match="explode"):
        Remote().explode()

"""What hardware jobs say to a person, without a service."""

from __future__ import annotations

import pytest

from qhq.cli.command import Output
from qhq.cli.jobs import hardware


@pytest.mark.parametrize("heard", [True, False])
def test_an_interrupt_speaks_of_a_service_only_where_one_was_heard_of(heard, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("QHQ_CACHE_DIR", str(tmp_path))

    def interrupted():
        with hardware(Output(as_json=True), yes=True) as terminal:
            if heard:
                terminal.wait("waiting for ibm_fez; 20 s")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert ("No jobs are with the service." in capsys.readouterr().err) is heard

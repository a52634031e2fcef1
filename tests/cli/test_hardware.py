"""From simulator to hardware on the command line, over a loopback IBM service and the real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from qhq.backends.ibm.budget import beside_service
from qhq.backends.ibm.client import IBMClient
from qhq.backends.ibm.waiting import talking
from qhq.cli.jobs import Terminal
from qhq.errors import JobError
from qhq.experiment.config import load_config
from qhq.experiment.run import train_run
from qhq.progress.steps import StudyProgress
from qhq.studies.portability import run_evaluation
from qhq.studies.portability_plan import EvalRequest, plan_evaluation
from qhq.studies.runner import StudyEvents
from qhq.studies.selection import side_by_side
from qhq.training.loop import Watcher
from tests.backends.ibm.cases import Heard
from tests.cli.test_train_and_eval import EVAL_KEYS
from tests.conftest import TINY
from tests.loopback.fixtures import loopback, no_backoff
from tests.loopback.remote import Remote
from tests.loopback.service import KEY

__all__ = ["loopback", "no_backoff"]

ENTRIES = """\
ibm_*:
  {kind: ibm, resilience_level: 0, poll_seconds: 0.01, settle_seconds: 0.01, max_qpu_seconds: 600}
fake_fez: {kind: fake, device: fake_fez}
aer: {kind: aer, gradient: adjoint}
"""


@pytest.fixture
def run(study):
    """A trained run, in a folder whose registry asks the service quickly."""
    (study / "backends.yaml").write_text(ENTRIES)
    (study / "tiny.yaml").write_text(TINY)
    return train_run(load_config("tiny.yaml", ["training.epochs=1"]), Watcher())


EVAL = ("eval", "--backend", "ibm_fez", "--samples", "32", "--shots", "1024")


def test_checkpoint_runs_on_a_device_in_a_new_process(run, study):
    with Remote(study / "service.sqlite") as service:
        answer = subprocess.run(
            [sys.executable, "-m", "qhq", *EVAL, "--backend", "fake_fez", "--yes", "--json"],
            env={**os.environ, **service.environment()}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        jobs = service.jobs()
    device, fake = json.loads(answer.stdout)["results"]
    assert device.keys() >= EVAL_KEYS
    assert (device["backend"], device["samples"], device["shots"]) == ("ibm_fez", 32, 1024)
    assert device["layout"] == fake["layout"]
    assert device["calibration"] == fake["calibration"]
    assert device["two_qubit_gates"] == fake["two_qubit_gates"] > 0
    assert device["job_ids"] == [job["id"] for job in jobs]
    assert device["qpu_seconds"] > 0
    # The same device simulated here: each value within sampling error of it, so the mean error is too.
    bound = fake["expectation_error"] + 5 / np.sqrt(1024)
    assert abs(device["metrics"]["mae"] - fake["metrics"]["mae"]) < 0.05 * fake["metrics"]["mae"]
    assert 0 < device["expectation_error"] < bound
    # One PUB for all samples and both observables, at the shots of one.
    assert [job["pubs"] for job in jobs] == [[{"parameters": [32], "observables": 2, "bases": 1}]]
    assert jobs[0]["shots"] == 32 * 1024 or jobs[0]["items"][0]["shots"] == 1024
    stored = [path for path in study.rglob("*") if path.is_file()]
    assert any(path.name.startswith("ibm_fez-") for path in stored)
    assert not [path for path in stored if KEY.encode() in path.read_bytes()]
    assert KEY not in answer.stdout + answer.stderr


def test_dry_run_says_what_it_costs_and_sends_nothing(run, qhq, loopback):
    (run.path.parent.parent / "backends.yaml").write_text(ENTRIES)
    forecast = json.loads(qhq(*EVAL, "--dry-run", "--json").stdout)
    (cost,) = forecast["costs"]
    assert forecast["dry_run"] is True
    assert cost["backend"] == "ibm_fez"
    assert cost["samples"] == 32
    assert cost["shots"] == 1024
    assert cost["qpu_seconds"] > 0
    assert cost["remaining_seconds"] > 0
    assert cost["queue"] == 0
    assert "qpu seconds" in qhq(*EVAL, "--dry-run").stdout
    assert loopback.service.jobs() == []


def test_hardware_asks_first(run, qhq, loopback):
    (run.path.parent.parent / "backends.yaml").write_text(ENTRIES)
    result = qhq(*EVAL)
    assert result.exit_code == 2
    assert "must be confirmed" in result.stderr
    assert loopback.service.jobs() == []


def test_cap_refuses_before_anything_is_sent(run, qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES.replace("max_qpu_seconds: 600", "max_qpu_seconds: 1"))
    result = qhq(*EVAL, "--yes")
    assert result.exit_code == 4
    assert "within max_qpu_seconds" in result.stderr
    assert loopback.service.jobs() == []


def test_finished_request_is_taken_from_the_journal(run, qhq, study, loopback, no_backoff):
    (study / "backends.yaml").write_text(ENTRIES)
    first, second = (json.loads(qhq(*EVAL, "--yes", "--json").stdout)["results"][0] for _ in range(2))
    assert first["metrics"] == second["metrics"]
    assert first["job_ids"] == second["job_ids"]
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert "nothing was sent" in second["note"]
    assert len(loopback.service.jobs()) == 1
    (row,) = json.loads(qhq("jobs", "--json").stdout)["rows"]
    assert (row["state"], row["run"], row["backend"]) == ("stored", run.name, "ibm_fez")
    assert json.loads(qhq("jobs", "resume", "--json").stdout)["rows"] == []


def test_glob_stands_for_the_devices_of_the_account(run, qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    forecast = json.loads(qhq("eval", "--backend", "ibm_*", "--samples", "4", "--dry-run", "--json").stdout)
    assert set(forecast["backends"]) >= {"ibm_fez", "ibm_torino", "ibm_nairobi"}


SMALL = ("eval", "--samples", "4", "--shots", "64")


def test_a_glob_evaluates_what_it_can_and_says_why_not_the_rest(run, qhq, study, loopback, no_backoff):
    (study / "backends.yaml").write_text(ENTRIES)
    for large in ("ibm_fez", "ibm_torino", "ibm_kingston"):
        loopback.service.retire(large)
    loopback.service.set_status("ibm_manila", online=False)
    asked = (*SMALL, "--backend", "ibm_*a*")
    forecast = json.loads(qhq(*asked, "--dry-run", "--json").stdout)
    record = json.loads(qhq(*asked, "--yes", "--json").stdout)
    assert [result["backend"] for result in record["results"]] == forecast["backends"] == ["ibm_nairobi"]
    reasons = {each["backend"]: each["reason"] for each in record["skipped"]}
    assert reasons == {"ibm_manila": "offline", "ibm_armonk": "1 qubits for the 2 of the circuit"}
    assert [job["backend"] for job in loopback.service.jobs()] == ["ibm_nairobi"]
    assert "Left out ibm_manila: offline." in qhq(*asked, "--yes").stdout
    loopback.service.set_status("ibm_nairobi", online=False)
    nothing = qhq(*asked, "--yes")
    assert nothing.exit_code == 4
    assert "ibm_nairobi: offline" in nothing.stderr
    named = qhq(*asked, "--backend", "ibm_manila", "--yes")
    assert named.exit_code == 4


def test_all_devices_are_sent_to_before_one_is_waited_for(run, qhq, study, loopback, monkeypatch):
    (study / "backends.yaml").write_text(ENTRIES)
    sent = []
    real = IBMClient.job_state

    def job_state(client, job_id):
        sent.append(len(loopback.service.jobs()))
        return real(client, job_id)

    monkeypatch.setattr(IBMClient, "job_state", job_state)
    asked = (*SMALL, "--backend", "ibm_manila", "--backend", "ibm_nairobi", "--yes", "--json")
    record = json.loads(qhq(*asked).stdout)
    assert set(sent) == {2}
    assert all(result["expectation_std"] > 0 for result in record["results"])
    assert record["skipped"] == []
    assert oct(Path(record["file"]).stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("agrees", [True, False])
def test_a_device_that_changed_after_its_cost_was_shown_is_asked_about(run, study, loopback, agrees):
    (study / "backends.yaml").write_text(ENTRIES)
    plan = plan_evaluation(run, EvalRequest(("ibm_manila",), samples=4, shots=64))
    (cost,) = plan.costs
    loopback.service.recalibrate("ibm_manila", without=[cost.layout[0]])
    heard = Heard(agrees)
    with talking(heard):
        if agrees:
            (result,) = run_evaluation(plan).to_dict()["results"]
            assert cost.layout[0] not in result["layout"]
        else:
            with pytest.raises(JobError, match="agreed to"):
                run_evaluation(plan)
            assert loopback.service.jobs() == []
    assert len(heard.asked) == 1


def test_one_device_that_fails_holds_up_no_other(run, qhq, study, loopback, no_backoff):
    (study / "backends.yaml").write_text(ENTRIES)
    loopback.service.doom("failed")
    asked = (*SMALL, "--backend", "ibm_manila", "--backend", "ibm_nairobi", "--yes", "--json")
    failed = qhq(*asked)
    assert (failed.exit_code, json.loads(failed.stdout)["error"]["kind"]) == (4, "JobError")
    (kept,) = [json.loads(file.read_text()) for file in (run.path / "evals").glob("*.json")]
    # Both were sent to at once, and the job that failed is that of either.
    (result,) = kept["results"]
    assert {result["backend"], kept["failed"]["backend"]} == {"ibm_manila", "ibm_nairobi"}
    assert len(json.loads(qhq(*asked).stdout)["results"]) == 2
    assert len(loopback.service.jobs()) == 3


def test_an_interrupt_says_which_jobs_are_where_and_how_to_go_on(run, qhq, study, loopback, monkeypatch):
    (study / "backends.yaml").write_text(ENTRIES)
    loopback.service.hold()
    with monkeypatch.context() as patch:
        patch.setattr(IBMClient, "job_state", _interrupt)
        result = qhq(*SMALL, "--backend", "ibm_manila", "--backend", "ibm_nairobi", "--yes")
    assert result.exit_code == 130
    for job in loopback.service.jobs():
        assert f"{job['backend']}: {job['id']}, sent, 4 samples" in result.stderr
    for part in ("2 jobs not finished", "qhq jobs resume", f"qhq jobs cancel {run.name}"):
        assert part in result.stderr
    cancelled = json.loads(qhq("jobs", "cancel", run.name, "--json").stdout)["rows"]
    assert [row["state"] for row in cancelled] == ["cancelled"] * 2
    assert {job["status"] for job in loopback.service.jobs()} == {"Cancelled"}
    given_up = json.loads(qhq("jobs", "discard", run.name, "--json").stdout)["rows"]
    assert [row["state"] for row in given_up] == ["discarded"] * 2
    assert qhq("jobs", "resume").exit_code == 0


def _interrupt(*_):
    raise KeyboardInterrupt


def test_resume_asks_before_it_sends(run, qhq, study, loopback, monkeypatch):
    (study / "backends.yaml").write_text(ENTRIES.replace("poll_seconds", "samples_per_job: 2, poll_seconds"))
    with monkeypatch.context() as patch:
        patch.setattr(IBMClient, "find", _interrupt)
        assert qhq(*SMALL, "--backend", "ibm_manila", "--yes").exit_code == 130
    assert len(loopback.service.jobs()) == 1
    refused = qhq("jobs", "resume")
    assert refused.exit_code == 2
    assert "sent with --yes alone" in refused.stderr
    rows = json.loads(qhq("jobs", "--json").stdout)["rows"]
    assert sorted(row["state"] for row in rows) == ["planned", "stored"]
    assert len(loopback.service.jobs()) == 1
    assert qhq("jobs", "resume", "--yes").exit_code == 0
    assert len(loopback.service.jobs()) == 2


def test_what_is_waited_for_is_said_with_job_and_place_in_the_queue(run, qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    loopback.service.hold()
    real, asked = loopback.service.await_final, []

    def await_final(job_id, seconds):
        asked.append(job_id)
        if len(asked) == 3:
            loopback.service.release()
        return real(job_id, 0.0 if len(asked) < 3 else seconds)

    loopback.service.await_final = await_final
    result = qhq(*SMALL, "--backend", "ibm_manila", "--yes")
    (job,) = loopback.service.jobs()
    assert f"ibm_manila, job {job['id']}: queued, place 1 in the queue" in result.stderr


def test_a_dry_run_says_what_would_be_refused(run, qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES.replace("max_qpu_seconds: 600", "max_qpu_seconds: 1"))
    (cost,) = json.loads(qhq(*EVAL, "--dry-run", "--json").stdout)["costs"]
    assert "max_qpu_seconds" in cost["refusal"]
    (study / "backends.yaml").write_text(ENTRIES)
    loopback.service.set_status("ibm_fez", online=True, word="internal")
    (cost,) = json.loads(qhq(*EVAL, "--dry-run", "--json").stdout)["costs"]
    assert "internal" in cost["refusal"]
    loopback.service.set_status("ibm_fez", online=True)
    (cost,) = json.loads(qhq(*EVAL, "--dry-run", "--json").stdout)["costs"]
    assert cost["refusal"] is None


def test_training_on_a_device_is_refused_with_its_cost(qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    result = qhq("train", "tiny.yaml", "--backend", "ibm_nairobi")
    assert result.exit_code == 4
    assert "Training on a device must be asked for" in result.stderr
    assert "s on the device a step" in result.stderr
    assert loopback.service.jobs() == []
    assert not list(study.glob("runs/*/run.json"))


def test_check_and_snapshot_of_a_device_send_nothing(qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    facts = json.loads(qhq("backends", "check", "ibm_nairobi", "--json").stdout)
    assert facts["online"] is True
    frozen = json.loads(qhq("backends", "snapshot", "ibm_nairobi", "-o", "nairobi.json.gz", "--json").stdout)
    assert frozen["qubits"] == 7
    assert (study / "nairobi.json.gz").stat().st_size < 10_000
    assert loopback.service.jobs() == []


def test_without_an_account_the_fake_twin_is_named(run, qhq, study, monkeypatch):
    (study / "backends.yaml").write_text(ENTRIES)
    monkeypatch.setenv("HOME", str(study))
    for name in ("QHQ_IBM_URL", "QHQ_IBM_TOKEN", "QHQ_IBM_INSTANCE", "QISKIT_IBM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    result = qhq("eval", "--backend", "ibm_fez")
    assert result.exit_code == 4
    assert "account is needed to open ibm_fez" in result.stderr
    assert "--backend fake_fez" in result.stderr


@pytest.mark.parametrize("name", ["aer", "nothing"])
def test_snapshot_of_what_has_no_calibration_is_refused(qhq, study, name):
    (study / "backends.yaml").write_text(ENTRIES)
    assert qhq("backends", "snapshot", name).exit_code == 2


def test_more_shots_than_a_job_may_have_are_refused(run, qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    result = qhq("eval", "--backend", "ibm_fez", "--samples", "2", "--shots", "90000000", "--dry-run")
    assert result.exit_code == 4
    assert "too many for one sample" in result.stderr


@pytest.mark.parametrize("samples", ["1", "2"])
def test_smallest_subsets_evaluate(run, qhq, samples):
    result = json.loads(qhq("eval", "--backend", "aer", "--samples", samples, "--json").stdout)["results"][0]
    assert result["samples"] == int(samples)
    assert (result["mae_sampling_error"] is None) == (samples == "1")


def test_a_glob_names_every_device_that_it_leaves_out(run, qhq, study, loopback, no_backoff, monkeypatch):
    monkeypatch.setattr("qhq.backends.ibm.opening._OPENING_PATIENCE_SECONDS", 0.0)
    (study / "backends.yaml").write_text(ENTRIES)
    for large in ("ibm_fez", "ibm_torino"):
        loopback.service.retire(large)
    loopback.service.set_status("ibm_manila", online=False)
    loopback.service.fault(on="GET /backends/ibm_rzz/configuration", do="spoil", spoil="object", times=None)
    loopback.service.fault(on="GET /backends/ibm_kingston/properties", do="spoil", spoil="html", times=None)
    record = json.loads(qhq(*SMALL, "--backend", "ibm_*", "--yes", "--json").stdout)
    assert [result["backend"] for result in record["results"]] == ["ibm_nairobi"]
    reasons = {each["backend"]: each["reason"] for each in record["skipped"]}
    assert reasons.keys() == {"ibm_armonk", "ibm_manila", "ibm_rzz", "ibm_kingston"}
    assert reasons["ibm_manila"] == "offline"
    assert "1 qubits" in reasons["ibm_armonk"]
    assert "ibm_rzz" in reasons["ibm_rzz"]
    assert "not, or no longer" not in reasons["ibm_rzz"]
    assert "ibm_kingston" in reasons["ibm_kingston"]
    assert [job["backend"] for job in loopback.service.jobs()] == ["ibm_nairobi"]


def test_the_services_own_dry_run_stands_beside_the_forecast(run, qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    asked = (*SMALL, "--backend", "ibm_manila", "--dry-run", "--service", "--json")
    without = qhq(*asked)
    assert without.exit_code == 4
    assert "Flex, Premium and On-Prem" in json.loads(without.stdout)["error"]["fix"]
    assert loopback.service.jobs() == []
    loopback.service.mocks = True
    (cost,) = json.loads(qhq(*asked).stdout)["costs"]
    (job,) = loopback.service.jobs()
    assert (job["backend"], job["tags"][0]) == ("mock_manila", "qhq-dry-run")
    assert cost["service_seconds"] == job["seconds"] != cost["qpu_seconds"]
    assert cost["service_note"] is None
    assert loopback.service.usage()["usage_consumed_seconds"] == 0
    assert json.loads(qhq("jobs", "--json").stdout)["rows"] == []


def test_the_services_own_dry_run_is_held_against_cap_and_kept_from_what_is_sent(run, qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    loopback.service.mocks = True
    asked = (*SMALL, "--backend", "ibm_manila")
    assert json.loads(qhq(*asked, "--dry-run", "--json").stdout)["costs"][0]["service_seconds"] is None
    assert loopback.service.jobs() == []
    assert qhq(*asked, "--service", "--yes").exit_code == 2
    loopback.service.delay("mock_manila", 0.0)
    forecast = plan_evaluation(run, EvalRequest(("ibm_manila",), samples=4, shots=64)).costs[0]
    assert beside_service(forecast, 601.0).service_note.startswith("the cap leaves 600 s")
    record = json.loads(qhq(*asked, "--backend", "ibm_*a*", "--yes", "--json").stdout)
    assert {job["backend"] for job in loopback.service.jobs()} == {
        each["backend"] for each in record["results"]
    }


def test_a_plan_that_has_time_for_each_device_but_not_for_all_is_refused(run, qhq, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    asked = (*SMALL, "--backend", "ibm_manila", "--backend", "ibm_nairobi")
    costs = json.loads(qhq(*asked, "--dry-run", "--json").stdout)["costs"]
    assert [cost["refusal"] for cost in costs] == [None, None]
    loopback.service.spend(0.0, limit=1.5 * max(cost["qpu_seconds"] for cost in costs))
    costs = json.loads(qhq(*asked, "--dry-run", "--json").stdout)["costs"]
    assert all("all devices need together" in cost["refusal"] for cost in costs)
    refused = qhq(*asked, "--yes")
    assert refused.exit_code == 4
    assert "name fewer devices" in refused.stderr
    assert loopback.service.jobs() == []


def test_results_of_one_device_are_kept_though_the_wait_for_another_is_interrupted(
    run, qhq, study, loopback, monkeypatch
):
    (study / "backends.yaml").write_text(ENTRIES)
    loopback.service.set_status("ibm_nairobi", online=True)
    loopback.service.delay("ibm_nairobi", 3600.0)
    real = StudyProgress.step

    def step(progress, done, total, what):
        real(progress, done, total, what)
        if done and what.startswith("waiting for"):
            assert what == "waiting for ibm_nairobi"
            raise KeyboardInterrupt

    monkeypatch.setattr(StudyProgress, "step", step)
    result = qhq(*SMALL, "--backend", "ibm_nairobi", "--backend", "ibm_manila", "--yes")
    assert result.exit_code == 130
    assert "1 job not finished" in result.stderr
    (kept,) = [json.loads(file.read_text()) for file in (run.path / "evals").glob("*.json")]
    assert [each["backend"] for each in kept["results"]] == ["ibm_manila"]
    assert kept["failed"] == {"backend": None, "error": "interrupted"}


def test_nothing_is_sent_once_a_command_was_interrupted(run, study, loopback):
    (study / "backends.yaml").write_text(ENTRIES)
    plan = plan_evaluation(run, EvalRequest(("ibm_manila",), samples=4, shots=64))
    plan.opened["ibm_manila"].stop()
    with pytest.raises(JobError, match="once a command was interrupted"):
        run_evaluation(plan)
    assert loopback.service.jobs() == []


def test_each_device_is_heard_of_as_if_it_were_alone(capsys):
    terminal = Terminal(yes=True, may_ask=False)

    def poll(name: str) -> None:
        for left in range(5):
            terminal.wait(f"{name}: queued; again in {left} s")

    side_by_side([partial(poll, name) for name in ("ibm_fez", "ibm_torino")])
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_fault_in_one_devices_thread_costs_no_other_its_results(run, study, loopback, monkeypatch):
    (study / "backends.yaml").write_text(ENTRIES)
    loopback.service.delay("ibm_nairobi", 3600.0)
    plan = plan_evaluation(run, EvalRequest(("ibm_nairobi", "ibm_manila"), samples=4, shots=64))
    measured = threading.Event()

    def wait(*_):
        assert measured.wait(60)
        raise ZeroDivisionError("a fault of ours")

    class Measured(StudyEvents):
        def done(self, key, *, fresh):
            measured.set()

    monkeypatch.setattr(plan.opened["ibm_nairobi"], "wait", wait)
    with pytest.raises(ZeroDivisionError):
        run_evaluation(plan, Measured())
    (kept,) = [json.loads(file.read_text()) for file in (run.path / "evals").glob("*.json")]
    assert [each["backend"] for each in kept["results"]] == ["ibm_manila"]
    assert kept["failed"]["error"] == "ZeroDivisionError: a fault of ours"


@pytest.mark.parametrize("methods", [("affine", "head"), ("none", "trex"), ("zne",)])
def test_mitigation_costs_what_the_forecast_says_and_is_answered_from_the_journal(
    run, qhq, study, loopback, no_backoff, methods
):
    (study / "backends.yaml").write_text(ENTRIES)
    asked = [
        *EVAL[:4],
        "16",
        "--shots",
        "256",
        *(word for each in methods for word in ("--mitigation", each)),
    ]
    forecast = json.loads(qhq(*asked, "--dry-run", "--json").stdout)
    assert loopback.service.jobs() == []
    first, second = (json.loads(qhq(*asked, "--yes", "--json").stdout) for _ in range(2))
    jobs = loopback.service.jobs()
    # One job a question: affine and head are made of the same answers, of 16 test and 32 training windows.
    assert len(jobs) == len(forecast["costs"]) == (2 if "trex" in methods else 1)
    measured = sum(job["shots"] for job in jobs)
    assert measured == sum(cost["executions"] for cost in forecast["costs"])
    assert [row["mitigation"] for row in first["results"]] == list(methods)
    for row, again in zip(first["results"], second["results"], strict=True):
        assert row["metrics"] == again["metrics"]
        assert (row["replayed"], again["replayed"]) == (False, True)
        assert row["executions"] <= measured
        assert row["expectation_variance"] > 0
    spent = sum(cost["qpu_seconds"] for cost in forecast["costs"])
    assert spent <= 600


def test_methods_on_a_device_share_the_cap_of_its_entry(run, qhq, study, loopback):
    capped = [*EVAL[:4], "16", "--shots", "256", "--mitigation", "none", "--mitigation", "zne"]
    (study / "backends.yaml").write_text(ENTRIES.replace("max_qpu_seconds: 600", "max_qpu_seconds: 6"))
    costs = json.loads(qhq(*capped, "--dry-run", "--json").stdout)["costs"]
    assert sum(cost["max_qpu_seconds"] for cost in costs) == pytest.approx(6)
    assert all(cost["qpu_seconds"] < 6 for cost in costs)
    refused = qhq(*capped, "--yes")
    assert refused.exit_code == 4
    assert "within max_qpu_seconds" in refused.stderr

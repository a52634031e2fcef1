"""A folder of runs that was copied, restored or moved: whose jobs are whose, and none paid twice."""

import shutil
import sqlite3

import pytest

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.ansatz.stored import _fingerprint_of_format_1, fingerprints, program_digest
from qhq.backends.ibm import journal as journal_module
from qhq.backends.ibm.jobs import cancel_jobs, discard_jobs, list_jobs, resume_jobs
from qhq.backends.ibm.journal import Journal
from qhq.errors import ConfigError, JobError
from tests.loopback.fixtures import *  # noqa: F403

from .cases import Clock, check_each_sent_once, opened, points, run_and_check, small_ansatz

pytestmark = pytest.mark.usefixtures("study", "no_backoff")


@pytest.fixture
def service(noiseless):
    return noiseless.service


@pytest.fixture
def copy(study, monkeypatch):
    """Copy the folder of the runs, and work in the copy, or in the original again."""

    def change(name, *, make=True):
        if make:
            shutil.copytree(study / "runs", study / name)
        monkeypatch.setenv("QHQ_RUNS_DIR", str(study / name))

    return change


@pytest.fixture
def half_sent(service):
    """One of two parts is with the service, and the other was never sent."""
    service.fault(on="POST /jobs", status=429, skip=1, times=None)
    service.hold()
    with pytest.raises(JobError, match="capacity for another request"):
        opened(Clock(), samples_per_job=2, patience_seconds=0, settle_seconds=0).send(*points())
    service.clear()
    assert sorted(row.state for row in list_jobs()) == ["planned", "sent"]


def test_each_place_of_a_journal_is_an_instance_of_its_own(study):
    first = Journal().instance
    assert Journal().instance == first
    shutil.copytree(study / "runs", study / "copy")
    copied = Journal(study / "copy").instance
    assert copied != first
    assert (Journal().instance, Journal(study / "copy").instance) == (first, copied)
    (study / "runs").rename(study / "renamed")
    assert Journal(study / "renamed").instance == first


@pytest.mark.parametrize("place", ["[]", "no JSON", "null", '["host", 1]'])
def test_a_place_that_cannot_be_read_is_another_one(study, place):
    first = Journal()
    first._connection.execute("UPDATE instances SET place = ?", [place])
    assert Journal().instance != first.instance


def test_original_and_copy_both_send_what_was_planned_and_neither_cancels_the_others(
    service, half_sent, copy
):
    copy("copy")
    resume = [lambda: resume_jobs(clock=Clock())]
    service.release()
    resume[0]()
    run_and_check(opened(samples_per_job=2))
    copy("runs", make=False)
    resume[0]()
    run_and_check(opened(samples_per_job=2))
    # The part that was sent before the copy is used by both; the other was paid by each, under its own tag.
    assert [job["status"] for job in service.jobs()] == ["Completed"] * 3
    assert set(service.submissions().values()) == {1}
    assert not [row for row in list_jobs() if row.state == "extra"]


def test_a_copy_takes_what_the_original_has_sent_meanwhile(service, half_sent, copy):
    copy("copy")
    copy("runs", make=False)
    service.release()
    resume_jobs(clock=Clock())
    copy("copy", make=False)
    resume_jobs(clock=Clock())
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(service, jobs=2)


@pytest.mark.parametrize("lost", ["reply_lost", "submit_dropped"])
def test_a_submission_whose_end_nobody_saw_is_found_by_both_or_sent_under_two_tags(service, copy, lost):
    service.fault(lost)
    with pytest.raises(JobError):
        opened(patience_seconds=0, settle_seconds=0).send(*points())
    copy("copy")
    for name in ("copy", "runs"):
        copy(name, make=False)
        clock = Clock()
        clock.sleep(60)
        resume_jobs(clock=clock)
        run_and_check(opened(clock))
    assert set(service.submissions().values()) == {1}
    assert len(service.jobs()) == (1 if lost == "reply_lost" else 2)
    assert {job["status"] for job in service.jobs()} == {"Completed"}


def test_a_copy_does_not_cancel_a_job_of_the_original_unasked(service, half_sent, copy):
    copy("copy")
    sent = next(row for row in list_jobs() if row.state == "sent")
    assert "copied from" in sent.message
    with pytest.raises(ConfigError, match=r"must not be cancelled unasked.*--yes"):
        cancel_jobs(sent.job_id)
    assert [job["status"] for job in service.jobs()] == ["Queued"]
    discard_jobs(sent.tag)
    assert next(row.state for row in list_jobs() if row.tag == sent.tag) == "discarded"
    assert [job["status"] for job in service.jobs()] == ["Queued"]
    copy("runs", make=False)
    cancel_jobs(sent.job_id)
    assert [job["status"] for job in service.jobs()] == ["Cancelled"]


def test_a_copy_cancels_a_job_of_the_original_when_asked_to(service, half_sent, copy):
    copy("copy")
    sent = next(row for row in list_jobs() if row.state == "sent")
    (row,) = [each for each in cancel_jobs(sent.job_id, others=True) if each.job_id == sent.job_id]
    assert row.state == "cancelled"
    assert [job["status"] for job in service.jobs()] == ["Cancelled"]


def test_jobs_from_before_instances_were_distinguished_are_not_taken_for_doubles(service, half_sent, study):
    connection = sqlite3.connect(Journal().path)
    connection.execute("UPDATE parts SET owner = NULL")
    connection.commit()
    service.release()
    resume_jobs(clock=Clock())
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(service, jobs=2)


def test_a_backup_that_was_put_back_finds_what_was_sent_since(service, half_sent, study, monkeypatch):
    # The file is another one, but a file system may give it the inode of the one that is gone.
    connection = sqlite3.connect(Journal().path)
    before = list(connection.execute("SELECT * FROM parts"))
    service.release()
    resume_jobs(clock=Clock())
    assert len(service.jobs()) == 2
    connection.execute("DELETE FROM parts")
    connection.executemany(f"INSERT INTO parts VALUES ({', '.join('?' * len(before[0]))})", before)
    connection.commit()
    assert sorted(row.state for row in list_jobs()) == ["planned", "sent"]
    resume_jobs(clock=Clock())
    run_and_check(opened(samples_per_job=2))
    check_each_sent_once(service, jobs=2)


def test_a_planned_part_of_another_instance_cannot_be_claimed(service, half_sent, copy):
    copy("copy")
    planned = next(part for part in Journal().parts() if part.state == "planned")
    assert not Journal().claim(planned.tag, 1.0, instance="crn:v1:a", qubits=[0])
    assert Journal().part(planned.tag).state == "planned"


def test_a_journal_on_another_machine_is_another_instance(study, monkeypatch):
    first = Journal().instance
    monkeypatch.setattr(journal_module.socket, "gethostname", lambda: "another")
    other = Journal().instance
    assert other != first
    assert Journal().instance == other
    monkeypatch.undo()


# A question that was asked when circuits had other fingerprints.


def test_a_program_is_known_by_what_earlier_formats_called_it():
    ansatz = build(AnsatzSpec(depth=1))
    assert fingerprints(ansatz) == (program_digest(ansatz), _fingerprint_of_format_1(ansatz))


def test_an_answer_that_was_paid_under_the_earlier_fingerprint_is_not_paid_again(service, monkeypatch):
    ansatz = small_ansatz()
    with monkeypatch.context() as patch:
        # As the version of format 1 wrote it.
        patch.setattr(
            "qhq.backends.ibm.executor.fingerprints", lambda each: (_fingerprint_of_format_1(each),)
        )
        old = opened(ansatz=ansatz)
        values = run_and_check(old)
    again = opened(ansatz=small_ansatz())
    assert (again.expectations(*points()) == values).all()
    assert again.report().job_ids == old.report().job_ids
    assert again.forecast(4, *points()).jobs == 1
    assert opened().forecast(4, *points()).jobs == 0
    check_each_sent_once(service)


# What is still to be paid, and what the service is allowed to take.


def test_a_forecast_leaves_out_what_the_journal_holds(service, half_sent):
    before = opened(samples_per_job=2, seed=1).forecast(4, *points())
    after = opened(samples_per_job=2).forecast(4, *points())
    assert (before.jobs, before.held_samples, before.spent_seconds) == (2, 0, 0.0)
    assert (after.jobs, after.held_samples) == (1, 2)
    assert after.qpu_seconds == pytest.approx(before.qpu_seconds / 2)
    # The job that is out may take what it was given.
    assert after.spent_seconds == Journal().parts()[0].limit_seconds == 30
    assert (before.most_seconds, after.most_seconds) == (60, 30)
    service.release()
    resume_jobs(clock=Clock())
    done = opened(samples_per_job=2).forecast(4, *points())
    assert (done.jobs, done.qpu_seconds, done.refusal, done.held_samples) == (0, 0, None, 4)
    assert done.spent_seconds == sum(job["seconds"] for job in service.jobs())


def test_all_jobs_together_are_stopped_within_the_cap(service):
    service.hold()
    executor = opened(samples_per_job=1, max_qpu_seconds=50)
    executor.send(*points())
    limits = [job["limit_seconds"] for job in service.jobs()]
    assert limits == [12, 12, 13, 13]
    assert [part.limit_seconds for part in Journal().parts()] == limits
    service.release()
    run_and_check(executor)


def test_a_device_without_a_cap_is_given_no_limit(service):
    run_and_check(opened(max_qpu_seconds=None))
    assert service.jobs()[0]["limit_seconds"] is None
    assert opened(max_qpu_seconds=None, seed=1).forecast(4, *points()).most_seconds is None

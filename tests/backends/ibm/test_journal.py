"""The journal: written before anything is sent, one transaction a step, safe between processes."""

import json
import sqlite3
import threading
from dataclasses import asdict

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.ibm import IBMSpec
from qhq.backends.ibm.jobs import discard_jobs, list_jobs
from qhq.backends.ibm.journal import MOST_LOCKED, Journal, in_run
from qhq.backends.ibm.records import (
    MIGRATIONS,
    LaidOut,
    PubRequest,
    RequestPart,
    pack_program,
    pack_values,
    question_key,
    spec_json,
)
from qhq.backends.ibm.waiting import talking
from qhq.errors import BackendError

from .cases import Clock, Heard, entry


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path)


def request(rows: int = 5, key: str = "question") -> PubRequest:
    angle = Parameter("theta_0")
    circuit = QuantumCircuit(5)
    circuit.rz(angle + 0.5, 3)
    observables = (SparsePauliOp("ZIIII"), SparsePauliOp(["XIIII", "IIIIY"], [0.5, -2.0]))
    program = LaidOut(circuit, ("theta_0",), observables, 2, (3, 4), "2026-01-02", 2, 1e-6, 3e-4)
    return PubRequest(key, entry(), program, np.arange(rows, dtype=float)[:, None])


def claim(journal: Journal, part: RequestPart, now: float) -> bool:
    return journal.claim(part.tag, now, instance="crn:v1:a", qubits=[3, 4])


def states(journal: Journal) -> list[str]:
    return [part.state for part in journal.parts()]


def test_a_request_comes_back_as_it_was_planned(journal):
    wanted = request()
    journal.plan(wanted, 2, now=1.0)
    found = journal.request(wanted.key)
    assert (found.key, found.spec) == (wanted.key, wanted.spec)
    np.testing.assert_array_equal(found.values, wanted.values)
    for name in ("parameters", "qubits", "layout", "calibration", "settings", "gate_seconds", "idle_seconds"):
        assert getattr(found.program, name) == getattr(wanted.program, name)
    observables = found.program.observables, wanted.program.observables
    assert all(one.equiv(other) for one, other in zip(*observables, strict=True))
    assert found.program.circuit.num_qubits == 5
    np.testing.assert_allclose(float(found.program.circuit.data[0].params[0].bind({
        found.program.circuit.parameters[0]: 1.0})), 1.5)  # fmt: skip


def test_parts_cover_the_rows_once_under_tags_of_their_own(journal):
    journal.plan(request(), 2, now=1.0)
    assert [(part.start, part.stop) for part in journal.parts("question")] == [(0, 2), (2, 4), (4, 5)]
    assert len({part.tag for part in journal.parts()}) == 3
    assert all(part.tag.startswith("qhq-") for part in journal.parts())


def test_planning_again_changes_nothing(journal):
    journal.plan(request(), 2, now=1.0)
    before = journal.parts()
    journal.plan(request(), 3, now=2.0)
    assert journal.parts() == before


def test_a_part_goes_one_way(journal):
    journal.plan(request(), 5, now=1.0)
    (part,) = journal.parts()
    journal.sent(part.tag, "too early", 2.0)
    assert states(journal) == ["planned"]
    assert (claim(journal, part, 2.0), claim(journal, part, 2.0)) == (True, False)
    journal.unclaim(part.tag, 3.0)
    assert claim(journal, part, 4.0)
    assert journal.part(part.tag).measured == [3, 4]
    journal.sent(part.tag, "job", 5.0)
    journal.unclaim(part.tag, 6.0)
    assert (states(journal), journal.part(part.tag).changed) == (["sent"], 5.0)
    journal.store(part.tag, "raw", 7.0)
    journal.store(part.tag, "other", 8.0)
    assert not journal.end(part, "failed", "too late", 9.0)
    assert not journal.end(journal.part(part.tag), "failed", "too late", 9.0)
    assert (states(journal), journal.raw(part.tag)) == (["stored"], "raw")


def test_ended_parts_are_renewed_under_another_tag_and_the_rest_is_not(journal):
    journal.plan(request(4), 2, now=1.0)
    first, second = journal.parts()
    for part in (first, second):
        claim(journal, part, 2.0)
        journal.sent(part.tag, f"job {part.start}", 3.0)
    journal.end(journal.part(first.tag), "cancelled", "by hand", 4.0)
    journal.store(second.tag, "raw", 4.0)
    journal.renew("question", 5.0)
    journal.renew("question", 6.0)
    renewed, kept = journal.parts("question")
    assert (renewed.start, renewed.stop, renewed.state, kept) == (0, 2, "planned", journal.part(second.tag))
    assert renewed.tag != first.tag


def test_a_split_is_there_whole_and_what_was_spent_is_kept(journal):
    journal.plan(request(5), 5, now=1.0)
    (part,) = journal.parts()
    journal.add_usage(part.tag, 2.5)
    journal.split(part, 2.0)
    journal.split(part, 3.0)
    assert [(each.start, each.stop) for each in journal.parts("question")] == [(0, 2), (2, 5)]
    assert journal.spent("question") == 2.5


def test_a_transaction_that_breaks_leaves_nothing(journal, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_add_part", stop)
        with pytest.raises(KeyboardInterrupt):
            journal.plan(request(), 2, now=1.0)
    assert journal.origins() == {}
    journal.plan(request(), 2, now=1.0)
    assert len(journal.parts()) == 3


def test_the_run_is_that_in_which_a_request_was_planned(journal):
    with in_run("20260101-000000"):
        journal.plan(request(key="one"), 5, now=1.0)
    journal.plan(request(key="other"), 5, now=1.0)
    origins = journal.origins()
    assert (origins["one"].run, origins["other"].run) == ("20260101-000000", "")
    assert (origins["one"].backend, origins["one"].shots) == ("ibm_manila", 256)


def test_one_of_many_claims_wins(tmp_path):
    Journal(tmp_path).plan(request(), 5, now=1.0)
    (part,) = Journal(tmp_path).parts()
    won: list[bool] = []

    def race() -> None:
        won.append(claim(Journal(tmp_path), part, 2.0))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


def test_all_files_belong_to_the_user_alone(tmp_path, journal):
    journal.plan(request(), 5, now=1.0)
    with journal.sending("ibm_manila"):
        files = list(tmp_path.iterdir())
    assert len(files) == 4
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_broken_journal_is_said(tmp_path):
    (tmp_path / ".jobs.sqlite").write_text("no database " * 100)
    with pytest.raises(BackendError, match=r"nothing is sent without it.*not a database.*QHQ_RUNS_DIR"):
        Journal(tmp_path)


def test_a_journal_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BackendError, match="nothing is sent without it"):
        Journal(tmp_path / "file")


def test_a_journal_that_fails_later_is_said(journal):
    journal.close()
    with pytest.raises(BackendError, match="nothing is sent without it"):
        journal.parts()
    with pytest.raises(BackendError, match="nothing is sent without it"):
        journal.claim("tag", 1.0, instance="", qubits=[])
    assert issubclass(sqlite3.ProgrammingError, sqlite3.Error)


def test_a_question_is_what_is_asked_not_how_it_is_waited_for():
    values = np.ones((2, 3))
    key = question_key(entry(), "circuit", 0, 1, values)
    waits = {"poll_seconds": 1, "max_qpu_seconds": 5, "tags": ["a"], "samples_per_job": 2, "training": True}
    assert question_key(entry(**waits), "circuit", 0, 1, values) == key
    others = [
        question_key(entry(shots=300), "circuit", 0, 1, values),
        question_key(entry(resilience_level=1), "circuit", 0, 1, values),
        question_key(entry(name="ibm_fez"), "circuit", 0, 1, values),
        question_key(entry(), "other", 0, 1, values),
        question_key(entry(), "circuit", 1, 1, values),
        question_key(entry(), "circuit", 0, 2, values),
        question_key(entry(), "circuit", 0, 1, values + 1e-9),
        question_key(entry(), "circuit", 0, 1, values.reshape(3, 2)),
    ]
    assert len({key, *others}) == 9


def test_questions_that_were_paid_for_keep_their_keys():
    """By them results in the journal are found; they hold the fields of an entry in their order."""
    spec = IBMSpec(kind="ibm", name="ibm_fez", shots=300, zne={"enable": "on"}, transpile={"layout": [1, 2]})
    key = question_key(spec, "circuit", 2, 7, np.arange(6.0).reshape(2, 3))
    assert key == "1d96bac3f83b12b3c3c4c35906ed6e2dd82505b81cbe42a2112fa62766d75f40"


# What another version of qhq, or a damage, left in the file.


def old_journal(folder):
    """A journal as it was before versions were counted, with one job whose result is stored and one sent."""
    connection = sqlite3.connect(folder / ".jobs.sqlite")
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    circuit, program = pack_program(request().program)
    spec = spec_json(entry()).replace('"kind"', '"field_of_tomorrow": 3, "kind"')
    program = program.replace('"fingerprint": "", ', "").replace(', "fingerprint": ""', "")
    row = ["question", "run", "ibm_manila", spec, circuit, program, pack_values(request().values), 1.0]
    connection.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    columns = "tag, key, start, stop, state, job_id, created, changed, raw"
    for tag, start, state, raw in (("qhq-a", 0, "stored", "raw"), ("qhq-b", 2, "sent", None)):
        values = [tag, "question", start, start + 2, state, f"job {tag}", 1.0, 2.0, raw]
        connection.execute(f"INSERT INTO parts ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.commit()
    connection.close()


def test_a_journal_of_an_older_version_is_brought_to_this_one(tmp_path):
    old_journal(tmp_path)
    journal = Journal(tmp_path)
    assert states(journal) == ["stored", "sent"]
    assert journal.raw("qhq-a") == "raw"
    assert (journal.request("question").spec, journal.request("question").program.fingerprint) == (
        entry(),
        "",
    )
    assert not journal.is_newer
    journal.store("qhq-b", "other", 3.0)
    assert states(Journal(tmp_path)) == ["stored", "stored"]


def test_many_processes_migrate_a_journal_once(tmp_path):
    old_journal(tmp_path)
    threads = [threading.Thread(target=Journal, args=(tmp_path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(Journal(tmp_path)) == ["stored", "sent"]


def test_a_journal_of_a_newer_version_is_listed_with_a_word(tmp_path):
    Journal(tmp_path).plan(request(), 5, now=1.0)
    connection = sqlite3.connect(tmp_path / ".jobs.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.execute("ALTER TABLE parts ADD COLUMN tomorrow TEXT")
    connection.execute("ALTER TABLE requests ADD COLUMN tomorrow TEXT")
    connection.close()
    journal = Journal(tmp_path)
    assert journal.is_newer
    assert [row.state for row in list_jobs(journal)] == ["planned"]
    journal.plan(request(key="another"), 5, now=1.0)
    assert len(list_jobs(journal)) == 2


DAMAGE = {
    "a state of tomorrow": "UPDATE parts SET state = 'paused' WHERE tag = ?",
    "rows that are words": "UPDATE parts SET start = 'abc' WHERE tag = ?",
    "rows that end before they start": "UPDATE parts SET stop = -1 WHERE tag = ?",
    "no time": "UPDATE parts SET created = NULL WHERE tag = ?",
    "a time far away": "UPDATE parts SET changed = 1e300 WHERE tag = ?",
    "a time that is a word": "UPDATE parts SET changed = 'today' WHERE tag = ?",
    "a bill that is a word": "UPDATE parts SET qpu_seconds = 'much' WHERE tag = ?",
    "bytes for a message": "UPDATE parts SET message = x'fffe00' WHERE tag = ?",
    "bytes for a key": "UPDATE parts SET key = x'ff' WHERE tag = ?",
    "text that is no text": "UPDATE parts SET message = CAST(x'fffe41' AS TEXT) WHERE tag = ?",
    "no job": "UPDATE parts SET job_id = x'00' WHERE tag = ?",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_damaged_row_hides_no_other(journal, tmp_path, damage):
    journal.plan(request(4), 2, now=1.0)
    first, second = journal.parts()
    connection = sqlite3.connect(tmp_path / ".jobs.sqlite")
    connection.execute(DAMAGE[damage], [first.tag])
    connection.commit()
    rows = list_jobs(journal)
    assert len(rows) == 2
    assert second.tag in [row.tag for row in rows if row.state == "planned"]
    (other,) = [row for row in rows if row.tag != second.tag]
    if other.state == "damaged":
        assert (first.tag in (other.tag, "") and "cannot be read" in other.message) or other.tag == first.tag
    json.dumps([asdict(row) for row in rows], allow_nan=False)


REQUESTS = {
    "no JSON": "UPDATE requests SET spec = '{' WHERE key = ?",
    "another kind": """UPDATE requests SET spec = '{"kind": "laser"}' WHERE key = ?""",
    "a word for the shots": """UPDATE requests SET spec = '{"kind": "ibm", "shots": "many"}' WHERE key = ?""",
    "a damaged circuit": "UPDATE requests SET circuit = x'00ff' WHERE key = ?",
    "no circuit": "UPDATE requests SET circuit = NULL WHERE key = ?",
    "a damaged program": "UPDATE requests SET program = '[]' WHERE key = ?",
    "damaged values": "UPDATE requests SET input = x'93' WHERE key = ?",
    "bytes for a run": "UPDATE requests SET run = x'ff' WHERE key = ?",
    "nothing": "DELETE FROM requests WHERE key = ?",
}


@pytest.mark.parametrize("damage", REQUESTS)
def test_a_damaged_request_is_listed_and_said_when_it_is_needed(journal, tmp_path, damage):
    journal.plan(request(4), 4, now=1.0)
    journal.plan(request(2, key="good"), 4, now=2.0)
    connection = sqlite3.connect(tmp_path / ".jobs.sqlite")
    connection.execute(REQUESTS[damage], ["question"])
    connection.commit()
    assert sorted(row.samples for row in list_jobs(journal)) == [2, 4]
    assert len(journal.request("good").values) == 2
    if damage != "bytes for a run":
        with pytest.raises(BackendError, match=r"must be readable.*jobs discard"):
            journal.request("question")
    tag = next(row.tag for row in list_jobs(journal) if row.samples == 4)
    assert discard_jobs(tag, journal=journal, clock=Clock())[0].state == "discarded"


def test_a_damaged_page_hides_only_what_stands_on_it(tmp_path):
    journal = Journal(tmp_path)
    journal.plan(request(300), 1, now=1.0)
    journal.close()
    file = tmp_path / ".jobs.sqlite"
    content = bytearray(file.read_bytes())
    # A leaf page of the table: most rows stand on others.
    place = content.rindex(b"qhq-") // 4096 * 4096
    content[place : place + 4096] = b"\xff" * 4096
    file.write_bytes(content)
    rows = list_jobs(Journal(tmp_path))
    assert len(rows) > 100
    assert {row.state for row in rows} <= {"planned", "damaged"}


def test_a_locked_file_is_waited_for_aloud_and_what_holds_it_is_reported(journal, tmp_path, monkeypatch):
    journal.plan(request(), 5, now=1.0)
    monkeypatch.setattr("qhq.backends.ibm.journal.LOCKED_SECONDS", 0.0)
    second, heard = Journal(tmp_path), Heard()
    (part,) = second.parts()
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with talking(heard), pytest.raises(BackendError, match="another process|holds it"):
        claim(second, part, 2.0)
    assert len(heard.waited) == MOST_LOCKED - 1
    other.execute("COMMIT")
    assert claim(second, part, 2.0)


def test_what_another_process_sent_meanwhile_is_not_given_up(journal, tmp_path):
    journal.plan(request(), 5, now=1.0)
    (seen,) = journal.parts()
    claim(Journal(tmp_path), seen, 2.0)
    assert not journal.end(seen, "discarded", "given up", 3.0)
    assert states(journal) == ["sending"]


def test_a_clock_that_was_set_back_makes_a_part_wait_anew_and_not_for_ever(journal):
    journal.plan(request(), 5, now=1000.0)
    (part,) = journal.parts()
    claim(journal, part, 1000.0)
    assert journal.waited(journal.part(part.tag), 1030.0) == 30.0
    assert journal.waited(journal.part(part.tag), 400.0) == 0.0
    assert journal.waited(journal.part(part.tag), 425.0) == 25.0

"""Worker processes: every piece of work once, whoever dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from qhq.errors import BackendError, DataError
from qhq.studies.runner import local
from qhq.studies.runner.local import LocalWorkers, start_quietly


def double(number: int) -> int:
    return 2 * number


def die_once(item: tuple[str, int]) -> int:
    """Die without a word the first time."""
    marker, number = Path(item[0]) / str(item[1]), item[1]
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number: int) -> int:
    raise DataError("Numbers must please", got=str(number), fix="Take another")


@pytest.mark.parametrize("count", [1, 2])
def test_each_result_comes_with_its_index_call_after_call(count):
    notes: list[str] = []
    with LocalWorkers(count, notes.append) as workers:
        for items in ([3, 1, 2], [5], []):
            assert sorted(workers.run(double, items)) == sorted((each, 2 * each) for each in items)
    # Processes take seconds to start, and say so once.
    assert [note.split()[0] for note in notes] == ["Starting"] * (count > 1)


def test_the_work_of_a_dead_worker_is_done_again_and_nothing_twice(tmp_path):
    notes: list[str] = []
    with LocalWorkers(2, notes.append) as workers:
        items = [(str(tmp_path), number) for number in range(6)]
        results = list(workers.run(die_once, items))
    assert sorted(results) == [(item, item[1]) for item in items]
    died = [note for note in notes if not note.startswith("Starting")]
    assert len(died) == 1
    assert "A worker died" in died[0]


def test_workers_that_always_die_are_given_up():
    with LocalWorkers(2, lambda _: None) as workers, pytest.raises(BackendError, match="one after the other"):
        list(workers.run(die, [1, 2]))


def test_an_error_reaches_the_caller():
    with LocalWorkers(2, lambda _: None) as workers, pytest.raises(DataError, match="Numbers must please"):
        list(workers.run(refuse, [1, 2]))


def test_work_is_taken_as_workers_are_ready_for_it():
    taken: list[int] = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    with LocalWorkers(2, lambda _: None) as workers:
        results = workers.run(double, items())
        next(results)
        assert len(taken) <= 6
        assert len(list(results)) == 19


def _surroundings(name: str) -> tuple[str | None, str, str | None]:
    return os.environ.get(name), str(Path.cwd()), os.environ.get("OMP_NUM_THREADS")


def test_workers_have_the_environment_and_the_folder_of_the_moment(tmp_path, monkeypatch):
    # Whoever forks them was perhaps started long ago, elsewhere.
    for value in ("one", "two"):
        folder = tmp_path / value
        folder.mkdir()
        # Nothing in a folder of the user's is imported in the place of a library.
        (folder / "torch.py").write_text("raise SystemExit('not the library')")
        monkeypatch.chdir(folder)
        monkeypatch.setenv("QHQ_RUNS_DIR", value)
        with LocalWorkers(2, lambda _: None) as workers:
            found = [seen for _, seen in workers.run(_surroundings, ["QHQ_RUNS_DIR"])]
        assert found == [(value, str(folder), "1")]


_WHILE_STARTING: list[bool] = []


def _holds_interrupts() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


class _Probe:
    """Looks at the mask where a worker reads what it begins with, as early as its imports."""

    def __call__(self) -> None:
        """A pool asks for something that can be called; a worker gets another one."""

    def __reduce__(self):
        return _note_mask, ()


def _note_mask() -> Callable[[], None]:
    _WHILE_STARTING.append(_holds_interrupts())
    return start_quietly


def _masks(_: int) -> tuple[bool, bool]:
    return _WHILE_STARTING[0], _holds_interrupts()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks on Windows")
def test_an_interruption_waits_until_a_worker_can_end_without_a_traceback(monkeypatch):
    monkeypatch.setattr(local, "start_quietly", _Probe())
    with LocalWorkers(2, print) as workers:
        found = [masks for _, masks in workers.run(_masks, [0, 1])]
    assert found == [(True, False)] * 2
    assert not _holds_interrupts()

import os

import numpy as np
import pytest

from qhq.engine import threads
from qhq.engine.compiled import announced, entry

from .circuits import ring_problem


@pytest.mark.parametrize(
    ("asked", "variable", "cores", "expected"),
    [
        (None, "", 4, 4),
        (None, "2", 4, 2),
        (3, "2", 4, 3),
        (9, "", 4, 4),
        (None, "many", 2, 2),
        (None, "0", 2, 1),
    ],
)
def test_threads_are_bounded(monkeypatch, asked, variable, cores, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(threads, "available_cores", lambda: cores)
    assert threads.bounded_threads(asked) == expected


def test_an_error_on_another_thread_reaches_the_caller():
    calls = []

    def kernel(k):
        calls.append(k)
        if k == 0:
            raise ValueError("spoiled")

    with pytest.raises(ValueError, match="spoiled"):
        threads._run_together(kernel, [(0,), (1,)])
    assert sorted(calls) == [0, 1]


def test_compiling_is_announced(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("qhq.engine.compiled._CACHE", str(tmp_path))
    kernel = entry(lambda number: number + 1)
    with announced():
        assert kernel(1) == 2
        assert kernel(2) == 3
    assert capsys.readouterr().err.count("compiling the exact engine") == 1


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch):
    monkeypatch.setattr("qhq.engine.compiled._CACHE", os.devnull)
    assert entry(lambda number: number + 2)(1) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes(monkeypatch):
    from qhq.engine.adjoint import StatevectorEngine

    monkeypatch.setattr("qhq.engine.adjoint._ROWS_PER_THREAD", 1)
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    problem = ring_problem(3, 1)
    engine = StatevectorEngine(
        problem.circuit, problem.observables, problem.inputs, problem.weights, threads=2
    )
    numbers = problem.numbers(np.random.default_rng(1), 40)
    expected = engine.expectations(*numbers)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(engine.expectations(*numbers), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

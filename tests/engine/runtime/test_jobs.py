import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numba
import numpy as np
import pytest

from qhq.engine.runtime import jobs
from qhq.engine.runtime.jobs import _SPIN_NS, _WorkerPool
from tests.engine.circuits import ring_problem


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
    monkeypatch.setattr(jobs, "_available_cores", lambda: cores)
    assert jobs.bounded_threads(asked) == expected


def _engine(monkeypatch, cores=2):
    from qhq.engine import StatevectorEngine

    monkeypatch.setattr("qhq.engine.runtime.statevector._ROWS_PER_THREAD", 1)
    monkeypatch.setattr(jobs, "_available_cores", lambda: cores)
    problem = ring_problem(3, 1)
    engine = StatevectorEngine(
        problem.circuit, problem.observables, problem.inputs, problem.weights, threads=cores
    )
    return engine, problem.numbers(np.random.default_rng(1), 40)


def _workers():
    return [worker for pool in jobs._pools.values() for worker in pool._all]


def _wait_until(true):
    """Wait for a thread; one that never comes meets the time limit of every test."""
    while not true():
        sleep(0.002)


def test_an_error_on_another_thread_reaches_the_caller():
    def spoiled(boards):
        raise ValueError("spoiled")

    pool = _WorkerPool(spoiled)
    (worker,) = pool.claim(1, 1)
    _wait_until(lambda: worker._error is not None)
    with pytest.raises(ValueError, match="spoiled"):
        jobs._run_together(lambda *_: None, (), [worker])
    assert worker.release() is None
    pool.shut_down()


def test_an_error_on_the_callers_thread_frees_the_workers(monkeypatch):
    engine, numbers = _engine(monkeypatch)
    expected = engine.expectations(*numbers)
    idle = [len(pool._idle) for pool in jobs._pools.values()]

    def spoiled(*_):
        raise ValueError("spoiled")

    with monkeypatch.context() as patch:
        patch.setitem(jobs._entries, np.dtype(np.float64), spoiled)
        with pytest.raises(ValueError, match="spoiled"):
            engine.expectations(*numbers)
    assert [len(pool._idle) for pool in jobs._pools.values()] == idle
    assert np.array_equal(engine.expectations(*numbers), expected)


def test_an_idle_worker_sleeps_and_wakes(monkeypatch):
    engine, numbers = _engine(monkeypatch)
    expected = engine.expectations(*numbers)
    for _ in range(20):
        _wait_until(lambda: all(worker.asleep for worker in _workers()))
        assert np.array_equal(engine.expectations(*numbers), expected)
    _wait_until(lambda: all(worker.asleep for worker in _workers()))


def test_steps_around_the_time_that_a_worker_spins(monkeypatch):
    engine, numbers = _engine(monkeypatch)
    expected = engine.expectations(*numbers)
    for k in range(400):  # an order now and then meets a worker on its way to sleep
        sleep(_SPIN_NS * 1e-9 * (k % 40) / 20)
        assert np.array_equal(engine.expectations(*numbers), expected)


@pytest.mark.parametrize("cores", [2, 4])
def test_concurrent_callers(monkeypatch, cores):
    engine, (inputs, weights) = _engine(monkeypatch, cores)
    cases = [inputs + k for k in range(4)]
    cotangent = np.ones((40, engine.tape.num_observables))
    expected = [engine.vjp(case, weights, cotangent) for case in cases]

    def call(k):
        for _ in range(100):
            for got, true in zip(engine.vjp(cases[k], weights, cotangent), expected[k], strict=True):
                assert np.array_equal(got, true)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))
    assert all(len(pool._all) <= 3 for pool in jobs._pools.values())


def test_without_workers_the_caller_does_all_spans(monkeypatch):
    engine, numbers = _engine(monkeypatch)
    expected = engine.expectations(*numbers)
    monkeypatch.setattr(_WorkerPool, "claim", lambda self, count, most: [])
    assert np.array_equal(engine.expectations(*numbers), expected)


def test_no_more_threads_is_no_error(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("qhq.engine.runtime.jobs._Worker.start", refuse)
    assert _WorkerPool(lambda boards: None).claim(2, 3) == []


def test_a_stand_in_for_a_job_has_its_type(monkeypatch):
    engine, numbers = _engine(monkeypatch)
    seen = []
    monkeypatch.setattr(
        "qhq.engine.runtime.statevector.run_job", lambda job: (seen.append(job), jobs.run_job(job))
    )
    engine.vjp(*numbers, np.ones((40, engine.tape.num_observables)))
    for job in seen:
        assert numba.typeof(jobs._hollow(job)) == numba.typeof(job)


def test_the_interpreter_ends_with_a_worker_awake():
    code = (
        "import numpy as np\n"
        "from qhq.engine.runtime import statevector, jobs\n"
        "from tests.engine.circuits import ring_problem\n"
        "statevector._ROWS_PER_THREAD, jobs._available_cores = 1, lambda: 2\n"
        "p = ring_problem(3, 1)\n"
        "e = statevector.StatevectorEngine(p.circuit, p.observables, p.inputs, p.weights, threads=2)\n"
        "for _ in range(50): e.expectations(*p.numbers(np.random.default_rng(1), 40))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, "Fatal" in done.stderr) == (0, False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes():
    # In a process of its own: a child of pytest that fails would go on as a second pytest, and answer the
    # first one's coordinator in its name.
    code = (
        "import os\n"
        "import numpy as np\n"
        "from qhq.engine.runtime import statevector, jobs\n"
        "from tests.engine.circuits import ring_problem\n"
        "statevector._ROWS_PER_THREAD, jobs._available_cores = 1, lambda: 2\n"
        "p = ring_problem(3, 1)\n"
        "e = statevector.StatevectorEngine(p.circuit, p.observables, p.inputs, p.weights, threads=2)\n"
        "numbers = p.numbers(np.random.default_rng(1), 40)\n"
        "expected = e.expectations(*numbers)\n"
        "child = os.fork()\n"
        "same = all(np.array_equal(e.expectations(*numbers), expected) for _ in range(20))\n"
        "if child == 0:\n"
        "    workers = sum(len(pool._all) for pool in jobs._pools.values())\n"
        "    os._exit(0 if same and workers == 1 else 1)\n"
        "assert same and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

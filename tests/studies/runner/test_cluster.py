"""A Dask cluster on the loopback: the same verb, the same results."""

from __future__ import annotations

import os
import signal
import threading
import warnings

import distributed
import pytest

from qhq.errors import BackendError
from qhq.studies.runner.cluster import ClusterWorkers
from tests.studies.runner.test_local import die_once, double

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def address():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster:
            yield cluster.scheduler_address


def test_each_result_comes_with_its_index_call_after_call(address):
    with ClusterWorkers(address, lambda _: None) as workers:
        for items in ([3, 1, 2], [5, 5], []):
            assert sorted(workers.run(double, items)) == sorted((each, 2 * each) for each in items)


def test_the_work_of_a_dead_worker_is_done_again_and_nothing_twice(address, tmp_path):
    with ClusterWorkers(address, lambda _: None) as workers:
        items = [(str(tmp_path), number) for number in range(6)]
        results = list(workers.run(die_once, items))
    assert sorted(results) == [(item, item[1]) for item in items]


def test_a_result_lost_with_the_worker_that_kept_it_is_computed_again(address):
    with ClusterWorkers(address, lambda _: None) as workers:
        done, lost = watch(workers, "key-in-memory"), watch(workers, "lost-data")
        results = workers.run(double, [3, 4])
        first = next(results)
        while not all(future.done() for future in list(workers.client.futures.values())):
            assert done.wait(60)
            done.clear()
        for pid in workers.client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        assert lost.wait(60)
        assert sorted([first, *results]) == [(3, 6), (4, 8)]


def watch(workers: ClusterWorkers, message: str) -> threading.Event:
    """Set when the scheduler has said so to the client."""
    came, handlers = threading.Event(), workers.client._stream_handlers
    handle = handlers[message]

    def handle_and_set(**content):
        handle(**content)
        came.set()

    handlers[message] = handle_and_set
    return came


def test_a_scheduler_that_is_gone_is_an_error():
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        ClusterWorkers(cluster.scheduler_address, lambda _: None) as workers,
    ):
        results = workers.run(double, [1, 2])
        next(results)
        workers.client._timeout = 0.1
        cluster.close()
        with pytest.raises(BackendError, match="must stay up"):
            list(results)


def test_nobody_at_the_address_is_an_error(monkeypatch):
    monkeypatch.setattr("qhq.studies.runner.cluster._PATIENCE", "1s")
    with pytest.raises(BackendError, match="running Dask scheduler"):
        ClusterWorkers("tcp://127.0.0.1:9", lambda _: None)


def test_rubbish_for_an_address_is_an_error():
    with pytest.raises(BackendError, match="running Dask scheduler"):
        ClusterWorkers("no address", lambda _: None)

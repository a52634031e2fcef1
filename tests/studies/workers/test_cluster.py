"""A Dask cluster on the loopback: the same verb, the same results."""

from __future__ import annotations

import warnings

import distributed
import pytest

from qhq.errors import BackendError
from qhq.studies.workers.cluster import ClusterWorkers
from tests.studies.workers.test_local import die_once, double

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
            assert dict(workers.run(double, items)) == {index: 2 * each for index, each in enumerate(items)}


def test_the_work_of_a_dead_worker_is_done_again_and_nothing_twice(address, tmp_path):
    with ClusterWorkers(address, lambda _: None) as workers:
        results = list(workers.run(die_once, [(str(tmp_path), number) for number in range(6)]))
    assert sorted(results) == [(number, number) for number in range(6)]


def test_nobody_at_the_address_is_an_error(monkeypatch):
    monkeypatch.setattr("qhq.studies.workers.cluster.PATIENCE", "1s")
    with pytest.raises(BackendError, match="running Dask scheduler"):
        ClusterWorkers("tcp://127.0.0.1:9", lambda _: None)


def test_rubbish_for_an_address_is_an_error():
    with pytest.raises(BackendError, match="running Dask scheduler"):
        ClusterWorkers("no address", lambda _: None)

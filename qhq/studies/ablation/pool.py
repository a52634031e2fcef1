"""Measuring cells in several processes, each on one thread, so that a cell's value is that of one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from qhq.data.prepare import prepare
from qhq.experiment.config import ExperimentConfig
from qhq.studies.ablation.cell import Bench, Cell, Values
from qhq.studies.workers.local import start_quietly

_OPENED: list[Bench] = []
"""The bench of a worker process; it cannot be sent with every cell."""


def measure_cells(bench: Bench, cells: Sequence[Cell], workers: int) -> Iterator[tuple[Cell, Values]]:
    """Measure cells and give each as it is done, in any order.

    Raises:
        QHQError: If a cell cannot be measured; the rest is given up.
    """
    workers = min(workers, len(cells))
    if workers < 2:
        yield from ((cell, bench.measure(cell)) for cell in cells)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_open, initargs=(bench.configs,)
    ) as pool:
        futures = {pool.submit(_measure, cell): cell for cell in cells}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _open(configs: dict[str, ExperimentConfig]) -> None:
    start_quietly()
    first = next(iter(configs.values()))
    _OPENED.append(Bench(configs, prepare(first.data)))


def _measure(cell: Cell) -> Values:
    return _OPENED[-1].measure(cell)

"""Measuring cells in several processes, each on one thread, so that a cell's value is that of one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qhq.data.prepare import prepare
from qhq.experiment.config import ExperimentConfig
from qhq.studies.ablation.cell import Bench, Cell, Values
from qhq.studies.runner.local import LocalWorkers, Note

_OPENED: list[Bench] = []
"""The bench of a worker process; it cannot be sent with every cell."""


def measure_cells(
    bench: Bench, cells: Sequence[Cell], workers: int, note: Note
) -> Iterator[tuple[Cell, Values]]:
    """Measure cells and give each as it is done, in any order.

    Args:
        bench: What all cells share.
        cells: What to measure.
        workers: Processes; with one, or one cell, this process does the work.
        note: Told when a worker died; what it was measuring is measured again.

    Raises:
        QHQError: If a cell cannot be measured, or workers keep dying; the rest is given up.
    """
    workers = min(workers, len(cells))
    if workers < 2:
        yield from ((cell, bench.measure(cell)) for cell in cells)
        return
    with LocalWorkers(workers, note, initializer=_open, initargs=(bench.configs,)) as pool:
        for index, values in pool.run(_measure, cells):
            yield cells[index], values


def _open(configs: dict[str, ExperimentConfig]) -> None:
    first = next(iter(configs.values()))
    _OPENED.append(Bench(configs, prepare(first.data)))


def _measure(cell: Cell) -> Values:
    return _OPENED[-1].measure(cell)

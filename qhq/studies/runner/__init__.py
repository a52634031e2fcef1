"""The runner of studies: one way to measure many cells.

A study says which cells it needs, how one is measured and what they mean (`Study`). `Runner` measures those
that are not in its `Store` yet, on processes of this machine (`LocalWorkers`) or a Dask cluster (`cluster`),
and tells a `StudyEvents` of them. `reproducible` has what makes a cell's values the same wherever it is
measured; it is not imported here, as it needs PyTorch.
"""

from qhq.studies.runner.local import LocalWorkers, Workers, check_workers, cores, open_workers
from qhq.studies.runner.study import Cell, MemoryStore, Outcome, Runner, Store, Study, StudyEvents, Values

__all__ = [
    "Cell",
    "LocalWorkers",
    "MemoryStore",
    "Outcome",
    "Runner",
    "Store",
    "Study",
    "StudyEvents",
    "Values",
    "Workers",
    "check_workers",
    "cores",
    "open_workers",
]

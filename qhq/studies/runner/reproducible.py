"""That a cell has the same values wherever it is measured: the same data, circuit and qhq, on one thread."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qhq import __version__
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.data.load import load_panel
from qhq.data.panel import Panel
from qhq.data.prepare import PreparedData, prepare
from qhq.data.spec import DataSpec
from qhq.data.split import folds_of, split_panel
from qhq.data.windows import Windows, arrange_rows, join_blocks
from qhq.errors import ConfigError, QHQError
from qhq.experiment.config import ExperimentConfig, QuantumSpec, naming_json
from qhq.experiment.opening import build_circuit

# Torch's seed and number of threads are the process's own: one training at a time, even if a worker of a
# cluster has several threads.
_ALONE = threading.Lock()


@dataclass(frozen=True)
class Fingerprints:
    """What a worker must have as the driver has it.

    Attributes:
        prices: Of the data.
        circuit: Of the circuit; None without one.
        qhq: Version.
    """

    prices: str
    circuit: str | None
    qhq: str = __version__

    @classmethod
    def of(cls, config: ExperimentConfig) -> Fingerprints:
        """Those of a config on this machine.

        Raises:
            QHQError: If data or circuit cannot be had.
        """
        quantum = config.quantum
        if quantum is None:
            circuit = None
        elif quantum.origin is not None or quantum.in_memory is not None:  # of which another may say the same
            circuit = ansatz_fingerprint(build_circuit(quantum))
        else:
            circuit = _circuit(quantum.model_dump_json())
        return cls(prepared(config.data).fingerprint, circuit)

    def require(self, config: ExperimentConfig) -> PreparedData:
        """The data of a config, if they and all else are here as the driver has them.

        Raises:
            QHQError: If they are not: then nothing that is measured here can be relied on.
        """
        self.match(Fingerprints.of(config))
        return prepared(config.data)

    def match(self, here: Fingerprints) -> None:
        """Refuse a worker that has something else.

        Raises:
            ConfigError: If one of them differs; says which.
        """
        for what, wanted in vars(self).items():
            seen = getattr(here, what)
            if seen != wanted:
                raise ConfigError(
                    f"A worker must have the driver's {what}",
                    got=f"{seen} on {platform.node()}, wanted {wanted}",
                    fix="Install the same qhq and lay out the same files where the workers run",
                )


def digest(config: ExperimentConfig) -> str:
    """Name of all that a training depends on besides its seed: config, prices, circuit, version; 10 letters.

    Of a config whose prices or circuit cannot be had, the config alone: its training will fail by itself.
    """
    seen: tuple[str | None, ...] = ()
    try:
        found = Fingerprints.of(config)
        seen = (found.prices, found.circuit)
    except QHQError:
        pass
    content: list[object] = [naming_json(config), seen, __version__]
    if seen:
        content += judged_by_symbol(prepared(config.data).test)
    if config.data.split.walks:  # of which earlier versions trained the first fold alone
        content.append("every fold")
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]


def judged_by_symbol(windows: Windows) -> list[str]:
    """What the name of a study's results holds besides, so that none of an earlier version is taken for one.

    Earlier versions judged by errors pooled over all symbols and targets, in which the dearest decides. Where
    there are several, what they kept is measured again; of a single one it is the same, and serves on.
    """
    several = len(windows.cut.targets) > 1 or len(np.unique(windows.group)) > 1
    return ["skill by symbol"] if several else []


def prepared(spec: DataSpec, *, anew: bool = False) -> PreparedData:
    """Prepare data, once for all cells of a process that ask for the same.

    Args:
        spec: What is asked for.
        anew: Whether files may have changed since this process last looked: so a driver begins.

    Raises:
        DataError: As of `prepare`.
    """
    if anew:
        _prepared.cache_clear()
        _loaded.cache_clear()
    # By its JSON: a spec may hold lists and mappings, which have no hash.
    return _prepared(spec.model_dump_json())


def loaded(spec: DataSpec, *, anew: bool = False) -> Panel:
    """Load a panel, once for all folds that a process trains one after another.

    Args:
        spec: What is asked for; of a walk-forward, whichever fold.
        anew: Whether files may have changed since this process last looked.

    Raises:
        DataError: As of `load_panel`.
    """
    if anew:
        _loaded.cache_clear()
    return _loaded(spec.with_fold(0).model_dump_json())


# A panel may take gigabytes, and a process works on one study at a time.
@lru_cache(maxsize=1)
def _loaded(spec: str) -> Panel:
    return load_panel(DataSpec.model_validate_json(spec))


def tested_windows(spec: DataSpec) -> Windows:
    """Every window that is forecast: of the test split, or of all blocks of a walk-forward.

    Raises:
        DataError: As of `prepare`.
    """
    if not spec.split.walks:
        return prepared(spec).test
    panel = arrange_rows(loaded(spec), spec)
    blocks = [split_panel(panel, spec.with_fold(fold)).test.windows for fold in folds_of(panel, spec)]
    return join_blocks(panel, blocks)[0]


# A stage of a sweep may vary the data, but each entry holds a whole panel with its windows.
@lru_cache(maxsize=8)
def _prepared(spec: str) -> PreparedData:
    return prepare(DataSpec.model_validate_json(spec))


@lru_cache(maxsize=1024)
def _circuit(spec: str) -> str:
    # As text, since a spec that can be cached by must be hashable.
    return ansatz_fingerprint(build_circuit(QuantumSpec.model_validate_json(spec)))


@contextmanager
def one_training() -> Iterator[None]:
    """Train alone in this process, and on one thread.

    Sums over threads depend on how many there are, and a result must not depend on the worker.
    """
    with _ALONE:
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before

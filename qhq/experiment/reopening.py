"""Opening what has been trained: a run is what its folder holds, or it is refused.

The design comes from the config in the folder, the circuit and the scalers from their files, and the prices
must be those that the run was made on: a run that opened on other data would forecast, and nobody would see
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qhq.ansatz.assemble import Ansatz
from qhq.ansatz.stored import load_built
from qhq.backends.backend import BackendSpec
from qhq.backends.registry import backend_from_record
from qhq.data.prepare import PreparedData, prepare
from qhq.data.scaling.affine import Scaler
from qhq.data.scaling.fit import StaticScaler, scaler_from_dict
from qhq.documents import read_plain
from qhq.errors import ConfigError, DataError
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.opening import Experiment, on_engine, on_training_backend
from qhq.paths import as_argument
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import FAILED, FINISHED, RunFolder
from qhq.runs.schema import OTHER_RUN
from qhq.training.checkpoint import load_weights


def open_run_experiment(folder: RunFolder) -> Experiment:
    """Open a run's experiment as it was designed, with fresh weights, ready to go on training.

    Circuit and backend entry come from the folder, not from ``circuits/`` and ``backends.yaml``, which
    may have changed since.

    Raises:
        QHQError: If the folder is damaged, or the prices are not those that the run was made for.
    """
    return replace(on_training_backend(*_read_design(folder)), design=read_plain(folder.config))


def _read_design(
    folder: RunFolder, data: PreparedData | None = None
) -> tuple[ExperimentConfig, PreparedData, Ansatz | None, BackendSpec]:
    config, record = load_config(str(folder.config)), folder.read_record()
    if data is None:
        data = _own_data(folder, config, record)
    ansatz = load_built(folder.circuit) if config.quantum else None
    return config, data, ansatz, backend_from_record(record.backend_entry, folder.name)


def _own_data(folder: RunFolder, config: ExperimentConfig, record: RunRecord) -> PreparedData:
    """The data that a run was made for, with its own scalers; anything else is refused."""
    known, fingerprint = record.data, record.prices()
    try:
        data = prepare(config.data)
    except DataError as error:
        raise _other_file(folder, config, error) from error
    if data.fingerprint != fingerprint:
        origin = config.data.path or f"source {config.data.source}"
        then = f", where the run had them to {known.last}" if known.last else ""
        ask = f"--data {as_argument(config.data.path)}" if config.data.path else "--data FILE"
        raise DataError(
            "A run must be continued and evaluated on exactly the prices that it was made for",
            got=f"other prices from {origin} than those of {folder.name}: rows to {data.span[1]}{then}",
            fix=f"Evaluate a finished run on the new prices with 'qhq eval {as_argument(folder.path)} {ask}',"
            " restore the old ones, or train again",
        )
    scaler, static = read_scalers(record)
    if (static is None) != (data.static is None):
        raise ConfigError(
            "run.json must hold the scaler of the static features, where the config has any",
            got=f"static_scaler: {record.static_scaler!r} in that of {record.run}",
            fix=OTHER_RUN,
        )
    # The same prices and config must give a scaler with the same fields, and arrays of the same length.
    if not _is_alike(scaler.to_dict(), data.scaler.to_dict()):
        raise ConfigError(
            "The scaler of a run must have the columns, and as many numbers, as its prices give",
            got=f"another in run.json of {record.run}",
            fix=OTHER_RUN,
        )
    # Its own numbers, not those just fitted: another version of NumPy may sum in another order, and a run
    # must forecast the same to the last digit.
    return replace(data, scaler=scaler, static=static)


def _is_alike(one: object, other: object) -> bool:
    """Whether two JSON values have the same keys, lengths and texts, whatever their numbers are."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_alike, one, other))
    return one == other if isinstance(one, str) else type(one) is type(other)


def read_scalers(record: RunRecord) -> tuple[Scaler, StaticScaler | None]:
    """The scalers of a run; the second is that of its static features, None without any.

    Raises:
        DataError: If one of them is not what its ``to_dict`` wrote.
    """
    static = None if record.static_scaler is None else StaticScaler.from_dict(record.static_scaler)
    return scaler_from_dict(record.scaler), static


def _other_file(folder: RunFolder, config: ExperimentConfig, error: DataError) -> DataError:
    """Say that a run's prices cannot be read, and nothing of what stands in their place."""
    if config.data.path is None:
        return error
    # A run folder of somebody else may name any file; no line of it belongs into a message or a log.
    return DataError(
        "A run must be continued and evaluated on exactly the prices that it was made for",
        got=f"{config.data.path}, which {folder.name} names and which cannot be read as they were",
        fix=f"'qhq data check {as_argument(config.data.path)}' says why; restore the file, or evaluate a"
        f" finished run on another with 'qhq eval {as_argument(folder.path)} --data FILE'",
    )


def check_own_prices(folder: RunFolder, overrides: Sequence[str] = ()) -> None:
    """Refuse a file of prices that a run alone names, unless it is what the run was made on.

    Args:
        folder: The run.
        overrides: What the command line changes of its config; it may name other prices.

    Raises:
        QHQError: If the folder is damaged, or the prices are not those that the run was made for.
    """
    config = load_config(str(folder.config))
    typed = {override.partition("=")[0].strip() for override in overrides}
    if config.data.path is not None and not typed & {"data", "data.path", "data.source"}:
        _own_data(folder, config, folder.read_record())


def read_finished(folder: RunFolder) -> RunRecord:
    """The record of a finished run.

    Raises:
        ConfigError: If the run is not finished, or its folder is damaged.
    """
    record = folder.read_record()
    if record.status != FINISHED:
        raise ConfigError(
            "Only a finished run can be evaluated",
            got=f"{folder.name}, which "
            + (
                f"failed: {(record.error or 'without a reason').rstrip('.')}"
                if record.status == FAILED
                else "was cut off or is still training"
            ),
            fix=f"Continue it with 'qhq train --resume {as_argument(folder.path)}'"
            + (", or train again with another config" if record.status == FAILED else ""),
        )
    return record


def open_trained(folder: RunFolder, data: PreparedData | None = None) -> Experiment:
    """Open a run's experiment with its trained weights.

    What it was trained on is not asked: its layer stands on the exact engine, which needs no account.

    Args:
        folder: The run.
        data: Other data than the run's own, with the run's scalers (see `qhq.experiment.other_data`).

    Raises:
        QHQError: If the folder is damaged, or the prices are not those that the run was made for.
    """
    read_finished(folder)
    experiment = replace(on_engine(*_read_design(folder, data)), design=read_plain(folder.config))
    load_weights(experiment.model, folder.weights, experiment.identity())
    experiment.model.eval()
    return experiment


def open_run_design(folder: RunFolder, *, at_baseline: bool = True) -> Experiment:
    """Open a run's experiment with the weights it began with, on the exact engine; see `open_design`.

    Raises:
        QHQError: If the folder is damaged, or the prices are not those that the run was made for.
    """
    experiment = on_engine(*_read_design(folder), at_baseline=at_baseline)
    return replace(experiment, design=read_plain(folder.config))

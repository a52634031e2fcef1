"""A walk-forward: a model a fold, each an ordinary run, and one verdict over all dates that they forecast.

    config with data.split.scheme: expanding or rolling, and no fold named
        -> a folder in the runs folder: config.yaml, the circuit, walk.json
        -> fold after fold, each a run of its own below it: fold-000, fold-001, ...
        -> the forecasts of all folds, put together from their predictions.csv: one table, one test

Every date is forecast once, by the model that was trained on what came before it (`qhq.data.split`). A walk
that was cut off goes on where it stopped: folds that are finished are not trained again.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qhq.ansatz.stored import save_ansatz, settle
from qhq.data.caveat import tell_rows
from qhq.data.load import load_panel
from qhq.data.panel import Panel
from qhq.data.plausibility import find_leaks
from qhq.data.prepare import fingerprint, prepare, protocol_of
from qhq.data.split import Splits, folds_of, split_panel
from qhq.data.windows import Cut, Windows, lay_out
from qhq.documents import dump_document
from qhq.errors import ConfigError, DataError
from qhq.evaluation.baselines.catalogue import BASELINES
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, symbol_scale
from qhq.evaluation.collapse import find_collapse
from qhq.evaluation.conformal import coverage_of
from qhq.evaluation.losses import TITLES, loss_names, task_losses
from qhq.evaluation.significance import Comparison, compare, say_p_value
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.evaluate import Array, Evaluation, predictions_csv
from qhq.experiment.opening import build_circuit
from qhq.experiment.plausibility import add_doubts, plausibility_record, read_doubts, tell_doubts
from qhq.experiment.record import metrics_record
from qhq.experiment.run import resume_run, tell_finished, train_in
from qhq.experiment.words import say_coverage
from qhq.files import MOST_TABLE_BYTES, read_regular
from qhq.paths import runs_dir
from qhq.runs.looks import add_look
from qhq.runs.record import SCHEMA_VERSION, Fold, Json, RunRecord, WalkRecord, read_record
from qhq.runs.run_folder import FINISHED, RUNNING, WALK, RunFolder, create_run, now, provenance, writable
from qhq.training.loop import Watcher

COLUMNS = (
    "symbol",
    "date",
    "horizon",
    "actual",
    "forecast",
    "naive",
    "low",
    "high",
    "underlying",
    "target",
    "leaks",
)
"""Of a predictions.csv, beside one for each other baseline."""


@dataclass(frozen=True, eq=False)
class _Walk:
    """A walk-forward whose data are at hand.

    Attributes:
        folder: Where it lies.
        config: As the folder holds it.
        panel: As it was loaded, and ``laid_out`` as windows read it.
        folds: Numbers of the folds in which something is to be forecast.
    """

    folder: RunFolder
    config: ExperimentConfig
    panel: Panel
    laid_out: Panel
    folds: list[int]

    def fold(self, number: int) -> RunFolder:
        return RunFolder(self.folder.file(f"fold-{number:03d}"))

    def fold_config(self, number: int) -> ExperimentConfig:
        return self.config.model_copy(update={"data": self.config.data.with_fold(number)})

    def splits(self, number: int) -> Splits:
        return split_panel(self.laid_out, self.config.data.with_fold(number))


def train_walk(config: ExperimentConfig, watcher: Watcher, accept: Sequence[str] = ()) -> RunFolder:
    """Train every fold of a walk-forward, one after another, and test all forecasts together.

    Args:
        config: With ``data.split.scheme`` expanding or rolling, and no ``fold``.
        watcher: Informed of each fold, and of each epoch as in `train_run`.
        accept: Names of doubts that a person looked at (`qhq.data.plausibility`).

    Returns:
        The walk's folder; `read_walk` reads what it found.

    Raises:
        QHQError: If the config, the data or the backend is not good, or a fold cannot be trained; the folder
            is there then as soon as the data could be split, and `resume_walk` goes on with it.
    """
    if not protocol_of(config.data).keeps_values:
        raise ConfigError(
            "The folds of a walk-forward must have one scale to be put together",
            got="leak last_symbol_inverts, which gives each fold a scale of its own",
            fix="Name one fold with data.split.fold, or leave the leak out",
        )
    panel = load_panel(config.data)
    laid_out = lay_out(panel, config.data)
    folds = folds_of(laid_out, config.data)
    for number in (folds[0], folds[-1]):  # what cannot be split is refused before hours go into training
        split_panel(laid_out, config.data.with_fold(number))
    for sentence in tell_rows(panel.quarantine, panel.doubts, panel.notes):
        watcher.note(sentence)
    # The last fold is trained on nearly all there is.
    spec = config.data.with_fold(folds[-1])
    plausibility = plausibility_record(find_leaks(laid_out, split_panel(laid_out, spec), spec), accept)
    tell_doubts(read_doubts(plausibility), watcher)
    content = {
        "schema_version": SCHEMA_VERSION,
        "status": RUNNING,
        **provenance(),
        "task": config.data.task,
        **config.data.caveat.to_dict(),
        "backend": config.backend,
        "seed": config.seed,
        "design": config.model_dump(mode="json"),
        "data": {"fingerprint": fingerprint(panel)},
        "plausibility": plausibility,
        "fold_numbers": folds,
    }
    design = WalkRecord.model_validate(content)

    def fill(folder: RunFolder) -> None:
        folder.write_text("config.yaml", dump_document(config))
        if config.quantum is not None:
            with writable(folder.circuit):
                save_ansatz(settle(build_circuit(config.quantum)), folder.circuit)
        folder.write_json(WALK, design)

    folder = create_run(f"{config.name}-walk", config.seed, fill)
    # Every fold is trained from what the folder holds, so that one that is trained after a kill is no other.
    return _go_on(_Walk(folder, load_config(str(folder.config)), panel, laid_out, folds), watcher)


def resume_walk(folder: RunFolder, watcher: Watcher, accept: Sequence[str] = ()) -> RunFolder:
    """Go on with a walk-forward that was cut off; a finished one is left as it is, but for accepted doubts.

    Raises:
        QHQError: If the folder is damaged, or the prices are not those that it was begun with.
    """
    record = read_walk(folder)
    if accept:
        folder.write_json(WALK, record.updated(plausibility=add_doubts(record.plausibility, names=accept)))
    if record.status == FINISHED:
        tell_finished(folder, watcher)
        return folder
    config = load_config(str(folder.config))
    panel = load_panel(config.data)
    if fingerprint(panel) != record.prices():
        raise DataError(
            "A walk-forward must be continued on exactly the prices that it was begun with",
            got=f"other prices than those of {folder.name}: rows to {panel.dates.max()}",
            fix="Restore the old ones, or begin it anew",
        )
    laid_out = lay_out(panel, config.data)
    return _go_on(_Walk(folder, config, panel, laid_out, folds_of(laid_out, config.data)), watcher)


def find_walk(reference: str) -> RunFolder | None:
    """Find the folder of a walk-forward by its path or its name; None if it is none's."""
    places = (Path(reference), runs_dir() / reference)
    return next((RunFolder(each.absolute()) for each in places if (each / WALK).is_file()), None)


def read_walk(folder: RunFolder) -> WalkRecord:
    """Read ``walk.json``; ``run`` is what the folder is called now.

    Raises:
        ConfigError: If it is missing or damaged.
    """
    again = "Name another, or begin it anew with 'qhq train CONFIG'"
    return read_record(WalkRecord, folder.file(WALK), again, run=folder.name)


def _go_on(walk: _Walk, watcher: Watcher) -> RunFolder:
    folder = walk.folder
    with folder.locked():
        try:
            _train_folds(walk, watcher)
        except KeyboardInterrupt:
            watcher.note(f"Cut off. Continue with: qhq train --resume {folder.name}")
            raise
        evaluation, ends, rows = _pool(walk)
        record = _record(walk, evaluation, ends, rows)
        folder.write_text("predictions.csv", predictions_csv(evaluation, ends, walk.config.data.caveat))
        done = read_walk(folder).updated(status=FINISHED, finished=now(), **record)
        folder.write_json(WALK, done)
    return folder


def _train_folds(walk: _Walk, watcher: Watcher) -> None:
    for place, number in enumerate(walk.folds):
        folder, config = walk.fold(number), walk.fold_config(number)
        begun = (folder.path / "run.json").is_file()
        if begun and folder.read_record().status == FINISHED:
            continue
        test = walk.splits(number).test.windows
        watcher.note(
            f"Fold {place + 1} of {len(walk.folds)}: forecasts {test.dates[:, 0].min()} to"
            f" {test.dates[:, 0].max()}, {len(test)} windows"
        )
        _look(walk)
        if begun:
            resume_run(folder, watcher, command=None)
            continue
        shutil.rmtree(folder.path, ignore_errors=True)  # a kill left it without a record
        with writable(folder.path):
            folder.path.mkdir()
        with folder.locked():
            train_in(folder, config, prepare(config.data, walk.panel), watcher)


def _look(walk: _Walk) -> None:
    """Write the look at all test blocks down before the first is looked at, once."""
    record = read_walk(walk.folder)
    if record.looks is None:
        every = _together(walk, [walk.splits(number).test.windows for number in walk.folds])[0]
        looks = add_look(every, run=walk.folder.name, command="train")
        walk.folder.write_json(WALK, record.updated(looks=looks))


def _together(walk: _Walk, blocks: list[Windows]) -> tuple[Windows, Any]:
    """All windows of some blocks as windows of the whole panel, and the order that sorts the blocks so."""
    panel, cut = walk.laid_out, Cut.of(walk.config.data)
    first = panel.dates.min()

    def place(code: Any, dates: Any) -> Any:
        # One number a symbol and day: a million days are 2,700 years.
        return code.astype(np.int64) * 10**6 + (dates - first).astype(np.int64)

    rows = place(panel.code, panel.dates)
    asked = np.concatenate([place(each.code, each.dates[:, 0]) for each in blocks])
    starts = np.searchsorted(rows, asked) - cut.window
    order = np.argsort(starts, kind="stable")
    return Windows(panel, starts[order], cut), order


def _pool(walk: _Walk) -> tuple[Evaluation, tuple[Array, Array] | None, list[Fold]]:
    """Put the forecasts of all folds together, and measure each fold alone."""
    blocks, scales, tables, rows = [], [], [], []
    for number in walk.folds:
        splits, record = walk.splits(number), walk.fold(number).read_record()
        windows = splits.test.windows
        scale = symbol_scale(windows, in_sample_naive_mae(splits.train.windows))
        table = _read_forecasts(walk.fold(number), windows)
        blocks.append(windows)
        scales.append(scale)
        tables.append(table)
        errors = _evaluation(windows, table, scale)
        metrics, naive = errors.metrics(), errors.naive_metrics()
        rows.append(
            Fold(
                fold=number,
                run=f"{walk.folder.name}/{walk.fold(number).name}",
                trained_to=str(splits.train.windows.dates.max()),
                first=str(windows.dates[:, 0].min()),
                last=str(windows.dates[:, 0].max()),
                windows=len(windows),
                skill=metrics.skill,
                mae=metrics.mae,
                naive_mae=naive.mae,
                epochs=record.epochs,
            )
        )
    windows, order = _together(walk, blocks)
    # A fold whose validation split is short has no intervals.
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    whole = {name: np.concatenate([table[name] for table in tables])[order] for name in shared}
    ends = (whole["low"], whole["high"]) if {"low", "high"} <= whole.keys() else None
    return _evaluation(windows, whole, np.concatenate(scales)[order]), ends, rows


def _evaluation(windows: Windows, table: dict[str, Array], scale: Array) -> Evaluation:
    forecast = table["forecast"]
    return Evaluation(
        windows=windows,
        forecast=forecast,
        naive=table["naive"],
        baselines={name: each for name, each in table.items() if name not in COLUMNS},
        expectations=None,
        scale=scale,
        report=None,
        collapse=find_collapse(windows, forecast),
    )


def _read_forecasts(folder: RunFolder, windows: Windows) -> dict[str, Array]:
    """Forecasts of a fold by the names of their columns, each (N, H, K), in the order of its windows.

    Raises:
        DataError: If they are not those of these windows.
    """
    path, shape = folder.file("predictions.csv"), windows.targets.shape
    try:
        content = read_regular(path, most=MOST_TABLE_BYTES, what="table of forecasts")
        frame = pd.read_csv(io.BytesIO(content), dtype={"symbol": str}, keep_default_na=False)
        names = [
            name for name in frame.columns if name not in ("symbol", "date", "underlying", "target", "leaks")
        ]
        numbers = {name: frame[name].to_numpy(dtype=np.float64).reshape(shape) for name in names}
        dates = frame["date"].to_numpy(dtype="datetime64[D]").reshape(shape)[:, :, 0]
        same = bool((dates == windows.dates).all() and (numbers["actual"] == windows.targets).all())
        same &= bool((frame["symbol"].to_numpy().reshape(shape)[:, 0, 0] == windows.symbol).all())
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            "A finished fold must hold its forecasts in predictions.csv",
            got=f"{path}: {type(error).__name__}: {error}",
            fix=f"Remove {folder.path}, and go on with --resume",
        ) from error
    if not same:
        raise DataError(
            "The forecasts of a fold must be of its own windows",
            got=f"{path}, in which symbols, dates or actual values are others",
            fix=f"Remove {folder.path}, and go on with --resume",
        )
    return numbers


def _record(walk: _Walk, evaluation: Evaluation, ends: tuple[Array, Array] | None, rows: list[Fold]) -> Json:
    records = [walk.fold(number).read_record() for number in walk.folds]
    windows, split = evaluation.windows, walk.config.data.split
    metrics = metrics_record(evaluation, split.held_out)
    metrics["intervals"] = _coverage(windows, ends, records)
    tests = _tests(evaluation, metrics["baseline"], len(rows))
    seconds = {
        key: round(sum(each.seconds.get(key, 0.0) for each in records), 4)
        for key in ("total", "data", "train", "eval")
    }
    return {
        "quantum": records[0].quantum,
        "epochs": sum(each.epochs or 0 for each in records),
        "seconds": seconds,
        "metrics": metrics,
        "collapse": None if evaluation.collapse is None else evaluation.collapse.to_dict(),
        "data": {
            **read_walk(walk.folder).data.to_dict(),
            "test": {
                "windows": len(windows),
                "from": str(windows.dates.min()),
                "to": str(windows.dates.max()),
            },
        },
        "folds": rows,
        "tests": [vars(each) | {"verdict": each.verdict()} for each in tests],
        "verdict": _verdict(evaluation, tests, rows),
    }


def _coverage(windows: Windows, ends: tuple[Array, Array] | None, records: list[RunRecord]) -> Json:
    """How often the intervals of all folds, each fitted on its own validation, held what came."""
    intervals = [None if each.metrics is None else each.metrics.intervals for each in records]
    levels = [None if each is None or each.conformal is None else each.conformal.level for each in intervals]
    if ends is None or levels[0] is None or None in levels:
        return {"reason": "a fold has no intervals: its validation split is too short for them"}
    coverage = [asdict(each) for each in coverage_of(ends, windows, levels[0], windows.targets)]
    return {"coverage": coverage, "verdict": say_coverage(coverage)}


MODEL, LAST_VALUE = "model", "last value"


def _tests(evaluation: Evaluation, baseline: str, models: int) -> tuple[Comparison, ...]:
    """The model against the last value, and against the baseline of the task where that is another.

    The family is named here, before anything was measured: these two and no other. A walk of a single fold
    is one training with one seed, which tests nothing.
    """
    rivals = {LAST_VALUE: evaluation.naive}
    if baseline in evaluation.baselines:
        rivals[baseline] = evaluation.baselines[baseline]
    forecasts = {MODEL: evaluation.forecast, **rivals}
    losses = task_losses(evaluation.windows, forecasts, evaluation.scale)
    family = [(MODEL, name) for name in rivals]
    found = compare(losses.by_name[losses.primary], evaluation.windows.cut.horizon, family=family)
    if models > 1:
        return found
    return tuple(
        Comparison(each.first, each.second, each.gain, each.dates, None, None, None, "one seed")
        for each in found
    )


_SAID = {"better": "better than", "worse": "worse than", "not tested": "not tested against"}


def _verdict(evaluation: Evaluation, tests: tuple[Comparison, ...], rows: list[Fold]) -> str:
    """One sentence on all dates, and in how many folds the model beat the last value."""
    loss = TITLES[loss_names(evaluation.windows)[0]]
    known = [row.skill for row in rows if row.skill is not None]
    ahead = sum(skill > 0 for skill in known)
    said = []
    for each in tests:
        verdict = each.verdict()
        side = "" if each.gain is None else "below" if each.gain > 0 else "above"
        facts = [] if not each.gain else [f"loss {abs(100 * each.gain):.2f} % {side}"]
        facts.append(each.reason if each.adjusted is None else f"p {say_p_value(each.adjusted)}")
        if verdict == "not shown" and each.detectable is not None:
            facts.append(f"{100 * each.detectable:.2f} % would have been found in 4 of 5 cases")
        name = "the last value" if each.second == LAST_VALUE else BASELINES[each.second].title
        said.append(f"{_SAID.get(verdict, 'not shown to differ from')} {name} ({', '.join(facts)})")
    many = "one model of one seed" if len(rows) == 1 else f"{len(rows)} models of one seed"
    tested = sum(each.p_value is not None for each in tests)
    return (
        f"Over {tests[0].dates} dates, forecast by {many}, whose luck is not tested,"
        f" each trained on what came before: {' and '.join(said)} by {loss}"
        f"{f' (Diebold-Mariano, Holm over {tested})' if tested else ''};"
        f" error below that of the last value in {ahead} of {len(known)} folds."
    )

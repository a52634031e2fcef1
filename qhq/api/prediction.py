"""What a run forecasts of the sessions to come: what is asked, what it would cost, and the table of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qhq.api.evaluation import backend_names
from qhq.api.given import Changes, check_count, read_changes, read_day
from qhq.errors import ConfigError
from qhq.limits import MOST_SEED, MOST_SHOTS
from qhq.progress import Progress, noting

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd

    from qhq.experiment.predict import PredictPlan
    from qhq.files import Json
    from qhq.runs.answers import PredictionRecord
    from qhq.runs.run_folder import RunFolder
    from qhq.studies.selection import Connections

LEVELS = (0.9,)
# Of a table of forecasts; ``actual`` is there where sessions behind were asked for.
_FORECAST_COLUMNS = (
    "symbol", "made_after", "date", "horizon", "target", "forecast", "low", "high", "level", "last_value",
    "actual",
)  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """Forecasts of what has not happened yet.

    Attributes:
        found: Its record, of a dry run too; `qhq.runs.answers` has the keys.
    """

    found: PredictionRecord

    @property
    def record(self) -> Json:
        """The same as plain JSON: what ``qhq predict --json`` prints."""
        return self.found.to_dict()

    def to_frame(self) -> pd.DataFrame:
        """One row a series, session, target and level; ``attrs`` have all else of the record."""
        import pandas as pd

        record = self.record
        columns = _FORECAST_COLUMNS if record.get("scored") else _FORECAST_COLUMNS[:-1]
        rows = record["rows"]
        quantiles = [name for name in (rows[0] if rows else ()) if name.startswith("q_")]
        frame = pd.DataFrame(rows, columns=[*columns, *quantiles])
        for name in ("made_after", "date"):
            frame[name] = pd.to_datetime(frame[name], format="%Y-%m-%d")
        frame.attrs = {key: value for key, value in record.items() if key != "rows"}
        return frame

    def to_csv(self) -> str:
        """The same as CSV, dates as ``2024-01-31``, numbers in full precision."""
        return str(self.to_frame().to_csv(index=False, date_format="%Y-%m-%d", lineterminator="\n"))


def predict_run(
    folder: RunFolder,
    backend: str = "aer",
    *,
    level: float | Sequence[float] = LEVELS,
    data: str | os.PathLike[str] | None = None,
    set: Changes | None = None,
    since: date | str | None = None,
    until: date | str | None = None,
    offline: bool = False,
    shots: int | None = None,
    seed: int = 0,
    dry_run: bool = False,
    yes: bool | Callable[[Json], bool] = False,
    progress: Progress = None,
    on_result: Callable[[Prediction], object] = lambda _: None,
) -> Prediction:
    """Forecast the sessions after the last row; arguments as of `qhq.api.run.Run.predict`.

    ``on_result`` is called with what was made before it is mirrored into MLflow.

    Raises:
        QHQError: As there.
    """
    check_count("shots", shots, 1, MOST_SHOTS)
    check_count("seed", seed, 0, MOST_SEED)
    overrides, _ = read_changes(set, circuits=False)
    levels = _read_levels(level)
    from qhq.studies.selection import reach_backends

    # A device is asked while PyTorch, the run and its prices are read.
    connections = reach_backends(backend_names([backend]), shots)
    if len(connections.entries) != 1:
        raise ConfigError(
            "A prediction is made on one backend",
            got=f"{backend}, which stands for {len(connections.entries)}",
            fix=f"Name one: {connections.entries[0].name}",
        )
    from qhq.experiment.other_data import OtherDataRequest
    from qhq.experiment.predict import PredictRequest, plan_prediction

    path = None if data is None else os.fspath(data)
    asked = OtherDataRequest(path, tuple(overrides), read_day(since))
    plan = plan_prediction(folder, PredictRequest(asked, levels, read_day(until), offline))
    agree = yes if callable(yes) else lambda _: yes
    record = _measure(plan, connections, seed, None if dry_run else agree)
    if dry_run:
        on_result(Prediction(record))
        return Prediction(record)
    # Before it is drawn: what may have been paid for must not be lost to a bug in qhq.
    request = {"backend": backend, "level": list(levels), "data": path, "set": overrides, "offline": offline,
               "since": None if since is None else str(since), "until": None if until is None else str(until),
               "shots": shots, "seed": seed}  # fmt: skip
    record = _keep(folder, record, request)
    made = Prediction(record.updated(figure=_draw(plan, record, progress)))
    on_result(made)
    _mirror(folder, progress)
    return made


def _keep(folder: RunFolder, record: PredictionRecord, request: Json) -> PredictionRecord:
    """Write a prediction into the folder of the run that was asked for; says so where that cannot be."""
    from qhq.runs.run_folder import provenance
    from qhq.runs.schema import SCHEMA_VERSION

    content = {"schema_version": SCHEMA_VERSION, **record.kept(), **provenance(), "request": request}
    try:
        return record.updated(file=str(folder.add_prediction(content)))
    except ConfigError as error:
        # Somebody else's run may be read-only; its forecast is of use all the same.
        return record.updated(file=None, notes=[*record.notes, f"No record of it is kept: {error.got}"])


def _mirror(folder: RunFolder, progress: Progress) -> None:
    """Show it in MLflow too, with its run; a walk-forward is not there."""
    from qhq.runs.mirror import mirror_run

    if folder.file("run.json").is_file():
        mirror_run(folder, noting(progress))


def _measure(
    plan: PredictPlan, connections: Connections, seed: int, agree: Callable[[Json], bool] | None
) -> PredictionRecord:
    """Forecast on the one backend that was reached; without ``agree``, only say what that costs."""
    from qhq.backends.ibm.journal import in_run
    from qhq.backends.registry import kind_of, open_backend
    from qhq.experiment.predict import forecast_ahead, prediction_record
    from qhq.runs.answers import PredictionRecord
    from qhq.seeding import child_seed

    entry, ansatz = connections.entries[0], plan.experiment.ansatz
    is_device = ansatz is not None and kind_of(entry).is_hardware
    executor: Any = None
    if ansatz is not None:
        # The stream of an evaluation: what it sent for the same windows is not paid for again.
        stream = child_seed(seed, f"eval/{entry.name}")
        connection = connections.reached(entry.name) if is_device else None
        executor = open_backend(entry, ansatz, seed=stream, connection=connection)
    try:
        costs = [asdict(executor.forecast(plan.count, *plan.arguments()))] if is_device else []
        spent = PredictionRecord(run=plan.name, backend=entry.name, samples=plan.count, costs=costs)
        if agree is None:
            return spent.updated(dry_run=True, rows=[])
        if any(cost["jobs"] for cost in costs) and not agree(spent.to_dict()):
            raise ConfigError(
                "A run on hardware must be confirmed",
                got=f"no --yes for {entry.name}",
                fix="Look with --dry-run what it costs, then add --yes",
            )
        with in_run(plan.folder.name):
            prediction = forecast_ahead(plan, executor, entry.name)
    finally:
        if is_device:
            executor.close()  # an open session costs by the wall clock
    report = None if executor is None else executor.report()
    return prediction_record(prediction, entry.name).updated(
        shots=None if report is None else report.shots,
        qpu_seconds=0.0 if report is None else report.qpu_seconds,
        job_ids=[] if report is None else list(report.job_ids),
        layout=None if report is None or report.layout is None else list(report.layout),
        calibration=None if report is None else report.calibration,
    )


def _read_levels(level: Any) -> tuple[float, ...]:
    levels = [level] if isinstance(level, int | float) else list(level)
    if levels and all(isinstance(each, int | float) and 0 < each < 1 for each in levels):
        return tuple(dict.fromkeys(float(each) for each in levels))
    raise ConfigError(
        "--level must be a number between 0 and 1, or several",
        got=f"{level!r}",
        fix="Write --level 0.9, and again for another",
    )


def _draw(plan: PredictPlan, record: PredictionRecord, progress: Progress) -> str | None:
    from qhq.data.caveat import Caveat
    from qhq.experiment.predict import history_of
    from qhq.report.figures import save_figure, try_figure
    from qhq.report.forecast_figures import draw_prediction

    path = try_figure(
        lambda path: save_figure(
            draw_prediction(record, history_of(plan)), path, Caveat(tuple(record.leaks))
        ),
        plan.folder.file("figures/predict.png"),
        noting(progress),
    )
    return None if path is None else str(path)

"""One checkpoint on one or more backends: what is asked, measured and drawn, and the tables of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qhq.api.given import called
from qhq.data.caveat import Caveat
from qhq.errors import ConfigError
from qhq.files import Json
from qhq.runs.answers import EvaluationRecord

if TYPE_CHECKING:
    import pandas as pd

    from qhq.backends.executor import CostForecast
    from qhq.studies.portability_plan import EvalPlan
    from qhq.studies.runner import StudyEvents as Steps

# Forecasts of a record, by the names that they have in a table.
_NAMES = {"test": "model", "naive": "last_value"}


class Evaluation:
    """What a checkpoint is worth on one or more backends.

    Args:
        record: Of an evaluation, or of a dry run.
        costs: Forecasts of what hardware costs, where the record has none.

    >>> import qhq
    >>> evaluation = qhq.open_run("latest").evaluate("aer", samples=8)
    >>> evaluation.metrics.index.to_list()
    ['aer']
    """

    def __init__(self, record: EvaluationRecord, costs: Sequence[Json] = ()) -> None:
        self._record, self._costs = record, record.costs or [*costs]

    @property
    def record(self) -> Json:
        """What ``qhq eval --json`` prints, of a dry run too."""
        return self._record.to_dict()

    def read(self) -> EvaluationRecord:
        """The record as a typed one."""
        return self._record

    @property
    def results(self) -> list[Json]:
        """One record a backend, as JSON has them; none after a dry run."""
        return [each.to_dict() for each in self._record.results]

    @property
    def metrics(self) -> pd.DataFrame:
        """Errors in the unit of the data by backend; ``delta_*`` are to those of the exact simulator.

        With error mitigation a row is called ``backend, method``.
        """
        changes = ("delta_mae", "delta_skill")
        rows = {
            each.label: {**each.metrics.row(), **{key: getattr(each, key) for key in changes}}
            for each in self._record.results
        }
        return metrics_frame(rows, "backend")

    @property
    def baselines(self) -> pd.DataFrame:
        """Errors of the last value and of the other baselines over the same windows."""
        some = self._record.results[:1]
        forecasts = {k: v for each in some for k, v in {"naive": each.naive, **each.baselines}.items()}
        return metrics_frame({name: each.row() for name, each in forecasts.items()})

    @property
    def expectation_error(self) -> pd.Series[float]:
        """Mean ``|<O> - exact|`` over windows and observables by backend; NaN without a circuit."""
        frame = self.to_frame()
        return frame["expectation_error"]

    @property
    def report(self) -> pd.DataFrame:
        """What ran, by backend: shots, depth, layout, calibration, seconds, jobs."""
        frame = self.to_frame()
        return frame[[name for name in frame.columns if name in _REPORT]]

    @property
    def costs(self) -> pd.DataFrame:
        """Forecast of what each hardware backend costs, indexed by backend; empty without one."""
        import pandas as pd

        from qhq.backends.executor import CostForecast

        frame = pd.DataFrame(self._costs, columns=list(CostForecast.__dataclass_fields__))
        return frame.set_index("backend")

    @property
    def skipped(self) -> dict[str, str]:
        """Backends that a glob stands for and that were left out, and why."""
        return {each.backend: each.reason for each in self._record.skipped}

    def to_frame(self) -> pd.DataFrame:
        """All of ``results``, one row a backend; the errors of the last value are called ``naive_*``."""
        import pandas as pd

        rows = [
            {
                **{key: value for key, value in each.to_dict().items() if key not in _ERRORS},
                **each.metrics.row(),
                **{f"naive_{key}": value for key, value in each.naive.row().items()},
            }
            for each in self._record.results
        ]
        frame = pd.DataFrame(rows, columns=None if rows else ["backend", *_REPORT, "expectation_error"])
        counts = [name for name in ("samples", "shots", "depth", "two_qubit_gates") if name in frame]
        numbers = [
            name
            for name in frame.columns
            if name not in counts and all(isinstance(each, float | None) for each in frame[name].to_list())
        ]
        # "Int64" has a missing value; "int64" would turn a column of shots into floats where one is exact.
        types: dict[str, Any] = dict.fromkeys(counts, "Int64") | dict.fromkeys(numbers, "float64")
        return frame.astype({**types, "backend": str}).set_index("backend")

    def _repr_html_(self) -> str:
        return str(self.costs.to_html() if not self.results else self.metrics.to_html())

    def __repr__(self) -> str:
        """The table of metrics; of a dry run, of costs."""
        caveat = Caveat(tuple(self._record.leaks))
        table = self.metrics.to_string() if self.results else self.costs.to_string()
        return f"{caveat.sentence}\n{table}" if caveat else table


_ERRORS = ("metrics", "naive", "baselines")
_REPORT = (
    "mitigation", "kind", "samples", "shots", "depth", "two_qubit_gates", "layout", "calibration",
    "calibration_file", "qpu_seconds", "wall_seconds", "job_ids", "replayed", "note",
)  # fmt: skip


def backend_names(backends: Sequence[Any]) -> tuple[str, ...]:
    """Names and globs of backends; ``aer`` without any.

    Raises:
        ConfigError: If one is no text.
    """
    for each in backends:
        if not isinstance(each, str):
            raise ConfigError(
                "Backends must be named",
                got=called(each),
                fix="Write evaluate('aer', 'fake_fez'), for example",
            )
    return tuple(backends) or ("aer",)


def forecast_costs(plan: EvalPlan) -> Evaluation:
    """What hardware would cost; nothing is sent."""
    names = [entry.name for entry in plan.entries]
    record = {"run": plan.folder.name, "dry_run": True, "backends": names, "samples": len(plan.windows)}
    left_out = {
        "skipped": [asdict(each) for each in plan.skipped],
        "refused": [asdict(each) for each in plan.refused],
    }
    return Evaluation(EvaluationRecord.model_validate({**record, "costs": _costs(plan), **left_out}))


def training_costs(backend: str, costs: Sequence[CostForecast], run: str = "") -> Evaluation:
    """What a device would cost as a head is fitted on what it gives; nothing is sent.

    Args:
        backend: Name of the entry.
        costs: In one row; none without a device.
        run: The run that goes on, or whose head is refitted; empty of a new one.
    """
    samples = sum(cost.samples for cost in costs)
    record = {"run": run, "dry_run": True, "backends": [backend], "samples": samples}
    return Evaluation(EvaluationRecord.model_validate({**record, "costs": [asdict(cost) for cost in costs]}))


def measure_portability(plan: EvalPlan, steps: Steps, note: Callable[[str], None]) -> Evaluation:
    """Measure on every backend, and draw what they have in common."""
    from qhq.studies.portability import run_evaluation

    def load_figures() -> None:
        # It takes two seconds, which a queue has to spare.
        import qhq.report.figures
        import qhq.report.study_figures  # noqa: F401

    record = run_evaluation(plan, steps, load_figures)
    from qhq.report.figures import save_figure, try_figure
    from qhq.report.study_figures import draw_portability

    if len(record.results) > 1 and plan.experiment.ansatz is not None:
        path = try_figure(
            lambda path: save_figure(draw_portability(record), path, Caveat(tuple(record.leaks))),
            plan.folder.file("figures/portability.png"),
            note,
        )
        record = record.updated(figure=path and str(path))
    return Evaluation(record, _costs(plan))


def _costs(plan: EvalPlan) -> list[Json]:
    return [asdict(cost) for cost in plan.costs]


def metrics_frame(rows: Mapping[str, Mapping[str, Any]], index: str = "forecast") -> pd.DataFrame:
    """One row a forecast or backend; what is not defined is NaN."""
    import pandas as pd

    names = [_NAMES.get(name, name) if index == "forecast" else name for name in rows]
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(names, name=index, dtype=object))
    return frame.astype("float64")

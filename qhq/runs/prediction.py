"""What ``qhq predict --json`` prints and a run keeps, as a typed record: forecasts of what is to come."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qhq.files import Json
from qhq.runs.evaluation_record import OtherDataRecord
from qhq.runs.measures import Errors
from qhq.runs.record import Looks, Sourced
from qhq.runs.schema import Count, Day, Number, Record, Text


class ForecastRow(Record):
    """One forecast with one interval; ``actual`` is None as long as nothing has come.

    Quantiles of a model of a distribution stand beside them, each under the name of its column.

    Attributes:
        symbol: Stock or contract.
        made_after: Session after which it is made: that of the last row it knows.
        date: Session that is forecast.
        horizon: Sessions ahead, from 1.
        target: Column that is forecast.
        forecast: In the unit of the data, as are ``low``, ``high``, ``last_value`` and ``actual``.
        low: Lower end of the interval, and ``high`` the upper.
        level: Probability that it is to hold.
        last_value: The last-value forecast.
        actual: What came.
    """

    __pydantic_extra__: dict[str, Number] = Field(init=False)

    symbol: str
    made_after: Day
    date: Day
    horizon: Count
    target: Text
    forecast: Number
    low: Number
    high: Number
    level: Number
    last_value: Number
    actual: Number | None = None


class SkillRecord(Record):
    """What the run was measured to be worth, as `qhq.experiment.predict.Skill`."""

    value: Number | None
    shown: bool
    verdict: str


class LeftOutSeries(Record):
    """A series that gets no forecast, as `qhq.data.ahead.LeftOut`."""

    symbol: str
    last: Day
    reason: str


class ScoredRecord(Record):
    """Errors and coverage of the forecasts that have come true.

    Attributes:
        first: First and ``last`` session that is forecast.
        metrics: Errors of the model, and ``naive`` of the last value.
        coverage: As `qhq.evaluation.conformal.Coverage`, one a level and horizon.
        looks: How often these sessions were looked at.
    """

    windows: Count
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    metrics: Errors
    naive: Errors
    coverage: list[Json]
    looks: Looks | None


class PredictionRecord(Sourced):
    """A prediction, or after a dry run what it would cost; a file of ``predictions/`` is one.

    Attributes:
        trained_to: Date of the last row that the model was trained on.
        last_row: Date of the newest row, ``age_days`` ago; ``sessions_missed`` have passed since.
        session: The first that is forecast; ``half_day`` where it is one, by ``calendar``. Of rows of weeks
            or months, which ``period`` says, it is the last session of the first, and sessions missed are
            those periods.
        intervals: How they are made, in words; ``errors_of`` is the backend whose errors on the validation
            split made them, ``exact`` the exact engine.
        data: Which other data than the run's own were read.
        fingerprint: Of the rows that were read, as a run's ``data.fingerprint``.
        called: What columns are to be called before people: the close, where it stands for an adjusted one.
        left_out: Series that get no forecast; ``expired`` contracts are not among them.
        costs: Forecasts of what hardware costs, of a dry run of ``samples`` windows.
        layout: Physical qubit of each logical one, and ``calibration`` the date of that of the device.
        rows_dropped: How many rows of sessions behind a file leaves out, where they are too many to keep.
        figure: Where it is drawn, ``csv`` where the table was written, and ``file`` where this is kept.
    """

    backend: Text
    samples: Count | None = None
    costs: list[Json] = []
    dry_run: bool = False
    trained_to: Day | None = None
    last_row: Day | None = None
    age_days: int = 0
    sessions_missed: Count = 0
    session: Day | None = None
    half_day: bool = False
    calendar: str = ""
    period: Literal["session", "week", "month"] = "session"
    intervals: str = ""
    errors_of: Text = "exact"
    skill: SkillRecord | None = None
    data: OtherDataRecord | None = None
    fingerprint: Text | None = None
    called: dict[str, str] = {}
    left_out: list[LeftOutSeries] = []
    expired: Count = 0
    notes: list[str] = []
    rows: list[ForecastRow] = []
    rows_dropped: Count = 0
    scored: ScoredRecord | None = None
    shots: Count | None = None
    qpu_seconds: Number = 0.0
    job_ids: list[Text] = []
    layout: list[Count] | None = None
    calibration: Text | None = None
    figure: str | None = None
    csv: str | None = None
    file: str | None = None

    def kept(self) -> Json:
        """What a file of it holds: all rows to come, and those of sessions behind if they are few enough."""
        content = self.to_dict()
        if len(self.rows) > MOST_KEPT_ROWS:
            content["rows"] = [row.to_dict() for row in self.rows if row.actual is None]
            content["rows_dropped"] = len(self.rows) - len(content["rows"])
        return content


# Some 6 MB of them. What has come true can be forecast again, and its scores are kept.
MOST_KEPT_ROWS = 20_000
"""Of a file."""

"""A device over days: what the same weights were worth under one calibration of it after another.

Only what differs in nothing but the calibration is put on one line: the same shots, windows and method
against noise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from qhq.backends.devices.calibration import Calibration, load_snapshot
from qhq.errors import QHQError
from qhq.files import own_file
from qhq.report.figures import set_dates
from qhq.runs.answers import BackendResult
from qhq.runs.run_folder import RunFolder

_Line: TypeAlias = tuple[str, int | None, int | None, str | None]
_MARKS = "os^Dvx"


@dataclass(frozen=True)
class DeviceDay:
    """One evaluation under one calibration.

    Attributes:
        device: Its name without ``fake_`` or ``ibm_``: a snapshot of a device is the device on a day.
        date: When the calibration was last updated.
        result: What was measured.
        two_qubit_error: Median over the couplers of the device; None where the calibration was not kept.
        readout_error: Median over its qubits.
    """

    device: str
    date: datetime
    result: BackendResult
    two_qubit_error: float | None = None
    readout_error: float | None = None

    @property
    def line(self) -> _Line:
        """What must be the same for two days to be compared."""
        result = self.result
        return self.device, result.shots, result.samples, result.mitigation

    @property
    def label(self) -> str:
        """The same, for people."""
        method = f", {self.result.mitigation}" if self.result.mitigation else ""
        return f"{self.device}, {self.result.said_shots} shots{method}, {self.result.samples} windows"


def find_trends(folder: RunFolder, results: Iterable[BackendResult]) -> list[list[DeviceDay]]:
    """Evaluations of one device on different days, by date, a list for each that can be compared.

    Args:
        folder: Of the run, where calibrations are kept.
        results: The newest first; of two under one calibration the newer counts.
    """
    lines: dict[_Line, dict[datetime, DeviceDay]] = {}
    for result in results:
        day = _read_day(folder, result)
        if day is not None:
            lines.setdefault(day.line, {}).setdefault(day.date, day)
    return [[days[date] for date in sorted(days)] for days in lines.values() if len(days) > 1]


def _read_day(folder: RunFolder, result: BackendResult) -> DeviceDay | None:
    """A result with what its calibration says; None of a backend without one."""
    try:
        date = datetime.fromisoformat(result.calibration or "")
    except ValueError:
        return None
    found: Calibration | None = None
    if result.calibration_file is not None:
        try:
            found = load_snapshot(own_file(folder.path, result.calibration_file))
        except (QHQError, OSError):
            found = None  # the day is known from the record; only what the device was like is not
    name = re.sub(r"^(fake|ibm)_", "", result.backend if found is None else found.name)
    if found is None:
        return DeviceDay(name, date, result)
    return DeviceDay(name, date, result, _median_error(found), _median_readout(found))


def _median_error(calibration: Calibration) -> float | None:
    """Median error of the two-qubit gates that work; IBM writes 1 for one that does not."""
    errors = [
        float(each["value"])
        for gate in calibration.properties["gates"]
        if len(gate["qubits"]) == 2
        for each in gate["parameters"]
        if each["name"] == "gate_error" and float(each["value"]) < 1
    ]
    return median(errors) if errors else None


def _median_readout(calibration: Calibration) -> float | None:
    found = (calibration.qubit(qubit, "readout_error") for qubit in range(calibration.num_qubits))
    errors = [error for error in found if error is not None]
    return median(errors) if errors else None


def draw_trends(trends: list[list[DeviceDay]]) -> Figure:
    """Error of the expectation values, and skill over the last value, by the day of the calibration.

    Args:
        trends: From `find_trends`, at least one.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    circuit, forecast = figure.subplots(1, 2)
    for place, days in enumerate(trends):
        dates = [day.date for day in days]
        mark = _MARKS[place % len(_MARKS)]
        _plot(circuit, dates, [day.result.expectation_error for day in days], mark, days[0].label)
        _plot(forecast, dates, [day.result.metrics.skill for day in days], mark, days[0].label)
    circuit.set_ylabel("mean |<O> - exact|")
    errors = [day.result.expectation_error or 0.0 for days in trends for day in days]
    circuit.set_ylim(0, 1.15 * max(errors) or 1.0)
    forecast.set_ylabel("skill over the last value")
    forecast.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (circuit, forecast):
        set_dates(axes)
        axes.set_xlabel("day of the calibration")
        axes.grid(alpha=0.3)
    figure.legend(*circuit.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _plot(axes: Axes, dates: list[datetime], values: list[float | None], mark: str, label: str) -> None:
    known = [(date, value) for date, value in zip(dates, values, strict=True) if value is not None]
    if known:
        axes.plot([date for date, _ in known], [value for _, value in known], f"{mark}-", label=label)  # type: ignore[arg-type]

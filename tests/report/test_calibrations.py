"""A device over days: which evaluations may stand on one line, and what is said of the device."""

from __future__ import annotations

import json
import shutil

import pytest

from qhq.api.run import open_run
from qhq.backends.devices.calibration import Calibration, load_fake, save_snapshot
from qhq.report.calibrations import draw_trends, find_trends
from qhq.runs.answers import BackendResult
from qhq.runs.measures import Errors
from qhq.runs.run_folder import RunFolder
from tests.report.pages import read_page

FIRST, LATER = "2025-01-23T00:00:00+00:00", "2025-02-26T20:16:25+00:00"


def result(calibration: str | None, **changes) -> BackendResult:
    errors = Errors(mae=1.0, skill=0.01)
    given = {"backend": "fake_nairobi", "samples": 8, "shots": 64, "expectation_error": 0.02, **changes}
    return BackendResult(calibration=calibration, metrics=errors, naive=errors, **given)


def test_only_what_differs_in_the_calibration_alone_is_on_one_line_by_date(tmp_path):
    results = [
        result(LATER), result(FIRST, expectation_error=0.03), result(LATER, shots=None),
        result(FIRST, samples=9), result(FIRST, mitigation="trex"), result(None), result("long ago"),
    ]  # fmt: skip
    ((first, later),) = find_trends(RunFolder(tmp_path), results)
    assert (first.result.expectation_error, later.result.expectation_error) == (0.03, 0.02)
    assert first.date < later.date
    assert first.label == "nairobi, 64 shots, 8 windows"


def test_of_two_under_one_calibration_the_newer_counts_and_one_day_is_no_trend(tmp_path):
    results = [result(LATER, expectation_error=0.5), result(LATER)]
    assert find_trends(RunFolder(tmp_path), results) == []
    ((_, later),) = find_trends(RunFolder(tmp_path), [*results, result(FIRST)])
    assert later.result.expectation_error == 0.5


@pytest.fixture
def days(tmp_path) -> tuple[RunFolder, list[BackendResult]]:
    """Entries of different names that are one device, with the calibrations that a run keeps."""
    folder = RunFolder(tmp_path / "run")
    folder.file("evals").mkdir(parents=True)
    now = load_fake("fake_nairobi")
    before = Calibration(now.configuration, {**now.properties, "last_update_date": FIRST})
    found = []
    for name, calibration in (("now", now), ("before", before)):
        save_snapshot(calibration, folder.file(f"evals/{name}.json.gz"))
        found.append(
            result(
                calibration.date, backend=name, calibration_file=f"evals/{name}.json.gz", two_qubit_gates=8
            )
        )
    return folder, found


def test_the_device_is_told_by_its_calibration_not_by_the_entry(days):
    folder, results = days
    (trend,) = find_trends(folder, results)
    assert [day.device for day in trend] == ["nairobi", "nairobi"]
    for day in trend:
        assert 0.005 < day.two_qubit_error < 0.05
        assert 0.01 < day.readout_error < 0.1
    circuit, forecast = draw_trends([trend]).axes
    assert list(circuit.lines[0].get_ydata()) == [0.02, 0.02]
    assert list(forecast.lines[0].get_ydata()) == [0.01, 0.01]


@pytest.mark.parametrize("name", ["../../x.json.gz", "evals/gone.json.gz", "evals/no.json.gz"])
def test_a_calibration_that_is_gone_damaged_or_elsewhere_leaves_the_day(days, name):
    folder, results = days
    folder.file("evals/no.json.gz").write_text("no snapshot")
    spoiled = [each.model_copy(update={"backend": "x", "calibration_file": name}) for each in results]
    ((first, later),) = find_trends(folder, spoiled)
    assert first.two_qubit_error is later.two_qubit_error is None


def test_the_report_has_the_trend(a_runs_folder, study):
    (run,) = (folder for folder in a_runs_folder.iterdir() if (folder / "run.json").exists())
    folder = study / "runs" / run.name
    shutil.copytree(run, folder)
    (folder / "evals").mkdir(exist_ok=True)
    record = json.loads((folder / "run.json").read_text())
    sources = {key: record[key] for key in ("run", "created", "versions", "git") if key in record}
    for name, date in (("1", FIRST), ("2", LATER)):
        content = {**sources, "results": [json.loads(result(date).model_dump_json())]}
        (folder / "evals" / f"{name}.json").write_text(json.dumps(content))
    page = read_page(open_run(str(folder)).report().read_text())
    (table,) = [each for each in page.tables if each.caption.startswith("The device on the days")]
    assert [row[1] for row in table.rows] == ["2025-01-23", "2025-02-26"]
    assert any("0.02 on 2025-01-23, 0.02 on 2025-02-26" in each["alt"] for each in page.of("img"))

"""Records: those of earlier versions stay readable; a key of another type is met where it is read alone."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from qhq.api.evaluation import Evaluation
from qhq.cli.evaluate import _metrics, _notes, _other_data, _portability
from qhq.cli.train import _people, chosen, plausibility_lines, result_tables, verdict
from qhq.errors import QHQError
from qhq.experiment.reopening import read_scalers
from qhq.runs.answers import EvaluationRecord
from qhq.runs.comparison import run_design, run_summary, run_terms, tabulate
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import FINISHED, RunFolder, provenance
from qhq.runs.schema import read_record
from tests.runs.records import DELETED, WRONG, damaged, keys_of

EARLIER = sorted((Path(__file__).parent / "earlier").iterdir())
"""Records that versions of those days wrote, of the same two epochs of training."""


@pytest.fixture(params=EARLIER, ids=lambda each: each.name)
def earlier(request, tmp_path):
    folder = tmp_path / "runs" / request.param.name
    shutil.copytree(request.param, folder)
    return RunFolder(folder)


def test_a_record_of_an_earlier_version_is_read_told_and_written_back_as_it_was(earlier):
    content = json.loads(earlier.file("run.json").read_text())
    record = earlier.read_record()
    assert record.to_dict() == content | {"run": earlier.name}
    assert record.status == FINISHED
    assert record.schema_version == 0
    assert record.tested().test.mae == pytest.approx(0.7137, abs=5e-5)
    assert run_summary(record)["skill"] == pytest.approx(
        -0.07197, abs=5e-6
    )  # averaged over symbols, not pooled
    assert verdict(record).startswith("One seed, not tested: on the test split the model's error is")
    assert _people(record, "here")[0].startswith(f"Run {earlier.name}\nFolder here\nTrained 2 epochs")
    assert read_scalers(record)[0].kind == "window"


def test_runs_of_all_versions_stand_in_one_group(tmp_path):
    folders = [RunFolder(shutil.copytree(each, tmp_path / each.name)) for each in EARLIER]
    table = tabulate(folders, pytest.fail)
    assert table.groups == [1]
    assert len({row["mae"] for row in table.summaries}) == 1


def test_provenance_says_when_by_what_and_from_where():
    found = provenance()
    assert found.keys() == {"created", "versions", "git"}
    assert found["versions"].keys() > {"python", "qhq", "qiskit", "torch"}


def use(record: RunRecord) -> None:
    """All that a finished run's record is read for without its other files."""
    run_summary(record), run_terms(record), run_design(record)
    plausibility_lines(record), chosen(record), result_tables(record), verdict(record)
    _people(record, "here")
    read_scalers(record)


def test_a_damaged_key_at_any_depth_is_an_error_in_three_parts_or_none(earlier):
    content = json.loads(earlier.file("run.json").read_text())
    values = (DELETED, *WRONG)
    refused = 0
    for number, keys in enumerate(keys_of(content)):
        if keys[0] == "design" and len(keys) > 2:
            continue  # config.yaml is what is read; this copy of it is only shown
        # Every value at every key of the latest; of those before it three a key, in turn.
        for value in values if earlier.path.name == EARLIER[-1].name else (values * 2)[number % 12 :][:3]:
            earlier.file("run.json").write_text(json.dumps(damaged(content, keys, value)))
            with suppress(QHQError):
                use(earlier.read_record())
                continue
            refused += 1
    assert refused > 100


def test_what_breaks_is_named_with_its_file_key_and_value(earlier):
    content = json.loads(earlier.file("run.json").read_text())
    earlier.write_json("run.json", damaged(content, ("metrics", "test", "mae"), "many"))
    with pytest.raises(QHQError, match=r"'metrics\.test\.mae' is not valid.*'many' at .*run\.json") as caught:
        read_record(RunRecord, earlier.file("run.json"))
    assert "qhq compare" in caught.value.fix


def test_commands_on_a_damaged_run_end_with_a_status_of_the_contract(qhq, earlier, tmp_path):
    """A seeded sample of the keys near the top, each of another type: a fault of the folder, not of qhq."""
    content = json.loads(earlier.file("run.json").read_text())
    near = [keys for keys in keys_of(content) if len(keys) <= 2]
    cases = [(keys, value) for keys in near for value in (DELETED, *WRONG)]
    for keys, value in random.Random(7).sample(cases, 12):
        earlier.file("run.json").write_text(json.dumps(damaged(content, keys, value)))
        for command in (["compare", str(earlier.path)], ["train", "--resume", str(earlier.path)]):
            result = qhq(*command, "--json")
            assert result.exit_code in (0, 1, 2, 3, 4), (keys, value, command, result.stderr)


def stored_evaluation(run: RunFolder) -> Path:
    (path,) = run.file("evals").glob("*.json")
    return path


def test_an_evaluation_of_an_earlier_version_is_read_shown_and_written_back_as_it_was(earlier):
    path = stored_evaluation(earlier)
    record = read_record(EvaluationRecord, path)
    assert record.to_dict() == json.loads(path.read_text())
    assert record.schema_version == 0
    assert [each.backend for each in record.results] == ["aer", "aer_shots"]
    assert record.results[1].metrics.mae == pytest.approx(0.90349, abs=5e-6)
    assert record.results[1].expectation_error == pytest.approx(0.017316, abs=5e-7)
    frame = Evaluation(record).metrics
    assert frame.loc["aer_shots", "mae"] == record.results[1].metrics.mae
    assert _portability(record).row_count == 2


def test_a_damaged_key_of_an_evaluation_is_an_error_in_three_parts_or_none(earlier):
    path = stored_evaluation(earlier)
    content = json.loads(path.read_text())
    refused = 0
    for keys in keys_of(content):
        for value in (DELETED, *WRONG):
            path.write_text(json.dumps(damaged(content, keys, value)))
            try:
                record = read_record(EvaluationRecord, path)
            except QHQError as error:
                assert "qhq compare" in error.fix  # noqa: PT017
                refused += 1
                continue
            _other_data(record)
            if record.results:
                found = Evaluation(record)
                _metrics(record), _portability(record), _notes(record)
                found.metrics, found.baselines, found.report, found.skipped, repr(found)
    assert refused > 300

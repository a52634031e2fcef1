"""Records of studies: those of version 0.1.0 stay readable; a damaged key is met where the file is read."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from qhq.documents import validate
from qhq.errors import QHQError
from qhq.report.study_page import read_ablation, read_sweep
from qhq.runs.run_folder import RunFolder
from qhq.runs.schema import SCHEMA_VERSION, Record
from qhq.runs.studies import AblationRecord, NoiseRecord, SweepRecord, TableRow, read_study
from qhq.studies.sweep.study import say_choice
from tests.runs.records import DELETED, WRONG, damaged, keys_of

ARCHIVE = Path(__file__).parents[1] / "studies" / "stored" / "studies-0.1.0.tar.gz"
STORED = {"noise": NoiseRecord, "ablate": AblationRecord, "sweep": SweepRecord}
"""What version 0.1.0 gave, and what reads it."""

FILES = {"noise": "studies/noise-1.json", "ablate": "study.json", "sweep": "sweep.json"}


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """Records as commands of version 0.1.0 printed them, put in a folder's place."""
    found = {}
    with tarfile.open(ARCHIVE) as archive:
        for name in STORED:
            content = json.loads(archive.extractfile(f"./records/{name}.json").read())
            found[name] = content if name == "noise" else {**content, "folder": "here"}
    return found


def written(place: Path, name: str, content: object) -> RunFolder:
    path = place / FILES[name]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return RunFolder(place)


@pytest.mark.parametrize("name", STORED)
def test_a_record_of_version_0_1_0_is_read_and_written_back_as_it_was(name, stored, tmp_path):
    folder = written(tmp_path, name, stored[name])
    record = read_study(STORED[name], folder, FILES[name])
    assert record.to_dict() == stored[name]
    assert record.schema_version == 0
    kept = record.kept().to_dict()
    assert kept["schema_version"] == SCHEMA_VERSION
    assert kept["versions"]["qhq"]
    assert {key: kept[key] for key in stored[name]} == stored[name]


def test_keys_that_nobody_knows_are_kept_and_a_row_keeps_its_order():
    row = TableRow.model_validate({"quantum.qubits": 3, "later": [1, None], "a": "x"})
    assert list(row.to_dict().items()) == [("quantum.qubits", 3), ("later", [1, None]), ("a", "x")]


def places(content: Any) -> list[tuple[Any, ...]]:
    """Where a key can be damaged; of columns and variants that are all alike, one of each kind."""
    alike = ("vs_mlp", "vs_twin", "vs_naive_", "hybrid_vs_")
    every = [keys for keys in keys_of(content) if not str(keys[-1]).startswith(alike)]
    return [keys for keys in every if not keys[0].startswith("seed_") or "hybrid" in keys or len(keys) == 1]


def use(record: Record) -> None:
    """What is made of a record besides its pages, whose sections see to themselves."""
    record.to_dict()
    if isinstance(record, SweepRecord):
        for stage in record.stages:
            say_choice(stage)


@pytest.mark.parametrize("name", STORED)
def test_a_damaged_key_at_any_depth_is_an_error_in_three_parts_or_none(name, stored):
    content = stored[name]
    refused = 0
    for keys in places(content):
        for value in (DELETED, *WRONG):
            try:
                record = validate(STORED[name], damaged(content, keys, value), "the file", fix="Run it again")
            except QHQError as error:
                assert error.fix == "Run it again"  # noqa: PT017
                assert "at the file" in error.got  # noqa: PT017
                refused += 1
                continue
            use(record)
    assert refused > 150


def test_what_breaks_is_named_with_its_file_key_and_value(stored, tmp_path):
    content = damaged(stored["sweep"], ("stages", 0, "rows", 0, "value"), "many")
    with pytest.raises(QHQError, match=r"'stages\.0\.rows\.0\.value' is not valid.*'many' at .*sweep\.json"):
        read_sweep(written(tmp_path, "sweep", content))
    with pytest.raises(QHQError, match="must hold a readable sweep.json") as caught:
        read_sweep(written(tmp_path, "sweep", [content]))
    assert "Run the study again" in caught.value.fix
    content = damaged(stored["ablate"], ("rows", 1, "vs_naive_gain"), {"a": 1})
    with pytest.raises(QHQError, match=r"'rows\.1\.vs_naive_gain.*at .*study\.json"):
        read_ablation(written(tmp_path, "ablate", content))

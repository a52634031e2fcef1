"""The study of experiments/noise: its second day is a real one, and what it tests is among its rows."""

from __future__ import annotations

import sys
from datetime import datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from qhq.backends.registry import read_calibration
from qhq.studies.mitigation import made_of

SCRIPT = Path(__file__).parents[2] / "experiments" / "noise" / "study.py"


@pytest.fixture(scope="module")
def study():
    spec = spec_from_file_location("noise_training", SCRIPT)
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "noise_training", module)  # where a dataclass looks for its module
        spec.loader.exec_module(module)
        yield module


def test_the_second_day_is_another_calibration_of_the_device(study):
    day, before = (read_calibration(study.open_place(name)) for name in (study.DEVICE, study.DAY_BEFORE))
    assert day.name == before.name
    assert day.fingerprint != before.fingerprint
    dates = [datetime.fromisoformat(each.date).date() for each in (before, day)]
    assert [f"{each}" for each in dates] == ["2025-01-23", "2025-02-26"]


def test_what_is_tested_is_measured(study):
    measured = {
        (training, place, shots, each)
        for training in study.TRAININGS
        for place in study.PLACES
        for shots in (None, study.SHOTS)
        for method in (study.METHODS if study.open_place(place).is_noisy else study.METHODS[:1])
        for each in made_of(method)
    }
    assert {row for pair in study.FAMILY for row in pair} <= measured
    assert len(study.FAMILY) == 4

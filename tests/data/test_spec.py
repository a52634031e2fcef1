import subprocess
import sys

import pytest
from pydantic import ValidationError

from qhq.data.spec import DataSpec
from qhq.documents import validate
from qhq.errors import ConfigError


def test_the_defaults_are_the_bundled_prices():
    spec = DataSpec()
    assert (spec.source, spec.symbols, spec.scaling) == ("bundled", ("AAPL", "MSFT", "GOOG"), "window")


PRICE = {"source": "surface", "task": "price", "features": ["mid", "spot"], "targets": ["mid"]}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"split": {"train": 0.8, "validation": 0.1, "test": 0.2}}, r"sum to 1, not to 1\.1"),
        ({"split": {"train": 0.9, "validation": 0.1, "test": 0.0}}, r"'split\.test'.* above 0"),
        ({"split": {"test_from": "2010-01-01"}}, "must be given together"),
        ({"split": {"test_from": "2010-01-01", "validation_from": "2010-01-01"}}, "lie before test_from"),
        ({"start": "2011-01-01", "end": "2010-01-01"}, "start 2011-01-01 must not lie after end 2010-01-01"),
        ({"source": "csv"}, "path must be given"),
        ({"source": "yahoo", "path": "prices.csv"}, "and only then"),
        ({"format": {"dates": "backwards"}}, "must be one of iso, dayfirst"),
        ({"symbols": []}, "at least 1 item"),
        ({"symbols": ["AAPL", "AAPL"]}, "symbols must not name anything twice"),
        ({"features": ["close"]}, r"target 'adj_close' must be one of features \(close\)"),
        ({"window": 1}, "at least 2"),
        ({"horizon": 0}, "at least 1"),
        ({"scaling": "maxmin"}, "must be a scaling, or .* Did you mean 'minmax'"),
        ({"scaling": "residual"}, "scaling residual needs an option panel"),
        ({"scaling": "raw"}, "would tell of later dividends"),
        ({"static": ["adj_close"]}, "level tells of later dividends"),
        ({"task": "price"}, "task price needs an option panel"),
        ({**PRICE, "horizon": 2}, "task price needs an option panel and horizon 1"),
        ({**PRICE, "static": ["years", "mid"]}, "static 'mid' may come from the day's option quotes"),
        ({**PRICE, "static": ["open_interest"]}, "static 'open_interest' may come from the day's"),
        ({**PRICE, "targets": ["spot"]}, "target 'spot' of task price must be an option quote"),
        ({"source": "surface", "panel": "stocks"}, "source surface has a panel of options, not of stocks"),
        ({"source": "recorded"}, "path must be given"),
        ({"source": "yahoo"}, "symbols, start and end must be named"),
        ({"split": {"held_out": ["IBM"]}}, r"split.held_out 'IBM' must be one of symbols"),
        ({"split": {"folds": 3}}, "folds and refit need scheme expanding or rolling"),
        ({"split": {"scheme": "rolling", "folds": 3, "fold": 3}}, "fold must be below folds, 3"),
        ({"windw": 5}, "Did you mean 'window'"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(content, match):
    with pytest.raises(ConfigError, match=match):
        validate(DataSpec, content, "config.yaml")


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        DataSpec().window = 3


def test_the_spec_imports_nothing_heavy():
    code = "import sys, qhq.data.spec; print({'pandas', 'torch', 'qiskit', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

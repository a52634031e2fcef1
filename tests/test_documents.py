"""Documents: every fault names its place, the rule and the nearest known key."""

from __future__ import annotations

import pytest

from qhq.documents import Spec, dump_document, load_document
from qhq.errors import ConfigError


class Inner(Spec):
    length: int = 1
    names: tuple[str, ...] = ()


class Outer(Spec):
    name: str
    inner: Inner = Inner()
    maybe: Inner | None = None


def load(tmp_path, text, overrides=()):
    path = tmp_path / "it.yaml"
    path.write_text(text)
    return load_document(Outer, path, overrides)


def test_document_round_trips(tmp_path):
    outer = load(tmp_path, "name: a\ninner: {length: 3, names: [x, y]}\n")
    assert load(tmp_path, dump_document(outer)) == outer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam: a\n", r"Every key must be known. Got 'nam' at .*it.yaml:1:1 .*Did you mean 'name'\?"),
        ("name: a\ninner:\n  lenght: 2\n", r"'inner.lenght' at .*:3:3. Did you mean 'length'\?"),
        ("name: a\nmaybe:\n  lenght: 2\n", r"'maybe.lenght' at .*:3:3. Did you mean 'length'\?"),
        ("name: a\ninner: {length: two}\n", r"'inner.length' is not valid: .*integer.*Got 'two' at .*:2:9"),
        ("name: a\ninner: {names: [x, [y]]}\n", r"'inner.names.1' is not valid"),
        ("inner: {length: 2}\n", r"'name' must be given"),
        ("name: [\n", r"must be valid YAML. Got .*it.yaml:\d+:\d+"),
        ("- name\n", r"top level of the file must be keys"),
    ],
)
def test_faults_name_place_rule_and_fix(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="must exist and be readable"):
        load_document(Outer, tmp_path / "none.yaml")


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "it.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_document(Outer, path)


def test_overrides_reach_nested_and_absent_keys(tmp_path):
    outer = load(tmp_path, "name: a\n", ["inner.length=7", "name=b", "inner.names=[p, q]"])
    assert outer == Outer(name="b", inner=Inner(length=7, names=("p", "q")))


def test_override_of_null_makes_a_part_absent(tmp_path):
    assert load(tmp_path, "name: a\nmaybe: {length: 2}\n", ["maybe=null"]).maybe is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inner.length", "--set must be KEY=VALUE"),
        ("=3", "--set must be KEY=VALUE"),
        ("inner.length=[", "value of --set must be YAML"),
        ("inner.lenght=3", "'inner.lenght' .*set on the command line.*Did you mean 'length'"),
        ("inner.length=x", "'inner.length' is not valid.*set on the command line"),
    ],
)
def test_bad_overrides_are_refused(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, "name: a\ninner:\n  length: 3\n", [override])

"""Documents: every fault names its place, the rule and the nearest known key."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from itertools import pairwise

import pytest
from pydantic import Field

from qhq.documents import Spec, dump_document, load_document
from qhq.errors import ConfigError


class Inner(Spec):
    length: int = 1
    names: tuple[str, ...] = ()
    by_name: dict[str, str] = Field(default_factory=dict)


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
        ("name: a\ninner:\n  lenght: 2\n", r"'inner.lenght' at .*:3:3. Did you mean 'inner.length'\?"),
        ("name: a\nmaybe:\n  lenght: 2\n", r"'maybe.lenght' at .*:3:3. Did you mean 'maybe.length'\?"),
        (
            "name: a\ninner: {length: two}\n",
            r"'inner.length' is not valid: it must be a whole number. Got 'two' at .*:2:9",
        ),
        ("name: a\ninner: {names: [x, [y]]}\n", r"'inner.names.1' is not valid: it must be a text"),
        ("inner: {length: 2}\n", r"'name' must be given"),
        ("name: [\n", r"must be valid YAML. Got .*it.yaml:\d+:\d+"),
        ("- name\n", r"top level of the file must be keys"),
    ],
)
def test_faults_name_place_rule_and_fix(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_every_fault_is_reported_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "nam: a\ninner: {length: two, lenght: 3, names: [x, [y]]}\n")
    said = str(caught.value)
    for part in (
        r"'nam' at .*it.yaml:1:1 is unknown. Did you mean 'name'\?",
        r"'name' must be given at .*it.yaml",
        r"'inner.length' at .*:2:9: it must be a whole number, got 'two'",
        r"'inner.lenght' at .*:2:22 \(also: .*\). Did you mean 'inner.length'\?",
        r"'inner.names.1' at .*:2:\d+: ",
    ):
        assert re.search(part, said), part


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: 2012-02-30\n", r"it.yaml:1:7: '2012-02-30': day is out of range"),
        ("name: a\ninner: {length: 2012-13-01}\n", r":2:17: '2012-13-01': month must be"),
        ("name: !!int x\n", r":1:7: 'x': invalid literal"),
        ("name: !!float y\n", r":1:7: 'y': could not convert"),
        ("name: !!bool maybe\n", r":1:7: 'maybe'"),
        ("name: 2012-01-01 25:61:61\n", r":1:7: '2012-01-01 25:61:61': hour must be"),
        ("name: " + "[" * 1000 + "\n", r"nested too deeply"),
        ("- " * 1000 + "\n", r"nested too deeply|60 levels"),
        ("name: a\ninner: &a {<<: *a}\n", r"cannot be followed|contains itself"),
        ("name: &a [*a]\n", r"'name' is not valid|an alias that contains itself"),
        ("name: &a {b: [*a]}\n", r"'name' is not valid|an alias that contains itself"),
        ("%YAML 9.9\n---\nname: a\n", r"cannot be followed|incompatible"),
        ("name: !!set {a, b}\n", r"'name' is not valid"),
        ("? [a, b]\n: c\nname: a\n", r"Every key must be known|not valid"),
        ("1: 2\n2012-01-01: 3\nnull: 4\nname: a\n", r"Every key must be known|not valid"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{next_}: &{next_} [{','.join(['*' + last] * 10)}]\n" for last, next_ in pairwise("abcdefghi")
        ), r"at most 100000 values. Got 1\d+"),
    ],
)  # fmt: skip
def test_what_yaml_stumbles_over_is_an_error_with_its_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize("value", ["2012-02-30", "!!int x", "&a [*a]", "[" * 1000, "*nope"])
def test_an_override_that_yaml_stumbles_over_is_an_error(tmp_path, value):
    with pytest.raises(ConfigError, match="value of --set must be YAML|in --set|contains itself"):
        load(tmp_path, "name: a\n", [f"inner.length={value}"])


MARKS = (
    ",",
    ";",
    ".",
    "'",
    "%",
    "#",
    ":",
    "|",
    "*",
    "-",
    "?",
    "\t",
    " ",
    "%d.%m.%Y",
    "[1].csv",
    "*.csv",
    "@x",
)


@pytest.mark.parametrize("mark", MARKS)
def test_an_override_of_a_text_that_is_no_yaml_is_that_text(tmp_path, mark):
    outer = load(tmp_path, "name: a\n", [f"name={mark}", f"inner.by_name.close={mark}"])
    assert (outer.name, outer.inner.by_name) == (mark, {"close": mark})
    quoted = load(tmp_path, "name: a\n", [f"name={json.dumps(mark)}"])
    assert quoted.name == mark


def test_an_alias_may_be_used_many_times(tmp_path):
    text = "name: a\ninner: {names: &n [x, y]}\nmaybe: {names: *n}\n"
    assert load(tmp_path, text).maybe.names == ("x", "y")


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
        ("inner.lenght=3", "'inner.lenght' .*set on the command line.*Did you mean 'inner.length'"),
        ("inner.length=x", "'inner.length' is not valid.*set on the command line"),
    ],
)
def test_bad_overrides_are_refused(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, "name: a\ninner:\n  length: 3\n", [override])


def archive(*members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for member in members:
            file.writestr(member, "content")
    return stream.getvalue()


STOOQ = b"<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>\nAAPL.US,D,20200102,000000,1\n"
KINDS = {
    "workbook": (archive("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook. .*data.path=FILE"),
    "old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(8), "an old Excel workbook"),
    "document": (archive("word/document.xml"), "a Word document"),
    "zip": (archive("prices.csv"), "a zip archive. Unpack it first"),
    "checkpoint": (archive("archive/data.pkl"), "a PyTorch checkpoint"),
    "stooq": (STOOQ, "prices as stooq writes them. .*data check"),
    "csv": (
        b"\xef\xbb\xbfDate,Open,Close\r\n2020-01-02,1,2\r\n",
        "a table separated by commas. .*data check",
    ),
    "one column": (b"Date;Close\n2020-01-02;1\n2020-01-03;2\n", "a table separated by semicolons"),
    "tabs": (b"Date\tClose\n2020-01-02\t1\n", "a table separated by tabs"),
    "csv with a mark": (b"Date,Close\n2020-01-02,@1\n2020-01-03,2\n", "a table separated by commas"),
    "gzip": (gzip.compress(b"name: a"), "a gzip file. Unpack it"),
    "parquet": (b"PAR1" + bytes(40), "a Parquet file. .*data.path"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG image"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
    "pickle": (b"\x80\x04\x95" + bytes(20), "a Python pickle"),
    "safetensors": (b"\x10" + bytes(7) + b'{"a":1}', "a safetensors file. Give the run's folder"),
    "UTF-16": ("name: a\n".encode("utf-16"), "text in UTF-16. Save it in the encoding UTF-8"),
    "UTF-16 bare": ("name: a\n".encode("utf-16-le"), "text in UTF-16"),
    "Latin-1": ("# a\nname: é\n".encode("latin-1"), r"UTF-8. Got .*: byte 0xe9 in line 2. Save it"),
    "QPY": (b"QISKIT\x12" + bytes(30), "a QPY file. Name a circuit as file.path"),
    "OpenQASM": (b"// mine\nOPENQASM 2.0;\nqreg q[1];\n", "OpenQASM 2. Name a circuit as file.path"),
    "Python": (
        b"from qiskit import QuantumCircuit\ndef build(q, d): ...\n",
        "a Python program. Name a circuit",
    ),
    "web page": (b"<!DOCTYPE html><html></html>", "a web page. Download the file itself"),
    "notebook": (b'{"cells": [], "nbformat": 4}', "a Jupyter notebook"),
    "a sentence": (
        b"hello there\n",
        "Got .* begins with 'hello there'. Write 'key: value'",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_refused_with_what_it_is(tmp_path, kind):
    content, message = KINDS[kind]
    path = tmp_path / "it.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_document(Outer, path)


def test_a_folder_is_no_document(tmp_path):
    with pytest.raises(ConfigError, match="a folder. Name a file"):
        load_document(Outer, tmp_path)


@pytest.mark.parametrize("text", ["\ufeffname: a\n", "name: a\r\n", '{"name": "a"}', "# a, b\nname: a\n"])
def test_yaml_in_each_dress_is_read(tmp_path, text):
    assert load(tmp_path, text).name == "a"


TICKERS = (
    "ON",
    "NO",
    "0700",
    "1E5",
    "TRUE",
    "2330",
    "NA",
    "null",
    "2024-01-02",
    ".5",
    "nan",
    "0x1F",
    "1:30",
    "~",
)


@pytest.mark.parametrize("ticker", TICKERS)
def test_a_name_is_the_text_that_stands_there(tmp_path, ticker):
    for text, overrides in (
        (f"name: a\ninner: {{names: [{ticker}, '{ticker}x']}}\n", []),
        ("name: a\n", [f"inner.names=[{ticker}, {ticker}x]"]),
        (f"name: a\ninner:\n  names:\n  - {ticker}\n  - {ticker}x\n", []),
    ):
        outer = load(tmp_path, text, overrides)
        assert outer.inner.names == (ticker, f"{ticker}x")
        assert load(tmp_path, dump_document(outer)) == outer


def test_a_name_of_digits_is_one_and_a_number_stays_a_number(tmp_path):
    outer = load(tmp_path, "name: 0700\ninner: {length: 007}\nmaybe: null\n", ["inner.length=8"])
    assert (outer.name, outer.inner.length, outer.maybe) == ("0700", 8, None)

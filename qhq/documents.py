"""YAML documents checked by pydantic; an error names file:line:column and the nearest known key.

A file of another kind (a workbook, a table of prices, a circuit) is refused; the error says where it goes.
"""

from __future__ import annotations

import codecs
import copy
import io
import re
import types
import typing
import zipfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import ScalarEvent

from qhq.errors import ConfigError, nearest
from qhq.files import MOST_DOCUMENT_BYTES, read_regular


class Spec(BaseModel):
    """A frozen section of a document; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _tell_truth_from_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's true is no 1 and its 1 no true, though pydantic would take either for the other."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        # Not strict mode: it would refuse a list where a spec has a tuple, and a list is all that YAML has.
        left_open = annotation == bool | None
        if (annotation is bool or (left_open and value is not None)) and not isinstance(value, bool):
            raise ValueError("must be true or false")
        if isinstance(value, bool) and annotation not in (bool, Any) and not left_open:
            raise ValueError("must not be true or false")
        return value


_MOST_DEPTH, MOST_NODES = 60, 100_000
"""Levels and values of a document: far more than any config has, far less than aliases can unfold into."""

# In place of the line and column of a key that does not stand in the file.
_SET_ELSEWHERE = " (set on the command line)"

SpecT = TypeVar("SpecT", bound=Spec)
_ModelT = TypeVar("_ModelT", bound=BaseModel)
Location = tuple[int | str, ...]


# What errors call a document that a program hands over, in place of its file.
_IN_MEMORY = "the mapping given"


def load_document(
    model: type[SpecT], source: Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> SpecT:
    """Read one document as ``model``.

    Args:
        model: The spec that it must follow.
        source: The YAML file, or what would stand in one.
        overrides: ``a.b=value`` texts, each laid over the file; values are YAML, or the text itself where a
            key takes a text and YAML makes nothing of it, such as ``,`` or ``%d.%m.%Y``.

    Raises:
        ConfigError: If the file is missing, no YAML, or breaks the spec.
    """
    if isinstance(source, Path):
        content: dict[str, Any] = read_mapping(source)
        written = _as_written(read_bytes(source).decode("utf-8-sig"))
        written = written if isinstance(written, dict) else {}
    else:
        _check_bounds(source, _IN_MEMORY)
        content, written = copy.deepcopy(dict(source)), {}
    for override in overrides:
        _apply_override(model, content, override)
        keys, _, text = override.partition("=")
        _lay_over(written, keys.strip().split("."), _as_written(text))
    _keep_text(model, content, written)
    return validate(model, content, str(source) if isinstance(source, Path) else _IN_MEMORY)


def _as_written(text: str) -> Any:
    """Read YAML with each scalar as the text that stands there: 0700 and TRUE are tickers."""
    try:
        return YAML(typ="base", pure=True).load(text)
    except YAMLError:  # the same text, read with types, has said why
        return None


def _lay_over(written: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    *parents, last = keys
    for parent in parents:
        if not isinstance(written.get(parent), dict):
            written[parent] = {}
        written = written[parent]
    written[last] = value


def _keep_text(model: type[BaseModel], content: Any, written: Any) -> None:
    """Give back its text to what YAML took for a number or a truth value where a name is asked for."""
    if not isinstance(content, dict) or not isinstance(written, dict):
        return
    for key, field in model.model_fields.items():
        if key not in content or key not in written:
            continue
        for inner in _models_in(field.annotation):
            _keep_text(inner, content[key], written[key])
        value, text = content[key], written[key]
        if _is_text(field.annotation) and _was_taken(value) and isinstance(text, str):
            content[key] = text
        elif _is_list_of_text(field.annotation) and isinstance(value, list) and isinstance(text, list):
            for place, (each, own) in enumerate(zip(value, text, strict=False)):
                if (_was_taken(each) or each is None) and isinstance(own, str) and own:
                    value[place] = own


def _was_taken(value: object) -> bool:
    """Whether YAML made a number, a truth value or a date of a word."""
    return isinstance(value, bool | int | float | date)


def _is_text(annotation: Any) -> bool:
    """Whether a key takes a text and nothing that is written alike: str, or None."""
    options = [each for each in _options(annotation) if each is not type(None)]
    return bool(options) and all(each is str for each in options)


def _is_list_of_text(annotation: Any) -> bool:
    lists = [each for each in _options(annotation) if typing.get_origin(each) in (tuple, list)]
    return len(lists) == 1 and all(
        _is_text(each) for each in typing.get_args(lists[0]) if each is not Ellipsis
    )


def _options(annotation: Any) -> list[Any]:
    """Members of a union, without their constraints."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [inner for each in typing.get_args(annotation) for inner in _options(each)]
    return [annotation]


def read_mapping(path: Path) -> CommentedMap:
    """Read one YAML file whose top level is a mapping, keeping the position of each key.

    Raises:
        ConfigError: If the file is missing, is no such YAML, or is a file of another kind, which is named.
    """
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
        mapping = YAML(typ="rt").load(text)
    except UnicodeDecodeError as error:
        _refuse_other_kind(path, content)
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            "The file must be text in UTF-8",
            got=f"{path}: byte 0x{content[error.start]:02x} in line {line}",
            fix="Save it in the encoding UTF-8",
        ) from error
    except YAMLError as error:
        _refuse_other_kind(path, content)
        raise ConfigError(
            "The file must be valid YAML", got=_yaml_fault(path, error), fix="Mend that line"
        ) from error
    except Exception as error:  # of a value such as 2012-02-30 ruamel raises whatever its constructor does
        raise ConfigError(
            "The file must be valid YAML", got=f"{path}{_value_fault(text, error)}", fix="Mend or quote it"
        ) from error
    _check_bounds(mapping, str(path))
    # JSON is YAML, so that a notebook parses too; and so does a table, as one long text.
    if not isinstance(mapping, CommentedMap) or text.lstrip().startswith("{"):
        _refuse_other_kind(path, content)
    if mapping is None:
        return CommentedMap()
    if not isinstance(mapping, CommentedMap):
        raise ConfigError(
            "The top level of the file must be keys with values",
            got=f"{path}, which begins with {_shorten(text.strip().splitlines()[0])}",
            fix="Write 'key: value' lines",
        )
    return mapping


def read_plain(path: Path) -> dict[str, Any]:
    """Read a YAML file that qhq wrote, as dicts, lists and values.

    Raises:
        ConfigError: If it is missing, or is no such YAML.
    """
    read_mapping(path)
    content: dict[str, Any] = YAML(typ="safe").load(read_bytes(path).decode("utf-8-sig"))
    return content


def read_bytes(path: Path, *, most: int = MOST_DOCUMENT_BYTES) -> bytes:
    """Read a whole file that a user named, of at most ``most`` bytes.

    Raises:
        ConfigError: If it does not exist, is no regular file, is too large, or may not be read.
    """
    try:
        return read_regular(path, most=most)
    except OSError as error:
        raise ConfigError(
            "The file must exist and be readable", got=f"{path}: {error.strerror}", fix="Check the path"
        ) from error


@dataclass(frozen=True)
class FileLook:
    """What a file looks like from its content.

    Attributes:
        name: A noun phrase: ``an Excel workbook``.
        goes: What its user can do with it, without a full stop; '' if nothing.
    """

    name: str
    goes: str = ""


PRICES = "Give prices as --set data.path=FILE; 'qhq data check FILE' says how they are read"
CIRCUIT = "Name a circuit as file.path in the YAML of an ansatz, and give that YAML"
RUN = "Give the run's folder to a command that takes a RUN"

# First bytes of a file -> what it is.
_SIGNATURES: tuple[tuple[bytes, FileLook], ...] = (
    (b"PAR1", FileLook("a Parquet file", PRICES)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileLook("an old Excel workbook (.xls)", PRICES)),
    (b"QISKIT", FileLook("a QPY file", CIRCUIT)),
    (b"\x1f\x8b", FileLook("a gzip file", f"Unpack it with gunzip. {PRICES}")),
    (b"BZh", FileLook("a bzip2 file", "Unpack it with bunzip2")),
    (b"\xfd7zXZ\x00", FileLook("an xz file", "Unpack it with unxz")),
    (b"\x28\xb5\x2f\xfd", FileLook("a Zstandard file", "Unpack it with unzstd")),
    (b"7z\xbc\xaf\x27\x1c", FileLook("a 7z archive", "Unpack it first")),
    (b"\x89PNG", FileLook("a PNG image")),
    (b"\xff\xd8\xff", FileLook("a JPEG image")),
    (b"GIF8", FileLook("a GIF image")),
    (b"%PDF", FileLook("a PDF")),
    (b"\x89HDF", FileLook("an HDF5 file")),
    (b"SQLite format 3", FileLook("an SQLite database")),
    (b"\x93NUMPY", FileLook("a NumPy array")),
    *((bytes([0x80, protocol]), FileLook("a Python pickle")) for protocol in range(2, 6)),
    *(
        (mark, FileLook("text in UTF-16", "Save it in the encoding UTF-8"))
        for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    ),
)

# How a member of a zip archive begins or ends -> what the archive is.
_MEMBERS = {
    "xl/": FileLook("an Excel workbook", PRICES),
    "word/": FileLook("a Word document"),
    "ppt/": FileLook("a PowerPoint presentation"),
    "content.xml": FileLook("an OpenDocument file", f"Save its sheet as CSV. {PRICES}"),
    "data.pkl": FileLook("a PyTorch checkpoint", RUN),
}

# The first that fits: an SVG image would be XML too, and a page of the web as well.
TEXTS: tuple[tuple[str, FileLook], ...] = (
    (r"OPENQASM\s+2|include\s+\"qelib1|qreg\s", FileLook("OpenQASM 2", CIRCUIT)),
    (r"OPENQASM\s+3|include\s+\"stdgates|qubit[\s\[]|input\s+(float|angle)", FileLook("OpenQASM 3", CIRCUIT)),
    (r"<(TICKER|DATE)>", FileLook("prices as stooq writes them", PRICES)),
    (r"<!doctype html|<html", FileLook("a web page", "Download the file itself, not the page that shows it")),
    (r"(<\?xml.*?\?>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg.*?>\s*)?<svg", FileLook("an SVG image")),
    (r"<\?xml|<[a-zA-Z]+[ >]", FileLook("XML")),
    (r'\{\s*"(cells|nbformat|metadata)"', FileLook("a Jupyter notebook", "Copy what you need out of it")),
    (r"(from [\w.]+ )?import [\w.]+|def \w+\(|[\"']{3}|#!.*python", FileLook("a Python program", CIRCUIT)),
)
"""How a text begins, after its comments -> what it is."""


def file_look(content: bytes) -> FileLook | None:
    r"""Tell what a file is from its content, whatever its name says; None if it could be anything.

    >>> file_look(b"QISKIT" + bytes(9)).name
    'a QPY file'
    >>> file_look(b"Date,Open,Close\n2020-01-02,1,2\n").name
    'a table separated by commas'
    """
    if not content.strip():
        return FileLook("an empty file")
    if content.startswith(b"PK"):
        return _archive_look(content)
    for start, look in _SIGNATURES:
        if content.startswith(start):
            return look
    # safetensors begins with eight bytes that count, and goes on in JSON.
    if content[8:10] == b'{"':
        return FileLook("a safetensors file", RUN)
    head = content[:8192]
    if b"\0" in head:
        # UTF-16 without its mark: of plain letters every other byte is zero.
        wide = head.count(0) > len(head) // 4 and any(not head[at::2].strip(b"\0") for at in (0, 1))
        return (
            FileLook("text in UTF-16", "Save it in the encoding UTF-8") if wide else FileLook("a binary file")
        )
    return _text_look(head.decode("utf-8-sig", errors="replace"))


def _archive_look(content: bytes) -> FileLook:
    try:
        members = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return FileLook("a damaged zip archive or workbook", "Save or download it again")
    for mark, look in _MEMBERS.items():
        if any(member.startswith(mark) or member.endswith(mark) for member in members):
            return look
    return FileLook("a zip archive", "Unpack it first")


def _text_look(text: str) -> FileLook | None:
    bare = blank_comments(text).strip()
    for pattern, look in TEXTS:
        if re.match(pattern, bare, re.IGNORECASE | re.DOTALL):
            return look
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    for mark, word in ((",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        # Without the last line, which the end of the bytes that are looked at may have cut off.
        counts = [line.rstrip(mark).count(mark) for line in lines[:-1]]
        if len(lines) > 1 and min(counts) > 0 and max(counts) == min(counts) and ": " not in lines[0]:
            return FileLook(f"a table separated by {word}", PRICES)
    return None


def blank_comments(text: str) -> str:
    """Leave out ``// ...`` and ``/* ... */``; every line keeps its number, and strings are left alone."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else "\n" * match[0].count("\n")

    return re.sub(r'"[^"\n]*"|//[^\n]*|/\*.*?\*/', blank, text, flags=re.DOTALL)


def _refuse_other_kind(path: Path, content: bytes) -> None:
    """Name a file that is of another kind than YAML.

    Raises:
        ConfigError: If its kind is known.
    """
    look = file_look(content)
    if look is not None and content.strip():
        fix = look.goes or "Give a YAML file"
        if look.goes == CIRCUIT:
            # In flow style it is one line, as messages are.
            fix += (
                f". One line is enough: 'file: {{path: {path.name}}}' in {path.stem}.yaml beside it"
                " (docs/circuits.md has qubits, depth and inputs)"
            )
        raise ConfigError("The file must be YAML", got=f"{path}, which is {look.name}", fix=fix)


def validate(
    model: type[_ModelT],
    content: Mapping[str, Any],
    source: str,
    overridden: Callable[[str], str] | None = None,
    fix: str | None = None,
) -> _ModelT:
    """Check ``content`` against ``model``.

    Args:
        model: The spec that it must follow.
        content: Keys and values.
        source: Where they came from, for the error.
        overridden: From a key of the document that does not stand in ``source`` to the key by which it was
            set elsewhere, for the error. None where such keys come from the command line.
        fix: What to do about a document that nobody writes by hand; None says which key to mend.

    Raises:
        ConfigError: At the first key that breaks the spec.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        if fix is None:
            raise _config_error(model, content, source, error.errors(), overridden) from error
        found = _config_error(model, content, source, error.errors()[:1], overridden)
        raise ConfigError(found.must, got=found.got, fix=fix) from error


def dump_document(spec: Spec) -> str:
    """Write a spec as YAML, every key spelled out, in the order of its fields."""
    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(spec.model_dump(mode="json"), stream)
    return stream.getvalue()


def _apply_override(model: type[BaseModel], content: MutableMapping[str, Any], override: str) -> None:
    keys, separator, text = override.partition("=")
    if not separator or not all(keys.split(".")):
        raise ConfigError(
            "--set must be KEY=VALUE, with dots between nested keys",
            got=f"'{override}'",
            fix="Write for example --set training.epochs=5",
        )
    places = keys.strip().split(".")
    *parents, last = places
    node = content
    for parent in parents:
        if not isinstance(node.get(parent), dict):
            node[parent] = CommentedMap()
        node = node[parent]
    override_key(node, last, _override_value(override, text, is_text=_takes_text(model, places)))


def override_key(node: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Set a key that does not come from the file, so that no error points into the file for it."""
    node[key] = value
    if isinstance(node, CommentedMap):  # a mapping that was typed itself has no place in the file
        (node.lc.data or {}).pop(key, None)


def _takes_text(model: type[BaseModel], keys: Sequence[str]) -> bool:
    """Whether the key at the end of ``keys`` takes a text and nothing else."""
    annotations: list[Any] = [model]
    for key in keys:
        inner = []
        for option in (each for annotation in annotations for each in _options(annotation)):
            if isinstance(option, type) and issubclass(option, BaseModel):
                inner += [option.model_fields[key].annotation] if key in option.model_fields else []
            elif typing.get_origin(option) is dict:
                inner.append(typing.get_args(option)[1])
        annotations = inner
    return bool(annotations) and all(map(_is_text, annotations))


def _override_value(override: str, text: str, *, is_text: bool) -> Any:
    # A mark alone is a text to whoever types it, but YAML's own sign: ',' '%' '#' ':' '|' '*' or a tab.
    if is_text and len(text) == 1 and text != "~":
        return text
    try:
        value = YAML(typ="safe").load(text)
    except Exception as error:  # of a value such as 2012-02-30 ruamel raises whatever its constructor does
        if is_text:  # '%d.%m.%Y', '[1].csv', '*.csv'
            return text
        raise ConfigError(
            "The value of --set must be YAML", got=f"'{_shorten(override)}'", fix="Quote the value"
        ) from error
    _check_bounds(value, "--set")
    return value


def _value_fault(text: str, error: Exception) -> str:
    """``:line:column: value: reason`` of the first scalar that YAML cannot make a value of."""
    if isinstance(error, RecursionError):
        return ": brackets or lines nested too deeply"
    # Scalar by scalar, since the error of a constructor does not say where its value stands.
    reader = YAML(typ="safe", pure=True)
    with suppress(YAMLError):  # a version or a tag that the parser itself refuses
        for event in YAML(typ="rt").parse(text):
            if not isinstance(event, ScalarEvent) or event.style is not None or event.value == "<<":
                continue
            try:
                reader.load(f"!<{event.tag}> {event.value}" if event.tag else event.value)
            except Exception as reason:
                mark = event.start_mark
                first = (str(reason).splitlines() or [type(reason).__name__])[0]
                return f":{mark.line + 1}:{mark.column + 1}: {_shorten(event.value)}: {first}"
    return f": an alias, a merge key or a directive that cannot be followed ({type(error).__name__})"


def _check_bounds(content: Any, source: str) -> None:
    """Refuse a document whose aliases lead in a circle or unfold into more than anyone writes by hand.

    Raises:
        ConfigError: If it is circular, too deep or too large.
    """
    # By identity: nine aliases of nine aliases are few objects and many values once they are written out.
    sizes: dict[int, int] = {}

    def measure(node: Any, depth: int) -> int:
        if not isinstance(node, Mapping | list | tuple | set | frozenset):
            return 1
        size = sizes.get(id(node))
        if size == 0 or depth > _MOST_DEPTH:
            raise ConfigError(
                f"A document must end {_MOST_DEPTH} levels deep",
                got=f"an alias that contains itself, or deeper nesting, in {source}",
                fix="Write the values out",
            )
        if size is None:
            sizes[id(node)] = 0  # under way: met again, it contains itself
            inner = node.values() if isinstance(node, Mapping) else node
            size = sizes[id(node)] = 1 + sum(measure(each, depth + 1) for each in inner)
        return size

    size = measure(content, 0)
    if size > MOST_NODES:
        raise ConfigError(
            f"A document must have at most {MOST_NODES} values",
            got=f"{size} in {source}, its aliases written out",
            fix="Take out what is not needed",
        )


def _yaml_fault(path: Path, error: YAMLError) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{path}:{mark.line + 1}:{mark.column + 1}: {error.problem}"
    return f"{path}: {str(error).splitlines()[0]}"


def _config_error(
    model: type[BaseModel],
    content: Mapping[str, Any],
    source: str,
    faults: Sequence[Any],
    overridden: Callable[[str], str] | None,
) -> ConfigError:
    # A misspelt key makes its right spelling missing too: name the misspelling.
    fault = min(faults, key=lambda each: each["type"] != "extra_forbidden")
    keys = _present_keys(fault["loc"], content)
    name, at = _place(keys, content, source, overridden)
    others = [_say_other(model, content, source, each, overridden) for each in faults if each is not fault]
    more = f" (also: {'; '.join(dict.fromkeys(others))})" if others else ""
    if fault["type"] == "extra_forbidden":
        return ConfigError("Every key must be known", got=f"'{name}' at {at}{more}", fix=_known(model, keys))
    rule = _rule(fault)
    if fault["type"] == "missing":
        return ConfigError(f"'{name}' must be given", got=f"nothing at {at}{more}", fix=f"Add '{keys[-1]}'")
    return ConfigError(
        f"'{name}' is not valid: {rule}",
        got=f"{_shorten(fault['input'])} at {at}{more}",
        fix="Correct the value",
    )


def _place(
    keys: Location, content: Any, source: str, overridden: Callable[[str], str] | None
) -> tuple[str, str]:
    """What to call a key, and where it was set."""
    name, position = ".".join(str(key) for key in keys) or "the document", _position(keys, content)
    if overridden is not None and position == _SET_ELSEWHERE:
        return overridden(name), f"the config, over {source}"
    return name, f"{source}{position}"


def _say_other(
    model: type[BaseModel],
    content: Mapping[str, Any],
    source: str,
    fault: Any,
    overridden: Callable[[str], str] | None,
) -> str:
    """One of several faults in a line: all are listed, so that all can be mended at once."""
    keys = _present_keys(fault["loc"], content)
    name, at = _place(keys, content, source, overridden)
    if fault["type"] == "extra_forbidden":
        return f"'{name}' at {at} is unknown. {_known(model, keys)}"
    if fault["type"] == "missing":
        return f"'{name}' must be given at {at}"
    rule = _rule(fault)
    return f"'{name}' at {at}: {rule}, got {_shorten(fault['input'])}"


def _known(model: type[BaseModel], keys: Location) -> str:
    """The key nearest to an unknown one, in full as ``--set`` takes it, and those that there are."""
    section = ".".join(map(str, keys[:-1]))
    hint = nearest(str(keys[-1]), sorted(_known_keys(model, keys[:-1])))
    return hint.replace("Did you mean '", f"Did you mean '{section}.") if section else hint


# What is asked of a value, by what the name of pydantic's error begins with; the first that fits.
_RULES = {
    "int": "it must be a whole number",
    "float": "it must be a number",
    "finite_number": "it must be a finite number",
    "string_type": "it must be a text",
    "bool": "it must be true or false",
    "list": "it must be a list",
    "tuple": "it must be a list",
    "dict": "it must be a mapping of keys to values",
    "model": "it must be a mapping of keys to values",
    "mapping": "it must be a mapping of keys to values",
    "date_": "it must be a date such as 2024-01-31",
    "none_required": "it must be left out",
    "greater_than_equal": "it must be at least {ge}",
    "greater_than": "it must be above {gt}",
    "less_than_equal": "it must be at most {le}",
    "less_than": "it must be below {lt}",
    "literal_error": "it must be {expected}",
}


def _rule(fault: Any) -> str:
    """What pydantic asks of a value, in words of a document: nobody can write an instance there."""
    for beginning, rule in _RULES.items():
        if fault["type"].startswith(beginning):
            return rule.format(**fault.get("ctx", {}))
    said: str = fault["msg"].removeprefix("Value error, ").rstrip(".")
    return said.partition(" or instance of ")[0]


def _shorten(value: object) -> str:
    text = repr(dict(value) if isinstance(value, CommentedMap) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def _present_keys(location: Location, content: Any) -> Location:
    """Drop from a pydantic location what is no key of the document (the tags of unions)."""
    keys: list[int | str] = []
    for index, key in enumerate(location):
        last = index == len(location) - 1
        if _has(content, key):
            content = content[key]
            keys.append(key)
        elif last and isinstance(content, dict) and isinstance(key, str) and "[" not in key:
            keys.append(key)
    return tuple(keys)


def _has(content: Any, key: int | str) -> bool:
    if isinstance(content, dict):
        return key in content
    return isinstance(content, list) and isinstance(key, int) and key < len(content)


def _position(keys: Location, content: Any) -> str:
    """``:line:column`` of the deepest key that stands in the file; '' where none does, or without one."""
    if not isinstance(content, CommentedMap | CommentedSeq):
        return ""
    found = ""
    for key in keys:
        if isinstance(content, CommentedMap) and key in (content.lc.data or {}):
            line, column = content.lc.key(key)
        elif isinstance(content, CommentedSeq) and key in (content.lc.data or {}):
            line, column = content.lc.item(key)
        elif _has(content, key):
            return _SET_ELSEWHERE
        else:
            return found
        found = f":{line + 1}:{column + 1}"
        content = content[key]
    return found


def _known_keys(model: type[BaseModel], keys: Location) -> set[str]:
    models = [model]
    for key in keys:
        if isinstance(key, str):
            fields = [each.model_fields[key] for each in models if key in each.model_fields]
            if fields:
                models = [found for field in fields for found in _models_in(field.annotation)]
    return {name for each in models for name in each.model_fields}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)

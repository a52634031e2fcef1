"""YAML documents checked by pydantic; an error names file:line:column and the nearest known key.

A file of another kind (a workbook, a table of prices, a circuit) is refused; the error says where it goes.
"""

from __future__ import annotations

import copy
import functools
import io
import pickle
import types
import typing
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import ScalarEvent

from qhq.document_faults import config_error, models_in, shorten
from qhq.errors import ConfigError
from qhq.file_kinds import CIRCUIT, file_kind
from qhq.files import MOST_DOCUMENT_BYTES, Json, read_regular


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


# Levels and values of a document: far more than any config has, far less than aliases can unfold into.
_MOST_DEPTH, MOST_NODES = 60, 100_000


_SpecT = TypeVar("_SpecT", bound=Spec)
_ModelT = TypeVar("_ModelT", bound=BaseModel)


Overrides = dict[str, Any]
"""Values by key, or by label: whatever YAML can say, until the spec that they are for has read it."""

# What errors call a document that a program hands over, in place of its file.
_IN_MEMORY = "the mapping given"


def load_document(
    model: type[_SpecT], source: Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> _SpecT:
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
        content: Json = read_mapping(source)
        written = _as_written(read_bytes(source).decode("utf-8-sig"))
        written = written if isinstance(written, dict) else {}
    else:
        _check_bounds(source, _IN_MEMORY)
        # Deep, as overrides are laid into its sections, which are the caller's.
        content, written = copy.deepcopy(dict(source)), {}
    for override in overrides:
        _apply_override(model, content, override)
        keys, _, text = override.partition("=")
        _lay_over(written, keys.strip().split("."), _as_written(text))
    _keep_text(model, content, written)
    return validate(model, content, str(source) if isinstance(source, Path) else _IN_MEMORY)


def _parsed(text: str, form: str) -> Any:
    """What stands in YAML, perhaps kept for the next reader: to be copied before it is changed.

    Args:
        text: The document.
        form: ``rt`` keeps the position of each key, ``base`` each scalar as the text that stands there,
            ``safe`` gives plain dicts and lists.
    """
    return (_parse_once if len(text) <= _KEPT_LETTERS else _parse)(text, form)


def _copy_of_parsed(text: str, form: str) -> Any:
    """As `_parsed`, for the caller alone; not of a document whose aliases lead in a circle."""
    if len(text) > _KEPT_LETTERS:
        return _parse(text, form)
    return pickle.loads(_pickle_once(text, form))


def _parse(text: str, form: str) -> Any:
    return YAML(typ=form, pure=True).load(text)


# A command reads its config and backends.yaml several times over, and ruamel takes 10 ms for 6 kB. Larger
# ones are not kept: 32 documents as large as they may be would fill the memory.
_KEPT_LETTERS = 1 << 16
_parse_once = functools.lru_cache(maxsize=32)(_parse)


@functools.lru_cache(maxsize=32)
def _pickle_once(text: str, form: str) -> bytes:
    # Bytes of this process's own, never of a file. A deep copy of what ruamel makes takes ten times as long,
    # for it copies the marks of each key one by one.
    return pickle.dumps(_parse_once(text, form))


def _as_written(text: str) -> Any:
    """Read YAML with each scalar as the text that stands there: 0700 and TRUE are tickers."""
    try:
        return _copy_of_parsed(text, "base")
    except YAMLError:  # the same text, read with types, has said why
        return None


def _lay_over(written: Json, keys: Sequence[str], value: Any) -> None:
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
        for inner in models_in(field.annotation):
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
        mapping = _parsed(text, "rt")
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
            got=f"{path}, which begins with {shorten(text.strip().splitlines()[0])}",
            fix="Write 'key: value' lines",
        )
    # Only now: a document whose aliases lead in a circle cannot be copied.
    copied: CommentedMap = _copy_of_parsed(text, "rt")
    return copied


def read_plain(path: Path) -> Json:
    """Read a YAML file that qhq wrote, as dicts, lists and values.

    Raises:
        ConfigError: If it is missing, or is no such YAML.
    """
    read_mapping(path)
    content: Json = _copy_of_parsed(read_bytes(path).decode("utf-8-sig"), "safe")
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


def _refuse_other_kind(path: Path, content: bytes) -> None:
    """Name a file that is of another kind than YAML.

    Raises:
        ConfigError: If its kind is known.
    """
    kind = file_kind(content)
    if kind is not None and content.strip():
        fix = kind.goes or "Give a YAML file"
        if kind.goes == CIRCUIT:
            # In flow style it is one line, as messages are.
            fix += (
                f". One line is enough: 'file: {{path: {path.name}}}' in {path.stem}.yaml beside it"
                " (docs/circuits.md has qubits, depth and inputs)"
            )
        raise ConfigError("The file must be YAML", got=f"{path}, which is {kind.name}", fix=fix)


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
            raise config_error(model, content, source, error.errors(), overridden) from error
        found = config_error(model, content, source, error.errors()[:1], overridden)
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
            "The value of --set must be YAML", got=f"'{shorten(override)}'", fix="Quote the value"
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
                # One scalar at a time: the parser itself says of a bad date or number neither where nor
                # which.
                reader.load(f"!<{event.tag}> {event.value}" if event.tag else event.value)
            except Exception as reason:
                mark = event.start_mark
                first = (str(reason).splitlines() or [type(reason).__name__])[0]
                return f":{mark.line + 1}:{mark.column + 1}: {shorten(event.value)}: {first}"
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

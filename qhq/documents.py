"""YAML documents checked by pydantic; an error names file:line:column and the nearest known key."""

from __future__ import annotations

import io
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from qhq.errors import ConfigError, nearest


class Spec(BaseModel):
    """A frozen part of a document; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _tell_truth_from_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's true is no 1 and its 1 no true, though pydantic would take either for the other."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if annotation is bool and not isinstance(value, bool):
            raise ValueError("must be true or false")
        if isinstance(value, bool) and annotation not in (bool, Any):
            raise ValueError("must not be true or false")
        return value


SpecT = TypeVar("SpecT", bound=Spec)
Location = tuple[int | str, ...]


def load_document(model: type[SpecT], path: Path, overrides: Sequence[str] = ()) -> SpecT:
    """Read one YAML file as ``model``.

    Args:
        model: The spec that the file must follow.
        path: The file.
        overrides: ``a.b=value`` texts, each laid over the file; values are YAML.

    Raises:
        ConfigError: If the file is missing, no YAML, or breaks the spec.
    """
    content = read_mapping(path)
    for override in overrides:
        _apply_override(content, override)
    return validate(model, content, str(path))


def read_mapping(path: Path) -> CommentedMap:
    """Read one YAML file whose top level is a mapping, keeping the position of each key."""
    try:
        content = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "The file must exist and be readable",
            got=f"{path}: {error.strerror}",
            fix="Check the path",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            "The file must be text in UTF-8", got=f"{path}: {error.reason}", fix="Save it as UTF-8 YAML"
        ) from error
    except YAMLError as error:
        raise ConfigError(
            "The file must be valid YAML", got=_yaml_fault(path, error), fix="Mend that line"
        ) from error
    if content is None:
        return CommentedMap()
    if not isinstance(content, CommentedMap):
        raise ConfigError(
            "The top level of the file must be keys with values",
            got=f"{path}: {type(content).__name__}",
            fix="Write 'key: value' lines",
        )
    return content


def validate(model: type[SpecT], content: Mapping[str, Any], source: str) -> SpecT:
    """Check ``content`` against ``model``; ``source`` names where it came from in the error.

    Raises:
        ConfigError: At the first key that breaks the spec.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _config_error(model, content, source, error.errors()) from error


def dump_document(spec: Spec) -> str:
    """Write a spec as YAML, every key spelled out, in the order of its fields."""
    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(spec.model_dump(mode="json"), stream)
    return stream.getvalue()


def _apply_override(content: CommentedMap, override: str) -> None:
    keys, separator, text = override.partition("=")
    if not separator or not all(keys.split(".")):
        raise ConfigError(
            "--set must be KEY=VALUE, with dots between nested keys",
            got=f"'{override}'",
            fix="Write for example --set training.epochs=5",
        )
    *parents, last = keys.strip().split(".")
    node = content
    for parent in parents:
        if not isinstance(node.get(parent), dict):
            node[parent] = CommentedMap()
        node = node[parent]
    override_key(node, last, _override_value(override, text))


def override_key(node: CommentedMap, key: str, value: Any) -> None:
    """Set a key that does not come from the file, so that no error points into the file for it."""
    node[key] = value
    (node.lc.data or {}).pop(key, None)


def _override_value(override: str, text: str) -> Any:
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ConfigError(
            "The value of --set must be YAML", got=f"'{override}'", fix="Quote the value"
        ) from error


def _yaml_fault(path: Path, error: YAMLError) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{path}:{mark.line + 1}:{mark.column + 1}: {error.problem}"
    return f"{path}: {str(error).splitlines()[0]}"


def _config_error(
    model: type[Spec], content: Mapping[str, Any], source: str, faults: Sequence[Any]
) -> ConfigError:
    # A misspelt key makes its right spelling missing too: name the misspelling.
    fault = min(faults, key=lambda each: each["type"] != "extra_forbidden")
    keys = _present_keys(fault["loc"], content)
    name = ".".join(str(key) for key in keys) or "the document"
    at = f"{source}{_position(keys, content)}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        known = sorted(_known_keys(model, keys[:-1]))
        return ConfigError(
            "Every key must be known", got=f"'{name}' at {at}{more}", fix=nearest(str(keys[-1]), known)
        )
    rule = fault["msg"].removeprefix("Value error, ").rstrip(".")
    if fault["type"] == "missing":
        return ConfigError(f"'{name}' must be given", got=f"nothing at {at}{more}", fix=f"Add '{keys[-1]}'")
    return ConfigError(
        f"'{name}' is not valid: {rule}",
        got=f"{_shorten(fault['input'])} at {at}{more}",
        fix="Correct the value",
    )


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
            return " (set on the command line)"
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

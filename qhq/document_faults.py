"""What pydantic finds wrong with a document, said in the document's own terms.

Where the value stands (``:line:column``), the rule that it breaks, and the nearest known key of an unknown
one. Whoever writes YAML need not know what a literal, a union or a discriminator is.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from qhq.errors import ConfigError, nearest

# In place of the line and column of a key that does not stand in the file.
_SET_ELSEWHERE = " (set on the command line)"
_Location = tuple[int | str, ...]


def config_error(
    model: type[BaseModel],
    content: Mapping[str, Any],
    source: str,
    faults: Sequence[Any],
    overridden: Callable[[str], str] | None,
) -> ConfigError:
    """The error of a document that does not fit its model.

    Args:
        model: What it was checked against.
        content: The document; YAML's mappings know their lines.
        source: Its file, or what stands for one.
        faults: What pydantic found.
        overridden: How a key that ``--set`` wrote is said to be set; None where nothing was overridden.
    """
    # A misspelt key makes its right spelling missing too: name the misspelling.
    # An unknown key first: where a needed one is mistyped, it is reported as missing, too.
    fault = min(faults, key=lambda each: each["type"] != "extra_forbidden")
    keys = _present_keys(fault["loc"], content)
    name, at = _place(keys, content, source, overridden)
    others = [_say_other(model, content, source, each, overridden) for each in faults if each is not fault]
    more = f" (also: {'; '.join(dict.fromkeys(others))})" if others else ""
    if fault["type"] == "extra_forbidden":
        return ConfigError("Every key must be known", got=f"'{name}' at {at}{more}", fix=_known(model, keys))
    rule = rule_of(fault)
    if fault["type"] == "missing":
        return ConfigError(f"'{name}' must be given", got=f"nothing at {at}{more}", fix=f"Add '{keys[-1]}'")
    return ConfigError(
        f"'{name}' is not valid: {rule}",
        got=f"{shorten(fault['input'])} at {at}{more}",
        fix="Correct the value",
    )


def _place(
    keys: _Location, content: Any, source: str, overridden: Callable[[str], str] | None
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
    rule = rule_of(fault)
    return f"'{name}' at {at}: {rule}, got {shorten(fault['input'])}"


def _known(model: type[BaseModel], keys: _Location) -> str:
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


def rule_of(fault: Any) -> str:
    """What pydantic asks of a value, in words of a document: nobody can write an instance there."""
    for beginning, rule in _RULES.items():
        if fault["type"].startswith(beginning):
            return rule.format(**fault.get("ctx", {}))
    said: str = fault["msg"].removeprefix("Value error, ").rstrip(".")
    return said.partition(" or instance of ")[0]


def shorten(value: object) -> str:
    """A value as Python writes it, on one line of a message."""
    text = repr(dict(value) if isinstance(value, CommentedMap) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def _present_keys(location: _Location, content: Any) -> _Location:
    """Drop from a pydantic location what is no key of the document (the tags of unions)."""
    keys: list[int | str] = []
    for index, key in enumerate(location):
        last = index == len(location) - 1
        if _has(content, key):
            content = content[key]
            keys.append(key)
        # The last may be a key that is missing; pydantic's tags have brackets, such as 'list[str]'.
        elif last and isinstance(content, dict) and isinstance(key, str) and "[" not in key:
            keys.append(key)
    return tuple(keys)


def _has(content: Any, key: int | str) -> bool:
    if isinstance(content, dict):
        return key in content
    return isinstance(content, list) and isinstance(key, int) and key < len(content)


def _position(keys: _Location, content: Any) -> str:
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


def _known_keys(model: type[BaseModel], keys: _Location) -> set[str]:
    models = [model]
    for key in keys:
        if isinstance(key, str):
            fields = [each.model_fields[key] for each in models if key in each.model_fields]
            if fields:
                models = [found for field in fields for found in models_in(field.annotation)]
    return {name for each in models for name in each.model_fields}


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model in a type: itself, and those inside unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)

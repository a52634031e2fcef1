"""Reference pages, written from the code at each build, so that they say what the code does.

Keys of YAML files come from their pydantic models: type, default and bounds from the fields, the meaning from
the ``Attributes`` of the docstring. Commands come from Typer, calls from the public names of the package.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


def pages() -> dict[str, str]:
    """Name and Markdown of each page."""
    from qhq.ansatz.spec import AnsatzSpec
    from qhq.experiment.config import ExperimentConfig
    from qhq.studies.sweep.spec import Stacks, SweepSpec

    return {
        "api": _api(),
        "commands": _commands(),
        "config": _spec_page(
            "Config",
            "Every key of a config. `--set KEY=VALUE` overrides one on the command line, `set={KEY: VALUE}`"
            " in Python. A key that is left out has its default; an unknown one is an error that names the"
            " nearest.",
            {"Top level": ExperimentConfig},
        ),
        "circuits": _spec_page(
            "Circuit files",
            "Every key of a file in `circuits/`; [circuits.md](../circuits.md) explains them with examples.",
            {"Top level": AnsatzSpec},
        ),
        "backends": _backends(),
        "sweeps": _spec_page(
            "Sweep files",
            "Every key of a sweep's file; [sweeps.md](../sweeps.md) explains them with examples.",
            {"Top level": SweepSpec, "stages.space (stacks)": Stacks},
        ),
    }


# Keys of YAML files ----------------------------------------------------------------------------------------


@dataclass
class _Sections:
    """Models still to be written, each once, under the key where it was met first."""

    titles: dict[type[BaseModel], str] = field(default_factory=dict)

    def anchor(self, model: type[BaseModel]) -> str:
        return re.sub(r"[^\w]+", "-", self.titles[model].lower()).strip("-")

    def add(self, model: type[BaseModel], title: str) -> None:
        self.titles.setdefault(model, title)


def _spec_page(title: str, text: str, roots: Mapping[str, type[BaseModel]]) -> str:
    sections = _Sections()
    for name, model in roots.items():
        sections.add(model, name)
    parts, written = [f"# {title}", text], 0
    while written < len(sections.titles):  # grows while it is written
        model, name = list(sections.titles.items())[written]
        parts += _section(model, name, sections, roots)
        written += 1
    return "\n\n".join(parts) + "\n"


def _section(
    model: type[BaseModel], name: str, sections: _Sections, roots: Mapping[str, type[BaseModel]]
) -> list[str]:
    from qhq.backends.backend import BackendSpec

    text, meanings = _docstring(model)
    prefix = "" if name in roots else f"{name.split(' (', maxsplit=1)[0]}."
    rows = []
    for key, info in model.model_fields.items():
        if key == "name" and issubclass(model, BackendSpec):
            continue  # of an entry: what it stands under
        inners = list(_models(info.annotation))
        for inner in inners:
            kind = _constant(inner.model_fields["kind"]) if "kind" in inner.model_fields else None
            if kind is None and len(inners) > 1:  # told apart by what must be given
                kind = ", ".join(each for each, field in inner.model_fields.items() if field.is_required())
            sections.add(inner, f"{prefix}{key} ({kind})" if kind else f"{prefix}{key}")
        names = _names(model.__name__, key)
        meaning = meanings.get(key) or info.description or ("Selects this kind." if _constant(info) else "")
        rows.append(f"| `{key}` | {_type(info, sections, names)} | {_default(info)} | {_cell(meaning)} |")
    head = "| key | takes | default | means |\n|---|---|---|---|"
    heading = f"## {name} {{: #{sections.anchor(model)} }}"
    return [heading, text, head + "\n" + "\n".join(rows)] if rows else [heading, text]


def _names(model: str, key: str) -> Iterable[str]:
    """What a text may be that is looked up in a table."""
    from qhq.data.spec import SCALINGS
    from qhq.models.spec import ACTIVATIONS, UNITS
    from qhq.training.spec import LOSSES

    tables: dict[tuple[str, str], Iterable[str]] = {
        ("DataSpec", "scaling"): SCALINGS,
        ("RecurrentLayerSpec", "unit"): UNITS,
        ("TrainingSpec", "loss"): LOSSES,
    }
    return ACTIVATIONS if "activation" in key else tables.get((model, key), ())


def _docstring(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """The text of a model's docstring, and the meaning of each key: its own and its parents'."""
    meanings: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each.__dict__.get("__doc__"):
            _, _, attributes = inspect.cleandoc(each.__doc__ or "").partition("\nAttributes:\n")
            meanings |= {key: _prose(text) for key, text in _ATTRIBUTE.findall(attributes)}
    text = inspect.cleandoc(model.__dict__.get("__doc__") or "").partition("\nAttributes:\n")[0]
    return "\n\n".join(_prose(part) for part in text.split("\n\n")).strip(), meanings


def _prose(text: str) -> str:
    plain = _ROLE.sub(r"`\1`", " ".join(text.split())).replace("``", "`")
    return re.sub(r"(?<!`)\bNone\b(?!`)", "`null`", plain)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _constant(info: FieldInfo) -> str | None:
    """The only value of a field that has one."""
    values = typing.get_args(info.annotation) if typing.get_origin(info.annotation) is Literal else ()
    return str(values[0]) if len(values) == 1 else None


def _arguments(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The alternatives of an annotation, unwrapped, each with what bounds it."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        yield from _arguments(inner, (*metadata, *more))
    elif origin in (typing.Union, types.UnionType):
        for each in typing.get_args(annotation):
            yield from _arguments(each, metadata)
    else:
        yield annotation, metadata


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for each, _ in _arguments(annotation):
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each
        elif typing.get_origin(each) in (tuple, list, dict):
            for inner in typing.get_args(each):
                yield from _models(inner)


_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "null",
    Any: "any value",
    dict: "mapping",
}


def _type(info: FieldInfo, sections: _Sections, names: Iterable[str]) -> str:
    if names:
        others = [_say(each, sections) for each, _ in _arguments(info.annotation) if each is not str]
        return _cell(", or ".join([", ".join(f"`{name}`" for name in names), *others]))
    return _cell(_inner(info.annotation, sections, tuple(info.metadata), ", or "))


def _say(annotation: Any, sections: _Sections) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    said = _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        said = f"[{sections.titles[annotation]}](#{sections.anchor(annotation)})"
    elif origin is Literal:
        said = ", ".join(f"`{value}`" for value in arguments)
    elif origin is list or (origin is tuple and Ellipsis in arguments):
        said = f"list of {_inner(arguments[0], sections)}"
    elif origin is tuple:
        said = f"[{', '.join(_inner(each, sections) for each in arguments)}]"
    elif origin in (dict, Mapping):
        said = f"mapping to {_inner(arguments[1], sections)}"
    return said


def _inner(
    annotation: Any, sections: _Sections, metadata: tuple[Any, ...] = (), between: str = " or "
) -> str:
    said = [
        _say(each, sections) + (_bounds(bounds) if each in (int, float) else "")
        for each, bounds in _arguments(annotation, metadata)
    ]
    return between.join(dict.fromkeys(said))


def _bounds(metadata: Any) -> str:
    said = []
    for each in _flat(metadata):
        for sign, name in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le")):
            value = getattr(each, name, None)
            # The largest bounds only catch slips of the keyboard, and say nothing of what makes sense.
            if value is not None and abs(value) < 1e9:
                said.append(f"{sign} {value:,}" if isinstance(value, int) else f"{sign} {value:g}")
    return f" {' and '.join(said)}" if said else ""


def _flat(metadata: Any) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from _flat(each.metadata)
        elif isinstance(each, annotated_types.GroupedMetadata):
            yield from each
        else:
            yield each


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "" if _constant(info) else "must be given"
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel):
        return f"`{value.kind}`" if "kind" in type(value).model_fields else "its defaults"
    if isinstance(value, tuple) and any(isinstance(each, BaseModel) for each in value):
        return "one, with its defaults" if len(value) == 1 else f"{len(value)}, with their defaults"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    # By identity: 0 and 1 equal False and True.
    written = next(
        (text for each, text in ((None, "null"), (True, "true"), (False, "false")) if value is each), value
    )
    return f"`{written}`" if written != "" else '`""`'


def _backends() -> str:
    from qhq.backends.registry import KINDS, load_backends

    page = _spec_page(
        "Entries of backends.yaml",
        "Every kind of backend and the keys of its entries; [backends.md](../backends.md) explains how to add"
        " an entry or a kind.",
        {f"kind: {name}": kind.spec for name, kind in KINDS.items()},
    )
    rows = [
        f"| `{name}` | {spec.kind} | {spec.shots or 'exact'} | {spec.gradient} | {_cell(spec.description)} |"
        for name, spec in load_backends().items()
    ]
    table = "| entry | kind | shots | gradient | |\n|---|---|---|---|---|\n" + "\n".join(rows)
    return f"{page}\n## The shipped entries\n\n{table}\n"


# Commands ---------------------------------------------------------------------------------------------------


def _commands() -> str:
    import typer

    from qhq.cli.app import app

    parts = [
        "# Commands",
        "Every command has `--help`, `--debug` (show the traceback of an error) and `--json` (one JSON object"
        " on standard output and nothing else there).",
    ]
    return "\n\n".join([*parts, *_command(typer.main.get_command(app), "qhq")]) + "\n"


def _command(command: Any, path: str) -> Iterator[str]:
    """A command under its heading, or a group and its commands."""
    inner = getattr(command, "commands", {})
    if inner and path != "qhq":
        yield f"## {path}"
        yield _help(command)
    for name, each in inner.items():
        yield from _command(each, f"{path} {name}")
    if inner:
        return
    arguments = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    yield f"## {path}" if path.count(" ") == 1 else f"### {path}"
    yield f"```text\n{' '.join([path, *arguments, '[options]'])}\n```"
    yield _help(command)
    rows = [
        f"| `{', '.join([*each.opts, *each.secondary_opts])}` | {_cell(each.help or '')} |"
        for each in command.params
        if each.param_type_name == "option" and each.name not in ("json", "debug", "help")
    ]
    if rows:
        yield "| option | |\n|---|---|\n" + "\n".join(rows)


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    dots = " ..." if argument.nargs == -1 and "..." not in name else ""
    return f"{name}{dots}" if argument.required or name.startswith("[") else f"[{name}{dots}]"


def _help(command: Any) -> str:
    """The text of a command; its examples as code."""
    text = inspect.cleandoc(command.help or "").replace("\b", "")
    return re.sub(r"^(Examples?: )(qhq .*)$", r"\1`\2`", text, flags=re.MULTILINE)


# Calls ------------------------------------------------------------------------------------------------------


def _api() -> str:
    import qhq

    parts = [
        "# Calls",
        "The public names of `qhq`; [In Python](../python.md) shows them side by side with the commands.",
    ]
    for name in sorted(qhq.__all__, key=str.lower):
        parts.append(f"::: qhq.{qhq._HOMES[name]}.{name}\n    options:\n      heading: qhq.{name}")
    parts += [
        "## Errors",
        "::: qhq.errors\n    options:\n      show_root_heading: false\n      heading_level: 3",
    ]
    return "\n\n".join(parts) + "\n"

"""Finding ``circuits/*.yaml`` by name or path, and laying overrides over one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from qhq.ansatz.spec import AnsatzSpec
from qhq.documents import override_key, read_mapping, validate
from qhq.errors import ConfigError, nearest
from qhq.paths import study_roots, tell_of_hidden


def list_ansaetze() -> dict[str, Path]:
    """Known ansaetze by name, sorted; a file in the current folder's ``circuits/`` hides a shipped one."""
    found: dict[str, Path] = {}
    for root in study_roots():
        for path in sorted((root / "circuits").glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def load_ansatz(
    name_or_path: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    named: Callable[[str], str] | None = None,
) -> AnsatzSpec:
    """Read an ansatz.

    Args:
        name_or_path: A name (``reference`` is ``circuits/reference.yaml``), or the path of a YAML file.
        overrides: Keys laid over the file's, nested ones key by key.
        named: From a key of the ansatz to the key of a config by which it was overridden, for errors. None
            where overrides come from the command line.

    Returns:
        The spec; the path of a circuit file in it is absolute.

    Raises:
        ConfigError: If there is no such ansatz, or it breaks a rule.
    """
    path = _find(name_or_path)
    by_name = not (is_path(name_or_path) or path == Path(name_or_path))
    hides = by_name and tell_of_hidden(path, Path("circuits") / path.name)
    content = read_mapping(path)
    _lay_over(content, overrides or {})
    spec = validate(AnsatzSpec, content, str(path), named)
    if spec.file is None:
        return spec
    code = (path.parent / spec.file.path).absolute()
    if (
        by_name
        and spec.file.suffix == ".py"
        and (hides or tell_of_hidden(code, Path("circuits") / code.name))
    ):
        raise ConfigError(
            "A Python circuit of the current folder must not take the name of a shipped one: it would run as"
            " a program that nobody named",
            got=f"'{name_or_path}', which is {path} here",
            fix=f"Name its file, circuits/{path.name}, if you trust it, or give it another name",
        )
    anchored = spec.file.model_copy(update={"path": str(code)})
    return spec.model_copy(update={"file": anchored})


def is_path(name_or_path: str) -> bool:
    """Whether an ansatz is named by the path of its file, not by its name in ``circuits/``."""
    return Path(name_or_path).suffix in (".yaml", ".yml") or len(Path(name_or_path).parts) > 1


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if is_path(name_or_path) or (path.suffix and path.is_file()):
        return path
    known = list_ansaetze()
    if name_or_path not in known:
        raise ConfigError(
            "An ansatz must be a file in circuits/, or the path of a YAML file",
            got=f"'{name_or_path}'",
            fix=nearest(name_or_path, known),
        )
    return known[name_or_path]


def _lay_over(content: CommentedMap, overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        node = content.get(key)
        if isinstance(value, Mapping) and isinstance(node, CommentedMap) and _same_kind(node, value):
            _lay_over(node, value)
        else:
            override_key(content, key, value)


def _same_kind(node: CommentedMap, value: Mapping[str, Any]) -> bool:
    """Whether ``value`` amends ``node``; another ``kind`` replaces it, with other keys."""
    return "kind" not in value or value["kind"] == node.get("kind")

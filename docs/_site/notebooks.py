"""Notebooks as pages: text as it is, code as code, and the small outputs that are stored with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def titles(root: Path) -> list[tuple[Path, str]]:
    """Every notebook of docs/notebooks, in the order of their names, with its first heading."""
    found = []
    for path in sorted((root / "docs" / "notebooks").glob("*.ipynb")):
        first = "".join(_cells(path)[0]["source"])
        found.append((path, first.splitlines()[0].removeprefix("# ")))
    return found


def as_page(path: Path) -> str:
    """A notebook as Markdown."""
    parts = []
    for number, cell in enumerate(_cells(path)):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            if number == 0:
                parts.append(f"*A notebook: `docs/notebooks/{path.name}` in the repository.*")
        else:
            parts += [f"```python\n{source}\n```", *(_output(each) for each in cell["outputs"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def _output(output: dict[str, Any]) -> str:
    """An output: a picture where there is one, else its text."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        said = "".join(data.get("text/plain", "a figure")).strip("<>")
        return f'<img alt="{said}" src="data:image/png;base64,{picture}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""

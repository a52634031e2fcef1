"""What MkDocs calls while it builds the pages: which files are pages, where links lead, a check at the end.

The site's folders are the repository's: README.md, docs/, experiments/. A link from one page to another is
then right in both, and MkDocs itself finds the dead ones (``strict`` in mkdocs.yml makes each an error).
Three kinds of pages exist only here: reference pages written from the code (`reference`), notebooks, and the
source files that some page links to.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import notebooks
import reference
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
# An element that HTML does not have: a browser shows nothing of `<O>`, unless it is escaped or code.
_NO_ELEMENT = re.compile(r"<[A-Z][\w ]*>")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".toml": "toml"}
# What a browser would fetch by itself when a page is opened; a link that the reader may follow is none of it.
_FETCHED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//[^>]*>"
                      r"|<link\b(?=[^>]*rel=\"?(?:stylesheet|preconnect|icon|preload))[^>]*href=\"?(?:https?:)?//[^>]*>"
                      r"|@import\s+[\"'(]?(?:url\()?[\"']?https?:|url\([\"']?(?:https?:)?//")  # fmt: skip


def on_config(config: Any) -> Any:
    """List the notebooks and the experiments in the navigation, so that a new one needs no line there."""
    # Docstrings refer to nothing by its name, but `a["b"]["c"]` in one looks to it as if they did.
    logging.getLogger("mkdocs.plugins.mkdocs_autorefs").setLevel(logging.ERROR)
    questions = sorted((ROOT / "experiments").glob("*/README.md"))
    for entry in config.nav:
        if "Notebooks" in entry:
            entry["Notebooks"] = [{title: f"{_name(path)}.md"} for path, title in notebooks.titles(ROOT)]
        if "Measured" in entry:
            entry["Measured"] += [_name(path) for path in questions]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Lay out the pages as the repository does, and add those that are made here."""
    # MkDocs found docs/; what it found lies one folder too high. The theme's own files come as they are.
    kept = [file for file in files if not Path(file.abs_src_path or "").is_relative_to(ROOT / "docs")]
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    pages += [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "experiments").rglob("*.md"))]
    pictures = sorted(each for end in ("png", "svg") for each in (ROOT / "docs").glob(f"*.{end}"))
    own = [_file(config, path, ROOT) for path in (*pages, *pictures)]
    assets = Path(__file__).parent / "assets"
    own += [_file(config, path, assets.parent) for path in sorted(assets.iterdir())]
    made = {f"docs/reference/{name}.md": text for name, text in reference.pages().items()}
    made |= {f"{_name(path)}.md": notebooks.as_page(path) for path, _ in notebooks.titles(ROOT)}
    for source in _linked_sources(pages):
        if _is_readable(ROOT / source):
            made.setdefault(f"{source}.md", _as_page(source))
        else:
            own.append(_file(config, ROOT / source, ROOT))
    written = [File.generated(config, name, content=text) for name, text in made.items()]
    return Files([*kept, *own, *written])


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Let links to files that are no pages lead to the pages made of them."""

    def lead(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), found[1]))
        is_made = files.get_file_from_path(f"{target}.md") is not None
        return f"{found[1].rstrip('/')}.md" if is_made else found[0]

    return _outside_fences(markdown, lambda text: _LINK.sub(lead, text))


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Check that nothing of a page is lost as an element that HTML does not have.

    Raises:
        PluginError: If something is.
    """
    if found := _NO_ELEMENT.search(html):
        raise PluginError(
            f"Text must not look like an element of HTML. Got {found[0]} on {page.file.src_uri}. Write it as"
            " code, or as &lt;...&gt;."
        )
    return html


def on_post_build(config: Any) -> None:
    """Check that no page fetches anything from another host.

    Raises:
        PluginError: If one does.
    """
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in (".html", ".css"):
            found = _FETCHED.search(path.read_text(encoding="utf-8"))
            if found:
                raise PluginError(
                    f"A page must fetch nothing from another host. Got {found[0][:200]} in {path}. Put the"
                    " file beside the page, or turn off what asks for it in mkdocs.yml."
                )


def _file(config: Any, path: Path, folder: Path) -> File:
    return File(path.relative_to(folder).as_posix(), str(folder), config.site_dir, config.use_directory_urls)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _linked_sources(pages: list[Path]) -> list[str]:
    """Files and folders of the repository, other than pages and pictures, that some page links to."""
    found = set()
    for page in pages:
        prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
        for target in (match[1] for match in _LINK.finditer(prose)):
            path = (page.parent / target).resolve()
            if (
                path.exists()
                and path.is_relative_to(ROOT)
                and path.suffix not in (".md", ".png", ".svg", ".ipynb")
            ):
                found.add(_name(path))
    return sorted(found)


def _is_readable(path: Path) -> bool:
    """Whether it is a folder or a text; anything else is a file to download."""
    try:
        if path.is_file():
            path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_page(source: str) -> str:
    """A source file as a page of code; a folder as the list of its files."""
    path = ROOT / source
    if path.is_dir():
        names = sorted(each.name for each in path.iterdir() if each.is_file())
        return f"# {source}\n\n" + "".join(f"- `{name}`\n" for name in names)
    fence = "`" * 6  # longer than any in the file
    language = _LANGUAGES.get(path.suffix, "text")
    code = f"{fence}{language}\n{path.read_text(encoding='utf-8')}\n{fence}"
    return f"# {path.name}\n\n`{source}`\n\n{code}\n"


def _outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])

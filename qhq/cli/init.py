"""``qhq init``: a folder for a study of one's own, with the files that qhq ships to change there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from qhq import __version__
from qhq.cli.command import Debug, Json, command
from qhq.errors import ConfigError, visible
from qhq.files import make_folder
from qhq.paths import as_argument, shipped_root

# What a study looks up in its own folder before falling back to what qhq ships (`study_roots`).
_CARRIED = ("backends.yaml", "circuits", "experiments")

_README = f"""# A study with qhq

Made by `qhq init` of qhq {__version__}. Change these files freely: they stand in for those that qhq ships.

| file | what it says |
|---|---|
| `experiments/` | one folder per question; its `config.yaml` is what `qhq train` reads |
| `circuits/` | one file per ansatz; `qhq circuit list` names them |
| `backends.yaml` | simulators, fake devices and IBM Quantum devices; `qhq backends list` names them |
| `runs/` | made by the first training: one folder per run |

    qhq train --backend aer            # the quickstart, on the bundled prices
    qhq eval --backend fake_fez        # the same weights on a simulated device
    qhq doctor                         # is the quantum layer alive?
    qhq ablate                         # does it earn its place?

Every option of a command is in `qhq COMMAND --help`.
"""
_TEXTS = {"README.md": _README, ".gitignore": "/runs/\n/mlruns/\n*.db\n"}


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The study's folder; '.' for the current one.")
    ],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Lay out a new study: experiments, circuits and backends.yaml, to be changed there.

    Nothing that is there is replaced. Trainings work without a study's folder as well, on what qhq ships.

    Example: qhq init study && cd study && qhq train --backend aer
    """
    with command(as_json=json, debug=debug) as output:
        target = folder.expanduser()
        write_study(target)
        made = [*_CARRIED, *_TEXTS]
        name = visible(str(target))
        go_on = "" if target.resolve() == Path.cwd() else f"cd {as_argument(name)} && "
        output.result(
            {"folder": str(target.absolute()), "files": made},
            f"{name} holds a new study: {', '.join(made)}.",
            f"Train its quickstart: {go_on}qhq train --backend aer",
        )


def write_study(target: Path) -> None:
    """Fill a folder with a study's files: all of them, or none.

    Args:
        target: A folder that does not exist yet, or one that has none of the names of `_CARRIED`. A README.md
            and a .gitignore that are there stay as they are.

    Raises:
        ConfigError: If something by one of those names is there, or the target is no folder.
        OSError: If it cannot be written; what was written before is removed.
    """
    if not target.exists() and not target.is_symlink():
        make_folder(target, _fill)
        return
    taken = sorted(name for name in _CARRIED if (target / name).exists())
    if taken or not target.is_dir():
        raise ConfigError(
            "qhq init must not replace anything",
            got=f"{visible(str(target))}, which " + (f"has {', '.join(taken)}" if taken else "is no folder"),
            fix="Name a folder that does not exist yet, or move those away",
        )
    # The folder itself is kept, not exchanged: it may be the current one, or a repository that was just made.
    whole = make_folder(target / ".qhq-init", _fill)
    moved: list[Path] = []
    try:
        for source in sorted(whole.iterdir()):
            if source.name in _TEXTS and (target / source.name).exists():
                continue
            moved.append(source.rename(target / source.name))
    except BaseException:
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def _fill(folder: Path) -> None:
    for name in _CARRIED:
        source = shipped_root() / name
        if source.is_dir():
            # A clone of qhq may have compiled Python files beside its circuits.
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copyfile(source, folder / name)
    for name, text in _TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")

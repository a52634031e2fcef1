"""No module opens a file past `qhq.files`: whoever adds a place says here why it may."""

from __future__ import annotations

import re
from pathlib import Path

import qhq

OPENERS = re.compile(
    r"(?<![\w.])open\(|\.open\(\s*[\"'](?:r|w|a|x)b?[\"']|(?<!\.)\bos\.open\(|\.read_text\(|\.read_bytes\(|\.write_bytes\("
    r"|(?<!older)(?<!self)(?<!\))\.write_text\(|pd\.read_\w+\(|torch\.(?:load|save)\(|np\.(?:load|save)\(|pq\.\w+\("
    r"|\.savefig\(|\.to_(?:csv|parquet|excel)\(|safe_open\(|save_file\(|shutil\.copy\w*\("
)
ALLOWED = {
    "api/prediction.py": "of a text, into memory",
    "files.py": "the border itself",
    "limits.py": "the kernel's own files under /proc and /sys",
    "cli/init.py": "the package's own files, into a folder that appears when it is whole",
    "cli/predict.py": "a method that gives a text",
    "cli/command.py": "the three standard streams",
    "engine/kernels/jit.py": "the package's own source",
    "training/checkpoint.py": "beside check_regular and inside replacing",
    "report/table_export.py": "inside replacing",
    "report/figures.py": "inside replacing, and of bytes",
    "report/page.py": "into memory; the templates of the package",
    "ansatz/draw.py": "inside replacing",
    "ansatz/export.py": "inside replacing",
    "ansatz/roles.py": "inside replacing",
    "experiment/evaluate.py": "into memory",
    "experiment/other_data.py": "of bytes",
    "studies/walk_forward/pooled.py": "of bytes",
    "studies/sweep/final.py": "of bytes",
    "data/sources/raw.py": "behind data.sizes",
    "data/sources/text.py": "behind data.sizes",
    "data/sizes.py": "what a file says of its rows, counted",
    "data/sources/surface.py": "the files of an installed package",
    "data/recording.py": "behind check_regular and data.sizes; inside replacing",
    "data/yahoo/load.py": "the user's own cache",
    "backends/ibm/account.py": "the user's own account",
    "backends/ibm/records.py": "of bytes",
    "backends/ibm/journal.py": "the user's own database, made with its mode",
    "backends/devices/calibration.py": "the files of an installed package",
}


def places() -> dict[str, list[str]]:
    root, found = Path(qhq.__file__).parent, {}
    for path in sorted(root.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if OPENERS.search(line.partition("  #")[0]) and not line.lstrip().startswith(
                ("def ", "#", '"""')
            ):
                found.setdefault(str(path.relative_to(root)), []).append(f"{number}: {line.strip()}")
    return found


def test_no_room_opens_a_file_past_the_border():
    assert {name: lines for name, lines in places().items() if name not in ALLOWED} == {}


def test_every_exception_is_still_one():
    assert sorted(set(ALLOWED) - set(places())) == []

"""What kind of file it is, told from its content, whatever its name says."""

from __future__ import annotations

import codecs
import io
import re
import zipfile
from dataclasses import dataclass


@dataclass(frozen=True)
class FileKind:
    """What kind of file it is, and where it belongs.

    Attributes:
        name: A noun phrase: ``an Excel workbook``.
        goes: What its user can do with it, without a full stop; '' if nothing.
    """

    name: str
    goes: str = ""


_PRICES = "Give prices as --set data.path=FILE; 'qhq data check FILE' says how they are read"
CIRCUIT = "Name a circuit as file.path in the YAML of an ansatz, and give that YAML"
_RUN = "Give the run's folder to a command that takes a RUN"

# First bytes of a file -> what it is.
_SIGNATURES: tuple[tuple[bytes, FileKind], ...] = (
    (b"PAR1", FileKind("a Parquet file", _PRICES)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind("an old Excel workbook (.xls)", _PRICES)),
    (b"QISKIT", FileKind("a QPY file", CIRCUIT)),
    (b"\x1f\x8b", FileKind("a gzip file", f"Unpack it with gunzip. {_PRICES}")),
    (b"BZh", FileKind("a bzip2 file", "Unpack it with bunzip2")),
    (b"\xfd7zXZ\x00", FileKind("an xz file", "Unpack it with unxz")),
    (b"\x28\xb5\x2f\xfd", FileKind("a Zstandard file", "Unpack it with unzstd")),
    (b"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", "Unpack it first")),
    (b"\x89PNG", FileKind("a PNG image")),
    (b"\xff\xd8\xff", FileKind("a JPEG image")),
    (b"GIF8", FileKind("a GIF image")),
    (b"%PDF", FileKind("a PDF")),
    (b"\x89HDF", FileKind("an HDF5 file")),
    (b"SQLite format 3", FileKind("an SQLite database")),
    (b"\x93NUMPY", FileKind("a NumPy array")),
    *((bytes([0x80, protocol]), FileKind("a Python pickle")) for protocol in range(2, 6)),
    *(
        (mark, FileKind("text in UTF-16", "Save it in the encoding UTF-8"))
        for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    ),
)

# How a member of a zip archive begins or ends -> what the archive is.
_MEMBERS = {
    "xl/": FileKind("an Excel workbook", _PRICES),
    "word/": FileKind("a Word document"),
    "ppt/": FileKind("a PowerPoint presentation"),
    "content.xml": FileKind("an OpenDocument file", f"Save its sheet as CSV. {_PRICES}"),
    "data.pkl": FileKind("a PyTorch checkpoint", _RUN),
}

# The first that fits: an SVG image would be XML too, and a page of the web as well.
# How a text begins, after its comments -> what it is.
_TEXTS: tuple[tuple[str, FileKind], ...] = (
    (r"OPENQASM\s+2|include\s+\"qelib1|qreg\s", FileKind("OpenQASM 2", CIRCUIT)),
    (r"OPENQASM\s+3|include\s+\"stdgates|qubit[\s\[]|input\s+(float|angle)", FileKind("OpenQASM 3", CIRCUIT)),
    (r"<(TICKER|DATE)>", FileKind("prices as stooq writes them", _PRICES)),
    (r"<!doctype html|<html", FileKind("a web page", "Download the file itself, not the page that shows it")),
    (r"(<\?xml.*?\?>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg.*?>\s*)?<svg", FileKind("an SVG image")),
    (r"<\?xml|<[a-zA-Z]+[ >]", FileKind("XML")),
    (r'\{\s*"(cells|nbformat|metadata)"', FileKind("a Jupyter notebook", "Copy what you need out of it")),
    (r"(from [\w.]+ )?import [\w.]+|def \w+\(|[\"']{3}|#!.*python", FileKind("a Python program", CIRCUIT)),
)


def file_kind(content: bytes) -> FileKind | None:
    r"""Tell what a file is from its content, whatever its name says; None if it could be anything.

    >>> file_kind(b"QISKIT" + bytes(9)).name
    'a QPY file'
    >>> file_kind(b"Date,Open,Close\n2020-01-02,1,2\n").name
    'a table separated by commas'
    """
    if not content.strip():
        return FileKind("an empty file")
    if content.startswith(b"PK"):
        return _archive_kind(content)
    for start, kind in _SIGNATURES:
        if content.startswith(start):
            return kind
    # safetensors begins with eight bytes that count, and goes on in JSON.
    if content[8:10] == b'{"':
        return FileKind("a safetensors file", _RUN)
    head = content[:8192]
    if b"\0" in head:
        # UTF-16 without its mark: of plain letters every other byte is zero.
        wide = head.count(0) > len(head) // 4 and any(not head[at::2].strip(b"\0") for at in (0, 1))
        return (
            FileKind("text in UTF-16", "Save it in the encoding UTF-8") if wide else FileKind("a binary file")
        )
    return _text_kind(head.decode("utf-8-sig", errors="replace"))


def _archive_kind(content: bytes) -> FileKind:
    try:
        members = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return FileKind("a damaged zip archive or workbook", "Save or download it again")
    for mark, kind in _MEMBERS.items():
        if any(member.startswith(mark) or member.endswith(mark) for member in members):
            return kind
    return FileKind("a zip archive", "Unpack it first")


def _text_kind(text: str) -> FileKind | None:
    bare = blank_comments(text).strip()
    for pattern, kind in _TEXTS:
        if re.match(pattern, bare, re.IGNORECASE | re.DOTALL):
            return kind
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    for mark, word in ((",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        # Without the last line, which the end of the bytes that are looked at may have cut off.
        counts = [line.rstrip(mark).count(mark) for line in lines[:-1]]
        if len(lines) > 1 and min(counts) > 0 and max(counts) == min(counts) and ": " not in lines[0]:
            return FileKind(f"a table separated by {word}", _PRICES)
    return None


def blank_comments(text: str) -> str:
    """Leave out ``// ...`` and ``/* ... */``; every line keeps its number, and strings are left alone."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else "\n" * match[0].count("\n")

    # Strings first, so that a // inside of one is no comment.
    return re.sub(r'"[^"\n]*"|//[^\n]*|/\*.*?\*/', blank, text, flags=re.DOTALL)

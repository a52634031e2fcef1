# ruff: noqa: E501, PLR0911  a long table of cases is easier read than cut up
"""How files go wrong: on disks, in transfers, in merges, in other programs, and by malice.

Each function takes a good content and a random generator and gives a bad one. Bytes know nothing of what they
hold; text is changed by the line; trees (JSON, YAML) by the value; archives by the member.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

JUNK = [
    "", "null", "true", "-1", "1e20", "1e400", "-0.0", "NaN", "Infinity", "9" * 400, '"x"', "[]", "{}",
    "[[]]", '"\\u0000"', '"\\ud800"', '"../../../etc/passwd"', '"=1+1"', '"\\u001b]0;x\\u0007"',
    "[" * 5000, '{"a":' * 2000, '"' + "a" * 100_000 + '"', "2012-02-30", "!!python/object:os.system x",
    "&a [*a]", "<<: *a", "\t", "\\", "~", "0x7fffffffffffffffffff", "0o777", "1_000", "12:30:45", ".inf",
    "!!binary aGk=", "!!set {a, b}", "2012-01-01T25:00:00Z", "|\n  a\n b", "? [a]", "*a", "%TAG", "---", "...",
    "file:///etc/passwd", "http://127.0.0.1:9/x.csv", "\\\\host\\share\\x", "~root/x", "$HOME/x", "/dev/zero",
    "CON", "ａｅｒ", "aеr", "x" * 300, "a/" * 3000, "1" + "0" * 5000, "-9223372036854775809", "1e-400",
]  # fmt: skip
"""Values in the place of another, as YAML or JSON has them; the last lines name files, devices and look-alikes."""

CELLS = [
    "", "nan", "-", "1e999", "=1+1", "1,234", "12.5%", "\u202e", "\x00", "2020-13-45", "0", "-5", "9" * 60,
    '"', "1e308", "-1e-320", "Infinity", "1.2.3", "0x10", "١٢٣", "−5", "1\u00a0234", "TRUE", "#N/A", "#DIV/0!",
    "2262-04-12", "1600-01-01", "31/12/2020", "12/31/20", "1577836800000", "9999999999999999", "a" * 70_000,
    "\ufeff", "\r", "'", "''", "\\N", "None", "<b>", "{", "1e5e5", "--1", "+", ".", "1/0", "２０２０-０１-０１",
]  # fmt: skip

LETTERS = "[]{}:,&*!|>'\"%@`#\t\x00\x1b;()\u2028\ufeff\u202e"

VALUES: list[Any] = [
    None, True, False, -1, 0, 1e300, -1e300, 5e-324, 10**30, 10**400, 2**63, -(2**63) - 1, "", "x", "../../etc",
    [], {}, [[]], "\x1b[31m", [1, "a"], {"a": {}}, "9" * 400, "\x00", "nan", "Infinity", [None], "aer", "1",
    "\u202e", {"": ""}, [0] * 5000, "/etc/passwd", "~/x", "$HOME", "file:///etc/passwd", 1.5, "2012-02-30",
]  # fmt: skip

FOREIGN = {
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "html": b"<!DOCTYPE html><html><body>403 Forbidden</body></html>",
    "sqlite": b"SQLite format 3\x00\x10\x00" + bytes(4000),
    "elf": b"\x7fELF\x02\x01\x01" + bytes(100),
    "pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
    "toml": b'[data]\nsymbols = ["AAPL"]\n',
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(200),
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "ole": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "merge": b"<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n",
    "empty": b"",
    "blank": b" \n\t\n",
    "zeros": bytes(4096),
    "newlines": b"\n" * 200_000,
}
"""What lies in a file's place when the wrong one was copied, or a download failed."""


def flip(content: bytes, chance: random.Random) -> bytes:
    """Damage bytes as disks, transfers and malice do."""
    data = bytearray(content)
    at = chance.randrange(len(data) + 1)
    match chance.randrange(8):
        case 0:
            return bytes(data[:at])
        case 1:
            for _ in range(chance.choice([1, 1, 2, 20])):
                if data:
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 2:
            data[at:at] = chance.randbytes(chance.choice([1, 4, 100]))
        case 3:
            data[at : at + chance.choice([1, 8, 64])] = b""
        case 4:
            data[at : at + 8] = chance.choice([b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7])
        case 5:  # a header, where lengths and versions stand
            head = chance.randrange(min(len(data), 64) + 1)
            data[head : head + chance.choice([1, 2, 4])] = chance.randbytes(chance.choice([1, 2, 4]))
        case 6:  # a footer, as Parquet and zip have
            foot = max(0, len(data) - 1 - chance.randrange(64))
            data[foot : foot + 4] = chance.choice([struct.pack("<I", 2**31 - 1), b"\xff" * 4, bytes(4)])
        case _:
            data[at:] = data[: len(data) - at]
    return bytes(data)


def recode(content: bytes, chance: random.Random) -> bytes:
    """Another encoding, other line ends, another program's packing, or another file altogether."""
    text = content.decode("utf-8", "replace")
    match chance.randrange(10):
        case 0:
            return text.encode(
                chance.choice(["utf-16", "utf-32", "utf-16-le", "utf-8-sig", "cp037"]), "replace"
            )
        case 1:
            return text.replace("\n", chance.choice(["\r\n", "\r", "\u2028", "\x00", "\n\n"])).encode()
        case 2:
            return text.encode("latin-1", "replace") + chance.choice([b"\xff\xfe", b"\xe9\xe8", b"\x80"])
        case 3:
            return chance.choice([gzip.compress, bz2.compress, lzma.compress])(content)
        case 4:
            return zipped({chance.choice(["a.csv", "../../x.csv", "a/b.csv", "/x.csv"]): content}, chance)
        case 5:
            return gzip.compress(gzip.compress(content))
        case 6:
            return content + chance.choice([content, b"\x00" * 100, b"\x1a"])
        case 7:
            return chance.randbytes(chance.choice([1, 100, 10_000]))
        case _:
            return chance.choice(list(FOREIGN.values()))


def zipped(members: dict[str, bytes], chance: random.Random) -> bytes:
    """A zip archive, at times with two members of one name, too many members, or one that expands for ever."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        match chance.randrange(4):
            case 0:
                archive.writestr("bomb.csv", bytes(80 << 20))
            case 1:
                for number in range(300):
                    archive.writestr(f"{number}.csv", b"a,b\n1,2\n")
            case 2:
                archive.writestr("nested.zip", b"PK\x03\x04" + bytes(100))
            case _:
                pass
    return stream.getvalue()


def mutate_zip(content: bytes, chance: random.Random) -> bytes:
    """Change, drop or add one member of an archive (a workbook, a checkpoint of torch)."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError):
        return flip(content, chance)
    name = chance.choice(list(members))
    match chance.randrange(5):
        case 0:
            del members[name]
        case 1:
            members[name] = chance.choice(list(FOREIGN.values()))
        case 2:
            members[f"{name}2"] = members.pop(name)
        case _:
            text = members[name]
            members[name] = (
                mutate_text(text.decode(), chance).encode("utf-8", "replace")
                if name.endswith(".xml") and chance.random() < 0.5
                else flip(text, chance)
            )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for each, data in members.items():
            archive.writestr(each, data)
    return stream.getvalue()


def mutate_safetensors(content: bytes, chance: random.Random) -> bytes:
    """Change the header of a file of weights: names, types, shapes, offsets, or its own length."""
    size = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    if chance.random() < 0.25:
        return (
            struct.pack("<Q", chance.choice([0, 1, size - 1, size + 8, 2**40, 2**63, 2**64 - 1]))
            + content[8:]
        )
    if chance.random() < 0.3:
        name = chance.choice(list(header))
        header[chance.choice(["", "x" * 5000, "../w", "\u202e"])] = header.pop(name)
    else:
        header = mutate_tree(header, chance)
    text = json.dumps(header, default=str).encode()
    return struct.pack("<Q", len(text)) + text + body


def mutate_text(text: str, chance: random.Random) -> str:
    """Change lines and values of YAML, OpenQASM or Python-like text."""
    lines = text.splitlines() or [""]
    for _ in range(chance.choice([1, 1, 2, 3])):
        at = chance.randrange(len(lines)) if lines else 0
        line = lines[at] if lines else ""
        match chance.randrange(8):
            case 0 | 1:
                lines[at : at + 1] = [f"{line.partition(':')[0]}: {chance.choice(JUNK)}"]
            case 2:
                lines.insert(at, chance.choice([chance.choice(JUNK), line]))
            case 3:
                lines[at : at + 1] = []
            case 4:
                cut = chance.randrange(len(line) + 1)
                lines[at : at + 1] = [line[:cut] + chance.choice(LETTERS) + line[cut:]]
            case 5:
                lines[at : at + 1] = [" " * chance.randrange(9) + line.strip()]
            case 6:
                key, colon, value = line.partition(":")
                lines[at : at + 1] = [_other_letters(key, chance) + colon + value]
            case _:
                lines[at : at + 1] = [
                    line.replace(
                        chance.choice("0123456789"), chance.choice(["", "99999999", "-", "0.5", "e9"])
                    )
                ]
    return "\n".join(lines) + "\n"


def _other_letters(key: str, chance: random.Random) -> str:
    """A key that looks or sounds the same."""
    return chance.choice(
        [
            key.upper(),
            key.replace("a", "а"),
            key.replace("e", "е"),
            f"{key}\u200b",
            key[:-1],
            f"{key}s",
            key[::-1],
        ]
    )


def mutate_tree(content: Any, chance: random.Random) -> Any:
    """Put something else in the place of one value, at any depth, or lose, double or move one."""
    if isinstance(content, dict) and content and chance.random() < 0.85:
        key = chance.choice(list(content))
        changed = dict(content)
        match chance.randrange(8):
            case 0:
                del changed[key]
            case 1:
                other = chance.choice(list(content))
                changed[key], changed[other] = content[other], content[key]
            case 2 if isinstance(key, str):
                changed[_other_letters(key, chance)] = changed.pop(key)
            case _:
                changed[key] = mutate_tree(content[key], chance)
        return changed
    if isinstance(content, list) and content and chance.random() < 0.6:
        at = chance.randrange(len(content))
        return [*content[:at], mutate_tree(content[at], chance), *content[at + 1 :]]
    if chance.random() < 0.05:
        return nested(chance.choice([50, 3000]))
    return chance.choice(VALUES)


def nested(depth: int) -> Any:
    """Lists in lists."""
    content: Any = []
    for _ in range(depth):
        content = [content]
    return content


def json_text(content: Any) -> str:
    """JSON of a tree that may be too deep for the writer, or hold a number of five thousand digits."""
    try:
        return json.dumps(content)
    except (RecursionError, ValueError):
        return "[" * 20_000 + "]" * 20_000


def doubled_keys(text: str, chance: random.Random) -> str:
    """JSON in which one key stands twice."""
    key = chance.choice(["status", "design", "data", "metrics", "backend_entry", "seed", "scaler"])
    return text.replace("{", f'{{"{key}": {chance.choice(["null", "1", "[]", chr(34) + "x" + chr(34)])}, ', 1)


def irregular(path: Path, chance: random.Random) -> str:
    """Put something that is no file in a file's place, and say what."""
    if path.is_dir() and not path.is_symlink():
        return "a folder"
    path.unlink(missing_ok=True)
    what = chance.choice(["fifo", "folder", "loop", "zero", "passwd", "missing", "null", "unreadable"])
    match what:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "zero":
            path.symlink_to("/dev/zero")
        case "passwd":
            path.symlink_to("/etc/passwd")
        case "null":
            path.symlink_to("/dev/null")
        case "unreadable":
            path.symlink_to("/proc/self/mem")
        case _:
            pass
    return what

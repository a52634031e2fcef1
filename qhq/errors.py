"""The error family, and text from outside made safe to show. Every message has three parts.

What must hold, what came, what to do:

QHQError (exit status 2)
├── ConfigError   2  usage, config, circuits/*.yaml, backends.yaml
├── DataError     3  prices that cannot be read, checked or cut into windows
└── BackendError  4  a backend that cannot be opened or does not answer
    └── JobError  4  one job on a device

Names of files, keys of configs, symbols and messages of services may hold escape sequences that move the
cursor, set the title of a window or fill the clipboard, and marks that turn the order of letters round:
`visible` shows them instead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable


class QHQError(Exception):
    """A user's mistake or a failing service, in three parts.

    Args:
        must: The rule that must hold, without a full stop.
        got: What came instead, without a full stop.
        fix: What the user can do, without a full stop.
    """

    exit_status = 2

    def __init__(self, must: str, *, got: str, fix: str) -> None:
        super().__init__(f"{must}. Got {got}. {fix}.")
        self.must, self.got, self.fix = must, got, fix

    def __reduce__(self) -> tuple[Callable[..., QHQError], tuple[type[QHQError], str, str, str]]:
        """Be picklable, so that an error in a worker process reaches the one that asked."""
        return _rebuild, (type(self), self.must, self.got, self.fix)


def _rebuild(kind: type[QHQError], must: str, got: str, fix: str) -> QHQError:
    return kind(must, got=got, fix=fix)


class ConfigError(QHQError):
    """The command line, a config, an ansatz or a backend entry is not valid."""


class DataError(QHQError):
    """Market data cannot be read, breaks a rule of the panel, or is too short."""

    exit_status = 3


class BackendError(QHQError):
    """A backend cannot be opened, or does not answer."""

    exit_status = 4


class JobError(BackendError):
    """One job on a device failed."""


class Interrupted(KeyboardInterrupt):
    """An interrupt of what can be continued.

    A KeyboardInterrupt, so that whatever catches errors alone lets it through.

    Args:
        command: What continues it, as it is written in a shell.
    """

    def __init__(self, command: str) -> None:
        super().__init__(f"Continue with: {command}")
        self.command = command


SHOWN_NAMES = 20
"""Most known names that an error lists."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is nearest to ``name``, for the ``fix`` part of an error.

    >>> nearest("hybird", ["hybrid", "classical"])
    "Did you mean 'hybrid'? Known: classical, hybrid"
    """
    names = sorted(known)
    # Below difflib's own 0.6, so that half a name finds the whole of it: stat, statevector.
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    shown = ", ".join(names[:SHOWN_NAMES]) or "none"
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{hint}Known: {shown}{more}"


def apart(*values: float, digits: int = 4) -> tuple[str, ...]:
    """Write numbers that a message compares: with so many digits that different numbers look different.

    Args:
        values: The numbers.
        digits: Significant digits where these are enough.

    >>> apart(1.136, 1.133), apart(1.09853, 1.09851), apart(0.5, 0.5)
    (('1.136', '1.133'), ('1.09853', '1.09851'), ('0.5', '0.5'))
    """
    different = len(set(values))
    for count in range(digits, 18):  # seventeen digits tell any two numbers apart
        texts = tuple(f"{value:.{count}g}" for value in values)
        if len(set(texts)) == different:
            break
    return texts


_ACTING = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks of direction
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # separators, invisible annotations and tags
    "\ud800-\udfff"  # of file names that are no UTF-8: no stream can write them
)
_IN_TEXT = re.compile(f"[{_ACTING}]")
_IN_CELL = re.compile(f"[{_ACTING}\t\n]")


def visible(text: str, *, cell: bool = False) -> str:
    r"""Show control characters and marks of direction as escapes; all else stays as it is.

    Args:
        text: What came from outside, or holds it.
        cell: Whether it is one cell of a table, where a newline or a tab would begin another one.

    >>> visible("\x1b]0;owned\x07 caf\u00e9 \u202egpj.exe")
    '\\x1b]0;owned\\x07 café \\u202egpj.exe'
    >>> visible("two\nlines"), visible("two\nlines", cell=True)
    ('two\nlines', 'two\\nlines')
    """
    return (_IN_CELL if cell else _IN_TEXT).sub(_escaped, text)


def is_printable(text: str) -> bool:
    r"""Whether a terminal obeys nothing in a text, and can show all of it.

    >>> [is_printable(text) for text in ("caf\u00e9", "\x1b[31mred", "a\u202eevil", "\udc80")]
    [True, False, False, False]
    """
    return text.isprintable() and text.encode("utf-8", "ignore").decode("utf-8") == text


def _escaped(match: re.Match[str]) -> str:
    return (
        match[0].encode("ascii", "backslashreplace").decode() if match[0] > "\x7f" else repr(match[0])[1:-1]
    )


# First characters by which a spreadsheet takes a text for something to calculate.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def no_formula(text: str) -> str:
    """A text as a spreadsheet's cell, shown and never calculated; a number stays one.

    >>> no_formula("=1+1"), no_formula("-1.5e-3"), no_formula("AAPL")
    ("'=1+1", '-1.5e-3', 'AAPL')
    """
    shown = visible(text, cell=True)
    acts = text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    # A number may begin with a sign; everything else that a spreadsheet takes for a formula gets a quote.
    if acts and not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return f"'{shown}"
    return shown

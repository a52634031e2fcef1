"""Text from outside on its way to a terminal, a log or a table: what would act there is shown instead.

Names of files, keys of configs, symbols and messages of services may hold escape sequences that move the
cursor, set the title of a window or fill the clipboard, and marks that turn the order of letters round.
"""

from __future__ import annotations

import re

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


def _escaped(match: re.Match[str]) -> str:
    return (
        match[0].encode("ascii", "backslashreplace").decode() if match[0] > "\x7f" else repr(match[0])[1:-1]
    )


FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""First characters by which a spreadsheet takes a text for something to calculate."""


def no_formula(text: str) -> str:
    """A text as a spreadsheet's cell, shown and never calculated; a number stays one.

    >>> no_formula("=1+1"), no_formula("-1.5e-3"), no_formula("AAPL")
    ("'=1+1", '-1.5e-3', 'AAPL')
    """
    shown = visible(text, cell=True)
    acts = text.startswith(FORMULA) or text.lstrip().startswith(FORMULA)
    if acts and not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return f"'{shown}"
    return shown

"""What all commands share: options, how each begins and ends, and what it prints.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import itertools
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.completion import complete_override, complete_run
from qhq.cli.interrupts import INTERRUPTS
from qhq.errors import ConfigError, Interrupted, QHQError, visible
from qhq.paths import PACKAGE
from qhq.progress import Heartbeat, broken, current, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

    from qhq.runs.measures import Errors

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a config key, such as training.epochs=5.",
        autocompletion=complete_override,
    ),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="NAME",
        help="A doubt that you looked at, such as future_column:ret; recorded with your name. Repeatable.",
    ),
]
Run = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run folder or its name; the latest finished run if left out.",
        autocompletion=complete_run,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="A Dask scheduler's, instead of processes here."),
]

# Characters that no table breaks: a figure cut in two would be misread, and the name of a run could not be
# copied into the next command. Longer ones (paths) are folded.
_LONGEST_WORD = 40


class Verbatim(str):
    """A text whose lines stay as they are, on a narrow terminal too: a program, a document, a drawing."""

    __slots__ = ()


@dataclass
class Output:
    """Where a command's result goes: a person's terminal, or one JSON object; ``given`` once it is there."""

    as_json: bool
    given: bool = False

    def result(self, content: Mapping[str, object], *people: str | Table) -> None:
        """Give the command's one result, as JSON or as lines and tables for a person.

        The caveat of the content comes first, if it has one.
        """
        if self.as_json:
            text = json.dumps(
                content, allow_nan=False
            )  # NaN is no JSON: most parsers refuse the whole object
            self.given = True
            if current[0] is not None:
                current[0].stop()
            typer.echo(text)
            return
        if current[0] is not None:
            current[0].stop()
        from rich.console import Console

        from qhq.data.caveat import Caveat

        if caveat := Caveat.of(content):
            typer.echo(caveat.sentence)
        width = self.columns
        console = Console(highlight=False, width=width or 160)
        for part in people:
            if not isinstance(part, str):
                _print_table(console, part)
            elif width is None or isinstance(part, Verbatim):
                typer.echo(_shown(part))
            else:
                typer.echo(broken(_shown(part), width))

    @property
    def columns(self) -> int | None:
        """How wide the result may be; None in a pipe or a log, unless COLUMNS says otherwise."""
        if self.as_json or not (sys.stdout.isatty() or "COLUMNS" in os.environ):
            return None
        from rich.console import Console

        return Console().width

    def tell(self, part: str | Table) -> None:
        """Show a person something before the result, on standard error."""
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        console.print(visible(part), markup=False) if isinstance(part, str) else _print_table(console, part)

    def note(self, text: str) -> None:
        """Tell a person something by the way, on standard error."""
        say(text)


@contextmanager
def command(*, as_json: bool, debug: bool, continues: bool = False) -> Iterator[Output]:
    """Run a command's body: whatever it raises becomes a message and an exit status (see `end_with`).

    With ``--json`` the error is also the one JSON object on standard output, unless the result is there.

    Args:
        as_json: Whether the result is JSON.
        debug: Whether the traceback of an error is shown.
        continues: Whether the same command line goes on where an interrupt stopped it.
    """
    output = Output(as_json)
    try:
        _check_current_folder()
        # A command that is silent for long says that it is alive, on standard error.
        with Heartbeat(" ".join(["Starting qhq", *sys.argv[1:2]])):
            yield output
    except BrokenPipeError as error:
        raise typer.Exit(end_with(error, as_json=False)) from error
    except KeyboardInterrupt as error:
        if continues and not (output.given or isinstance(error, Interrupted)):
            error = Interrupted(shlex.join(["qhq", *sys.argv[1:]]))
        raise typer.Exit(end_with(error, as_json=as_json and not output.given)) from error
    except Exception as error:
        if debug or _is_click(error):
            raise
        raise typer.Exit(end_with(error, as_json=as_json and not output.given)) from error


def _check_current_folder() -> None:
    """Refuse to begin in a folder that is gone: libraries answer that by killing the process."""
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError(
            "The current folder must exist",
            got=f"one that was removed ({error.strerror})",
            fix="cd into another",
        ) from error


def _is_click(error: BaseException) -> bool:
    """Whether Typer raised it to say how a command ends, or that a command line is wrong."""
    return isinstance(error, (typer.Exit, typer.Abort)) or hasattr(error, "format_message")


# What a system refuses for want of space, permission, files or processes: no fault of qhq.
_SHORT_OF = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE,
     errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
)  # fmt: skip

# What may be wrong with a path that a user named; with one that qhq carries itself it is a fault of qhq.
_NOT_USABLE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG,
     errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EXDEV}
)  # fmt: skip

# What a network answers where no service does.
_UNREACHABLE = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH,
     errno.ETIMEDOUT}
)  # fmt: skip


def end_with(error: BaseException, *, as_json: bool) -> int:
    """Say why a command ends, in three parts, and return its exit status.

    2 usage, config, memory or disk; 3 data; 4 a backend or service; 70 a fault of qhq itself, whose traceback
    ``--debug`` shows; 130 interrupted (143 by SIGTERM, 129 by SIGHUP); 141 whoever read the output has gone
    (``qhq compare | head -1``).
    """
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return 141
    if isinstance(error, KeyboardInterrupt):
        INTERRUPTS.caught()
    # Each piece is shortened by itself: of a whole message, a long middle would take the advice at its end
    # along.
    status, *said = _explain(error)
    must, got, fix = (_shortened(each) for each in said)
    message = f"{must}. Got {got}. {fix}."
    with contextlib.suppress(OSError):
        if as_json:
            parts = {"must": must, "got": got, "fix": fix}
            typer.echo(json.dumps({"error": {"kind": type(error).__name__, "message": message, **parts}}))
    stopped = isinstance(error, KeyboardInterrupt | typer.Abort)
    say(_say_stopped(error) if stopped else f"Error: {message}")
    return status


def _say_stopped(error: BaseException) -> str:
    """Without the rule: nobody has to be told that a command should not be interrupted."""
    what = "Interrupted" if INTERRUPTS.number == signal.SIGINT else f"Stopped by {INTERRUPTS.said}"
    # On a line of its own the command can be copied, however long it is.
    return f"{what}. Continue with:\n  {error.command}" if isinstance(error, Interrupted) else f"{what}."


def _shortened(text: str, most: int = 2000) -> str:
    """A piece of a message without the middle of what no person reads: a value may be a whole file."""
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[: most - 400]} ... ({left_out} letters) ... {text[-400:]}"


def _explain(error: BaseException) -> tuple[int, str, str, str]:
    """Exit status, what must hold, what came, what to do."""
    if isinstance(error, QHQError):
        return error.exit_status, error.must, error.got, error.fix
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        fix = str(error) if isinstance(error, Interrupted) else "Run it again"
        return INTERRUPTS.status, "A command must run to its end to give a result", INTERRUPTS.said, fix
    # The first line that says something: some libraries begin their messages with an empty one.
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    got = (type(error).__name__ + (f": {first}" if first else "")).rstrip(".")
    # No class of ours: it may be raised anywhere, by any library.
    if isinstance(error, MemoryError):
        fix = "Use fewer qubits, smaller batches (training.batch_size) or fewer --workers"
        return 2, "This machine must have enough memory for what was asked", got, fix
    if isinstance(error, OSError):
        found = _explain_system(error)
        if found is not None:
            status, must, fix = found
            return status, must, got, fix
    must = "This must not happen: it is a fault of qhq, not of what you asked for"
    return 70, must, got, "Report it with the command; --debug shows the traceback"


def _explain_system(error: OSError) -> tuple[int, str, str] | None:
    """Exit status, what must hold and what to do where the user's system refused; None for a fault of qhq.

    An error is the user's if it names a path, or a resource that has run out. Others (a closed descriptor, an
    invalid argument, a path inside the installed package) no user can mend.
    """
    # Python says by ENOENT, and of no path, that no folder for temporary files can be written to.
    nowhere = error.errno == errno.ENOENT and "usable temporary directory" in str(error)
    if error.errno in _SHORT_OF or nowhere:
        fix = "Free some space, or name another folder (QHQ_RUNS_DIR, QHQ_CACHE_DIR)"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            fix = "Allow more open files ('ulimit -n 1024'), or take fewer --workers"
        elif error.errno in (errno.ENOMEM, errno.EAGAIN):
            fix = "Free some memory or end other processes, or take fewer --workers"
        return 2, "qhq must be able to read and write its files", fix
    if error.errno in _UNREACHABLE:
        return 4, "A service that a command asks must answer", "Look at the connection, then run it again"
    if error.errno in _NOT_USABLE and isinstance(error.filename, str | bytes) and not _is_own(error.filename):
        must = "The files and folders that a command names must be there and be usable"
        return 2, must, "Check the path, its length and what it is"
    return None


def _is_own(path: str | bytes) -> bool:
    """Whether a path is of the installed package or of Python itself, where no user has anything to mend."""
    own = (PACKAGE, Path(sys.prefix), Path(sys.base_prefix), Path(os.__file__).parent)
    # By its text alone: what raised the error may be a name that cannot even be looked at.
    found = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100
    # A system's Python has /usr for its prefix, and users keep files there as well.
    return any(found.is_relative_to(each) for each in own if each != Path("/usr"))


class _Heedless(io.TextIOWrapper):
    """Standard error that may be full, closed or gone: a note nobody can read ends no training."""

    def write(self, text: str, /) -> int:
        """Write, or do nothing."""
        with contextlib.suppress(OSError, ValueError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or do nothing."""
        with contextlib.suppress(OSError, ValueError):
            super().flush()


def secure_streams() -> None:
    """Give the process its three streams, wherever they lead, before anything is opened.

    Where a shell closed one (``2>&-``), the next file that is opened would take its number, and whatever a
    library says there would be written into it. A letter that the stream's encoding lacks is replaced.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Else a name that the terminal's encoding lacks would end the command.
        sys.stdout.reconfigure(errors="qhq.replaced")
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    raw = open(2, "wb", buffering=0, closefd=False)  # noqa: SIM115
    sys.stderr = _Heedless(raw, encoding=encoding, errors="qhq.replaced", write_through=True)


# What the drawings of circuits, curves and sentences of qhq are made of, in letters that every encoding has.
_IN_ASCII = str.maketrans(
    dict.fromkeys("─━═╌┄", "-") | dict.fromkeys("│┃║╎┆", "|")
    | dict.fromkeys("┌┐└┘├┤┬┴┼╔╗╚╝╠╣╦╩╬╞╡╪╫╥╨╟╢", "+")
    | dict.fromkeys("■●•", "*") | dict.fromkeys("░▒", ":") | dict.fromkeys("–—−", "-")
    | dict.fromkeys("‘’", "'") | dict.fromkeys("“”", '"')
    | {"×": "x", "…": "...", "→": "->", "⟨": "<", "⟩": ">", "≤": "<=", "≥": ">=", "±": "+-"}
)  # fmt: skip


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """What stands for letters that a stream's encoding lacks: one that looks alike, else the code."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end].translate(_IN_ASCII)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("qhq.replaced", _replaced)


def _shown(text: str, *, cell: bool = False) -> str:
    """As standard output will have it: what is laid out in columns must have its final width."""
    text = visible(text, cell=cell)
    try:
        encoding = sys.stdout.encoding or "utf-8"
        return text.encode(encoding, "qhq.replaced").decode(encoding)
    except (AttributeError, LookupError):
        return text


def _silence_stdout() -> None:
    """Lead standard output nowhere, so that the interpreter does not complain of a closed pipe at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        # The descriptor itself is replaced: the interpreter flushes its buffer once more as it ends.
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def plain_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> Table:
    """Lay out values as they are: a bracket in a user's text is no markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=None if title is None else Text(_shown(title)), title_justify="left")
    cells = [["-" if value is None else _shown(str(value), cell=True) for value in row] for row in rows]
    columns = [_shown(column, cell=True) for column in columns]
    for place, column in enumerate(columns):
        words = " ".join([column, *(row[place] for row in cells)]).split()
        # A column never gets narrower than its longest word, so that figures and names are not cut in two.
        longest = max(map(len, words), default=0)
        table.add_column(Text(column), overflow="fold", min_width=min(longest, _LONGEST_WORD))
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _print_table(console: Console, table: Table) -> None:
    """Print a table that breaks between words alone, within the width of the console.

    Where its columns do not fit beside one another it loses its padding, and where that is not enough it is
    printed as several tables, one below another. Each of them begins with the first column, so every row
    keeps its name. A column that is too wide even beside the first alone is printed row by row.
    """
    wanted = [_wanted(column) for column in table.columns]
    rest = list(range(1, len(wanted)))
    while True:
        sizes = range(len(rest), 0, -1) if rest else [0]
        for size, padding in itertools.product(sizes, (1, 0)):
            places = [0, *rest[:size]]
            widths = _share(wanted, places, console.width, padding)
            if widths is not None or (size < 2 and padding == 0):
                break
        if widths is None:
            _print_listed(console, table, places)
            table.title, rest = None, rest[size:]
            if not rest:
                return
            continue
        least = [wanted[place][0] for place in places]
        console.print(_choose(table, places, padding, least, widths), crop=False)
        table.title, rest = None, rest[size:]
        if not rest:
            return


def _print_listed(console: Console, table: Table, places: Sequence[int]) -> None:
    """Print a column that does not fit beside the first: each row its name, and below it the value."""
    from rich.text import Text

    if table.title is not None:
        console.print(table.title)
    name, *others = (table.columns[place] for place in places)
    for row, cell in enumerate(name.cells):
        console.print(Text(f"{name.header}: {cell}" if str(name.header) else str(cell)))
        for column in others:
            console.print(Text(f"  {column.header}: {list(column.cells)[row]}"))


def _share(
    wanted: Sequence[tuple[int, int]], places: Sequence[int], width: int, padding: int
) -> list[int] | None:
    """Widths of some columns, as large as there is space for; None if they do not fit.

    Rich narrows columns in proportion to their widths, and lets one go over the edge whose longest word then
    does not fit: here every column has its longest word first, and then what is left over.
    """
    widths = [wanted[place][0] for place in places]
    # A border before each column and one after the last, and padding on both sides of each.
    spare = width - (len(places) + 1) - 2 * padding * len(places) - sum(widths)
    if spare < 0:
        return None
    missing = [wanted[place][1] - wanted[place][0] for place in places]
    # The columns that need the least to be whole get it first.
    for index in sorted(range(len(places)), key=lambda index: missing[index]):
        more = min(spare, missing[index])
        widths[index] += more
        spare -= more
    return widths


def _wanted(column: Column) -> tuple[int, int]:
    """Width of a column that breaks no word, and one that breaks no line."""
    from rich.cells import cell_len

    # By cells, not by letters: Chinese letters take two, combining marks none.
    texts = [str(column.header), *map(str, column.cells)]
    most = max(cell_len(line) for text in texts for line in text.splitlines() or [""])
    return (most if column.no_wrap else min(column.min_width or 1, most) or 1), most or 1


def _choose(
    table: Table, places: Sequence[int], padding: int, least: Sequence[int], widths: Sequence[int] | None
) -> Table:
    """The same rows with some of the columns, of given or of least widths."""
    from rich.table import Table

    chosen = Table(title=table.title, title_justify=table.title_justify, padding=(0, padding))
    columns = [table.columns[place] for place in places]
    for index, each in enumerate(columns):
        chosen.add_column(each.header, justify=each.justify, overflow=each.overflow, no_wrap=each.no_wrap,
                          min_width=least[index], width=widths[index] if widths else None)  # fmt: skip
    for cells in zip(*(each.cells for each in columns), strict=True):
        chosen.add_row(*cells)
    return chosen


def figure(value: float) -> str:
    """A number with four decimals, or with four digits where these would say too little of it.

    >>> figure(1.5), figure(123456.789), figure(0.0), figure(0.0001234567), figure(1e-5)
    ('1.5000', '123456.7890', '0.0000', '0.0001235', '1e-05')
    """
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.01 else f"{value:.4g}"


def skill_cell(skill: float | None) -> str | None:
    """A skill as tables show it, in percent and with its sign; None where it is not defined.

    >>> skill_cell(0.0178), skill_cell(None)
    ('+1.78', None)
    """
    return None if skill is None else f"{100 * skill:+.2f}"


def counted(count: int, name: str) -> str:
    """A number of things.

    >>> counted(1, "seed"), counted(12000, "seed")
    ('1 seed', '12,000 seeds')
    """
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def say_sampling_error(error: float | None, whole: str = "test split") -> list[str]:
    """What evaluating only some windows adds to the error; nothing where all were.

    Args:
        error: Standard error of the MAE for that, in the unit of the data; None of a single window.
        whole: What the windows are some of.
    """
    if error is None:
        return [f"A single window of the {whole}: how far its MAE is from that of all cannot be said."]
    return (
        [f"A subset of the {whole}: its MAE has a standard error of {figure(error)} for that."]
        if error
        else []
    )


def say_strongest(baselines: Mapping[str, Errors]) -> list[str]:
    """Which of several baselines errs least, by their names in a record; nothing of the last value alone."""
    from qhq.evaluation.baselines.catalogue import label_of

    skills = {name: each.skill for name, each in baselines.items() if each.skill is not None}
    if len(skills) < 2:
        return []
    best = max(skills, key=skills.__getitem__)
    return [f"The strongest baseline here is {label_of(best)}, with a skill of {skill_cell(skills[best])} %."]


def metrics_table(title: str, rows: Sequence[tuple[str, Errors]]) -> Table:
    """Lay out metrics, one row a forecast, the last-value forecast among them; ``-`` is not defined."""
    keys = ("mae", "rmse", "mape", "mase")
    cells = [
        [
            label,
            *(None if (value := getattr(errors, key)) is None else figure(value) for key in keys),
            skill_cell(errors.skill),
        ]
        for label, errors in rows
    ]
    table = plain_table(["", "MAE", "RMSE", "MAPE %", "MASE", "skill %"], cells, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    return table

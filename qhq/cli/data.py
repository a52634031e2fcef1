"""``qhq data``: fetch prices, record option chains, look at rows, check them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from qhq.cli.command import Accept, Debug, Json, Output, Set, command, plain_table
from qhq.cli.completion import complete_config
from qhq.errors import ConfigError, DataError, QHQError
from qhq.limits import MOST_COUNT

if TYPE_CHECKING:
    from qhq.data.recorder import Recorded

app = typer.Typer(help="Prices and option chains: fetch, record, show, check.", no_args_is_help=True)

_Symbols = Annotated[list[str], typer.Argument(metavar="SYMBOL", help="Yahoo's, such as AAPL or BRK-B.")]
_Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[CONFIG|FILE]",
        help="A config, a file of rows (CSV or other text, Excel, Parquet, JSON), or a folder of recorded"
        " chains; the quickstart if left out.",
        autocompletion=complete_config,
    ),
]
_Panel = Annotated[
    str | None,
    typer.Option("--panel", help="stocks or options; a file with a column strike is taken for options."),
]
_DAY = ["%Y-%m-%d"]


@app.command()
def fetch(
    symbols: _Symbols,
    start: Annotated[
        datetime | None, typer.Option("--start", help="First day; all there is if left out.", formats=_DAY)
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--end", help="Last day; the last session if left out.", formats=_DAY)
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch again what the cache holds.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch daily prices with dividends and splits from Yahoo into the cache.

    Example: qhq data fetch AAPL MSFT GOOGL --start 2015-01-01 --end 2024-12-31
    """
    with command(as_json=json, debug=debug, continues=True) as output:
        from qhq.data.yahoo.load import fetch_prices
        from qhq.progress.steps import StudyProgress

        span = (start and start.date(), end and end.date())
        with StudyProgress() as progress:
            done = fetch_prices(symbols, *span, refresh=refresh, progress=progress.step)
        rows = [asdict(each) | {"first": _text(each.first), "last": _text(each.last)} for each in done]
        columns = ("symbol", "rows", "first", "last", "dividends", "splits", "source")
        table = plain_table(columns, [[row[column] for column in columns] for row in rows])
        failed = {each.symbol: each.error for each in done if each.error}
        output.result({"rows": rows, "failed": list(failed)}, table)
        _fail(output, failed, "fetched")


@app.command()
def record(
    symbols: _Symbols,
    path: Annotated[Path, typer.Option("--path", help="Folder of the recording.")] = Path("chains"),
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="day", help="Record after each session's close, for ever."),
    ] = None,
    expiries: Annotated[
        int | None, typer.Option("--expiries", min=1, max=MOST_COUNT, help="Only the N nearest expiries.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Record today's option chains: once, or after every session's close with --every day.

    Recordings cannot be had again afterwards; keep the folder. A second run on a day adds its quotes under
    their time and loses none; the panel reads one row a contract and session.

    Example: qhq data record AAPL AMD --every day
    """
    with command(as_json=json, debug=debug) as output:
        if every not in (None, "day"):
            raise ConfigError(
                "--every must be day", got=f"'{every}'", fix="Write --every day, or leave it out"
            )
        names = list(dict.fromkeys(symbol.upper() for symbol in symbols))
        if every is None:
            done = _record_once(names, path, expiries)
            output.result(_recording(path, done), _recorded_table(path, done))
            _fail(output, _tell_aside(output, done), "recorded")
        else:
            _record_daily(output, names, path, expiries)


@app.command()
def show(
    target: _Target = None,
    overrides: Set = None,
    panel: _Panel = None,
    day: Annotated[
        datetime | None, typer.Option("--date", help="Day of the smiles; the last if left out.", formats=_DAY)
    ] = None,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder of the figures.")] = Path(
        "data-figures"
    ),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what rows there are: spans, gaps, splits, contracts; a chart per symbol, a smile per underlying.

    Example: qhq data show experiments/options --output figures
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.cli.data_show import show_data
        from qhq.experiment.config import find_data

        show_data(output, find_data(target, list(overrides or []), panel), out, day and day.date())


@app.command()
def check(
    target: _Target = None,
    overrides: Set = None,
    panel: _Panel = None,
    accept: Accept = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check rows against every rule of the panel; exit status 1 if training would refuse them.

    Rows that a training would set aside (data.bad_rows) are listed, and so is what looks doubtful: also
    columns that know the future, copies and repeated rows, of which training warns and goes on.

    Example: qhq data check prices.csv
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.cli.data_check import (
            breach_lines,
            file_facts,
            file_parts,
            find_refusal,
            look_for_leaks,
            plausible_lines,
            refusal_lines,
        )
        from qhq.data.checks import find_breaches, rows_aside
        from qhq.data.columns import columns_to_read
        from qhq.data.load import read_table
        from qhq.data.plausibility.doubt import check_accepted
        from qhq.experiment.config import find_data

        names = check_accepted(accept or ())
        named = find_data(target, list(overrides or []), panel)
        spec = named.spec
        frame, origin = (named.reading.frame, str(target)) if named.reading else read_table(spec)
        # Which of the two a training reads is for its config to say; a file alone has no other columns read.
        read = {*columns_to_read(spec.columns), *(() if named.has_split else ("close", "adj_close"))}
        found = find_breaches(frame, origin, spec.kind, spec.row_policy, units=spec.format, read=read)
        errors, aside = (sum(breach.severity == each for breach in found) for each in ("error", "aside"))
        left_out = rows_aside(found)
        counts = {"errors": errors, "warnings": len(found) - errors - aside, "aside": aside}
        form = file_facts(named, overrides or [])
        refusal = None if errors else find_refusal(named, overrides or [])
        refused = errors > 0 or refusal is not None
        looked = look_for_leaks(named, names, refused=refused)
        facts = {
            "origin": origin,
            "panel": spec.kind,
            "rows": len(frame),
            **counts,
            "rows_aside": left_out,
            "refusal": refusal,
            "breaches": [breach.to_dict() for breach in found],
            **(form or {}),
            "plausibility": looked.to_dict(),
        }
        verdict = (
            f"{origin}: {len(frame):,} rows of {spec.kind}.\nRules broken: {errors}, rows left out:"
            f" {left_out:,} (rules: {aside}), warnings: {counts['warnings']}."
        )
        lines = (*refusal_lines(refusal), *breach_lines(found), *plausible_lines(looked))
        shown = [] if form is None else file_parts(form, refused=refused)
        output.result(facts, *shown, verdict, *lines)
        if refused:
            raise typer.Exit(1)


def _record_once(names: Collection[str], path: Path, expiries: int | None) -> list[Recorded]:
    from qhq.data.recorder import YahooChains, record_chains
    from qhq.progress.steps import StudyProgress

    with StudyProgress() as progress:
        return record_chains(names, path, source=YahooChains(), expiries=expiries, progress=progress.step)


def _record_daily(output: Output, names: list[str], path: Path, expiries: int | None) -> None:
    """Record until interrupted; what was recorded is then the result."""
    from time import sleep

    from qhq.data.recorder import record_daily, utc_now
    from qhq.data.yahoo.client import find_address

    find_address()  # a mistake in the environment is reported now, not at the first close
    rows: list[RecordedRow] = []

    def record_now(symbols: Collection[str]) -> list[str]:
        try:
            done = _record_once(symbols, path, expiries)
        except QHQError as error:
            output.note(f"Not recorded: {', '.join(symbols)}: {error}")
            return list(symbols)
        rows.extend(_recording(path, done)["rows"])
        output.tell(_recorded_table(path, done))
        failed = _tell_aside(output, done)
        for symbol, reason in failed.items():
            output.note(f"Not recorded: {symbol}: {reason}")
        return list(failed)

    def wait(slot: datetime) -> None:
        output.note(f"Next recording at {slot:%Y-%m-%d %H:%M} UTC. Ctrl-C ends it.")

    try:
        record_daily(names, record_now, clock=utc_now, sleep=sleep, waiting=wait)
    except KeyboardInterrupt:
        output.result({"path": str(path), "rows": rows}, f"{len(rows)} chains recorded in {path}.")
        raise


class RecordedRow(TypedDict):
    """What was recorded of one symbol."""

    symbol: str
    sessions: list[str]
    expiries: int
    contracts: int
    added: int
    files: list[str]
    damaged: list[str]
    error: str | None


class _Recording(TypedDict):
    """What ``qhq data record --json`` prints."""

    path: str
    rows: list[RecordedRow]
    failed: list[str]


def _recording(path: Path, done: list[Recorded]) -> _Recording:
    rows: list[RecordedRow] = [
        {
            "symbol": each.symbol,
            "sessions": [str(file.session) for file in each.files],
            "expiries": each.expiries,
            "contracts": each.contracts,
            "added": sum(file.added for file in each.files),
            "files": [str(file.path) for file in each.files],
            "damaged": [str(file.aside) for file in each.files if file.aside],
            "error": each.error,
        }
        for each in done
    ]
    return {"path": str(path), "rows": rows, "failed": [each.symbol for each in done if each.error]}


def _recorded_table(path: Path, done: list[Recorded]) -> Any:
    cells = [
        [row["symbol"], ", ".join(row["sessions"]), row["expiries"], row["contracts"], row["added"]]
        for row in _recording(path, done)["rows"]
    ]
    columns = ("symbol", "session", "expiries", "contracts", "new rows")
    return plain_table(columns, cells, title=f"Recorded in {path}")


def _tell_aside(output: Output, done: list[Recorded]) -> dict[str, str]:
    """Name damaged files that were kept aside; give back what failed."""
    for each in done:
        for file in each.files:
            if file.aside:
                output.note(f"Damaged, kept aside as {file.aside}: {file.path} begins anew.")
    return {each.symbol: each.error for each in done if each.error}


def _fail(output: Output, failed: dict[str, str], verb: str) -> None:
    """End with the status of bad data, after the result of the others was given."""
    if failed:
        error = DataError(
            f"Every symbol must be {verb}",
            got=f"nothing, or not all, of {', '.join(failed)}",
            fix="See why below; the others are kept",
        )
        output.note(f"Error: {error}")
        for symbol, reason in failed.items():
            output.note(f"{symbol}: {reason}")
        raise typer.Exit(error.exit_status)


def _text(value: object) -> str | None:
    return None if value is None else str(value)

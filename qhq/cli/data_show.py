"""What ``qhq data show`` says and draws."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qhq.cli.command import Output, plain_table
from qhq.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from qhq.data.caveat import Caveat
    from qhq.data.panel import Panel, PanelFacts
    from qhq.data.spec import DataSpec
    from qhq.experiment.config import NamedData

_STOCKS = ("symbol", "rows", "first", "last", "gaps", "splits")
_OPTIONS = ("symbol", "kind", "rows", "first", "last", "sessions", "contracts", "expiries", "without_quote",
           "without_iv", "gaps", "splits")  # fmt: skip


@dataclass(frozen=True)
class _Plan:
    """What is drawn, and where to."""

    panel: Panel
    spans: Mapping[str, tuple[np.datetime64, np.datetime64]]
    held_out: tuple[str, ...]
    folder: Path
    day: date | None
    caveat: Caveat


def show_data(output: Output, named: NamedData, folder: Path, day: date | None) -> None:
    """Describe the rows, draw them, and give both as the command's result.

    Raises:
        DataError: If the rows break a rule, or there are none on ``day``.
        ConfigError: If the figures cannot be written.
    """
    from qhq.data.panel import describe_panel
    from qhq.data.quarantine import tell_rows

    panel = _load(named.spec)
    for sentence in tell_rows(panel.quarantine, panel.doubts, panel.notes):
        output.note(sentence)
    rows = describe_panel(panel)
    _check_day(panel, day)
    _check_writable(folder)
    spans = _split_spans(output, named)
    plan = _Plan(panel, spans, named.spec.split.held_out, folder, day, named.spec.caveat)
    figures = [str(path) for path in _draw(plan, rows)]
    facts = {
        "panel": named.spec.kind,
        "source": named.spec.source,
        "path": named.spec.path,
        "kind": panel.label,
        "task": named.spec.task if named.has_split else None,
        **named.spec.caveat.to_dict(),
        "rows": rows,
        "parts": {split: [str(each) for each in days] for split, days in spans.items()},
        "figures": figures,
    }
    output.result(facts, _table(rows, named.spec.kind), *_lines(rows, spans, figures))


def _load(spec: DataSpec) -> Panel:
    """Load what the config names, and what a chart needs besides."""
    from qhq.data.formulas import compute_columns
    from qhq.data.load import load_panel

    if spec.kind == "options":
        return compute_columns(load_panel(spec), "options", ["log_moneyness"])
    try:
        # Unadjusted closes tell of splits; a file need not have them.
        return load_panel(
            spec.model_copy(update={"features": tuple(dict.fromkeys([*spec.features, "close"]))})
        )
    except DataError:
        return load_panel(spec)


def _split_spans(output: Output, named: NamedData) -> dict[str, tuple[np.datetime64, np.datetime64]]:
    """First and last day of each split, as a training on the config would have them."""
    from qhq.data.load import load_panel
    from qhq.data.split import split_panel
    from qhq.data.windows import arrange_rows

    if not named.has_split:
        return {}
    try:
        splits = split_panel(arrange_rows(load_panel(named.spec), named.spec), named.spec)
    except DataError as error:
        output.note(f"No splits to shade: {error}")
        return {}
    three = (splits.train, splits.validation, splits.test)
    return {split.kind: (split.first, split.last) for split in three}


def _check_day(panel: Panel, day: date | None) -> None:
    days = [str(each) for each in panel.sessions]
    if day is not None and (not panel.groups or str(day) not in days):
        raise DataError(
            "--date must be a day of the option rows",
            got=f"{day}" if panel.groups else "a panel of stocks, which has no smiles",
            fix=nearest(str(day), days) if panel.groups else "Leave --date out",
        )


def _draw(plan: _Plan, rows: list[PanelFacts]) -> list[Path]:
    from qhq.progress.steps import StudyProgress
    from qhq.report.figures import save_figure

    paths: list[Path] = []
    with StudyProgress() as progress:
        for number, facts in enumerate(rows):
            progress.step(number, len(rows), facts["symbol"])
            for name, figure in _figures(plan, facts):
                file = re.sub(r"[^A-Za-z0-9^=._-]+", "_", name)
                paths.append(save_figure(figure, plan.folder / f"{file}.png", plan.caveat))
    return paths


def _figures(plan: _Plan, facts: PanelFacts) -> Iterator[tuple[str, Figure]]:
    """Draw one symbol: names and figures."""
    import numpy as np

    from qhq.report.data_figures import Surroundings, draw_smile, draw_stock, draw_underlying, latest_day

    panel, symbol = plan.panel, facts["symbol"]
    # A training sees held-out symbols in the test split alone.
    spans = {
        split: days for split, days in plan.spans.items() if split == "test" or symbol not in plan.held_out
    }
    frame = Surroundings(facts, spans)
    if not panel.groups:
        column = "close" if "close" in panel.columns else panel.columns[0]
        yield symbol, draw_stock(panel, frame, column)
        return
    yield symbol, draw_underlying(panel, frame)
    day = latest_day(panel, symbol, [] if plan.day is None else [np.datetime64(plan.day, "D")])
    if day is not None:
        yield f"{symbol}-smile-{day}", draw_smile(panel, symbol, day)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise ConfigError(
            "--output must be a folder that can be written", got=f"{folder}", fix="Choose another folder"
        )


def _table(rows: Sequence[Mapping[str, object]], kind: str) -> Any:
    columns = _OPTIONS if kind == "options" else _STOCKS
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    return plain_table([column.replace("_", " ") for column in columns], cells)


def _cell(value: object) -> object:
    if isinstance(value, list):
        return len(value)
    return f"{value:,}" if isinstance(value, int) else value


def _lines(
    rows: Sequence[PanelFacts], spans: Mapping[str, Sequence[object]], figures: Sequence[str]
) -> list[str]:
    lines = []
    for row in rows:
        splits = ", ".join(f"{split['date']} ({split['ratio']:g})" for split in row["splits"])
        lines += [f"{row['symbol']} split: {splits}"] if splits else []
        longest = max(row["gaps"], key=lambda gap: (gap["sessions"], gap["weekdays"]), default=None)
        if longest:
            lines.append(
                f"{row['symbol']} longest gap: {longest['after']} to {longest['before']},"
                f" {longest['sessions']} sessions of others, {longest['weekdays']} weekdays"
            )
    for split, days in spans.items():
        lines.append(f"{split}: {days[0]} to {days[1]}")
    return lines + [f"Figure {path}" for path in figures]

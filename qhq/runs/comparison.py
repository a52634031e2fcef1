"""Runs side by side, from their folders alone: rows, what differs between designs, filters, an order.

Errors can be put in one order only where the same was forecast of the same data. So runs come in groups
(`run_terms` says what a group has in common), one below the other, and an order, and a
number of first runs, is of each group alone.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from qhq.errors import ConfigError, is_printable, nearest
from qhq.files import Json
from qhq.runs.measures import Errors, MetricsRecord
from qhq.runs.record import RunRecord, WalkRecord
from qhq.runs.run_folder import INTERRUPTED, RUNNING, RunFolder
from qhq.runs.schema import MOST, OTHER_RUN

_RESULTS = ("mae", "rmse", "mape", "mase", "skill")

Row = Json
"""Of a table of runs: cells by column."""


def run_summary(record: RunRecord) -> Row:
    """One flat row of a run's record: what it is, and its errors beside the last value's.

    ``part`` says which split the errors are of: the test split; of a trial of a sweep, the validation split.
    """
    metrics, quantum = record.metrics or MetricsRecord(), record.quantum
    own, naive = _errors(metrics)
    return {
        "run": record.run,
        "status": record.status,
        "backend": record.backend,
        "seed": record.seed,
        "qubits": None if quantum is None else quantum.qubits,
        "weights": None if quantum is None else quantum.weights,
        "epochs": record.epochs,
        "part": metrics.split,
        **{key: getattr(own, key) for key in _RESULTS},
        "skill": run_skill(metrics, metrics.split),
        "naive_mae": naive.mae,
        "naive_mape": naive.mape,
        "seconds": record.seconds.get("total"),
        # One text, so that it stands in a cell; None where there are none, which no table shows.
        "leaks": " ".join(record.leaks) or None,
        "created": record.created,
    }


def _errors(metrics: MetricsRecord) -> tuple[Errors, Errors]:
    """Those of the model and of the last value, on the split that a run was judged on."""
    if metrics.split == "test":
        return metrics.test or Errors(), metrics.naive or Errors()
    return metrics.validation or Errors(), metrics.validation_naive or Errors()


def run_terms(record: RunRecord) -> Row:
    """What errors must have in common to be put in one order: the same forecasts, asked of the same data.

    ``exact`` names the windows by what they are and by the errors of the last value there, which are the same
    for all models, whatever their features, and of no other data; None where a run has no errors yet.
    ``about`` is what is known of a run from its first moment on.

    Raises:
        ConfigError: If the design is damaged.
    """
    metrics, asked = record.metrics or MetricsRecord(), _mapping(record, "data")
    naive = _errors(metrics)[1]
    span = record.data.test if metrics.split == "test" else record.data.validation
    terms = {
        "part": metrics.split,
        "task": asked.get("task") or record.task,
        "targets": asked.get("targets"),
        "horizon": asked.get("horizon"),
        "from": None if span is None else span.first,
        "to": None if span is None else span.last,
    }
    windows = None if span is None else span.windows
    # Ten digits: another BLAS or order of summation changes the last ones, other data change the first.
    errors = ["None" if each is None else f"{each:.10g}" for each in (naive.mae, naive.rmse)]
    return {
        **terms,
        "symbols": run_design(record).get("data.symbols"),
        "windows": windows,
        "exact": None if naive.mae is None else json.dumps([terms, windows, errors], default=str),
        "about": json.dumps([terms, record.data.fingerprint], default=str),
    }


def _say_terms(terms: Mapping[str, Any]) -> str:
    """Say what a group of runs was asked for, as far as their records tell."""
    targets = terms["targets"]
    names = ", ".join(map(str, targets)) if isinstance(targets, list) else str(targets or "the targets")
    said = f"{terms['task'] or 'forecast'} of {names}"
    if terms["horizon"] is not None:
        said += f" {terms['horizon']} ahead"
    if terms["symbols"] is not None:
        said += f", {terms['symbols']}"
    if terms["from"] is not None:
        said += f", {terms['part']} split {terms['from']} to {terms['to']}"
    return said + ("" if terms["windows"] is None else f", {terms['windows']} windows")


def run_skill(metrics: MetricsRecord, forecast: str = "test") -> float | None:
    """Skill of one of a run's forecasts: 1 - MAE / MAE of the last value, averaged over symbols.

    Runs of earlier versions have that of errors pooled over all symbols, in which the dearest decides; where
    they kept each symbol's own, the mean of these is given instead.

    Args:
        metrics: Of a run.
        forecast: Its name among the metrics: ``test`` is the model.
    """
    every = {
        "test": metrics.test,
        "naive": metrics.naive,
        "validation": metrics.validation,
        **metrics.baselines,
    }
    pooled = every.get(forecast)
    # Records without `relative` are of the versions that pooled the errors.
    if metrics.relative is None and len(metrics.symbols) > 1:
        each = [forecasts[forecast].skill for forecasts in metrics.symbols.values() if forecast in forecasts]
        known = [skill for skill in each if skill is not None]
        if known:
            return sum(known) / len(known)
    return None if pooled is None else pooled.skill


def run_design(record: RunRecord | WalkRecord) -> Row:
    """The resolved config of a run by dotted keys; a list is one text, such as ``gru 16, gru 16``.

    Raises:
        ConfigError: If the design is damaged.
    """
    design = dict(_leaves(record.design, ""))
    for key, value in design.items():
        if value is not None and not _is_plain(value, (str, bool, int, float)):
            raise _damaged(record, key, "a text or a number", value)
    if design.get("data.symbols") is None and design.get("data.path") is not None:
        # A config that takes all symbols of a file does not name them; the results do.
        read = [] if record.metrics is None else list(record.metrics.symbols)
        names = read or [PurePath(str(design["data.path"])).name]
        if all(_is_plain(name, str) for name in names):
            design["data.symbols"] = ", ".join(names)
    aside = 0 if record.data.quarantine is None else record.data.quarantine.rows
    # Named where there were any: runs on the same config are alike only if the same rows were left out.
    return design | ({"data.rows_set_aside": aside} if aside else {})


def _is_plain(value: object, wanted: type | tuple[type, ...]) -> bool:
    """Whether a value is of a type, and can be written and printed."""
    # A truth value passes for an int in Python, and a table would sort it among the numbers.
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted == (int, float)):
        return False
    if isinstance(value, str):
        return is_printable(value)
    # Also false of NaN, which cannot be put in an order.
    return not isinstance(value, int | float) or abs(value) < MOST


def _leaves(node: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", _text(value) if isinstance(value, list | dict) else value


def _text(value: list[Any] | Json) -> str:
    """A list, or an empty mapping, in a cell of a table."""
    if isinstance(value, dict):
        return json.dumps(value)
    parts = (_words(each) if isinstance(each, dict) else [each] for each in value)
    return ", ".join(" ".join(str(word) for word in words) for words in parts)


def _words(part: dict[str, Any]) -> list[Any]:
    """A layer of a model as a person would name it: of its switches only those that are on, by name."""
    words = [key.replace("_", " ") if value is True else value for key, value in part.items()]
    return [word for word in words if word is not False]


def _mapping(record: RunRecord, key: str) -> Mapping[str, Any]:
    """A section of the design; empty where it is missing or null."""
    value = record.design.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _damaged(record, f"design.{key}", "a mapping", value)
    return value


def _damaged(record: RunRecord | WalkRecord, key: str, wanted: str, value: object) -> ConfigError:
    return ConfigError(
        f"'{key}' of run.json must be {wanted}", got=f"{type(value).__name__} in {record.run}", fix=OTHER_RUN
    )


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "~": lambda value, part: str(part) in str(value),
}
# The longer operators first, or `<=` would be read as `<` of a value that begins with `=`.
_FILTER = re.compile(r"\s*([\w.-]+)\s*(!=|<=|>=|=|<|>|~)\s*([^\s=<>!~].*?)\s*")
# Keys of a design that the summary tells as well, or that only name the run.
_IN_SUMMARY = ("backend", "seed", "name")


@dataclass(frozen=True)
class RunTable:
    """Rows of runs.

    Attributes:
        summaries: One flat row a run: what it is and its errors. Those of one ``group`` stand together.
        designs: Its resolved config by dotted keys; a key that a run does not have is missing.
        headings: What the runs of each group were asked for, by the group's number.
    """

    summaries: list[Row]
    designs: list[Row]
    headings: dict[int, str] = field(default_factory=dict)

    @property
    def groups(self) -> list[int]:
        """Numbers of the groups that have a run here, in their order."""
        return list(dict.fromkeys(row["group"] for row in self.summaries))

    @property
    def keys(self) -> list[str]:
        """Every design key, in the order of the configs."""
        return list(dict.fromkeys(key for design in self.designs for key in design))

    @property
    def columns(self) -> list[str]:
        """Every column there is: results, then design keys."""
        return list(dict.fromkeys([*(self.summaries[0] if self.summaries else ()), *self.keys]))

    @property
    def differs(self) -> list[str]:
        """Design keys that are not the same in all runs."""
        return [
            key
            for key in self.keys
            if key not in _IN_SUMMARY and len({str(design.get(key)) for design in self.designs}) > 1
        ]

    def choose(self, words: Iterable[str]) -> list[str]:
        """Columns by their names, or by the last words of these where only one ends so.

        Raises:
            ConfigError: If a word is not, or more than one, column.
        """
        known, found = self.columns, []
        for word in words:
            # With the dot: `rate` is no ending of `learning_rate`.
            ending = [name for name in known if name.endswith(f".{word}")]
            if word not in known and len(ending) != 1:
                raise ConfigError(
                    "--columns must name columns, separated by commas",
                    got=f"'{word}'" + (f", which may be {', '.join(ending)}" if ending else ""),
                    fix="Write the name in full" if ending else f"{nearest(word, known)} See --list-columns",
                )
            found.append(word if word in known else ending[0])
        return list(dict.fromkeys(found))

    def rows(self, keys: Sequence[str]) -> list[Row]:
        """Flat rows: the summary, then the design keys asked for."""
        pairs = zip(self.summaries, self.designs, strict=True)
        return [
            summary | {key: design.get(key) for key in keys if key not in summary}
            for summary, design in pairs
        ]

    def where(self, condition: str) -> RunTable:
        """Only runs for which ``KEY OP VALUE`` holds; a run without a value holds for ``!=`` alone.

        Raises:
            ConfigError: If it is no condition, or the key is unknown.
        """
        key, compare, wanted = self._condition(condition)
        kept = [place for place, value in enumerate(self._column(key)) if _holds(value, compare, wanted)]
        return self._of(kept)

    def sorted_by(self, key: str) -> RunTable:
        """Each group in the order of a key, from high to low for ``-KEY``; runs without a value last.

        Raises:
            ConfigError: If the key is unknown.
        """
        name, falling = key.removeprefix("-"), key.startswith("-")
        column = self._column(name)
        known = [place for place, value in enumerate(column) if value is not None]
        known.sort(key=lambda place: _order(column[place]), reverse=falling)
        # After the rest in both directions: a run without a value is neither the best nor the worst.
        order = [*known, *(place for place, value in enumerate(column) if value is None)]
        # A stable sort by group afterwards keeps the order inside each: groups are never mixed, since errors
        # of other data have no common order.
        rank = {group: number for number, group in enumerate(self.groups)}
        return self._of(sorted(order, key=lambda place: rank[self.summaries[place]["group"]]))

    def first(self, count: int) -> RunTable:
        """The first runs of each group."""
        return self._of([place for group in self.groups for place in self.places(group)[:count]])

    def places(self, group: int) -> list[int]:
        """Numbers of the rows of a group."""
        return [place for place, row in enumerate(self.summaries) if row["group"] == group]

    def _of(self, places: Sequence[int]) -> RunTable:
        rows, designs = ([each[place] for place in places] for each in (self.summaries, self.designs))
        return RunTable(rows, designs, self.headings)

    def _column(self, key: str) -> list[Any]:
        names = {*(self.summaries[0] if self.summaries else ()), *self.keys}
        if self.summaries and key not in names:
            raise ConfigError(
                "A key must be one of a run's results or of its config",
                got=f"'{key}'",
                fix=nearest(key, names),
            )
        pairs = zip(self.summaries, self.designs, strict=True)
        return [summary[key] if key in summary else design.get(key) for summary, design in pairs]

    def _condition(self, text: str) -> tuple[str, str, str]:
        found = _FILTER.fullmatch(text)
        if found is None:
            raise ConfigError(
                "A filter must be KEY OP VALUE, OP one of = != < <= > >= ~",
                got=f"'{text}'",
                fix="Write such as --filter 'quantum.qubits >= 4' or --filter 'run ~ staged'",
            )
        key, compare, wanted = found.groups()
        return key, compare, wanted


def tabulate(folders: Iterable[RunFolder], skipped: Callable[[str], None]) -> RunTable:
    """Read runs; one that is damaged is left out.

    Args:
        folders: The runs.
        skipped: Called with a sentence for each that is left out.
    """
    summaries, designs, terms = [], [], []
    for folder in folders:
        try:
            record = folder.read_record()
            summary, design, each = run_summary(record), run_design(record), run_terms(record)
            # A process that ends by Ctrl-C or a kill has no time to write that it does.
            if record.status == RUNNING and folder.is_abandoned():
                summary["status"] = INTERRUPTED
        # A design nested thousands deep is a damaged one, too.
        except (ConfigError, RecursionError) as error:
            skipped(f"Skipped {folder.name}: {error}")
            continue
        summaries.append(summary)
        designs.append(design)
        terms.append(each)
    return _grouped(summaries, designs, terms)


def _grouped(summaries: list[Row], designs: list[Row], terms: list[Row]) -> RunTable:
    """Number the groups by their first run, and put the runs of each together.

    A run without errors, which was cut off or has failed, stands with those that it was to be like.
    """
    # Reversed, so that of two groups that began alike the older one takes the unfinished run.
    finished = {each["about"]: each["exact"] for each in reversed(terms) if each["exact"] is not None}
    keys = [each["exact"] or finished.get(each["about"]) or each["about"] for each in terms]
    number = {key: place + 1 for place, key in enumerate(dict.fromkeys(keys))}
    headings = {number[key]: _say_terms(each) for key, each in reversed(list(zip(keys, terms, strict=True)))}
    rows = [{**row, "group": number[key]} for row, key in zip(summaries, keys, strict=True)]
    return RunTable(rows, designs, headings)._of(
        sorted(range(len(rows)), key=lambda place: rows[place]["group"])
    )


def _holds(value: Any, compare: str, wanted: str) -> bool:
    if value is None:
        return compare == "!="
    act = _OPERATORS[compare]
    number = _number(wanted)
    if compare != "~" and isinstance(value, int | float) and number is not None:
        return act(value, number)
    if compare in ("=", "!=", "~"):
        # As YAML and JSON write truth values, which is how people have seen them.
        return act(str(value).lower() if isinstance(value, bool) else str(value), wanted)
    if isinstance(value, str):
        return act(value, wanted)
    raise ConfigError(
        "What is compared with a number must be one",
        got=f"'{wanted}'",
        fix="Compare with a number, or use =",
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, before texts by letter."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))

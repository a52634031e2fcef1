"""The page of several runs: what each is worth beside the last value, what differs, and how they learned.

As in `qhq compare`, runs that forecast the same of the same data stand together, and no order goes across
such groups: an error of one has no meaning beside an error of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from qhq.data.caveat import Caveat
from qhq.evaluation.baselines.catalogue import label_of
from qhq.report.colours import COLOURS
from qhq.report.page import Page, Paragraph, Part, Section, Table, TableCell, Value, percent, picture, plain
from qhq.report.run_page import Material, pooled_notes, say_run_verdict, strongest
from qhq.report.training_figures import set_epochs
from qhq.runs.comparison import RunTable, run_skill
from qhq.runs.measures import Errors
from qhq.runs.record import RunRecord

# Runs whose losses are drawn: the colours and dashes of more cannot be told apart.
_MOST_CURVES = 20

# Runs whose configs have a column each.
_MOST_SIDE_BY_SIDE = 4

# Skills that differ by less are the same: a sum over symbols is never exact.
_SAME = 1e-9

# Words between commas of a heading or of a value of a config.
_MOST_WORDS = 24

_DASHES = ("solid", "dashed", "dotted", "dashdot")


def comparison_page(materials: Sequence[Material], table: RunTable) -> Page:
    """Several runs on one page.

    Args:
        materials: The runs.
        table: The same, as `qhq.runs.comparison.tabulate` puts them side by side.
    """
    records = {material.record.run: material for material in materials}
    caveat = Caveat.of(*({"leaks": material.record.leaks} for material in materials))
    groups = [
        Section(
            f"Group {group}" if len(table.groups) > 1 else "The runs", list(_group(table, group, records))
        )
        for group in table.groups
    ]
    sections = [
        *groups,
        Section("What differs between the configs", list(_designs(table))),
        Section("Other backends", list(_backends(materials))),
        Section("Training", list(_losses(materials))),
    ]
    names = ", ".join(records) if len(records) <= 3 else f"{len(records)} runs"
    return Page(f"Comparison of {names}", "Comparison", _say(table, records), sections, caveat)


@dataclass(frozen=True)
class _Family:
    """Finished runs of a group that differ in the seed alone, with the skill of each."""

    runs: tuple[str, ...]
    seeds: int
    skills: tuple[float, ...]

    @property
    def skill(self) -> float:
        return fmean(self.skills)

    def say(self, of: str = "") -> str:
        """Its skill; over several seeds the mean and its spread, since the best of them is luck."""
        if self.seeds == 1:
            more = len(self.runs) - 1
            same = f" (one of {more + 1} runs of the same config and seed)" if more else ""
            return f"{self.runs[0]}{same} has a skill of {percent(self.skill).text} over the last value{of}"
        who = f"{len(self.runs)} runs that differ in the seed alone ({_shortened(', '.join(self.runs))})"
        return (
            f"{who} have a skill of {100 * self.skill:+.2f} ± {100 * stdev(self.skills):.2f} % over the last"
            f" value (mean ± standard deviation; {percent(min(self.skills)).text} to"
            f" {percent(max(self.skills)).text}){of}"
        )


def _families(table: RunTable, group: int) -> list[_Family]:
    found: dict[str, list[int]] = {}
    for place in table.places(group):
        row = table.summaries[place]
        if row["skill"] is not None:
            own = {key: each for key, each in table.designs[place].items() if key not in ("seed", "name")}
            same = repr([row["backend"], sorted((key, str(each)) for key, each in own.items())])
            found.setdefault(same, []).append(place)
    families = []
    for places in found.values():
        rows = [table.summaries[place] for place in places]
        names, skills = (tuple(row[key] for row in rows) for key in ("run", "skill"))
        families.append(_Family(names, len({row["seed"] for row in rows}), tuple(map(float, skills))))
    return families


def _strongest(table: RunTable, group: int, records: Mapping[str, Material]) -> tuple[str, float] | None:
    """The strongest baseline of a group's test split, by its label, and its skill."""
    found: list[tuple[str, float]] = []
    for place in table.places(group):
        tested = records[table.summaries[place]["run"]].tested
        if tested is not None and (skill := run_skill(tested, rival := strongest(tested))) is not None:
            found.append((label_of(rival), skill))
    # Of several: baselines that read the features, such as ridge regression, are not the same in all runs.
    return max(found, key=lambda each: each[1], default=None)


def _say(table: RunTable, records: Mapping[str, Material]) -> str:
    said, several_seeds = [], False
    for group in table.groups:
        where = f"Group {group}: " if len(table.groups) > 1 else ""
        families = _families(table, group)
        if not families:
            said.append(f"{where}no run has results yet.")
            continue
        several_seeds |= any(each.seeds > 1 for each in families)
        best = max(families, key=lambda each: each.skill)
        what = "runs" if all(each.seeds == 1 for each in families) else "configs"
        of = "" if len(families) == 1 else f", the highest of {len(families)} {what}"
        rival = _strongest(table, group, records)
        said.append(
            f"{where}{best.say(of)}{'' if rival is None else _say_rival(best, len(families), rival)}."
        )
    # The best of many is the luckiest too; only an ablation tests.
    luck = (
        "The seed that did best is chance and no result: take the mean. Nothing here is tested"
        if several_seeds
        else "One seed each, not tested"
    )
    return " ".join([*said, f"{luck}: 'qhq ablate' tests whether a difference is more than luck."])


def _say_rival(best: _Family, count: int, rival: tuple[str, float]) -> str:
    """The strongest baseline beside the best run: a skill over the last value may hide that it loses."""
    label, skill = rival
    beaten = skill - best.skill
    named = f"the strongest baseline of this test split, {label}"
    if abs(beaten) <= _SAME:
        return f", which is that of {named}"
    if beaten > 0:
        than = "" if count == 1 else " than all of them"
        return f"; {named}, is better{than}, with {percent(skill).text}"
    return f"; {named}, has {percent(skill).text}"


def _group(table: RunTable, group: int, records: dict[str, Material]) -> Iterable[Part]:
    yield Paragraph(f"Each was asked for the same: {_shortened(table.headings[group])}.")
    rows: list[Sequence[Value | TableCell]] = []
    skills: dict[str, float] = {}
    rival_of_all = _strongest(table, group, records)
    for place in table.places(group):
        row = table.summaries[place]
        tested = records[row["run"]].tested
        rival = None if tested is None else strongest(tested)
        best = None if tested is None or rival is None else run_skill(tested, rival)
        rows.append(
            [row["run"], row["status"], row["backend"], plain(row["seed"]), row["qubits"], row["weights"],
             row["epochs"], row["mae"], row["naive_mae"], percent(row["skill"]),
             None if rival is None else f"{label_of(rival)}, {percent(best).text}"]
        )  # fmt: skip
        if row["skill"] is not None:
            skills[row["run"]] = row["skill"]
    columns = ("run", "status", "backend", "seed", "qubits", "weights", "epochs", "MAE", "MAE last value",
               "skill", "strongest baseline, its skill")  # fmt: skip
    where = f"Group {group}: errors" if len(table.groups) > 1 else "Errors"
    yield Table(f"{where} on the test split, beside the last value and the strongest baseline", columns, rows)
    named = [table.summaries[place] for place in table.places(group)]
    yield from pooled_notes(
        (row["run"], Errors(mae=row["mae"], skill=row["skill"]), Errors(mae=row["naive_mae"]))
        for row in named
    )
    families = _families(table, group)
    if len(families) > 1:
        for family in families:
            if family.seeds > 1:
                yield Paragraph(f"{family.say()}.")
    if len(skills) > 1:
        said = "; ".join(f"{name} {value:+.2%}" for name, value in skills.items())
        beside = (
            "" if rival_of_all is None else f" Strongest baseline: {rival_of_all[0]} {rival_of_all[1]:+.2%}."
        )
        yield picture(
            lambda: _draw_skills(skills, rival_of_all),
            alt=f"Skill over the last value by run: {said}.{beside}",
            caption="Skill over the last value; right is better.",
        )
    for place in table.places(group):
        name = table.summaries[place]["run"]
        yield Paragraph(f"{name}: {say_run_verdict(records[name])}")


def _draw_skills(skills: dict[str, float], rival: tuple[str, float] | None) -> Figure:
    figure = Figure(figsize=(9, 1 + 0.34 * len(skills)), layout="constrained")
    axes = figure.subplots()
    axes.plot([*skills.values()], [*skills], "o", color="tab:blue")
    axes.axvline(0, color="black", linestyle=":", label="last value")
    if rival is not None and abs(rival[1]) > _SAME:
        axes.axvline(rival[1], color="tab:red", linestyle="--", label=f"strongest baseline, {rival[0]}")
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.tick_params(axis="y", labelsize=8)
    axes.set(xlabel="skill over the last value")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(fontsize=8)
    return figure


def _designs(table: RunTable) -> Iterable[Part]:
    if not table.differs:
        yield Paragraph("The configs are the same but for names and seeds.")
        return
    names = [str(summary["run"]) for summary in table.summaries]
    said = {
        key: [
            "–" if design.get(key) in (None, "", []) else _shortened(str(design[key]))
            for design in table.designs
        ]
        for key in table.differs
    }
    caption = "Config keys that are not the same in all runs"
    # A column a run, or of many runs, which fit neither a screen nor a page, a row for each value of a key.
    if len(names) <= _MOST_SIDE_BY_SIDE:
        beside: list[list[Value | TableCell]] = [[key, *map(TableCell, own)] for key, own in said.items()]
        yield Table(caption, ("key", *names), beside)
        return
    rows: list[list[Value | TableCell]] = []
    for key, values in said.items():
        groups: dict[str, list[str]] = {}
        for name, value in zip(names, values, strict=True):
            groups.setdefault(value, []).append(name)
        most = max(groups, key=lambda value: len(groups[value]))
        for value, having in groups.items():
            which = "all others" if value == most and len(having) > 1 else ", ".join(having)
            rows.append([key, TableCell(value), len(having), which])
    yield Table(caption, ("key", "value", "runs", "which"), rows)


def _shortened(text: str) -> str:
    """A text with a list of hundreds of symbols, which would be a page of its own, without most of them."""
    words = text.split(", ")
    half = _MOST_WORDS // 2
    if len(words) <= _MOST_WORDS:
        return text
    return ", ".join([*words[:half], f"... ({len(words) - 2 * half:,} more) ...", *words[-half:]])


def _backends(materials: Sequence[Material]) -> Iterable[Part]:
    rows: list[list[Value | TableCell]] = [
        [material.record.run, result.label, result.samples,
         result.said_shots if result.shots is None else result.shots, result.metrics.mae,
         percent(result.metrics.skill), result.delta_mae, result.expectation_error]
        for material in materials for _, record in material.evaluations for result in record.results
    ]  # fmt: skip
    columns = ("run", "backend", "windows", "shots", "MAE", "skill", "change of MAE", "mean |<O> - exact|")
    if rows:
        yield Table("The same weights on other backends", columns, rows)
        yield from pooled_notes(
            (f"{material.record.run} on {result.label}", result.metrics, result.naive)
            for material in materials for _, record in material.evaluations for result in record.results
        )  # fmt: skip


def _losses(materials: Sequence[Material]) -> Iterable[Part]:
    trained = [each for each in materials if each.history is not None and isinstance(each.record, RunRecord)]
    if not trained:
        return
    shown = trained[:_MOST_CURVES]
    some = "" if len(shown) == len(trained) else f"; the first {len(shown)} of {len(trained)} runs"

    def draw() -> Figure:
        figure = Figure(figsize=(9, 3.6 + 0.12 * len(shown)), layout="constrained")
        axes = figure.subplots()
        for place, material in enumerate(shown):
            history = material.history
            assert history is not None
            axes.plot(
                history["epoch"], history["validation_loss"], color=COLOURS[place % len(COLOURS)],
                linestyle=_DASHES[place // 5 % len(_DASHES)],
                marker="o", markersize=3, label=material.record.run,
            )  # fmt: skip
        axes.set(ylabel="validation loss (scaled units)")
        set_epochs(axes, *(each.history["epoch"] for each in shown if each.history is not None))
        axes.grid(alpha=0.3)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
        return figure

    yield picture(
        draw,
        alt=f"Validation loss by epoch of {len(shown)} runs, scaled as each run scales its targets. In the"
        f" last epoch: {'; '.join(map(_say_last_loss, shown))}.",
        caption=f"Validation loss by epoch{some}. Runs that scale their targets otherwise have other units.",
    )


def _say_last_loss(material: Material) -> str:
    history = material.history
    assert history is not None
    return f"{material.record.run} {history['validation_loss'].iloc[-1]:.4g}"

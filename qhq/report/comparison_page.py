"""The page of several runs: what each is worth beside the last value, what differs, and how they learned.

As in `qhq compare`, runs that forecast the same of the same data stand together, and no order goes across
such groups: an error of one has no meaning beside an error of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from qhq.data.caveat import Caveat
from qhq.evaluation.baselines.catalogue import label_of
from qhq.report.page import Page, Paragraph, Part, Section, Table, TableCell, Value, percent, picture, plain
from qhq.report.run_page import Material, say_run_verdict, strongest
from qhq.report.training_figures import set_epochs
from qhq.runs.comparison import RunTable, run_skill
from qhq.runs.record import RunRecord

# Runs whose losses are drawn: the colours and dashes of more cannot be told apart.
_MOST_CURVES = 20

# Runs whose configs have a column each.
_MOST_SIDE_BY_SIDE = 4

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
    return Page(f"Comparison of {names}", "Comparison", _say(table), sections, caveat)


def _say(table: RunTable) -> str:
    said = []
    for group in table.groups:
        rows = [table.summaries[place] for place in table.places(group)]
        known = [row for row in rows if row["skill"] is not None]
        where = f"Group {group}: " if len(table.groups) > 1 else ""
        if not known:
            said.append(f"{where}no run has results yet.")
            continue
        best = max(known, key=lambda row: float(row["skill"]))
        more = "" if len(known) == 1 else f", the highest of {len(known)} runs"
        said.append(
            f"{where}{best['run']} has a skill of {percent(best['skill']).text} over the last value{more}."
        )
    # The best of many is the luckiest too; only an ablation tests.
    return " ".join(
        [*said, "One seed each, not tested: 'qhq ablate' tests whether a difference is more than luck."]
    )


def _group(table: RunTable, group: int, records: dict[str, Material]) -> Iterable[Part]:
    yield Paragraph(f"Each was asked for the same: {_shortened(table.headings[group])}.")
    rows: list[Sequence[Value | TableCell]] = []
    skills: dict[str, float] = {}
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
    if len(skills) > 1:
        said = "; ".join(f"{name} {value:+.2%}" for name, value in skills.items())
        yield picture(
            lambda: _draw_skills(skills),
            alt=f"Skill over the last value by run: {said}.",
            caption="Skill over the last value; right is better.",
        )
    for place in table.places(group):
        name = table.summaries[place]["run"]
        yield Paragraph(f"{name}: {say_run_verdict(records[name])}")


def _draw_skills(skills: dict[str, float]) -> Figure:
    figure = Figure(figsize=(9, 1 + 0.34 * len(skills)), layout="constrained")
    axes = figure.subplots()
    axes.plot([*skills.values()], [*skills], "o", color="tab:blue")
    axes.axvline(0, color="black", linestyle=":", label="last value")
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
                history["epoch"], history["validation_loss"], linestyle=_DASHES[place // 5 % len(_DASHES)],
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

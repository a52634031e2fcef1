"""The pages of an ablation and of a sweep, from the record that the study keeps or has just made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qhq.data.caveat import Caveat
from qhq.evaluation.baselines.catalogue import title_of
from qhq.evaluation.losses import TITLES
from qhq.evaluation.significance import SIGNIFICANCE, WEIGHING
from qhq.report.page import (
    Page,
    Paragraph,
    Part,
    Table,
    TableCell,
    Value,
    cell,
    facts,
    interval_text,
    percent,
    picture,
)
from qhq.report.run_page import build_section
from qhq.report.study_figures import draw_ablation, draw_stage
from qhq.runs.run_folder import RunFolder
from qhq.runs.studies import (
    AblationRecord,
    FinalRecord,
    StageRecord,
    SweepRecord,
    TableRow,
    read_study,
)


def read_ablation(folder: RunFolder) -> AblationRecord:
    """What `qhq ablate` keeps.

    Raises:
        ConfigError: If it is missing or damaged.
    """
    return read_study(AblationRecord, folder, "study.json")


def read_sweep(folder: RunFolder) -> SweepRecord:
    """What `qhq sweep` keeps; of one that goes on, as far as it has come.

    Raises:
        ConfigError: If it is missing or damaged.
    """
    return read_study(SweepRecord, folder, "sweep.json")


def ablation_page(title: str, verdict: str, studies: Mapping[str, AblationRecord]) -> Page:
    """The verdict, and of each study its figure, its table and what it is made of.

    Args:
        title: Of the page.
        verdict: In a sentence or two.
        studies: Records of `run_ablation` by their headings.
    """
    caveat = Caveat.of(*(each.to_dict() for each in studies.values()))
    # A screen reader lists tables by their captions: those of a second study must not be called the same.
    several = len(studies) > 1
    sections = [
        build_section(
            heading,
            lambda record=record, of=f" ({heading})" * several: _ablation(record, of),  # type: ignore[misc]
        )
        for heading, record in studies.items()
    ]
    return Page(title, "Ablation", verdict, sections, caveat)


def _ablation(record: AblationRecord, of: str) -> Iterable[Part]:
    yield Paragraph(f"Data: {record.data}.")
    gains = ", ".join(f"{row.variant.replace('_', ' ')} {percent(row.skill).text}" for row in record.rows)
    yield picture(
        lambda: draw_ablation(record),
        alt=f"Gain of every variant and baseline over the last value, a dot a seed. Median skill: {gains}.",
        caption="Gain over the last value; right is better.",
        caveat=Caveat(tuple(record.leaks)),
    )
    yield _variants(record, of)
    yield from _what_was_done(record)
    lives = [
        ["alive" if life.alive else "idle", life.gradient, life.moved, life.share,
         ", ".join(life.findings) or None]
        for life in record.life
    ]  # fmt: skip
    columns = ("seed", "circuit", "mean gradient", "largest movement of a weight, rad",
               "share of the forecast's variance", "doctor")  # fmt: skip
    rows = [[str(seed), *life] for seed, life in zip(record.seeds, lives, strict=False)]
    yield Table("The circuit of the hybrid, seed by seed" + of, columns, rows)


def _variants(record: AblationRecord, of: str) -> Table:
    losses = [name for name in (record.loss, *record.other_losses) if name is not None]
    # What decides comes first: a screen may cut off what stands on the right.
    columns = ["variant", "skill", "the hybrid against it", "what it is", "MAE", "95 % interval",
               *(TITLES.get(name, name) for name in losses), "weights of the middle", "trained",
               "of all"]  # fmt: skip
    rows = []
    for row in record.rows:
        others = row.to_dict()
        said = row.hybrid_vs_says or "–"
        role = row.role
        rows.append([
            row.variant.replace("_", " "), percent(row.skill),
            f"{said}; named in advance: {role}" if role else said,
            row.meaning, row.mae, interval_text(row.mae_low, row.mae_high),
            *(row.loss if name == record.loss else others.get(name) for name in losses),
            row.parameters_middle, row.parameters_trained, row.parameters_total,
        ])  # fmt: skip
    hybrid = frozenset(place for place, row in enumerate(record.rows) if row.variant == "hybrid")
    return Table(
        "Variants and baselines on the test split: median over seeds, from five on with its interval" + of,
        columns, rows, strong=hybrid,
    )  # fmt: skip


def _what_was_done(record: AblationRecord) -> Iterable[Part]:
    seeds, loss = record.seeds, record.loss
    widths = ", ".join(
        f"{each.hidden}{' (best on the validation split)' if each.chosen else ''}"
        for each in record.mlp_widths
    )
    decides = f"The {TITLES.get(loss, loss)} decides" if loss else "The loss decides"
    yield Paragraph(
        f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]}), {record.windows:,} test windows on"
        f" {record.dates:,} dates, target {record.target}. The circuit has"
        f" {record.circuit_weights} weights. The MLP was trained with {widths} hidden units, the first"
        " with about as many parameters as the circuit and of no lower rank."
    )
    yield Paragraph(
        f"{decides}: Diebold-Mariano, two-sided, on losses averaged over seeds and by date, at"
        f" {100 * SIGNIFICANCE:g} %; the pairs named in advance under Holm. The layer earns its place if the"
        " hybrid beats every other row but the circuit without entanglers, each tested alone. A verdict needs"
        " the seeds to agree."
        f" {WEIGHING} Lowest loss: {record.best.replace('_', ' ')}."
    )
    at_bound = [f"{row.variant.replace('_', ' ')} {row.bounded}" for row in record.rows if row.bounded]
    if at_bound:
        yield Paragraph(f"Forecasts taken at a bound, all seeds together: {', '.join(at_bound)}.")
    if record.left_out:
        reasons = "; ".join(f"{name}, since {reason}" for name, reason in record.left_out.items())
        yield Paragraph(f"Left out: {reasons}.")


def sweep_page(record: SweepRecord) -> Page:
    """The verdict, the winner on the test split, and every stage with its figure and its points.

    Args:
        record: What `run_sweep` keeps.
    """
    caveat, metric = Caveat(tuple(record.leaks)), record.metric
    final = record.final
    sections = [build_section("The winner on the test split", lambda: _final(final))]
    sections += [
        build_section(f"Stage {stage.stage}", lambda stage=stage: _stage(stage, metric, caveat))  # type: ignore[misc]
        for stage in record.stages
    ]
    marks = [record.status, f"ranked by {metric.upper()} on the validation split"]
    return Page(record.sweep, "Sweep", record.verdict, sections, caveat, marks)


def _final(final: FinalRecord | None) -> Iterable[Part]:
    if final is None:
        return
    seeds = final.seeds
    yield Paragraph(
        f"{len(seeds)} fresh seeds ({seeds[0]} to {seeds[-1]}), {final.windows:,} test windows on"
        f" {final.dates:,} dates. The baseline of the task is {title_of(final.baseline)}."
    )
    yield from _tables("Winner, start and baselines", final.rows)


def _stage(stage: StageRecord, metric: str, caveat: Caveat) -> Iterable[Part]:
    yield facts({
        "search": cell(stage.search), "points": cell(stage.points), "pruned": cell(stage.pruned),
        "failed": cell(stage.failed), "goes on with": cell(stage.best),
        "its value": cell(stage.value), "lowest": cell(stage.lowest),
        "lowest value": cell(stage.lowest_value), "points that tie": cell(stage.tied),
    })  # fmt: skip
    if said := stage.noise.sentence:
        yield Paragraph(said)
    yield picture(
        lambda: draw_stage(stage, metric),
        alt=f"Error over the last value's against {', '.join(stage.keys)}, a dot a point; chosen:"
        f" {stage.best} with {stage.value:.4f}.",
        caption=f"Validation {metric.upper()} over that of the last value, against each key of the stage;"
        " lower is better.",
        caveat=caveat,
    )  # fmt: skip
    chosen = frozenset(place for place, row in enumerate(stage.rows) if row.chosen)
    yield from _tables(
        f"The points of stage {stage.stage}, the chosen one marked", stage.rows, chosen, stage.keys
    )


def _tables(
    caption: str,
    rows: Sequence[TableRow],
    strong: frozenset[int] = frozenset(),
    names: Sequence[str] = (),
) -> Iterable[Table]:
    """Flat rows with all their columns but those that no row has a value for.

    Twenty columns fit neither a screen nor a page: the tests, and what there is of each seed, have tables of
    their own, which begin with the same columns: those that tell the rows apart.

    Args:
        caption: What they hold.
        rows: Of the record.
        strong: Numbers of the rows that stand out.
        names: The columns that name a row; without them the first column does.
    """
    lines = [row.to_dict() for row in rows]
    columns = list(dict.fromkeys(key for line in lines for key in line))
    used = [key for key in columns if any(line.get(key) not in (None, "", []) for line in lines)]
    own = [key for key in used if key in names] or used[:1]
    used = [key for key in used if key not in own]
    tests = [key for key in used if key.startswith("vs_")]
    by_seed = [key for key in used if any(isinstance(line.get(key), list) for line in lines)]
    figures = [key for key in used if key not in (*tests, *by_seed)]
    parts = ((figures, "", False), (tests, ": the tests", False), (by_seed, ": seed by seed", True))
    for keys, what, folded in parts:
        if keys:
            cells: list[list[Value | TableCell]] = [
                [_plain(line.get(key), key) for key in (*own, *keys)] for line in lines
            ]
            titles = [_title_of(key) for key in (*own, *keys)]
            yield Table(caption + what, titles, cells, strong, folded)


def _title_of(key: str) -> str:
    """A column of a record for people; a key of a config stays as it is written there."""
    if "." in key:
        return key
    return " ".join(word.upper() if word in _ERRORS else word for word in key.split("_"))


_ERRORS = ("mae", "rmse", "mape", "mase")


def _plain(value: object, key: str) -> TableCell:
    """A value of a record, which may be a list; shares of an error are in percent."""
    is_share = key == "skill" or key.startswith("skill_") or key.endswith("_gain")
    if isinstance(value, list):
        return TableCell(", ".join(_plain(each, key).text for each in value))
    if is_share and isinstance(value, int | float):
        return percent(float(value))
    if key == "variant":
        return cell(str(value).replace("_", " "))
    return (
        cell(value) if value is None or isinstance(value, str | bool | int | float) else TableCell(str(value))
    )

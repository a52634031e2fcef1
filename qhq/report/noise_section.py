"""What a noise study found: the forecast under noise, its error budget, methods against it, other sizes."""

from __future__ import annotations

from collections.abc import Iterable

from qhq.data.caveat import Caveat
from qhq.evaluation.losses import TITLES as LOSS_TITLES
from qhq.evaluation.significance import say_p_value
from qhq.report.page import Paragraph, Part, Table, TableCell, Value, interval_text, percent, picture
from qhq.report.study_figures import draw_budget, draw_noise
from qhq.runs.studies import BUDGET_TITLES, BudgetPart, NoiseRecord, NoiseRow


def noise_parts(record: NoiseRecord) -> Iterable[Part]:
    """Everything that a noise study found, with a figure of its cells and one of its error budget.

    Args:
        record: What `qhq noise` keeps.
    """
    yield Paragraph(record.verdict)
    yield picture(
        lambda: draw_noise(record),
        alt=_say_cells(record),
        caption=f"Noise on {record.backend}: {record.samples} windows, {record.seeds} seeds.",
        caveat=Caveat(tuple(record.leaks)),
    )
    rows: list[list[Value | TableCell]] = [
        [row.backend, row.scale, _shots(row.shots), row.mae,
         percent(row.skill), _percents(row.skill_low, row.skill_high),
         row.expectation_error, _say_against(row)]
        for row in record.rows
    ]  # fmt: skip
    columns = ("backend", "noise scale", "shots", "MAE", "skill", "95 % interval of skill",
               "mean |<O> - exact|", "against the last value")  # fmt: skip
    yield Table(f"Noise study on {record.backend}, means over the seeds of the shots", columns, rows)
    yield from _budget(record)
    yield from _mitigation(record)
    yield from _sizes(record)


def _say_against(row: NoiseRow) -> str:
    """On which side of the last value a cell lies; what is measured once lies there by its mean alone."""
    return row.against_naive if row.seeds > 1 else f"{row.against_naive}, without a test"


def _say_cells(record: NoiseRecord) -> str:
    """The ends of the lines in the figure, in words."""
    own = [row for row in record.rows if row.backend == record.backend]
    said = [
        f"at scale {row.scale:g} with {'exact values' if row.shots is None else f'{row.shots} shots'}"
        f" {percent(row.skill).text} and {row.expectation_error:.2g}"
        for row in own
        if row.scale in (min(each.scale for each in own), max(each.scale for each in own))
    ]
    return (
        f"Skill and error of the expectation values against noise and shots on {record.backend}. Without"
        f" noise the skill is {percent(record.exact_skill).text}. Skill and error: {'; '.join(said)}."
    )


def _shots(shots: int | None) -> Value:
    return "exact" if shots is None else shots


def _budget(record: NoiseRecord) -> Iterable[Part]:
    budget = record.budget
    if budget is None:
        if record.budget_reason:
            yield Paragraph(f"{record.budget_reason[0].upper()}{record.budget_reason[1:]}.", tone="note")
        return
    loss = LOSS_TITLES.get(budget.loss, budget.loss)
    said = "; ".join(
        f"{_title(part)} {part.value:+.3g}{'' if part.share is None else f' ({part.share:+.1%})'}"
        for part in budget.components
    )
    yield picture(
        lambda: draw_budget(record),
        alt=f"Error budget on {record.backend}: {loss} {budget.total.value:.4g}, of which {said}. That of the"
        f" last value is {budget.naive:.4g}.",
        caption=f"Error budget on {record.backend}: which part of the forecast's error comes from where.",
        caveat=Caveat(tuple(record.leaks)),
    )
    parts = [*budget.components, budget.total]
    rows: list[list[Value | TableCell]] = [
        [_title(part), part.value, interval_text(part.low, part.high), percent(part.share)] for part in parts
    ]
    yield Table(
        f"Error budget: {loss} on {record.backend}; that of the last value is {budget.naive:.4g}",
        ("part", "adds", "95 % interval over dates", "share of all"), rows, strong=frozenset({len(rows) - 1}),
    )  # fmt: skip
    yield Paragraph(budget.verdict)
    if budget.left_out:
        reasons = "; ".join(
            f"{BUDGET_TITLES.get(name, name)}, {why}" for name, why in budget.left_out.items()
        )
        yield Paragraph(f"Left out of the budget: {reasons}.")


def _title(part: BudgetPart) -> str:
    return "all together" if part.component == "total" else BUDGET_TITLES.get(part.component, part.component)


def _mitigation(record: NoiseRecord) -> Iterable[Part]:
    if record.mitigation:
        rows: list[list[Value | TableCell]] = [
            [row.mitigation, _shots(row.shots), None if row.shots is None else row.executions,
             row.device_seconds, row.expectation_bias, row.expectation_variance, percent(row.gain),
             _percents(row.gain_low, row.gain_high),
             None if row.p_holm is None else TableCell(say_p_value(row.p_holm), row.p_holm),
             row.against_none or None]
            for row in record.mitigation
        ]  # fmt: skip
        columns = ("method", "shots", "shots in all", "device s", "bias", "variance", "error saved",
                   "95 % interval", "p (Holm)", "against none")  # fmt: skip
        yield Table(f"Methods against noise on {record.backend}, beside none", columns, rows)
    if record.mitigation_verdict:
        yield Paragraph(record.mitigation_verdict)
    for each in record.refused:
        yield Paragraph(f"Left out {each.mitigation}: {each.reason}.", tone="note")


def _percents(low: float | None, high: float | None) -> str | None:
    """The ends of an interval of shares, in the form of `percent`.

    >>> _percents(-0.05603, 0.06588), _percents(0.1, 0.1), _percents(None, None)
    ('-5.60 to +6.59 %', None, None)
    """
    # As of `interval_text`: where nothing was drawn there is no interval, and none of width zero.
    return None if low is None or high is None or low == high else f"{100 * low:+.2f} to {100 * high:+.2f} %"


def _sizes(record: NoiseRecord) -> Iterable[Part]:
    measured = [row for row in record.sizes if not row.left_out]
    if measured:
        rows: list[list[Value | TableCell]] = [
            [row.backend, row.qubits, row.depth, row.physical_qubits, row.two_qubit_gates,
             row.expectation_error, interval_text(row.expectation_error_low, row.expectation_error_high),
             row.kept, row.spread]
            for row in measured
        ]  # fmt: skip
        columns = ("backend", "qubits", "depth", "physical qubits", "2q gates", "mean |<O> - exact|",
                   "95 % interval", "kept of the values", "their spread")  # fmt: skip
        yield Table(
            "The circuit by itself at other sizes, angles drawn at random, exact values; no forecast",
            columns, rows,
        )  # fmt: skip
    for row in record.sizes:
        if row.left_out:
            yield Paragraph(
                f"Left out {row.qubits} qubits, depth {row.depth} on {row.backend}: {row.left_out}.",
                tone="note",
            )

"""The page of one run, from its folder alone: no model is opened and nothing is computed anew.

Each section is a function of what was read, and a line in `SECTIONS`. A part of a folder that is damaged, or
that a run of an earlier version does not have, leaves a sentence or nothing; only ``run.json`` must be there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

import pandas as pd

from qhq.ansatz.draw import draw_text
from qhq.ansatz.program import Ansatz
from qhq.ansatz.roles import draw_roles
from qhq.ansatz.stored import load_built
from qhq.data.caveat import Caveat
from qhq.errors import QHQError
from qhq.evaluation.baselines.catalogue import label_of
from qhq.experiment.plausibility import read_doubts
from qhq.experiment.words import disagree, say_disagreement, say_pooled, say_subset, say_test, say_validation
from qhq.report.calibrations import draw_trends, find_trends
from qhq.report.figures import first_target, read_run_table
from qhq.report.forecast_figures import (
    draw_changes,
    draw_errors,
    draw_rolling_skill,
    draw_series,
    errors_by_part,
    has_shares,
    part_shown,
    rolling_skill,
    say_changes,
    say_errors,
    say_parts,
    say_series,
    series_shown,
)
from qhq.report.model_diagram import diagram_of_run, draw_diagram
from qhq.report.moneyness import by_moneyness, draw_moneyness, expiry_names, moneyness_names
from qhq.report.noise_section import noise_parts
from qhq.report.page import (
    Page,
    Paragraph,
    Part,
    Preformatted,
    Section,
    Table,
    TableCell,
    Value,
    facts,
    percent,
    picture,
    plain,
)
from qhq.report.study_figures import draw_portability, draw_walk
from qhq.report.training_figures import (
    PARTS,
    draw_circles,
    draw_history,
    draw_landscape,
    has_drift,
    has_gradients,
    has_outputs,
    rotations_of,
)
from qhq.runs.answers import LANDSCAPE, BackendResult, EvaluationRecord, Landscape, PredictionRecord
from qhq.runs.comparison import run_design, run_skill
from qhq.runs.measures import Errors, TestMetrics
from qhq.runs.record import RunRecord, WalkRecord
from qhq.runs.run_folder import FAILED, FINISHED, RunFolder
from qhq.runs.schema import read_record
from qhq.runs.studies import NoiseRecord, read_study
from qhq.training.checkpoint import read_weights
from qhq.training.traces import OUTPUTS, circuits_of

# Gates of a circuit up to which it is drawn in the page.
# More take minutes, and nobody reads them.
_MOST_GATES = 400

# Symbols whose forecasts stand in one figure: four fit a page of paper in a size that can be read.
_SERIES_A_FIGURE = 4

# Characters of a line of the circuit as text: what a page of paper holds.
_TEXT_COLUMNS = 100

# Rows of a table that a note on them names.
_MOST_NAMED = 4

# Evaluations and noise studies, the newest first, that have a figure of their own.
_MOST_STUDIES = 5


@dataclass(frozen=True)
class Material:
    """What is read of a run's folder, each once, and only when a section asks for it."""

    folder: RunFolder
    record: RunRecord | WalkRecord

    @property
    def caveat(self) -> Caveat:
        """Of its data."""
        return Caveat(tuple(self.record.leaks))

    @property
    def tested(self) -> TestMetrics | None:
        """Errors on the test split, of a run that has them."""
        metrics = self.record.metrics
        return (
            None if metrics is None or metrics.test is None or metrics.naive is None else self.record.tested()
        )

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """``predictions.csv``; None if there is none that can be read."""
        return self._table("predictions.csv")

    @cached_property
    def history(self) -> pd.DataFrame | None:
        """``history.csv``; None if there is none that can be read."""
        return self._table("history.csv")

    @cached_property
    def circuit(self) -> Ansatz | None:
        """The circuit as it ran; None without one."""
        try:
            return load_built(self.folder.circuit) if self.folder.circuit.is_file() else None
        except QHQError:
            return None

    @cached_property
    def evaluations(self) -> list[tuple[str, EvaluationRecord]]:
        """Those that measured something, the newest first, by the names of their files."""
        found = []
        for path in sorted(self.folder.file("evals").glob("[!.]*.json"), reverse=True):
            try:
                record = read_record(EvaluationRecord, path)
            except QHQError:
                continue  # one damaged file must not hide the others; `qhq compare` names it
            if record.results:
                found.append((path.name, record))
        return found

    @cached_property
    def made(self) -> list[tuple[str, PredictionRecord]]:
        """What ``qhq predict`` made, the newest first, by the names of the files."""
        found = []
        for path in sorted(self.folder.file("predictions").glob("[!.]*.json"), reverse=True):
            with suppress(QHQError):  # one damaged file must not hide the others
                found.append((path.name, read_record(PredictionRecord, path)))
        return found

    @cached_property
    def noise_studies(self) -> list[NoiseRecord]:
        """The newest first."""
        paths = [path for path in self.folder.file("studies").glob("noise-*.json") if path.is_file()]
        found = []
        for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
            with suppress(QHQError):  # one damaged file must not hide the others
                found.append(read_study(NoiseRecord, self.folder, f"studies/{path.name}"))
        return found

    def _table(self, name: str) -> pd.DataFrame | None:
        try:
            frame = read_run_table(self.folder.file(name))
        except (OSError, ValueError, QHQError):
            return None
        return None if frame.empty else frame


def run_page(folder: RunFolder, record: RunRecord | WalkRecord) -> Page:
    """Everything that a run's folder knows.

    Args:
        folder: Of a run, or of a walk-forward.
        record: What was read of it.
    """
    material = Material(folder, record)
    walk = isinstance(record, WalkRecord)
    marks = [record.status, f"backend {record.backend}", f"seed {record.seed}"]
    marks += [f"task {record.task}"] if record.task else []
    marks += [f"made {record.created[:10]}"] if record.created else []
    sections = [build_section(title, partial(build, material)) for title, build in SECTIONS.items()]
    kind = "Walk-forward" if walk else "Run"
    return Page(record.run, kind, say_run_verdict(material), sections, material.caveat, marks)


def build_section(title: str, build: Callable[[], Iterable[Part]]) -> Section:
    """A section; of a folder that holds something else than qhq writes, a sentence that says so."""
    try:
        return Section(title, list(build()))
    except QHQError as error:
        return Section(title, [Paragraph(str(error), tone="bad")])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        return Section(title, [Paragraph(f"{_DAMAGED} ({reason}).", tone="bad")])


_DAMAGED = "This part of the folder does not hold what qhq writes"


def say_run_verdict(material: Material) -> str:
    """The model's error beside that of its task's baseline, or why there is none."""
    record, tested = material.record, material.tested
    if record.status == FAILED:
        return f"This run failed: {record.error or 'without a reason'}"
    if record.status != FINISHED or tested is None:
        return "This run is not finished, so nothing can be said of the test split yet."
    if isinstance(record, WalkRecord):
        return record.verdict or "Finished."
    return " ".join([say_test(tested), *say_subset(record)])


def strongest(tested: TestMetrics) -> str:
    """The baseline of the highest skill, by its key among the forecasts."""
    rivals = {name: run_skill(tested, name) for name in tested.forecasts if name != "test"}
    return max(rivals, key=lambda name: -1e300 if rivals[name] is None else float(rivals[name] or 0.0))


def _error_cells(errors: Errors, skill: float | None) -> list[Value | TableCell]:
    """MAE, RMSE, MAPE, MASE and skill of one forecast."""
    return [errors.mae, errors.rmse, errors.mape, errors.mase, percent(skill)]


_ERROR_COLUMNS = ("MAE", "RMSE", "MAPE %", "MASE", "skill")


def _metrics(material: Material) -> Iterable[Part]:
    tested, record = material.tested, material.record
    if isinstance(record, RunRecord) and record.validation is not None:
        yield Paragraph(say_validation(record.validation))
    if tested is None:
        return
    best = strongest(tested)
    order = list(dict.fromkeys(["test", "naive", best, *tested.forecasts]))
    labels = {name: label_of(name) for name in order}
    labels[best] += " (strongest baseline)"
    rows = [[labels[name], *_error_cells(tested.forecasts[name], run_skill(tested, name))] for name in order]
    yield Table(
        "Errors on the test split, in the unit of the data; skill is 1 less the error over the last value's,"
        " averaged over symbols. The model is marked.",
        ("forecast", *_ERROR_COLUMNS), rows, strong=frozenset({0}),
    )  # fmt: skip
    own = tested.test.updated(skill=run_skill(tested))
    for sentence in say_pooled({"the model": own}, tested.naive):
        yield Paragraph(sentence, tone="note")
    yield from _by_part(material, best)
    if tested.mape_reason:
        yield Paragraph(f"{tested.mape_reason}.", tone="note")
    if len(tested.symbols) > 1:
        yield _by_symbol(tested, best)
    yield from _by_kind(tested)
    if tested.intervals is not None and tested.intervals.verdict:
        yield Paragraph(tested.intervals.verdict)
    if tested.distribution is not None and tested.distribution.verdict:
        yield Paragraph(tested.distribution.verdict)


def _by_part(material: Material, best: str) -> Iterable[Part]:
    """Of a run of several steps or targets: that its errors are one mean over them, and each alone."""
    table = material.predictions
    if table is None or not (pooled := say_parts(table)):
        return
    rivals = [best] if best != "naive" and best in table else []
    parts = errors_by_part(table, ["forecast", *rivals])
    targets = any(each.target for each in parts)
    steps = len({each.step for each in parts}) > 1
    by = " and ".join([*(["step"] if steps else []), *(["target"] if targets else [])])
    yield Paragraph(
        f"The errors above, and those by symbol, pool {pooled}: each is a mean over all of them"
        f"{', in which a target of large values weighs most but in MASE and skill' if targets else ''}."
        f" The table by {by} takes them apart.",
        tone="note",
    )
    rows: list[list[Value | TableCell]] = [
        [*([each.target] if targets else []), plain(each.step), each.forecasts, each.mae["forecast"],
         each.mae["naive"], *(each.mae[name] for name in rivals), percent(each.skill)]
        for each in parts
    ]  # fmt: skip
    labels = ["MAE model", *(f"MAE {label_of(name)}" for name in ("naive", *rivals))]
    columns = (*(["target"] if targets else []), "steps ahead", "forecasts", *labels, "skill")
    yield Table(f"Errors on the test split by {by}", columns, rows)


def pooled_notes(forecasts: Iterable[tuple[str, Errors, Errors]]) -> Iterable[Paragraph]:
    """Why MAE and skill disagree on some forecasts of a table, if they do.

    Args:
        forecasts: Their labels, their errors, and those of the last value on the same windows.
    """
    # Each against the last value of its own windows, which are not the same in all rows.
    rows = [(label, disagree(errors, naive)) for label, errors, naive in forecasts]
    odd = [label for label, is_odd in rows if is_odd]
    # Names of many rows are a paragraph that nobody reads; which they are stands in the table.
    names = odd if len(odd) <= _MOST_NAMED else [f"{len(odd)} of the {len(rows)} rows above"]
    if odd:
        yield Paragraph(say_disagreement(dict.fromkeys(names)), tone="note")


def _by_symbol(tested: TestMetrics, best: str) -> Table:
    others = [] if best == "naive" else [best]
    rows: list[list[Value | TableCell]] = []
    for symbol, forecasts in tested.symbols.items():
        known = {name: forecasts.get(name, Errors()) for name in ("test", "naive", *others)}
        rows.append(
            [symbol, *(known[name].mae for name in ("test", "naive", *others)), percent(known["test"].skill)]
        )
    columns = (
        "symbol",
        "MAE model",
        f"MAE {label_of('naive')}",
        *(f"MAE {label_of(name)}" for name in others),
        "skill",
    )
    return Table("Errors on the test split by symbol", columns, rows)


def _by_kind(tested: TestMetrics) -> Iterable[Part]:
    if tested.held_out:
        rows = [
            [label_of(name), part, *_error_cells(errors, errors.skill)]
            for part, group in (("trained on", tested.seen or {}), ("held out", tested.held_out))
            for name, errors in group.items()
        ]
        yield Table(
            "Errors by whether the model was trained on the symbols",
            ("forecast", "symbols", *_ERROR_COLUMNS),
            rows,
        )
    if tested.options is not None:
        rows = [
            [label_of(name), each.mae_over_strike, each.rmse_over_strike, each.iv_mae, each.iv_rows]
            for name, each in tested.options.forecasts.items()
        ]
        columns = (
            "forecast",
            "MAE over strike",
            "RMSE over strike",
            "MAE of implied volatility",
            "rows with one",
        )
        yield Table("Options: errors over the strike, and of the implied volatility", columns, rows)


def _folds(material: Material) -> Iterable[Part]:
    record = material.record
    if not isinstance(record, WalkRecord) or not record.folds:
        return
    rows: list[list[Value | TableCell]] = [
        [plain(each.fold), each.run, each.trained_to, each.first, each.last, each.windows, each.mae,
         each.naive_mae, percent(each.skill)]
        for each in record.folds
    ]  # fmt: skip
    by_fold = ", ".join(percent(each.skill).text for each in record.folds)
    by_regime = ", ".join(f"{each.regime} {percent(each.skill).text}" for each in record.regimes)
    yield picture(
        lambda: draw_walk(record),
        alt=f"Skill over the last value, fold by fold in the order of time: {by_fold}."
        + (f" By regime: {by_regime}." if by_regime else ""),
        caption="Skill over the last value by fold and by regime; above zero is better.",
        caveat=material.caveat,
    )
    columns = ("fold", "run", "trained to", "from", "to", "windows", "MAE", "MAE last value", "skill")
    yield Table("The folds, each a run of its own, the oldest first", columns, rows)
    if record.seeds is not None:
        numbers = ", ".join(map(str, record.seeds.numbers))
        yield Paragraph(f"Together with the walk-forwards of seeds {numbers}: {record.seeds.verdict}")


def _doctor(material: Material) -> Iterable[Part]:
    record = material.record
    for doubt in read_doubts(record.plausibility):
        yield Paragraph(doubt.sentence(), tone="bad")
    if record.collapse is not None:
        yield Paragraph(record.collapse.message, tone="bad")
    doctor = record.doctor if isinstance(record, RunRecord) else None
    if doctor is None:
        return
    if doctor.healthy is None:
        yield Paragraph("The doctor did not look at this model while it was trained.", tone="note")
        return
    state = "healthy" if doctor.healthy else "not healthy"
    # It looked after the last epoch, and that may not be the model that the rest of the page is of.
    untrained = _kept_untrained(record) and bool(doctor.epoch)
    kept = ", which is not the one that was kept, the untrained one," if untrained else ""
    yield Paragraph(
        f"After epoch {doctor.epoch} the model{kept} was {state}: {len(doctor.findings)} findings."
        f" 'qhq doctor {record.run}' looks closer.",
        tone="good" if doctor.healthy else "bad",
    )
    if doctor.findings:
        keys = ("severity", "code", "message", "fix")
        rows: list[list[Value | TableCell]] = [
            [str(each.get(key, "")) for key in keys] for each in doctor.findings
        ]
        yield Table("What the doctor found, and the fix", ("severity", "code", "what was found", "fix"), rows)


def _kept_untrained(record: RunRecord | WalkRecord) -> bool:
    """Whether the weights that were kept are those before the first epoch."""
    if not isinstance(record, RunRecord):
        return False
    return record.best_epoch == 0 or (record.validation is not None and record.validation.epoch == 0)


def _portability(material: Material) -> Iterable[Part]:
    found = material.evaluations
    if not found:
        return
    results = [((record.created or name)[:10], result) for name, record in found for result in record.results]
    errors: list[list[Value | TableCell]] = [
        [
            result.label, day, result.samples, result.said_shots if result.shots is None else result.shots,
            result.metrics.mae, result.naive.mae, percent(result.metrics.skill), result.delta_mae,
            result.expectation_error,
        ]
        for day, result in results
    ]  # fmt: skip
    columns = ("backend", "evaluated", "windows", "shots", "MAE", "MAE last value", "skill",
               "change of MAE", "mean |<O> - exact|")  # fmt: skip
    yield Table("The same weights on other backends, the newest evaluation first", columns, errors)
    yield from pooled_notes((result.label, result.metrics, result.naive) for _, result in results)
    # A table of its own: fifteen columns fit neither a screen nor a page.
    circuits: list[list[Value | TableCell]] = [
        [
            result.label, day, result.depth, result.two_qubit_gates,
            " ".join(map(str, result.layout)) if result.layout else None,
            result.calibration, result.qpu_seconds, result.note or None,
        ]
        for day, result in results
    ]  # fmt: skip
    facts_of = ("backend", "evaluated", "depth", "2q gates", "layout", "calibration", "QPU s", "note")
    yield Table("The circuit as each of them ran it", facts_of, circuits)
    yield from _calibrations(material)
    for name, record in found[:_MOST_STUDIES]:
        said = "; ".join(
            f"{result.label} {percent(result.metrics.skill).text}{_say_error(result)}"
            for result in record.results
        )
        yield picture(
            lambda record=record: draw_portability(record),  # type: ignore[misc]
            alt=f"Skill over the last value, and error of the expectation values, by backend: {said}.",
            caption=f"Evaluation {name.removesuffix('.json')}: skill, and the error of the circuit.",
            caveat=material.caveat,
        )


def _say_error(result: BackendResult) -> str:
    return "" if result.expectation_error is None else f" with an error of {result.expectation_error:.2g}"


def _calibrations(material: Material) -> Iterable[Part]:
    """A device over days, where the same was evaluated under several of its calibrations."""
    results = [result for _, record in material.evaluations for result in record.results]
    trends = find_trends(material.folder, results)
    if not trends:
        return
    said = "; ".join(
        f"{days[0].label}: {days[0].result.expectation_error or 0:.3g} on {days[0].date:%Y-%m-%d},"
        f" {days[-1].result.expectation_error or 0:.3g} on {days[-1].date:%Y-%m-%d}"
        for days in trends
    )
    yield picture(
        lambda: draw_trends(trends),
        alt=f"Error of the expectation values, and skill, by the day of the calibration. Error of {said}.",
        caption="The same weights on a device on different days: only the calibration differs along a line.",
        caveat=material.caveat,
    )
    rows: list[list[Value | TableCell]] = [
        [
            day.label, f"{day.date:%Y-%m-%d}", day.two_qubit_error, day.readout_error,
            day.result.two_qubit_gates, day.result.expectation_error, percent(day.result.metrics.skill),
        ]
        for days in trends
        for day in days
    ]  # fmt: skip
    columns = ("device", "day of the calibration", "median 2q error", "median readout error", "2q gates run",
               "mean |<O> - exact|", "skill")  # fmt: skip
    yield Table("The device on the days of its calibrations", columns, rows)


def _noise(material: Material) -> Iterable[Part]:
    for record in material.noise_studies[:_MOST_STUDIES]:
        yield from noise_parts(record)


def _circuit(material: Material) -> Iterable[Part]:
    quantum, ansatz = material.record.quantum, material.circuit
    circuits = _circuits(material)
    many = len(circuits)
    if many > 1:
        yield Paragraph(
            f"The model has {many} circuits of one form, each with weights of its own: {', '.join(circuits)}."
            " What follows is of one of them."
        )
    if quantum is not None:
        yield facts({
            "circuits of this form": many if many > 1 else None,
            "weights of all of them": sum(map(len, circuits.values())) if many > 1 else None,
            "qubits": quantum.qubits, "inputs": quantum.inputs, "weights": quantum.weights,
            "observables": quantum.outputs, "depth": quantum.depth,
            "two-qubit gates": quantum.two_qubit_gates,
            "angle scaling": quantum.angle_scaling, "trained on": quantum.engine,
            "largest difference from Qiskit": quantum.parity_max_abs,
        })  # fmt: skip
    if ansatz is None:
        return
    size = ansatz.circuit.size()
    counts = f"{ansatz.circuit.num_qubits} qubits, {ansatz.num_inputs} inputs, {ansatz.num_weights} weights"
    if size > _MOST_GATES:
        yield Paragraph(
            f"The circuit has {size:,} gates and is not drawn here; 'qhq circuit draw' writes it to a file.",
            tone="note",
        )
        return
    trained = _trained_weights(material)
    # Several circuits of one ansatz have values of their own: they are listed under the training.
    kind = "untrained values, which were kept," if _kept_untrained(material.record) else "trained values"
    values = f", with {f'the {kind}' if trained else 'names'} on the gates of its weights"
    values = values if ansatz.num_weights else ""
    yield picture(
        lambda: draw_roles(ansatz, trained),
        alt=f"The circuit as it was written: {counts}, {size} gates. It follows as text.",
        caption=f"The circuit as it was written{values}.",
    )
    try:
        yield Preformatted("The circuit as text", draw_text(ansatz, columns=_TEXT_COLUMNS))
    except QHQError:
        return


def _trained_weights(material: Material) -> list[float] | None:
    """The trained weights; None where a part of one's own keeps them under another name."""
    try:
        found = read_weights(material.folder.weights).get("quantum.weight")
    except QHQError:
        return None
    return None if found is None else [float(value) for value in found]


def _model(material: Material) -> Iterable[Part]:
    record = material.record
    try:
        diagram = diagram_of_run(material.folder, record)
    except QHQError as error:
        yield Paragraph(f"The model is not drawn: {error}", tone="note")
    else:
        yield picture(
            lambda: draw_diagram(diagram),
            alt=f"{diagram.says} The table below has its steps.",
            caption="The model from the window to the forecast, the shape of the data at each arrow, and the"
            " circuit opened up.",
        )
        rows: list[list[Value | TableCell]] = [
            [number, step.title, "; ".join(step.lines), step.shape_text, step.weights]
            for number, step in enumerate(diagram.steps, 1)
        ]
        columns = ("step", "what it is", "made of", "shape of what leaves it", "weights")
        yield Table("The model, step by step", columns, rows, folded=True)
        opened = next((step.parts for step in diagram.steps if step.parts), ())
        if opened:
            yield facts([(part.title, "; ".join(part.lines)) for part in opened])
    if isinstance(record, RunRecord) and record.parameters:
        counts: list[list[Value | TableCell]] = [[name, count] for name, count in record.parameters.items()]
        yield Table("Trained parameters by part of the model", ("part", "parameters"), counts)


def _training(material: Material) -> Iterable[Part]:
    history, record = material.history, material.record
    if history is None or not isinstance(record, RunRecord):
        return
    untrained = None if record.validation is None else record.validation.untrained_loss
    yield facts({
        "epochs": record.epochs, "epoch that was kept": record.best_epoch,
        "validation loss of it, scaled": record.validation_loss, "the same, untrained": untrained,
        "seconds in all": record.seconds.get("total"), "of these, training": record.seconds.get("train"),
    })  # fmt: skip
    yield picture(
        lambda: draw_history(history, untrained),
        alt=_say_history(history),
        caption=_say_panels(history),
        caveat=material.caveat,
    )
    yield from _circles(material)
    yield from _landscape(material)
    yield from _epochs(history)


def _say_panels(history: pd.DataFrame) -> str:
    """What `draw_history` shows of a history."""
    known = {
        "gradient norms by part of the model": has_gradients(history),
        "distances of the weights from their start": has_drift(history),
        "the band of the circuit's outputs": has_outputs(history),
    }
    *others, last = ["Losses", *(name for name, shown in known.items() if shown)]
    said = f"{', '.join(others)} and {last}." if others else f"{last}."
    kept = {f"drift_{PARTS[0]}", *OUTPUTS} <= {*history.columns}
    return said if kept else f"{said} What an earlier version did not keep is left out."


def _epochs(history: pd.DataFrame) -> Iterable[Table]:
    """A row an epoch, in two tables: seventeen columns fit neither a screen nor a page."""
    others = [name for name in history.columns[1:] if not name.startswith(("drift_", *OUTPUTS))]
    traced = [name for name in history.columns[1:] if name not in others]
    for names, what in ((others, "losses and gradients"), (traced, "distances and outputs")):
        if names:
            rows: list[list[Value | TableCell]] = [
                [plain(int(epoch)), *(None if pd.isna(value) else float(value) for value in values)]
                for epoch, *values in history[["epoch", *names]].itertuples(index=False)
            ]
            columns = [name.replace("_", " ") for name in ("epoch", *names)]
            yield Table(f"The training, epoch by epoch: {what}", columns, rows, folded=True)


def _say_history(history: pd.DataFrame) -> str:
    """The curves of a training in words."""
    first, last = history.iloc[0], history.iloc[-1]
    said = (
        f"Loss and gradient norms over {len(history)} epochs. The validation loss went from"
        f" {first['validation_loss']:.4g} to {last['validation_loss']:.4g}."
    )
    if has_drift(history):
        parts = ", ".join(f"{part} {last[f'drift_{part}']:.3g}" for part in PARTS)
        said += f" At the end the weights are at these distances from their start: {parts}."
    if has_outputs(history):
        said += (
            f" In the last epoch 90 % of the circuit's outputs are between {last[OUTPUTS[0]]:.3g} and"
            f" {last[OUTPUTS[-1]]:.3g}, their median is {last[OUTPUTS[2]]:.3g}."
        )
    return said


def _circles(material: Material) -> Iterable[Part]:
    """Angles of the data and of the trained gates on the circle, and the latter as a table."""
    record, ansatz = material.record, material.circuit
    angles = record.angles if isinstance(record, RunRecord) else None
    untrained = _kept_untrained(record)
    begun = (record.begun or []) if isinstance(record, RunRecord) else []
    circuits = _circuits(material)
    names = [name for name, weights in circuits.items() for _ in weights]
    all_weights = [value for weights in circuits.values() for value in weights]
    rotations = [] if ansatz is None else rotations_of(ansatz, all_weights, begun)
    if angles is None and not rotations:
        return
    many = len(circuits)
    shown = [] if angles is None else ["of the data, with the area by how many there are"]
    gates = "gates of the kept, untrained model" if untrained else "trained gates"
    shown += [f"of the {gates}, each on a ring of its own"] if rotations else []
    known = any(each.begun is not None for each in rotations)
    moved = max((abs(each.angle - each.begun) for each in rotations if each.begun is not None), default=0.0)
    of_data = "" if angles is None else f" Angles of {angles.windows} windows of the validation split."
    if angles is not None and many > 1:
        of_data += (
            f" An input's angles are those of the input of that number of all {many} circuits, and of all"
            " their calls, counted together."
        )
    kind = "angles of the kept, untrained model" if untrained else "trained angles"
    listed = f" {len(rotations)} {kind}, which the table below lists." if rotations else ""
    began = ""
    if known and moved > 0:
        began = " A hollow mark is where a gate began, and a line goes from there to where it is."
    elif known:
        began = " No gate is anywhere else than where it began."
    farthest = f" The one that moved farthest moved by {moved:.3g} rad." if known and moved > 0 else began
    yield picture(
        lambda: draw_circles(angles, rotations, untrained=untrained),
        alt=f"Angles on the circle.{of_data}{listed}{farthest}",
        caption=f"Angles on the circle, seen along the axis of the rotation: {' and '.join(shown)}.{began}"
        f"{of_data if many > 1 else ''}",
    )
    if rotations:
        rows: list[list[Value | TableCell]] = [
            [
                *([name] if many > 1 else []), plain(each.number), each.gate, each.begun, each.angle,
                None if each.begun is None else each.angle - each.begun,
                math.remainder(each.angle, 2 * math.pi) / math.pi,
            ]
            for name, each in zip(names, rotations, strict=True)
        ]  # fmt: skip
        columns = (
            *(["circuit"] if many > 1 else []),
            "weight",
            "gate",
            "before training, rad",
            "angle, rad",
            "moved by",
            "angle in (-1, 1], over π",
        )
        yield Table(kind[0].upper() + kind[1:], columns, rows, folded=True)


def _landscape(material: Material) -> Iterable[Part]:
    """The loss around the weights, of a run for which it was measured."""
    if not material.folder.file(LANDSCAPE).is_file():
        return
    found = read_record(Landscape, material.folder.file(LANDSCAPE))
    moved = "All weights" if found.part == "all" else "The weights of the circuit"
    yield picture(
        lambda: draw_landscape(found),
        alt=found.says,
        caption=f"{moved} ({found.weights}), moved in two random directions, filter-normalised (seed"
        f" {found.seed}).",
        caveat=material.caveat,
    )
    yield Paragraph(found.says)


def _circuits(material: Material) -> dict[str, list[float]]:
    """The kept weights of each circuit of a run by its name; all circuits of a run are of one ansatz."""
    ansatz, record = material.circuit, material.record
    try:
        found = read_weights(material.folder.weights)
    except QHQError:
        return {}
    stages = (record.stages if isinstance(record, RunRecord) else None) or []
    layers = [each.name for each in stages if each.kind == "QuantumLayer"]
    return circuits_of(found, layers, 0 if ansatz is None else ansatz.num_weights)


def _made(material: Material) -> Iterable[Part]:
    """What was forecast before it happened: one row a ``qhq predict``."""
    rows: list[list[Value | TableCell]] = []
    for name, record in material.made:
        scored = record.scored
        held = "; ".join(
            f"{100 * each['held']['value']:.1f} % at {100 * each['level']:g} %"
            for each in ([] if scored is None else scored.coverage)
        )
        rows.append(
            [
                (record.created or name)[:10], record.last_row, record.session, record.backend,
                plain(len({row.symbol for row in record.rows})), plain(scored.windows) if scored else None,
                scored.metrics.mae if scored else None, scored.naive.mae if scored else None, held or None,
                record.qpu_seconds, name,
            ]
        )  # fmt: skip
    if rows:
        columns = ("made", "data to", "session", "backend", "series", "come true", "MAE", "MAE last value",
                   "intervals held", "QPU s", "file in predictions/")  # fmt: skip
        yield Table("Forecasts of what had not happened (qhq predict), the newest first", columns, rows)


def _forecasts(material: Material) -> Iterable[Part]:
    yield from _made(material)
    table, caveat = material.predictions, material.caveat
    if table is None:
        return
    names, count = series_shown(table)
    some = "" if count == len(names) else f", {len(names)} of {count} symbols"
    shown_part = part_shown(table)
    of = f", {shown_part}" if shown_part else ""
    if shown_part:
        yield Paragraph(f"The figures below show one part of {say_parts(table)}: {shown_part}.")
    # A few at a time: a figure of twelve is taller than paper, and could not be read if it were made to fit.
    for first in range(0, len(names), _SERIES_A_FIGURE):
        shown = names[first : first + _SERIES_A_FIGURE]
        yield picture(
            partial(draw_series, table, shown),
            alt=f"Forecasts over time, beside what came and the last value. {say_series(table, shown)}",
            caption=f"The newest rows of the test split, {shown_part or 'one step ahead'}{some}: forecast"
            " with its interval, what came, and the last value.",
            caveat=caveat,
        )
    skills, width = rolling_skill(table)[1:]
    if len(skills) > 1:
        yield picture(
            lambda: draw_rolling_skill(table),
            alt=f"Skill over the last value over {width} dates each, as time goes by: from {min(skills):+.1%}"
            f" to {max(skills):+.1%}, above 0 at {(skills > 0).mean():.0%} of the dates.",
            caption=f"Skill over time{of}: above the dotted line the model errs less than the last value.",
            caveat=caveat,
        )
    yield _errors(material, table, of)
    yield picture(
        lambda: draw_changes(table),
        alt="The change that was forecast against the change that came, a dot a forecast."
        f" {say_changes(table)}",
        caption=f"Changes from the last value{of}, over its mean absolute error: a perfect forecast lies on"
        " the line, the last value on the dotted one.",
        caveat=caveat,
    )  # fmt: skip
    yield from _moneyness(material)


def _errors(material: Material, table: pd.DataFrame, of: str) -> Part:
    """Histograms of the errors; of percentage errors only where the metrics have a MAPE."""
    tested = material.tested
    refused = "" if tested is None else (tested.mape_reason or "").removeprefix("No MAPE: ")
    if not refused and not has_shares(table):  # a run of a version that refused no MAPE
        refused = "not every value that came is above zero"
    shares = not refused
    without = f" Percentage errors are left out: {refused}." if refused else ""
    return picture(
        lambda: draw_errors(table, shares=shares),
        alt=f"Histograms of errors{' and of absolute percentage errors' if shares else ''}."
        f" {say_errors(table, shares=shares)}",
        caption=f"Errors{of and f'{of},'} beside those of the last value; the outermost bins hold what lies"
        f" beyond.{without}",
        caveat=material.caveat,
    )


def _moneyness(material: Material) -> Iterable[Part]:
    """Errors of options by moneyness and expiry, as a figure and as the table that stands for it."""
    table = material.predictions
    cells = None if table is None else by_moneyness(first_target(table))
    if cells is None:
        return
    strikes, expiries = moneyness_names(), expiry_names()
    ranked = cells.dropna(subset=["skill"]).sort_values("skill")
    extremes = [
        f"{percent(float(row['skill'])).text} at {strikes[int(row['moneyness'])]},"
        f" {expiries[int(row['expiry'])]}"
        for _, row in (ranked.iloc[[0, -1]] if len(ranked) else ranked).iterrows()
    ]

    yield picture(
        lambda: draw_moneyness(cells),
        alt=f"Errors over the strike, and skill over the last value, by strike over spot and time to"
        f" expiry. The lowest and the highest skill are {' and '.join(extremes) or 'not defined'}."
        " A table follows.",
        caption="Errors by where the contract stood when it was forecast, one step ahead: mean absolute error"
        " over the strike in basis points, and skill over the last value.",
        caveat=material.caveat,
    )  # fmt: skip
    known = [name for name in ("model", "last_value", "black_scholes") if name in cells]
    rows: list[list[Value | TableCell]] = [
        [
            TableCell(expiries[int(row["expiry"])], float(row["expiry"])),
            TableCell(strikes[int(row["moneyness"])], float(row["moneyness"])),
            int(row["forecasts"]), *(1e4 * float(row[name]) for name in known),
            percent(None if pd.isna(row["skill"]) else float(row["skill"])),
        ]
        for _, row in cells.iterrows()
    ]  # fmt: skip
    titles = (f"{label_of(name)}, bp" for name in known)
    yield Table(
        "Options: mean absolute error over the strike by time to expiry and moneyness (bp = 0.01 %)",
        ("time to expiry", "strike over spot", "forecasts", *titles, "skill"), rows, folded=True,
    )  # fmt: skip


def _provenance(material: Material) -> Iterable[Part]:
    record = material.record
    git = "none" if record.git is None else record.git.commit + (", changed" if record.git.changed else "")
    data, looks = record.data, record.looks
    spans = {"training": data.train, "validation": data.validation, "test": data.test}
    yield facts([
        ("run", record.run), ("made", record.created), ("finished", record.finished),
        ("seed", plain(record.seed)), ("backend", record.backend), ("git commit", git),
        ("fingerprint of the prices", data.fingerprint),
        ("rows", f"{data.first} to {data.last}" if data.first else None),
        *((f"{name} split", f"{span.first} to {span.last}, {span.windows} windows")
          for name, span in spans.items() if span),
        ("rows set aside", None if data.quarantine is None else data.quarantine.rows),
        ("looks at the test split", None if looks is None else looks.times),
        *((f"version of {name}", version) for name, version in record.versions.items()),
    ])  # fmt: skip
    rows = _design_rows(record)
    if rows:
        yield Table("The config, every key spelled out", ("key", "value"), rows, folded=True)


def _design_rows(record: RunRecord | WalkRecord) -> Sequence[Sequence[Value | TableCell]]:
    """The resolved config by dotted keys."""
    return [
        [key, "null" if value is None else TableCell(str(value))] for key, value in run_design(record).items()
    ]


SECTIONS: dict[str, Callable[[Material], Iterable[Part]]] = {
    "Metrics": _metrics,
    "Folds": _folds,
    "Doctor": _doctor,
    "Other backends": _portability,
    "Noise": _noise,
    "Circuit": _circuit,
    "Model": _model,
    "Training": _training,
    "Forecasts": _forecasts,
    "Provenance": _provenance,
}
"""Sections of a run's page in the order of reading."""

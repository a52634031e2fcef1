"""The noise study: a checkpoint's forecast and expectation error against noise strength, shots and devices.

Every cell of scale x shots x seed is one evaluation of the same windows; more of them tell what error
mitigation is worth, and where the error comes from (`qhq.studies.error_budget`). Cells are kept as they are
done, so a study that was cut off goes on where it stopped, and several processes that ask for one share its
cells.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
from scipy import stats

from qhq.backends.backend import BackendSpec
from qhq.backends.registry import find_backend
from qhq.data.panel import FloatArray
from qhq.errors import ConfigError
from qhq.evaluation.significance import compare_pairs
from qhq.experiment.evaluate import WindowForecasts, sampling_error
from qhq.runs.answers import RefusedMethod
from qhq.runs.looks import add_look
from qhq.runs.run_folder import RunFolder
from qhq.runs.studies import BudgetRecord, MitigationRow, NoiseRecord, NoiseRow, SizeRow
from qhq.studies.circuit_sizes import SizeStudy
from qhq.studies.error_budget import NO_BUDGET, digest_of, plan_nested, split_error
from qhq.studies.mitigation import (
    Mitigation,
    date_losses_of,
    gain_of,
    moments_of_draws,
    plan_asks,
    suit_model,
)
from qhq.studies.noise_cells import (
    NoiseCell,
    NoiseRequest,
    defined_skill,
    key_of,
    measure_noise_cell,
    open_packed,
    pack_checkpoint,
    streams_of,
)
from qhq.studies.runner import Outcome, Runner, Store, Study, Values
from qhq.studies.runner.reproducible import judged_by_symbol

_CONFIDENCE = 0.95


class NoiseStudy(Study[NoiseCell, NoiseRecord]):
    """The study of one run; a digest of all that its cells depend on names its files.

    Raises:
        QHQError: If the backend has no noise to scale, or the run has no circuit or cannot be opened.
    """

    title = "noise"

    def __init__(self, folder: RunFolder, request: NoiseRequest) -> None:
        self.folder, self.request = folder, request
        self.entry = _noisy_entry(find_backend(request.backend))
        self.checkpoint = pack_checkpoint(folder, self.entry, request.samples, request.seed)
        self.experiment, self.exact, _ = open_packed(folder, self.checkpoint)
        self.others = [_noisy_entry(find_backend(name)) for name in request.against]
        # Refused here, before anything is measured.
        self.asks, self.refused = (
            plan_asks(self.entry, request.mitigation) if request.mitigation else ([], [])
        )
        self.asks, left_out = suit_model(self.experiment, self.entry.name, self.asks, request.mitigation)
        self.refused = [*self.refused, *left_out]
        assert self.experiment.ansatz is not None
        self.nested = plan_nested(self.entry, self.others, self.experiment.ansatz.num_qubits, request.seed)
        self.name = f"studies/noise-{self._digest()}"
        self.sizes: list[SizeRow] = []
        # Several processes may ask for one study of a run at once; they share its cells.
        self.store = Store(folder.file(f"{self.name}.jsonl"), shared=True)

    def plan(self) -> list[NoiseCell]:
        """Every cell of scale x shots x seed, and more; written down as a look if one is missing."""
        request = self.request
        # Without scaling too, whatever is asked for: budget, mitigation and other entries are compared with
        # it.
        scales = dict.fromkeys([*request.scales, 1.0])
        cells = [
            NoiseCell(scale, shots, seed, self.checkpoint)
            for scale, shots in itertools.product(scales, request.shots)
            # The budget is that of the device as it is, whatever scales were asked for, at one number of
            # shots.
            if scale in request.scales or shots == self.budget_shots
            for seed in range(streams_of(shots, request))
        ]
        cells += [
            NoiseCell(1.0, shots, seed, self.checkpoint, ask.method)
            for ask, shots in itertools.product(self.asks, request.shots)
            for seed in range(streams_of(shots, request))
        ]
        cells += [
            NoiseCell(1.0, shots, seed, self.checkpoint, place=digest_of(entry), entry=entry)
            for entry, shots in itertools.product(self.others, request.shots)
            for seed in range(streams_of(shots, request))
        ]
        if self.nested is not None:
            for place, entry in self.nested.places:
                cells += [
                    NoiseCell(1.0, None, 0, self.checkpoint, method, place, entry)
                    # TREX with exact values takes readout errors away whole: what is left is the noise of the
                    # gates.
                    for method in (None, "trex")
                ]
        # What the budget needs may be among what was asked for.
        cells = list({cell.key: cell for cell in cells}.values())
        # A look only where something is measured: to sum the same cells up again shows nothing new.
        missing = {cell.key for cell in cells} - self.store.read().keys()
        test = self.experiment.data.test
        self.looks = add_look(test, run=self.folder.name, command="noise", times=int(bool(missing)))
        return cells

    def say(self, key: str) -> str:
        """A cell in words: its noise, its shots, which stream of them, and what is done against noise."""
        scale, shots, seed, *more = key.split("/", 4)
        drawn = "exact" if shots == "exact" else f"{shots} shots, stream {int(seed) + 1}"
        return ", ".join([f"noise x {scale}", drawn, *filter(None, more)])

    @staticmethod
    def measure(cell: NoiseCell) -> Outcome:
        """Evaluate one cell: errors of forecast and expectation values."""
        return measure_noise_cell(cell)

    def summarise(self, done: Mapping[str, Values]) -> NoiseRecord:
        """Rows, limits and the verdict; kept beside the cells."""
        record = _summary(self, done)
        path = self.folder.write_json(f"{self.name}.json", record.kept())
        return record.updated(file=str(path))

    @property
    def budget_shots(self) -> int | None:
        """Shots of the error budget: most of those asked for, as a device would be."""
        return max((shots for shots in self.request.shots if shots is not None), default=None)

    def budget(self, done: Mapping[str, Values]) -> BudgetRecord | None:
        """The error budget of the entry of the study; None where its causes cannot be told apart."""
        if self.nested is None:
            return None
        shots = self.budget_shots
        drawn = None
        if shots is not None:
            streams = range(self.request.seeds)
            drawn = np.mean([done[key_of(1.0, shots, seed)]["losses"] for seed in streams], axis=0)
        exact, loss = date_losses_of([self.exact])
        naive, _ = date_losses_of([replace(self.exact, forecast=self.exact.naive)])

        def losses(place: str, *, readout: bool) -> FloatArray:
            values = done[key_of(1.0, None, 0, None if readout else "trex", place)]
            return np.asarray(values["losses"] if readout else values["methods"]["trex"]["losses"])

        steps = [("model", exact), *self.nested.steps(losses)]
        left_out = dict(self.nested.left_out)
        if drawn is None:
            left_out["shots"] = "only exact values were asked for: name a number of --shots"
        else:
            steps.append(("shots", drawn))
        horizon = self.exact.windows.cut.horizon
        return split_error(steps, naive, loss=loss, horizon=horizon, left_out=left_out)

    def _digest(self) -> str:
        """Name of all that a cell's value depends on besides the cell: other settings, other files."""
        content = [
            # A text for people moves no number, and must not make a study anew.
            self.entry.model_dump_json(exclude={"description"}),
            self.experiment.identity(),
            self.request.samples,
            self.request.seed,
            # Cells of earlier versions have no losses by date.
            "losses by date",
            *judged_by_symbol(self.exact.windows),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def run_noise_study(folder: RunFolder, request: NoiseRequest, runner: Runner | None = None) -> NoiseRecord:
    """Measure every cell that is not there yet and sum them up.

    Args:
        folder: The run whose checkpoint is looked at.
        request: Backend, scales, shots, seeds, windows.
        runner: Who measures, and where progress goes; by default this process, and nowhere.

    Returns:
        ``rows``, one flat object a scale and shots; ``verdict``, one sentence; ``limits``, the scale at which
        each number of shots falls behind the last-value forecast; ``file``, where all that is kept.

    Raises:
        QHQError: If the backend has no noise to scale, the run has no circuit or one of a single size, or a
            cell cannot be measured.
    """
    runner, study = runner or Runner(), NoiseStudy(folder, request)
    quantum = study.experiment.config.quantum
    if (request.widths or request.depths) and quantum is not None:
        entries = [study.entry, *study.others]
        study.sizes = runner.run(
            SizeStudy(
                folder, quantum, entries=entries, qubits=request.widths, depths=request.depths,
                seed=request.seed,
            )
        )  # fmt: skip
    return runner.run(study)


def _noisy_entry(entry: BackendSpec) -> BackendSpec:
    if entry.is_noisy:
        return entry
    raise ConfigError(
        "A noise study needs a simulated backend with noise",
        got=f"'{entry.name}'",
        fix="Use aer_noisy, a fake device, or an aer entry with a calibration snapshot",
    )


def _summary(study: NoiseStudy, done: Mapping[str, Values]) -> NoiseRecord:
    request = study.request
    rows = [
        _row(study, done, request.backend, scale, shots)
        for scale, shots in itertools.product(request.scales, request.shots)
    ]
    limits = {_shots_word(shots): _limit(rows, shots) for shots in request.shots}
    rows += [
        _row(study, done, entry.name, 1.0, shots, digest_of(entry))
        for entry, shots in itertools.product(study.others, request.shots)
    ]
    ranked = [row for shots in request.shots for row in _ranked(study, done, shots)]
    exact, population = study.exact, len(study.experiment.data.test)
    return NoiseRecord(
        run=study.folder.name,
        leaks=list(study.experiment.data.caveat.leaks),
        backend=request.backend,
        samples=len(exact.windows),
        seeds=request.seeds,
        exact_mae=exact.metrics().mae,
        exact_skill=exact.metrics().skill,
        naive_mae=exact.naive_metrics().mae,
        mae_sampling_error=sampling_error(exact, population),
        rows=rows,
        limits=limits,
        verdict=_verdict(exact, limits, request),
        mitigation=ranked,
        mitigation_verdict=_say_what_pays(study, ranked),
        refused=[RefusedMethod(**asdict(each)) for each in study.refused],
        budget=study.budget(done),
        budget_reason="" if study.nested is not None else NO_BUDGET,
        sizes=study.sizes,
        request=asdict(request),
        looks=study.looks,
    )


def _ranked(study: NoiseStudy, done: Mapping[str, Values], shots: int | None) -> list[MitigationRow]:
    """Methods at a number of shots, the one that saves most first; they are tested as one family."""
    if not study.asks:
        return []
    count, exact = streams_of(shots, study.request), study.exact
    horizon = exact.windows.cut.horizon
    cells: dict[Mitigation, list[Values]] = {
        name: [done[key_of(1.0, shots, seed, ask.method)]["methods"][name] for seed in range(count)]
        for ask in study.asks
        for name in ask.mitigations
        if name is not None
    }
    losses: dict[str, FloatArray] = {}
    for name, found in cells.items():
        losses[name] = np.mean([each["losses"] for each in found], axis=0)
    family = [(name, "none") for name in cells if name != "none"]
    tests = {each.first: each for each in compare_pairs(losses, horizon, family=family)} if family else {}
    assert exact.expectations is not None
    rows: list[MitigationRow] = []
    for name, found in cells.items():
        moments = moments_of_draws([np.asarray(each["expectations"]) for each in found], exact.expectations)
        gain = gain_of(losses[name], losses["none"], found[0]["loss"], horizon)
        test = tests.get(name)
        rows.append(
            MitigationRow(
                backend=study.request.backend,
                mitigation=name,
                shots=shots,
                seeds=count,
                mae=float(np.mean([each["mae"] for each in found])),
                skill=float(np.mean([each["skill"] for each in found])),
                expectation_error=float(np.mean([each["expectation_error"] for each in found])),
                expectation_bias=moments.bias,
                expectation_variance=moments.variance,
                executions=found[0]["executions"],
                device_seconds=found[0]["device_seconds"],
                gain=gain.gain,
                gain_low=gain.gain_low,
                gain_high=gain.gain_high,
                gain_loss=gain.gain_loss,
                gain_reason=gain.gain_reason,
                p_holm=None if test is None else test.adjusted,
                against_none=test.verdict() if test else "",
            )
        )
    return sorted(rows, key=lambda row: -(row.gain or 0.0))


def _say_what_pays(study: NoiseStudy, rows: list[MitigationRow]) -> str | None:
    """Which methods are shown to save error, at the shots that a device would be asked for."""
    if not rows:
        return None
    chosen = [row for row in rows if row.shots == study.budget_shots]
    word = _shots_word(study.budget_shots)
    pays = [row for row in chosen if row.against_none == "better"]
    harms = [row.mitigation for row in chosen if row.against_none == "worse"]
    worse = f" Shown to make the forecast worse: {', '.join(harms)}." if harms else ""
    if not pays:
        return f"Error mitigation, {word}: none shown to pay on this circuit.{worse}"
    said = [f"{row.mitigation} ({100 * (row.gain or 0.0):+.2f} % of the error saved)" for row in pays]
    return f"Error mitigation, {word}: shown to pay on this circuit: {', '.join(said)}.{worse}"


def _row(
    study: NoiseStudy,
    done: Mapping[str, Values],
    backend: str,
    scale: float,
    shots: int | None,
    place: str = "",
) -> NoiseRow:
    count = streams_of(shots, study.request)
    cells = [done[key_of(scale, shots, seed, None, place)] for seed in range(count)]
    mae, skill, delta, error = (
        seed_interval([cell[key] for cell in cells])
        for key in ("mae", "skill", "delta_mae", "expectation_error")
    )
    return NoiseRow(
        backend=backend,
        scale=scale,
        shots=shots,
        seeds=count,
        mae=mae[0],
        mae_low=mae[1],
        mae_high=mae[2],
        skill=skill[0],
        skill_low=skill[1],
        skill_high=skill[2],
        delta_mae=delta[0],
        delta_mae_low=delta[1],
        delta_mae_high=delta[2],
        expectation_error=error[0],
        expectation_error_low=error[1],
        expectation_error_high=error[2],
        naive_mae=study.exact.naive_metrics().mae,
        # Only where the whole interval lies on one side of the last value is it said which.
        against_naive="behind" if skill[2] < 0 else "ahead" if skill[1] > 0 else "undecided",
    )


def seed_interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and its 95 % Student interval over seeds; one value is its own interval.

    >>> [round(value, 3) for value in seed_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, mean, mean
    # Student's interval, not a bootstrap: three values, the default, have ten different resamples.
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def _limit(rows: list[NoiseRow], shots: int | None) -> float | None:
    """Smallest scale, between the measured ones linearly, at which the whole interval is behind the naive."""
    line = sorted((row.scale, -row.skill_high) for row in rows if row.shots == shots)
    if line and line[0][1] > 0:
        return float(line[0][0])
    for (before, below), (after, above) in itertools.pairwise(line):
        if below <= 0 < above:
            return float(before + (after - before) * -below / (above - below))
    return None


def _verdict(exact: WindowForecasts, limits: Mapping[str, float | None], request: NoiseRequest) -> str:
    if defined_skill(exact.metrics().skill) < 0:
        return (
            "The model is behind the last value already without noise, so no noise can make it fall behind:"
            " read what noise and shots add to its error in the column 'change of MAE'."
        )
    parts = []
    for shots in request.shots:
        word = _shots_word(shots)
        # What is measured once has no interval: of it only where the mean is can be said.
        how = "by the mean, without a test" if streams_of(shots, request) == 1 else "with the whole interval"
        scale = limits[word]
        where = "never in this range" if scale is None else f"from noise scale {scale:.2g}"
        parts.append(f"{word} ({how}): {where}")
    return f"Where the model falls behind the last value: {'; '.join(parts)}."


def _shots_word(shots: int | None) -> str:
    return "exact" if shots is None else f"{shots} shots"

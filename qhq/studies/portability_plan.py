"""What an evaluation on several backends would do and cost: backends, windows, questions. Nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from qhq.backends.backend import BackendSpec
from qhq.backends.executor import CostForecast, Executor, FloatArray, HardwareExecutor
from qhq.backends.ibm.budget import check_plan_together, forecast_within_cap
from qhq.backends.registry import kind_of, open_backend, open_mitigated
from qhq.data.windows import Windows
from qhq.errors import BackendError, ConfigError
from qhq.experiment.evaluate import (
    ask_circuit,
    choose_windows,
    circuit_arguments,
    encode,
)
from qhq.experiment.opening import Experiment
from qhq.experiment.other_data import OtherDataRequest, open_run_on
from qhq.experiment.refit import Lesson
from qhq.models.features import FeatureForecaster
from qhq.runs.run_folder import RunFolder
from qhq.seeding import child_seed
from qhq.studies.mitigation import (
    Ask,
    Refused,
    plan_asks,
    prepare_lesson,
    suit_model,
)
from qhq.studies.selection import (
    Connections,
    Selection,
    Skipped,
    nothing_left,
    reach_backends,
)


@dataclass(frozen=True)
class EvalRequest:
    """What ``qhq eval`` was asked for.

    ``backends`` are entries of ``backends.yaml``, devices or globs; ``samples`` limits the test windows to
    a seeded subset; ``shots`` replaces the shots of sampling entries; ``seed`` draws shots and subset;
    ``data`` asks for other data than the run's own; ``mitigation`` are methods against noise, or ``all``:
    without any, each entry runs as it stands.
    """

    backends: tuple[str, ...]
    samples: int | None = None
    shots: int | None = None
    seed: int = 0
    data: OtherDataRequest = field(default_factory=OtherDataRequest)
    mitigation: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvalPlan:
    """An evaluation that could start now; ``costs`` has one forecast for each question to hardware.

    ``latent`` is what the encoder makes of ``windows``: every backend is asked about the very same numbers.
    ``asks`` are the questions: one a backend, and with error mitigation one for each thing that it does
    itself; ``lesson`` are the training windows that some are asked about too.
    ``globbed`` are the names that a glob alone stands for, ``skipped`` those of them that cannot be used;
    ``refused`` are methods that a backend cannot carry out and ``all`` leaves out;
    ``opened`` are the hardware backends, as the forecast opened them, by the key of their question.
    """

    folder: RunFolder
    request: EvalRequest
    experiment: Experiment
    entries: tuple[BackendSpec, ...]
    asks: tuple[Ask, ...]
    windows: Windows
    latent: torch.Tensor
    costs: tuple[CostForecast, ...]
    lesson: Lesson | None = None
    globbed: frozenset[str] = frozenset()
    skipped: tuple[Skipped, ...] = ()
    refused: tuple[Refused, ...] = ()
    opened: dict[str, HardwareExecutor] = field(default_factory=dict)

    def arguments(self, ask: Ask) -> tuple[FloatArray, FloatArray]:
        """What the circuit is run at for a question: angles (N, I) or (N + M, I), and weights (W,)."""
        return circuit_arguments(self.experiment, _asked_latent(ask, self.latent, self.lesson))

    def answers(self, ask: Ask, executor: Executor) -> FloatArray:
        """What a backend gives for a question, (N, O) or (N + M, O)."""
        return ask_circuit(self.experiment, executor, _asked_latent(ask, self.latent, self.lesson))


def plan_evaluation(
    folder: RunFolder,
    request: EvalRequest,
    connections: Connections | None = None,
    *,
    ask_service: bool = False,
) -> EvalPlan:
    """Open the run, choose backends and windows, and forecast what hardware will cost.

    Args:
        folder: The run.
        request: What was asked for.
        connections: Its backends, if they are being reached already.
        ask_service: Whether the service says what it expects too, by a dry run of its own.

    Raises:
        QHQError: If a backend is unknown, the folder is damaged, or a service cannot be asked.
    """
    connections = connections or reach_backends(request.backends, request.shots)
    selection, entries = connections.selection, connections.entries
    experiment = open_run_on(folder, request.data)
    windows = choose_windows(experiment.data.test, request.samples, request.seed)
    latent = encode(experiment, windows)
    asks_of, refused = _plan_questions(entries, experiment, request)
    lesson = None
    if any(ask.is_fitted for asks in asks_of.values() for ask in asks):
        lesson = prepare_lesson(experiment, request.seed)
    kept, costs, skipped = list[BackendSpec](), list[CostForecast](), list(selection.skipped)
    opened: dict[str, HardwareExecutor] = {}
    for entry in entries:
        reason = _too_small(entry, experiment, selection)
        if reason is None and kind_of(entry).is_hardware and experiment.ansatz:
            try:
                found = _forecast(asks_of[entry.name], experiment, request.seed, connections, latent, lesson)
                if ask_service:
                    found = [
                        (ask, executor, _beside_service(cost, executor, arguments, selection))
                        for ask, executor, cost in found
                        for arguments in [circuit_arguments(experiment, _asked_latent(ask, latent, lesson))]
                    ]
                costs += [cost for _, _, cost in found]
                opened |= {ask.key: executor for ask, executor, _ in found}
            except BackendError as error:
                if entry.name not in selection.globbed:
                    raise
                # A glob takes the devices that it can have; one that was named must be had.
                reason = error.got
        if reason is None:
            kept.append(entry)
        else:
            skipped.append(Skipped(entry.name, reason))
    if not kept:
        raise nothing_left(skipped)
    try:
        check_plan_together(costs, instances_of(opened, asks_of))
    except BackendError as error:
        # Beside the costs, and not raised: a dry run is to show them all the same.
        why = f"{error.must}: {error.got}"
        costs = [replace(each, refusal=each.refusal or why) if each.jobs else each for each in costs]
    asks = tuple(ask for entry in kept for ask in asks_of[entry.name])
    return EvalPlan(
        folder, request, experiment, tuple(kept), asks, windows, latent, tuple(costs), lesson,
        selection.globbed, tuple(skipped), tuple(refused), opened,
    )  # fmt: skip


def _plan_questions(
    entries: Sequence[BackendSpec], experiment: Experiment, request: EvalRequest
) -> tuple[dict[str, list[Ask]], list[Refused]]:
    """Questions to each backend, by its name, and methods that are left out.

    Raises:
        ConfigError: If a backend would ignore a method that was named, or there is no circuit to mitigate.
    """
    if request.mitigation and experiment.ansatz is None:
        raise ConfigError(
            "Error mitigation needs a run with a quantum layer",
            got="a run without one",
            fix="Leave --mitigation out, or name another run; 'qhq compare' lists them",
        )
    model = experiment.model
    if isinstance(model, FeatureForecaster) and {"head", "all"} & set(request.mitigation):
        model.linear_head()  # refuses one of trees before anything is sent
    planned = {entry.name: plan_asks(entry, request.mitigation) for entry in entries}
    refused = [each for _, left_out in planned.values() for each in left_out]
    asks_of = {name: asks for name, (asks, _) in planned.items()}
    for name, asks in asks_of.items():
        asks_of[name], left_out = suit_model(experiment, name, asks, request.mitigation)
        refused += left_out
    return asks_of, refused


def _asked_latent(ask: Ask, latent: torch.Tensor, lesson: Lesson | None) -> torch.Tensor:
    """Latent features that a question is about: of the test windows, then of the lesson if it is fitted.

    In one question they are in the same jobs, and so under the same calibration.
    """
    return torch.cat([latent, lesson.latent]) if ask.is_fitted and lesson is not None else latent


def _forecast(
    asks: Sequence[Ask],
    experiment: Experiment,
    seed: int,
    connections: Connections,
    latent: torch.Tensor,
    lesson: Lesson | None,
) -> list[tuple[Ask, Any, CostForecast]]:
    """Open a device for each question to it, with the cost; all together stay within the entry's cap."""
    questions = []
    for ask in asks:
        arguments = circuit_arguments(experiment, _asked_latent(ask, latent, lesson))
        device: Any = open_for(ask, experiment, seed, connections.reached(ask.entry.name))
        questions.append((device, *arguments))
    costs = forecast_within_cap(questions)
    return [
        (ask, executor, replace(cost, mitigation=ask.words))
        for ask, (executor, *_), cost in zip(asks, questions, costs, strict=True)
    ]


def instances_of(opened: Mapping[str, Any], asks: Mapping[str, Sequence[Ask]]) -> dict[str, str]:
    """The instance that each device is used through, where there are several questions."""
    if len(opened) < 2:
        return {}
    names = {ask.key: name for name, each in asks.items() for ask in each}
    return {names[key]: each.instance for key, each in opened.items()}


def _beside_service(
    cost: CostForecast, executor: Any, arguments: tuple[FloatArray, FloatArray], selection: Selection
) -> CostForecast:
    """A forecast beside the service's own; for a device of a glob, why there is none."""
    try:
        found: CostForecast = executor.ask_service(cost, *arguments)
    except BackendError as error:
        if cost.backend not in selection.globbed:
            raise
        return replace(cost, service_note=error.got)
    return found


def _too_small(entry: BackendSpec, experiment: Experiment, selection: Selection) -> str | None:
    """Why a device that a glob matched cannot hold the circuit; None if it can."""
    wanted = experiment.ansatz.num_qubits if experiment.ansatz else 0
    found = selection.qubits.get(entry.name, wanted)
    # One that was named is refused where its circuit is laid out for it.
    if entry.name in selection.globbed and found < wanted:
        return f"{found} qubits for the {wanted} of the circuit"
    return None


def open_for(
    ask: Ask, experiment: Experiment, seed: int, connection: Any = None, stream: str = ""
) -> Executor:
    """Open a backend for a question; ``stream`` names other shots of the same."""
    assert experiment.ansatz is not None
    # By the name of the entry: its shots are the same whichever other backends are asked beside it.
    seed = child_seed(seed, f"eval/{ask.entry.name}{stream}")
    if ask.method is None:
        return open_backend(ask.entry, experiment.ansatz, seed=seed, connection=connection)
    return open_mitigated(ask.entry, experiment.ansatz, ask.method, seed=seed, connection=connection)

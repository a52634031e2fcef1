"""An ansatz on a device of IBM: the three verbs over jobs that survive crashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from qiskit.circuit import Parameter, QuantumCircuit

from qhq.ansatz.program import Ansatz
from qhq.ansatz.stored import fingerprints
from qhq.backends.devices.calibration import Calibration
from qhq.backends.devices.isa import build_isa, check_isa
from qhq.backends.executor import CostForecast, DeviceCost, FloatArray, Report
from qhq.backends.gradients import OpenedCircuit, ValuesExecutor
from qhq.backends.ibm import IBMSpec, shots_per_circuit
from qhq.backends.ibm.budget import (
    beside_service,
    count_circuits,
    estimate_seconds,
    forecast_refusal,
    job_limits,
    rows_of_jobs,
    seconds_of_jobs,
)
from qhq.backends.ibm.job_runner import JobRunner
from qhq.backends.ibm.journal import Journal
from qhq.backends.ibm.opening import Approval, Connection, ask, connect, service_estimate, to_laid_out
from qhq.backends.ibm.records import PAID, PubRequest, RequestPart, question_key
from qhq.backends.ibm.results import Estimates
from qhq.backends.ibm.waiting import Clock, ServiceError, WallClock, as_job_error
from qhq.backends.ibm.wire import decode
from qhq.errors import BackendError, JobError


def open_ibm(
    spec: IBMSpec,
    ansatz: Ansatz,
    *,
    seed: int,
    journal: Journal | None = None,
    clock: Clock | None = None,
    connection: Connection | None = None,
) -> IBMExecutor:
    """Open a device of an IBM Quantum account; nothing is sent yet.

    Args:
        spec: The entry; its name is the device.
        ansatz: The program.
        seed: Where perturbations come from, and which measurement it is: the same seed and calls give the
            same values, from the journal where they stand in it.
        journal: Where jobs are written down; that of the folder of the runs if none is given.
        clock: The time.
        connection: The device, if it was reached before.

    Raises:
        BackendError: If there is no account or no such device, or the program does not fit it or fails the
            correctness gate.
    """
    connection = connection or connect(spec, clock)
    return IBMExecutor(spec, connection, ansatz, seed, journal or Journal(), clock or WallClock())


class IBMExecutor(ValuesExecutor):
    """An ansatz on a device; see :class:`qhq.backends.executor.HardwareExecutor`.

    Values and gradients run the same transpiled circuit, in which each angle stands for itself. Each call is
    a request of the journal: an interrupted program that is run again finds its jobs there.

    Attributes:
        stds: Standard errors (B, O) of the values of the last call, as the client works them out; infinite
            where an extrapolation has none.
    """

    def __init__(
        self,
        spec: IBMSpec,
        connection: Connection,
        ansatz: Ansatz,
        seed: int,
        journal: Journal,
        clock: Clock,
    ) -> None:
        client = connection.client
        self._spec, self._client, self._seed = spec, client, seed
        self._journal, self._logical = journal, fingerprints(ansatz)
        self._runner = JobRunner(client, journal, clock, Approval(client, self._committed), decode)
        # The number of the call is a part of the question: two equal batches are two measurements.
        self._calls, self._parts, self._asked = 0, list[RequestPart](), list[PubRequest]()
        # What a call does with its question; sending and waiting ask the same one, and run nothing.
        self._act: Callable[[PubRequest], list[Estimates]] = self._run
        self.stds: FloatArray = np.zeros((0, ansatz.num_outputs))
        self._device, self._clock = connection.device, clock
        super().__init__(spec, ansatz, seed, spec.spsa)
        self._ran = self._program

    @property
    def instance(self) -> str:
        """CRN of the instance, and so of the plan, that the device is used through; empty if nobody says."""
        try:
            return self._client.instance()
        except ServiceError:
            return ""

    @property
    def calibration(self) -> Calibration | None:
        """What the device was calibrated to as the last job ran, as the service has it.

        Where the service does not say, what the circuit was laid out for; None for results of an earlier
        calibration, from the journal.
        """
        for part in reversed(self._parts):
            found = self._journal.calibration(part)
            if found is not None:
                return found
        current = self._device.calibration
        return current if current.date == self._ran.calibration else None

    def send(self, inputs: ArrayLike, weights: ArrayLike) -> None:
        """Send what :meth:`expectations` of the same arguments will wait for, so that others can be sent too.

        Raises:
            BackendError: If a shape does not fit, or sending is refused.
            JobError: If the service does not take it.
        """
        self._ask(self._send, inputs, weights)

    def wait(self, inputs: ArrayLike, weights: ArrayLike) -> None:
        """Wait until the journal has what :meth:`expectations` of the same arguments will take from it.

        Raises:
            BackendError: If a shape does not fit, or sending is refused.
            JobError: If a job ended without a result.
        """
        self._ask(self._wait, inputs, weights)

    def stop(self) -> None:
        """Send nothing more, in whichever thread: the command was interrupted."""
        self._runner.stop()

    def close(self) -> None:
        """Close the batch or session that was opened, if any; jobs that wait in it still run."""
        self._runner.close()

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,).

        Raises:
            BackendError: If the entry does not allow training, a shape does not fit, or sending is refused.
            JobError: If a job ended without a result.
        """
        if not self._spec.training:
            raise self.training_refusal(len(self._checked(inputs, weights)[0]))
        return super().vjp(inputs, weights, cotangent)

    def report(self) -> Report:
        """Say what ran so far."""
        return replace(
            self.report_on(self._ran.circuit),
            layout=self._ran.layout,
            calibration=self._calibration_date(),
            job_ids=tuple(str(part.job_id) for part in self._parts),
            qpu_seconds=self._spent(),
        )

    def _calibration_date(self) -> str | None:
        """Date of the calibration that the jobs ran under, or before that of the layout."""
        found = [self._journal.calibration(part) for part in self._parts]
        # The newest, where a device was calibrated between two jobs. Dates of ISO 8601 sort as text.
        return max((each.date for each in found if each is not None), default=self._ran.calibration)

    def forecast(
        self, samples: int, inputs: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> CostForecast:
        """What is still to be paid for so many samples; nothing is sent.

        Args:
            samples: Rows of values.
            inputs: The rows themselves (B, I), radians: what the journal holds of them is not paid again.
            weights: Weights (W,).

        Raises:
            BackendError: If the service does not answer.
        """
        spec, program = self._spec, self._program
        rows, held, spent = rows_of_jobs(spec, program, samples), 0, self._committed()
        if samples and inputs is not None and weights is not None:
            request = self._question(inputs, weights)
            parts = self._journal.parts(request.key)
            if parts:
                rows = [part.rows for part in parts if part.state not in PAID]
                held = sum(part.rows for part in parts if part.state in PAID)
                spent += self._runner.spent(request)
        # Without the rows all is taken for new: the forecast is then rather too high.
        jobs, shots = seconds_of_jobs(spec, program, rows), shots_per_circuit(spec)
        circuits = count_circuits(spec, program, rows)
        try:
            state = ask(self._client, spec, self._client.state, self._clock)
            remaining = ask(self._client, spec, self._client.remaining_seconds, self._clock)
        except ServiceError as trouble:
            raise as_job_error(trouble, spec.name) from None
        return CostForecast(
            backend=spec.name,
            samples=samples,
            jobs=len(rows),
            pubs=len(rows),
            circuits=circuits,
            shots=shots,
            executions=circuits * shots,
            qpu_seconds=sum(jobs),
            remaining_seconds=remaining,
            queue=state.queue,
            online=state.online,
            calibration=program.calibration,
            max_qpu_seconds=spec.max_qpu_seconds,
            layout=program.layout,
            refusal=forecast_refusal(spec, jobs, spent, state, remaining),
            held_samples=held,
            spent_seconds=spent,
            most_seconds=_most_seconds(spec, jobs, spent),
        )

    def forecast_cost(self, rows: int, shots: int) -> DeviceCost:  # noqa: ARG002
        """What so many rows cost in all, whatever of them is paid; with the shots of the entry."""
        each, measured = rows_of_jobs(self._spec, self._program, rows), shots_per_circuit(self._spec)
        circuits = count_circuits(self._spec, self._program, each)
        return DeviceCost(circuits, circuits * measured, estimate_seconds(self._spec, self._program, each))

    def share_cap(self, seconds: float) -> None:
        """Lower the cap of the entry to what other questions to the same device leave of it."""
        self._spec = self._spec.model_copy(update={"max_qpu_seconds": seconds})

    def ask_service(self, forecast: CostForecast, inputs: ArrayLike, weights: ArrayLike) -> CostForecast:
        """A forecast of these arguments beside what the service's own dry run says of them.

        It sends jobs that cost nothing, to a device that imitates this one.

        Raises:
            BackendError: If there is no dry run on this plan, or it does not come to an estimate.
        """
        request = self._question(inputs, weights)
        parts = self._journal.parts(request.key)
        rows = [part.rows for part in parts if part.state not in PAID]
        if not parts:
            rows = rows_of_jobs(self._spec, self._program, forecast.samples)
        return beside_service(forecast, service_estimate(self._client, request, rows, self._clock))

    def training_refusal(self, batch: int) -> BackendError:
        """The error that training on a device was not asked for, with what one step would cost."""
        spec, program = self._spec, self._program
        # A direction, or a parameter, is followed to both sides.
        factor = 2 * (spec.spsa.perturbations if spec.gradient == "spsa" else len(program.parameters))
        rows = rows_of_jobs(spec, program, batch) + rows_of_jobs(spec, program, factor * batch)
        return BackendError(
            "Training on a device must be asked for: every step is a set of jobs",
            got=f"gradients of {batch} samples on {spec.name}: {len(rows)} jobs and about "
            f"{estimate_seconds(spec, program, rows):.0f} s on the device a step",
            fix="Train on aer and evaluate with 'qhq eval', or refit the head here with 'qhq train --from RUN"
            " --freeze circuit'; train a model without gradients (model.kind features); or set training: true"
            " in the entry",
        )

    def open_program(self, circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> OpenedCircuit:
        """The circuit on the device, past the gate; each call of the program is a request."""
        spec = self._spec
        isa = build_isa(circuit, parameters, self._ansatz.observables, self._device, spec.transpile)
        check_isa(isa, self._ansatz, seed=spec.transpile.seed)
        self._program = to_laid_out(isa, self._device, self._ansatz.num_qubits)
        return self._values

    def _values(self, values: FloatArray) -> FloatArray:
        """Expectation values (N, O) at angles (N, P)."""
        if len(values) == 0:
            self.stds = np.zeros((0, self._ansatz.num_outputs))
            return np.zeros((0, self._ansatz.num_outputs))
        found = self._act(self._request(values))
        if not found:
            return np.zeros((len(values), self._ansatz.num_outputs))
        # Of this call alone, replaced by the next: a training would keep thousands.
        self.stds = np.concatenate([each.stds for each in found])
        return np.concatenate([each.values for each in found])

    def _request(self, values: FloatArray) -> PubRequest:
        """The question at angles (N, P), under the key that the journal knows it by if it does."""
        keys = [
            question_key(self._spec, logical, self._calls, self._seed, values) for logical in self._logical
        ]
        # A circuit has a fingerprint in each format that qhq ever had: what an earlier one paid is found too.
        known = next((key for key in keys if self._journal.knows(key)), keys[0])
        return PubRequest(known, self._spec, self._program, values)

    def _question(self, inputs: ArrayLike, weights: ArrayLike) -> PubRequest:
        """What :meth:`expectations` of the same arguments would ask."""
        asked: list[PubRequest] = []

        def look(request: PubRequest) -> list[Estimates]:
            asked.append(request)
            return []

        self._ask(look, inputs, weights)
        (request,) = asked
        return request

    def _ask(
        self, act: Callable[[PubRequest], list[Estimates]], inputs: ArrayLike, weights: ArrayLike
    ) -> None:
        """Do something else with the question than run it."""
        self._act = act
        try:
            self.expectations(inputs, weights)
        finally:
            self._act = self._run

    def _send(self, request: PubRequest) -> list[Estimates]:
        self._runner.submit(request)
        return []

    def _wait(self, request: PubRequest) -> list[Estimates]:
        self._runner.submit_or_resume(request)
        return []

    def _run(self, request: PubRequest) -> list[Estimates]:
        """Results of a request, part by part: from the journal, or waited for."""
        parts = self._runner.submit_or_resume(request)
        # A list, for any() of a generator would stop at the first and leave the others unchecked.
        if any([self._runner.put_back(request, part) for part in parts]):
            parts = self._runner.submit_or_resume(request)
        found = [_decode_stored(self._journal, part) for part in parts]
        # Only now: a call that failed and is made again is the same question.
        self._calls += 1
        self._parts += parts
        # Its key and program alone: a training asks thousands of times.
        self._asked.append(replace(request, values=request.values[:0]))
        self._ran = self._journal.request(request.key).program
        return found

    def _spent(self) -> float:
        return sum(self._journal.spent(request.key) for request in self._asked)

    def _committed(self) -> float:
        """Seconds that what was asked before took, or may still take."""
        return sum(self._runner.spent(request) for request in self._asked)


def _most_seconds(spec: IBMSpec, jobs: Sequence[float], spent: float) -> float | None:
    """Seconds after which the service stops jobs, all together; None without a cap, or beyond it."""
    try:
        limits = job_limits(spec, jobs, spent)
    except BackendError:
        return None
    return None if limits is None else float(sum(limits))


def _decode_stored(journal: Journal, part: RequestPart) -> Estimates:
    """The result of a part that is stored.

    Raises:
        JobError: If the client of today cannot read it.
    """
    try:
        return decode(journal.raw(part.tag))
    except ServiceError as trouble:
        raise JobError(
            "A stored result must be readable",
            got=f"job {part.job_id}, tag {part.tag}: {trouble.message}",
            fix="It is kept in the journal: install the version of qiskit-ibm-runtime that sent it",
        ) from None

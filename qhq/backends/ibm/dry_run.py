"""What the service itself expects jobs to take: its own dry run, on a device that imitates the real one.

IBM has it on the Flex, Premium and On-Prem plans. Such a job is really sent, to a ``mock_`` device whose
results are random: nothing is measured, nothing is paid, and the results are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qhq.backends.ibm.client import IBMClient
from qhq.backends.ibm.opening import ask
from qhq.backends.ibm.pub_request import PubRequest
from qhq.backends.ibm.trouble import ServiceError, as_job_error
from qhq.backends.ibm.waiting import Clock, let_pass, polling_pauses
from qhq.errors import BackendError


def service_estimate(client: IBMClient, request: PubRequest, rows: Sequence[int], clock: Clock) -> float:
    """Seconds on the device that the service expects of jobs with so many rows; 0 for none.

    Jobs with as many rows take as long, so one of each size is sent.

    Raises:
        BackendError: If the plan or the client has no dry run, or the service refuses it or says nothing.
    """
    if not rows:
        return 0.0
    try:
        imitation = ask(client, request.spec, client.imitation, clock)
        if imitation is None:
            raise _refusal(request, "no device of the account imitates it")
        return sum(
            count * _estimate(client, request, imitation, each, clock)
            for each, count in Counter(rows).items()
        )
    except ServiceError as trouble:
        raise as_job_error(trouble, f"dry run of {request.spec.name}") from None


def _estimate(client: IBMClient, request: PubRequest, imitation: str, rows: int, clock: Clock) -> float:
    spec, program, values = request.spec, request.program, request.values[:rows]
    job_id = ask(client, spec, lambda: client.rehearse(imitation, spec, program, values), clock)
    waited = 0.0
    for pause in polling_pauses(spec.poll_seconds):
        state = ask(client, spec, lambda: client.job_state(job_id), clock)
        if state.is_final:
            break
        if waited >= spec.patience_seconds:
            raise _refusal(
                request, f"job {job_id} on {imitation} is {state.status.lower()} after {waited:.0f} s"
            )
        let_pass(clock, pause, f"{imitation}, job {job_id}: {state.status.lower()}")
        waited += pause
    if state.status != "DONE":
        raise _refusal(request, f"job {job_id} on {imitation} ended as {state.status.lower()}")
    seconds = ask(client, spec, lambda: client.estimated_seconds(job_id), clock)
    if seconds is None:
        raise _refusal(request, f"no time in what the service says of job {job_id} on {imitation}")
    return seconds


def _refusal(request: PubRequest, got: str) -> BackendError:
    return BackendError(
        "The service must have a dry run of its own, and an estimate, where --service asks for it",
        got=f"{request.spec.name}: {got}",
        fix="IBM has it on the Flex, Premium and On-Prem plans; --dry-run without --service is qhq's own "
        "forecast and sends nothing",
    )

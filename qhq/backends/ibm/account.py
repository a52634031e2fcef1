"""Which IBM Quantum account is used, and where its service is; no client here."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from qhq.backends.entry import BackendSpec
from qhq.errors import BackendError

URL, TOKEN, INSTANCE = "QHQ_IBM_URL", "QHQ_IBM_TOKEN", "QHQ_IBM_INSTANCE"

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Account:
    """Where to ask and as whom.

    Attributes:
        token: API key; None where the client reads it from its own file or environment.
        instance: CRN of the instance; None leaves the choice to the account.
        url: Base address of the service, its API under ``/api/v1``; None for IBM's own.
    """

    token: str | None = field(default=None, repr=False)
    instance: str | None = None
    url: str | None = None


def saved_file() -> Path:
    """Where the client saves accounts."""
    return Path.home() / ".qiskit" / "qiskit-ibm.json"


def find_account(device: str, entries: dict[str, BackendSpec]) -> Account:
    """The account of the environment, else the saved one.

    Args:
        device: Device that is to be opened, for the message.
        entries: The registry, in which the fake twin of the device may stand.

    Raises:
        BackendError: If there is none, or the address is not safe.
    """
    url, token = os.environ.get(URL) or None, os.environ.get(TOKEN) or None
    if url is not None:
        _check_url(url, token)
    if token is None and not os.environ.get("QISKIT_IBM_TOKEN") and not saved_file().is_file():
        raise _no_account(device, entries)
    if token is None:
        tighten(saved_file())
    return Account(token, os.environ.get(INSTANCE) or None, url)


def tighten(file: Path) -> None:
    """Take a file with a secret away from other users; the client saves accounts readable by all."""
    with contextlib.suppress(OSError):
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            file.chmod(stat.S_IRUSR | stat.S_IWUSR)


def fake_twin(device: str, entries: dict[str, BackendSpec]) -> str:
    """The entry of the registry that simulates a device, else any fake one."""
    twin = f"fake_{device.removeprefix('ibm_')}"
    fakes = sorted(name for name, entry in entries.items() if entry.kind == "fake")
    return twin if twin in fakes or not fakes else fakes[0]


def _check_url(url: str, token: str | None) -> None:
    address = urlsplit(url)
    safe = address.scheme == "https" or (address.scheme == "http" and address.hostname in LOOPBACK)
    if not safe or not address.hostname:
        raise BackendError(
            f"{URL} must be https, or http on this machine",
            got=f"scheme '{address.scheme}' and host '{address.hostname}'",
            fix="Correct it, or unset it to use IBM's own service",
        )
    if token is None:
        raise BackendError(
            f"{URL} must come with {TOKEN}: a saved account is for IBM's own service alone",
            got=f"{URL} without {TOKEN}",
            fix=f"Set {TOKEN} and {INSTANCE} too, or unset {URL}",
        )


def _no_account(device: str, entries: dict[str, BackendSpec]) -> BackendError:
    return BackendError(
        f"An IBM Quantum account is needed to open {device}",
        got=f"no {TOKEN} in the environment and no saved account",
        fix=f"Set {TOKEN} to your API key and {INSTANCE} to your CRN (https://quantum.cloud.ibm.com), "
        'or save them once: python -c "from qiskit_ibm_runtime import QiskitRuntimeService as S; '
        "S.save_account(token='...', instance='...')\"; "
        f"without an account try its fake twin: --backend {fake_twin(device, entries)}",
    )

"""Which IBM Quantum account is used, and where its service is; no client here."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from qhq.backends.backend import entries_of
from qhq.errors import BackendError
from qhq.files import Json

URL, TOKEN, INSTANCE = "QHQ_IBM_URL", "QHQ_IBM_TOKEN", "QHQ_IBM_INSTANCE"

# Addresses that the client takes from the environment, and gives the key or a token of it to.
_CLIENTS_URLS = ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL", "QISKIT_IBM_URL")

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

# Channels of the service; ``ibm_quantum`` was that of the old platform, which IBM has switched off.
_CHANNELS = ("ibm_quantum_platform", "ibm_cloud")

_SAVE = (
    'python -c "from qiskit_ibm_runtime import QiskitRuntimeService as S; '
    "S.save_account(token='...', instance='...')\""
)


@dataclass(frozen=True)
class Account:
    """Where to ask and as whom.

    Attributes:
        token: API key; None where the client reads it from its own file or environment.
        instance: CRN of the instance; None leaves the choice to the account.
        url: Base address of the service, its API under ``/api/v1``; None for IBM's own.
    """

    # Never in a traceback or a log.
    token: str | None = field(default=None, repr=False)
    instance: str | None = None
    url: str | None = None


def find_account(device: str) -> Account:
    """The account of the environment, else the saved one.

    Args:
        device: Device that is to be opened, for the message.

    Raises:
        BackendError: If there is none, or the address is not safe.
    """
    url, token = os.environ.get(URL) or None, os.environ.get(TOKEN) or None
    # All of them, since the client reads them by itself: one that leads elsewhere would be given the key.
    for name in (URL, *_CLIENTS_URLS):
        if os.environ.get(name):
            _check_address(name, os.environ[name])
    if url is not None and token is None:
        raise BackendError(
            f"{URL} must come with {TOKEN}: a saved account is for IBM's own service alone",
            got=f"{URL} without {TOKEN}",
            fix=f"Set {TOKEN} and {INSTANCE} too, or unset {URL}",
        )
    if token is None and not os.environ.get("QISKIT_IBM_TOKEN"):
        _check_saved(device)
    return Account(token, os.environ.get(INSTANCE) or None, url)


def _check_saved(device: str) -> None:
    """Refuse to go on without a saved account that the client will find, and can use."""
    # Where the client saves accounts.
    file = Path.home() / ".qiskit" / "qiskit-ibm.json"
    if not file.exists():
        raise BackendError(
            f"An IBM Quantum account is needed to open {device}",
            got=f"no {TOKEN} in the environment and no saved account",
            fix=f"Set {TOKEN} to your API key and {INSTANCE} to your CRN (https://quantum.cloud.ibm.com), "
            f"or save them once: {_SAVE}; "
            f"without an account, use the fake device: --backend {fake_for(device)}",
        )
    # The client writes it with the default mode, which on most machines lets every user read the key.
    tighten(file)
    fault = saved_fault(file)
    if fault is not None:
        what, fix = fault
        raise BackendError(
            f"An IBM Quantum account is needed to open {device}",
            got=f"no {TOKEN} in the environment, and {file}, {what}",
            fix=f"{fix}: {_SAVE}; or set {TOKEN} and {INSTANCE}; without an account, use"
            f" --backend {fake_for(device)}",
        )


class _UnusableError(Exception):
    """What is wrong with a file of saved accounts, and what to do."""


def saved_fault(file: Path) -> tuple[str, str] | None:
    """What is wrong with a file of saved accounts and what to do, None where the client will find one.

    The client takes the account marked as the default one, else the one with a channel's default name.
    """
    try:
        _check_default(_read_accounts(file))
    except _UnusableError as error:
        what, fix = error.args
        return what, fix
    return None


def _read_accounts(file: Path) -> dict[str, Json]:
    aside = f"Move {file} away and save the account once more"
    if file.is_dir():
        raise _UnusableError("which is a folder", aside)
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if text.strip() else None
    except OSError as error:
        what = f"which cannot be read: {error.strerror or error}"
        raise _UnusableError(what, f"Give yourself the right to read {file}") from error
    except UnicodeDecodeError as error:
        raise _UnusableError("which is no text", aside) from error
    except (ValueError, RecursionError) as error:
        # The text itself may hold a key: only the place is named.
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise _UnusableError(f"which is no JSON{place}", aside) from error
    if content is None and not text.strip():
        raise _UnusableError("which is empty", "Save the account once more")
    if not isinstance(content, dict) or not all(isinstance(each, dict) for each in content.values()):
        raise _UnusableError("which holds something else than accounts by name", aside)
    return content


def _check_default(accounts: Mapping[str, Mapping[str, Any]]) -> None:
    if not accounts:
        raise _UnusableError("which holds no account: it was deleted from it", "Save an account again")
    marked = [name for name, each in accounts.items() if each.get("is_default_account")]
    usual = [f"default-{channel.replace('_', '-')}" for channel in _CHANNELS]
    # The client's order: what is marked as the default, then what has a default's name.
    chosen = next((name for name in (*marked, *usual) if name in accounts), None)
    if chosen is None:
        known = ", ".join(f"'{name}' (channel {each.get('channel')})" for name, each in accounts.items())
        raise _UnusableError(
            f"which holds no default account, but {known}",
            "Save the one to use with set_as_default=True, overwrite=True",
        )
    channel = accounts[chosen].get("channel")
    if channel not in _CHANNELS:
        raise _UnusableError(
            f"whose account '{chosen}' is of channel {channel!r}, not of {' or '.join(_CHANNELS)}",
            "Save an account of the IBM Quantum Platform instead, with overwrite=True",
        )
    url = str(accounts[chosen].get("url") or "https://cloud.ibm.com")
    if not _is_safe(*_parts(url)):
        raise _UnusableError(
            f"whose account '{chosen}' is at an address that is not https", "Save it once more without a url"
        )
    if not accounts[chosen].get("token"):
        fix = "Save it once more with its API key, overwrite=True"
        raise _UnusableError(f"whose account '{chosen}' has no token", fix)


def tighten(file: Path) -> None:
    """Take a file with a secret away from other users; the client saves accounts readable by all."""
    with contextlib.suppress(OSError):
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            file.chmod(stat.S_IRUSR | stat.S_IWUSR)


def fake_for(device: str) -> str:
    """The entry of the registry that simulates a device, else any fake one."""
    same = f"fake_{device.removeprefix('ibm_')}"
    fakes = entries_of("fake")  # who has no account can still look at one
    return same if same in fakes or not fakes else fakes[0]


def _check_address(name: str, url: str) -> None:
    scheme, host = _parts(url)
    if not _is_safe(scheme, host):
        raise BackendError(
            f"{name} must be https, or http on this machine: the API key or a token of it goes there",
            # No more of the address: what stands before an @ may be a password.
            got=f"scheme '{scheme}' and host '{host}'",
            fix="Correct it, or unset it to use IBM's own service",
        )
    proxies = getproxies()
    proxy = "" if scheme == "https" or proxy_bypass(str(host)) else proxies.get("http") or proxies.get("all")
    if proxy:
        raise BackendError(
            f"{name} on this machine must be reached without a proxy: it would see the API key in clear text",
            got=f"{host} through HTTP_PROXY, host '{urlsplit(proxy).hostname}'",
            fix=f"Set NO_PROXY={host}",
        )


def _parts(url: str) -> tuple[str, str | None]:
    """Scheme and host of an address; none of one that is no address."""
    try:
        address = urlsplit(url)
        # What stands before an @, and a backslash, are taken for a host by some readers and not by others.
        if not url.isprintable() or set(url) & set("\\@ "):
            return "", None
        return (address.scheme, address.hostname) if address.port is None or address.port else ("", None)
    except ValueError:
        return "", None


def _is_safe(scheme: str, host: str | None) -> bool:
    return bool(host) and (scheme == "https" or (scheme == "http" and host in _LOOPBACK))

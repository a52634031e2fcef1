"""Which account is used; what is said without one; no key in what is shown."""

import json
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from qhq.backends.ibm import estimator_options
from qhq.backends.ibm.account import Account, fake_for, find_account, saved_fault, tighten
from qhq.backends.ibm.waiting import redact
from qhq.backends.registry import find_backend, load_backends
from qhq.errors import BackendError, ConfigError

from .cases import entry

NAMES = ("QHQ_IBM_URL", "QHQ_IBM_TOKEN", "QHQ_IBM_INSTANCE", "QISKIT_IBM_TOKEN", "IAM_URL")


def saved(name: str, channel: str = "ibm_quantum_platform", **more: object) -> str:
    return json.dumps({name: {"channel": channel, "token": "secret", "instance": "crn", **more}})


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without an account, and an environment without one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_without_an_account_three_parts_say_how_to_save_one_and_name_the_fake_device(home):
    with pytest.raises(BackendError, match="An IBM Quantum account is needed to open ibm_fez") as error:
        find_account("ibm_fez")
    assert error.value.exit_status == 4
    assert "no QHQ_IBM_TOKEN in the environment and no saved account" in error.value.got
    for part in ("QHQ_IBM_TOKEN", "QHQ_IBM_INSTANCE", "save_account", "--backend fake_fez"):
        assert part in error.value.fix


@pytest.mark.parametrize(("device", "fake"), [("ibm_torino", "fake_torino"), ("ibm_unheard", "fake_fez")])
def test_a_device_without_a_fake_of_its_name_is_given_another(device, fake):
    assert fake_for(device) == fake


def test_the_environment_comes_before_the_file(home, monkeypatch):
    monkeypatch.setenv("QHQ_IBM_TOKEN", "secret")
    monkeypatch.setenv("QHQ_IBM_INSTANCE", "crn")
    account = find_account("ibm_fez")
    assert account == Account("secret", "crn", None)
    assert "secret" not in repr(account)


def test_a_saved_account_is_used_and_taken_away_from_others(home):
    file = home / ".qiskit" / "qiskit-ibm.json"
    file.parent.mkdir()
    file.write_text(saved("default-ibm-quantum-platform"))
    file.chmod(0o644)
    assert find_account("ibm_fez") == Account()
    assert file.stat().st_mode & 0o777 == 0o600


SAVED = {
    "deleted": ("{}", "holds no account", "Save an account again"),
    "empty": (" \n", "is empty", "Save the account once more"),
    "cut off": ('{"default-ibm-cloud": {"token": "secret"', r"no JSON \(line 1\)", "away"),
    "a list": ("[1]", "something else", "away"),
    "a name without an account": ('{"default-ibm-cloud": "secret"}', "something else", "away"),
    "no text": (b"\xff\xfe\x00", "is no text", "away"),
    "another name": (saved("mine"), r"no default account, but 'mine' \(channel ibm_quantum_platform\)",
                     "set_as_default=True"),
    "the old platform's": (saved("default-ibm-quantum", "ibm_quantum"), "channel ibm_quantum",
                           "set_as_default=True"),
    "the old platform's, marked": (saved("x", "ibm_quantum", is_default_account=True), "'ibm_quantum', not",
                                   "IBM Quantum Platform"),
    "no token": (saved("default-ibm-cloud", "ibm_cloud", token=""), "has no token", "API key"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_account_that_cannot_be_used_is_refused_with_what_it_is(home, name):
    content, got, fix = SAVED[name]
    file = home / ".qiskit" / "qiskit-ibm.json"
    file.parent.mkdir()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BackendError, match=got) as error:
        find_account("ibm_fez")
    assert str(file) in error.value.got
    assert fix in error.value.fix
    assert "fake_fez" in error.value.fix
    assert "secret" not in str(error.value)


def test_a_folder_or_a_forbidden_file_is_reported(home, monkeypatch):
    file = home / ".qiskit" / "qiskit-ibm.json"
    file.mkdir(parents=True)
    with pytest.raises(BackendError, match="is a folder"):
        find_account("ibm_fez")
    file.rmdir()
    file.write_text(saved("default-ibm-cloud", "ibm_cloud"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(BackendError, match="cannot be read: Permission denied"):
        find_account("ibm_fez")


def test_the_environment_makes_a_broken_file_harmless(home, monkeypatch):
    file = home / ".qiskit" / "qiskit-ibm.json"
    file.parent.mkdir()
    file.write_text("{}")
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "secret")
    assert find_account("ibm_fez") == Account()


@pytest.mark.parametrize("name", ["default-ibm-cloud", "mine"])
def test_what_the_client_takes_is_no_fault(home, name):
    file = home / "accounts.json"
    file.write_text(saved(name, "ibm_cloud", is_default_account=name == "mine"))
    assert saved_fault(file) is None


def test_an_account_that_the_client_saved_is_tightened(home):
    from qiskit_ibm_runtime import QiskitRuntimeService

    file = home / "account.json"
    QiskitRuntimeService.save_account(token="secret", instance="crn", filename=str(file))
    tighten(file)
    assert file.stat().st_mode & 0o777 == 0o600
    tighten(home / "none")


@pytest.mark.parametrize(
    "url",
    ["http://example.org", "http://127.0.0.1.example.org", "ftp://localhost", "file:///etc", "no"],
)
def test_an_address_must_be_safe(home, monkeypatch, url):
    monkeypatch.setenv("QHQ_IBM_URL", url)
    monkeypatch.setenv("QHQ_IBM_TOKEN", "secret")
    with pytest.raises(BackendError, match="must be https, or http on this machine") as error:
        find_account("ibm_fez")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL", "QISKIT_IBM_URL"])
@pytest.mark.parametrize("url", ["http://example.org", "http://127.0.0.1@example.org", "http://[::2", "no"])
def test_the_addresses_of_the_client_must_be_safe_too(home, monkeypatch, name, url):
    monkeypatch.setenv("QHQ_IBM_TOKEN", "secret")
    monkeypatch.setenv(name, url)
    with pytest.raises(BackendError, match=f"{name} must be https, or http on this machine"):
        find_account("ibm_fez")
    monkeypatch.setenv(name, "https://example.org")
    assert find_account("ibm_fez").token == "secret"


def test_a_proxy_does_not_see_what_is_for_this_machine(home, monkeypatch):
    monkeypatch.setenv("QHQ_IBM_TOKEN", "secret")
    monkeypatch.setenv("IAM_URL", "http://127.0.0.1:5")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.org:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BackendError, match="NO_PROXY=127.0.0.1"):
        find_account("ibm_fez")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert find_account("ibm_fez").token == "secret"


@pytest.mark.parametrize(
    "url", ["https://example.org", "http://127.0.0.1:5", "http://[::1]:5", "http://localhost"]
)
def test_an_address_that_is_safe_is_taken(home, monkeypatch, url):
    monkeypatch.setenv("QHQ_IBM_URL", url)
    with pytest.raises(BackendError, match="must come with QHQ_IBM_TOKEN"):
        find_account("ibm_fez")
    monkeypatch.setenv("QHQ_IBM_TOKEN", "secret")
    assert find_account("ibm_fez").url == url


def test_a_name_is_first_an_entry_then_what_a_template_stands_for(tmp_path):
    file = tmp_path / "backends.yaml"
    file.write_text("ibm_*: {kind: ibm, shots: 7}\nibm_fez: {kind: ibm, shots: 9}\n")
    assert [find_backend(name, file).shots for name in ("ibm_fez", "ibm_torino", "ibm_*")] == [9, 7, 7]
    assert [find_backend(name, file).name for name in ("ibm_torino", "ibm_*")] == ["ibm_torino", "ibm_*"]
    assert [find_backend(name, file).is_template for name in ("ibm_torino", "ibm_*")] == [False, True]
    with pytest.raises(ConfigError, match="must be an entry"):
        find_backend("imb_fez", file)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"token": "secret"}, "must be known"),
        ({"resilience_level": 3}, "resilience_level"),
        ({"mode": "sesion"}, "mode"),
        ({"poll_seconds": 61}, "poll_seconds"),
        ({"zne": {"noise_factors": [1]}}, "two or more"),
        ({"zne": {"noise_factors": [0.5, 1]}}, "1 or more"),
        ({"tags": ["a b"]}, "letters, digits"),
        ({"tags": list("abcdefgh")}, "7 at most"),
        ({"shots": None}, "shots"),
    ],
)
def test_an_entry_that_breaks_a_rule_is_refused(tmp_path, changes, word):
    import json

    file = tmp_path / "backends.yaml"
    file.write_text(json.dumps({"ibm_*": {"kind": "ibm", **changes}}))
    with pytest.raises(ConfigError, match=word):
        load_backends(file)


def test_options_are_those_of_the_client():
    from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions

    spec = entry(trex="on", zne={"enable": "off"}, twirling={"measure": "on"}, dynamical_decoupling="XX")
    options = EstimatorOptions(**estimator_options(spec, "tag", 60))
    assert (options.resilience.measure_mitigation, options.resilience.zne_mitigation) == (True, False)
    assert (options.twirling.enable_measure, options.twirling.enable_gates) == (True, None)
    assert (options.dynamical_decoupling.enable, options.max_execution_time) == (True, 60)
    assert options.environment.job_tags == ["tag"]


def test_listing_backends_and_jobs_does_not_import_the_client(study):
    import subprocess

    code = (
        "import sys; from qhq.backends.registry import load_backends; load_backends(); "
        "assert 'qiskit' not in sys.modules; "
        "from qhq.backends.ibm.jobs import list_jobs; assert list_jobs() == []; "
        "assert 'qiskit_ibm_runtime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=study)


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJsb29wYmFjayJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("POST /identity/token?apikey=a%2Fb%2B1%3D", "a/b+1="),
        ("apikey=a%2fb%2b1%3d lower", "a/b+1="),
        ("body: a/b%2B1=", "a/b+1="),
        ("form a%2Fb+1", "a/b 1"),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("{'Authorization': 'Bearer xyz123=='}", "xyz123=="),
        (f"token {JWT} is old", JWT),
        ('{"access_token": "opaque-token-1"}', "opaque-token-1"),
        ("refresh_token=opaque-token-2&x=1", "opaque-token-2"),
        ("api_key: 'opaque-3'", "opaque-3"),
    ],
)
def test_no_form_of_a_credential_is_shown(text, secret):
    known = [secret] if secret.startswith("a/") else []
    shown = redact(text, known)
    for form in (secret, quote(secret, safe=""), quote(secret, safe="").lower()):
        assert form not in shown
    assert "***" in shown


def test_what_a_service_says_does_not_steer_a_terminal():
    assert redact("a\x1b[2Jb\u202ec\x07", []) == "a?[2Jb?c?"


def test_a_long_message_is_one_short_line_without_secrets():
    text = redact("a\nkey " + "x" * 400, ["key", ""])
    assert text.startswith("a *** x")
    assert len(text) == 300


@pytest.mark.parametrize("url", ["http://example.org", "ftp://localhost", "file:///etc", "no"])
def test_a_saved_account_is_not_taken_to_an_address_in_clear(home, url):
    file = home / ".qiskit" / "qiskit-ibm.json"
    file.parent.mkdir()
    file.write_text(saved("default-ibm-quantum-platform", url=url))
    with pytest.raises(BackendError, match="not https"):
        find_account("ibm_fez")
    file.write_text(saved("default-ibm-quantum-platform", url="https://cloud.ibm.com"))
    assert find_account("ibm_fez") == Account()


@pytest.mark.parametrize(
    "url",
    [
        # Some readers of addresses take the first for the host, and some the second.
        "http://evil.example\\@127.0.0.1:8000",
        "http://evil.example@127.0.0.1:8000",
        "http://127.0.0.1:8000\n.evil.example",
        "https://quantum.example/ x",
    ],
)
def test_an_address_that_can_be_read_in_two_ways_is_refused(home, monkeypatch, url):
    monkeypatch.setenv("QHQ_IBM_TOKEN", "key")
    for name in ("QHQ_IBM_URL", "IAM_URL"):
        with monkeypatch.context() as patch:
            patch.setenv(name, url)
            with pytest.raises(BackendError, match=f"{name} must be https"):
                find_account("ibm_fez")


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_no_proxy_of_any_name_sees_the_key_in_clear(home, monkeypatch, name):
    for other in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv("QHQ_IBM_TOKEN", "key")
    monkeypatch.setenv("QHQ_IBM_URL", "http://127.0.0.1:8000")
    monkeypatch.setenv(name, "http://proxy.example:3128")
    with pytest.raises(BackendError, match="proxy"):
        find_account("ibm_fez")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert find_account("ibm_fez").url == "http://127.0.0.1:8000"

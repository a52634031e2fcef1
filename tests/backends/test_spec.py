import pytest

from qhq.backends.spec import AerSpec, find_backend, load_backends
from qhq.errors import ConfigError


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "backends.yaml"


def test_the_shipped_registry_has_an_exact_and_a_sampling_entry(registry):
    entries = load_backends()
    assert (entries["aer"].shots, entries["aer_shots"].shots) == (None, 1024)
    assert [entry.name for entry in entries.values()] == list(entries)


def test_the_studys_registry_replaces_the_shipped_one(registry):
    registry.write_text("mine: {kind: aer, shots: 7}\n")
    assert load_backends() == {"mine": AerSpec(kind="aer", name="mine", shots=7)}


def test_an_entry_is_found_by_name(registry):
    assert find_backend("aer") == load_backends()["aer"]


def test_an_unknown_backend_names_the_nearest(registry):
    with pytest.raises(ConfigError, match=r"'aer_shot'.*Did you mean 'aer_shots'"):
        find_backend("aer_shot")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{kind: air}", "kind 'air' in entry 'mine' of .*backends.yaml.*Did you mean 'aer'"),
        ("{shots: 3}", "kind 'None' in entry 'mine'"),
        ("aer", "kind 'None' in entry 'mine'"),
        ("\n  kind: aer\n  shots: 0", r"backends\.yaml:3:3"),
        ("\n  kind: aer\n  shotz: 9", r"'shotz' at .*backends\.yaml:3:3.*Did you mean 'shots'"),
        ("\n  kind: aer\n  gradient: magic", r"'gradient' is not valid.*backends\.yaml:3:3"),
        ("\n  kind: aer\n  method: stabilizer", "'method' is not valid"),
        ("\n  kind: aer\n  threads: -1", "'threads' is not valid"),
    ],
)
def test_a_faulty_entry_is_named(registry, entry, message):
    registry.write_text(f"mine: {entry}\n")
    with pytest.raises(ConfigError, match=message):
        load_backends()

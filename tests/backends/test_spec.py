import json
from pathlib import Path

import pytest

from qhq.backends.noisy import AerSpec
from qhq.backends.registry import KINDS, find_backend, load_backends, registry_schema
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


@pytest.mark.parametrize("noise", ["none", "null", ""])
def test_no_noise_may_be_written_as_a_word(registry, noise):
    registry.write_text(f"mine: {{kind: aer, noise: {noise}}}\n")
    assert load_backends()["mine"].noise is None


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
        ("\n  kind: aer\n  noise: {device: fake_fez}", "exact values with noise need method density_matrix"),
        ("\n  kind: aer\n  noise: {}", "exactly one of device, snapshot and parameters"),
        (
            "\n  kind: aer\n  noise: {device: a, snapshot: b}",
            "exactly one of device, snapshot and parameters",
        ),
        ("\n  kind: aer\n  noise: {parameters: {}}", "some parameter must be above zero"),
        ("\n  kind: aer\n  noise: {parameters: {t1_us: 1, t2_us: 3}}", "at most twice t1_us"),
        ("\n  kind: aer\n  noise: {parameters: {depolarizing_1q: 2}}", "depolarizing_1q' is not valid"),
        (
            "\n  kind: aer\n  noise: {parameters: {depolarising_1q: 0.1}}",
            "Did you mean 'noise.parameters.depolarizing_1q'",
        ),
        ("\n  kind: aer\n  noise_scale: 2", "noise_scale and transpile need noise"),
        ("\n  kind: aer\n  noise_scale: -1", "'noise_scale' is not valid"),
        ("\n  kind: aer\n  gradient: adjoint\n  shots: 5", "gradient adjoint needs exact values"),
        (
            "\n  kind: aer\n  method: density_matrix\n  shots: 5\n  gradient: adjoint"
            "\n  noise: {device: fake_fez}",
            "gradient adjoint needs exact values",
        ),
        ("\n  kind: aer\n  spsa: {perturbations: 0}", "perturbations' is not valid"),
        ("\n  kind: fake", "'device' must be given"),
        ("\n  kind: fake\n  device: fake_fez\n  gradient: adjoin", "'gradient' is not valid"),
        ("\n  kind: fake\n  device: fake_fez\n  gradient: adjoint\n  shots: 9", "needs exact values"),
        (
            "\n  kind: fake\n  device: fake_fez\n  method: statevector",
            "need method density_matrix; or give shots",
        ),
        ("\n  kind: fake\n  device: fake_fez\n  transpile: {layout: [1, 1]}", "physical qubits, each once"),
    ],
)
def test_a_faulty_entry_is_named(registry, entry, message):
    registry.write_text(f"mine: {entry}\n")
    with pytest.raises(ConfigError, match=message):
        load_backends()


def test_schema_for_editors_is_that_of_the_kinds():
    """Written by: qhq backends schema | python -m json.tool > docs/schemas/backends.json."""
    shipped = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "backends.json").read_text())
    assert shipped == registry_schema()
    assert {kind["properties"]["kind"]["const"] for kind in shipped["$defs"].values()
            if "kind" in kind["properties"]} == set(KINDS)  # fmt: skip

"""Configs, circuit files and registries that were mutated at random: an error of ours, never another."""

from __future__ import annotations

import random

import pytest

from qhq.ansatz.spec import load_ansatz
from qhq.backends.registry import load_backends
from qhq.errors import QHQError
from qhq.experiment.config import load_config
from qhq.paths import shipped_root

READERS = {
    "experiments/**/config.yaml": lambda path: load_config(str(path)),
    "circuits/*.yaml": lambda path: load_ansatz(str(path)),
    "backends.yaml": load_backends,
}
VALUES = [
    "2012-02-30", "2012-01-01 25:61:61", "!!int x", "!!float y", "!!timestamp z", "!!binary '*'", "!!bool x",
    "!!python/object:os.system x", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!map [1]", "!foo bar",
    "[" * 1000, "- " * 500, "&a [*a]", "&a {<<: *a}", "<<: *nope", "*nope", "? [1,2]\n: 3", "null", "[]",
    "{}", "1e999", ".nan", "-.inf", "0o17", "1:30:00", "true", "-1", "1e20", "9223372036854775808",
    "[aer]", "{a: [1, {b: 2}]}", '"\\x00"', '"\\ud800"', "---\na: 1\n---\nb: 2", "%YAML 9.9\n---\na: 1", "\t",
    "a: b: c", "@x", "`x`", '"unclosed', "[1,", "{a", "''", "&a a", "=", "<<", "a" * 10_000, "\u2028", "\x07",
]  # fmt: skip
CHARACTERS = list("[]{}:,&*!|>'\"%@`#\t\x00\x1b é")


def mutate(text: str, chance: random.Random) -> str:
    """One to three faults of the kinds that editors, merges and half-written files make."""
    lines = text.splitlines()
    for _ in range(chance.choice([1, 1, 2, 3])):
        place = chance.randrange(len(lines)) if lines else 0
        line = lines[place] if lines else ""
        match chance.randrange(7):
            case 0 | 1:
                lines[place : place + 1] = [f"{line.partition(':')[0]}: {chance.choice(VALUES)}"]
            case 2:
                lines.insert(place, chance.choice(VALUES))
            case 3:
                lines[place : place + 1] = []
            case 4:
                cut = chance.randrange(len(line) + 1)
                lines[place : place + 1] = [line[:cut] + chance.choice(CHARACTERS) + line[cut:]]
            case 5:
                lines[place : place + 1] = [" " * chance.randrange(9) + line.strip()]
            case _:
                whole = "\n".join(lines)
                lines = whole[: chance.randrange(len(whole) + 1)].splitlines()
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("pattern", READERS)
@pytest.mark.parametrize("seed", range(3))
def test_a_mutated_document_is_read_or_refused(tmp_path, pattern, seed):
    chance = random.Random(seed)
    sources = sorted(shipped_root().glob(pattern))
    path = tmp_path / "mutated.yaml"
    refused = 0
    for _ in range(25):
        path.write_text(mutate(chance.choice(sources).read_text(encoding="utf-8"), chance), encoding="utf-8")
        try:
            READERS[pattern](path)
        except QHQError:
            refused += 1
    assert refused > 5

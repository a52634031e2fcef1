"""The verdict of a sweep, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qhq.evaluation.baselines.catalogue import BASELINES
from qhq.evaluation.bootstrap import say_seeds
from qhq.evaluation.losses import TITLES
from qhq.evaluation.significance import LEVEL
from qhq.studies.comparisons import say_against
from qhq.studies.sweep.final import START, WINNER


def say_verdict(stages: Sequence[dict[str, Any]], final: dict[str, Any] | None) -> str:
    """Say which rankings are more than luck, and what the winner is worth on the test split.

    Args:
        stages: Records of the stages done.
        final: Record of the last stage; None if the test split was left alone.
    """
    return " ".join([_say_rankings(stages), _say_final(final)])


def say_choice(stage: dict[str, Any]) -> str:
    """Say which point a stage goes on with, and why where another has the lowest error."""
    tied, margin = stage["tied"], stage["noise"]["margin"]
    chosen = f"Chosen: {stage['best']} ({stage['value']:.4f})"
    if tied < 2:
        return f"{chosen}, the lowest error."
    if stage["value"] == stage["lowest_value"]:
        return f"{chosen}, the lowest error and the fewest parameters of the {tied} points that tie with it."
    return (
        f"Lowest error: {stage['lowest']} ({stage['lowest_value']:.4f}). {chosen}, by the tie rule:"
        f" {tied} points lie within {margin:.4f} of the lowest, the standard error of the difference of two"
        " points, and of these it has the fewest parameters."
    )


def _say_rankings(stages: Sequence[dict[str, Any]]) -> str:
    groups = {
        "More than seed noise": [each["stage"] for each in stages if each["noise"]["is_ranking"] is True],
        "no more than seed noise": [each["stage"] for each in stages if each["noise"]["is_ranking"] is False],
        "not to be told from seed noise": [
            each["stage"] for each in stages if each["noise"]["is_ranking"] is None
        ],
    }
    said = [f"{words}: {', '.join(names)}" for words, names in groups.items() if names]
    text = "; ".join(said)
    sets = [
        f"{each['stage']}: {each['confidence_set']['sentence']}."
        for each in stages
        if "confidence_set" in each and not each["confidence_set"]["reason"]
    ]
    heading = ["Validation split.", *sets] if sets else []
    return " ".join([f"Rankings. {text[0].upper()}{text[1:]}.", *heading])


def _say_final(final: dict[str, Any] | None) -> str:
    if final is None:
        return "The test split was not looked at."
    winner = next(row for row in final["rows"] if row["variant"] == WINNER)
    start = any(row["variant"] == START for row in final["rows"])
    beside = (
        say_against(winner, "vs_start", "what the sweep started from")
        if start
        else "what the sweep started from itself"
    )
    said = [say_against(winner, "vs_naive", "the last value")]
    if "vs_baseline" in winner:
        said.append(say_against(winner, "vs_baseline", BASELINES[final["baseline"]].title))
    count = len(said) + start
    loss = f"{TITLES[final['loss']]}, " if "loss" in final else ""
    return (
        f"On the test split the winner is {', '.join(said)} and {beside} ({loss}Diebold-Mariano,"
        f" Holm over {('one pair', 'two pairs', 'three pairs')[count - 1]}, {100 * LEVEL:g} %,"
        f" {say_seeds(winner['seeds'], 'fresh')}).{_say_groups(winner)}"
    )


def _say_groups(winner: dict[str, Any]) -> str:
    """What single symbols show beside the last value; nothing if they show nothing."""
    found = [
        f"{word} for {winner[f'vs_naive_symbols_{word}']}"
        for word in ("better", "worse")
        if winner.get(f"vs_naive_symbols_{word}")
    ]
    return f" Exploratory, symbol by symbol under Holm, it is {' and '.join(found)}." if found else ""

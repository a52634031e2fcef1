"""How often the verdict of an ablation is right where the answer is known: ``python -m benchmarks.controls``.

Each repetition draws a random walk and a planted signal (other data and other weights each time), trains
every variant of a tiny hybrid on both with one seed, fits the baselines, and applies the rule of `qhq ablate`
but for the seeds: Diebold-Mariano, Holm over the pairs named in advance, 5 % two-sided, and every rival for
the place. On the random walk nothing is better than the last value; on the planted signal a layer that works
is.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import mean

from scipy.stats import binomtest

from qhq.data.sources.synthetic import Control, best_skill

RECIPE = """\
name: control
backend: statevector
data: {window: 5}
quantum: {ansatz: reference, qubits: 2, depth: 1}
model: {recurrent: [{unit: gru, hidden: 4}]}
training: {epochs: 8, batch_size: 64, learning_rate: 0.02, patience: null}
"""
DATA = {"end": "2003-12-31", "split": {"train": 0.5, "validation": 0.1, "test": 0.4}}
"""Short enough for minutes: three series of 1,043 sessions, about 400 of them in the test split."""

CONTROLS: tuple[Control, ...] = ("random_walk", "planted")


def repeat(control: Control, number: int) -> dict[str, object]:
    """One repetition: who is called better than the last value, and the hybrid's skill."""
    from qhq.data.prepare import prepare
    from qhq.data.spec import DataSpec
    from qhq.experiment.opening import build_circuit
    from qhq.studies.ablation.cells import build_variants, measure_ablation_cell, plan_cells, quantum_of
    from qhq.studies.ablation.study import control_config
    from qhq.studies.ablation.verdict import choose_rivals, compare_variants, with_tuned_mlp

    config = control_config(_recipe(number), control)
    data = DataSpec.model_validate({**config.data.model_dump(), **DATA, "panel_seed": number})
    config = config.model_copy(update={"data": data})
    variants = build_variants(config, build_circuit(quantum_of(config)))
    prepared = prepare(data)
    cells = plan_cells(variants.configs, prepared, range(number, number + 1))
    measured = with_tuned_mlp({cell.name: [measure_ablation_cell(cell, prepared)] for cell in cells})
    rivals = choose_rivals(measured)
    found = compare_variants(measured, 1, rivals, ["last_value"])
    naive = [each for each in found if each.second == "last_value"]
    # Only the hybrid is called anything; the others' own p-values are hints, and counted as such.
    better = [each.first for each in naive if "better" in (each.verdict(), each.suggests())]
    models = [each.first for each in naive if each.verdict() == "better"]
    against = [each for each in found if each.first == "hybrid" and each.second in rivals.all]
    place = all("better" in (each.verdict(), each.suggests()) for each in against)
    hybrid = measured["hybrid"][0]
    return {"control": control, "number": number, "better": better, "models": models,
            "place": place, "skill": hybrid["skill"], "alive": hybrid["alive"]}  # fmt: skip


def _recipe(seed: int):
    from qhq.documents import YAML
    from qhq.experiment.config import ExperimentConfig

    content = YAML(typ="safe").load(RECIPE)
    return ExperimentConfig.model_validate({**content, "seed": seed})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    started = time.perf_counter()
    reports = []
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        for control in CONTROLS:
            count = arguments.repetitions
            results = list(pool.map(repeat, [control] * count, range(count)))
            reports.append({"control": control, "repetitions": count, "best_skill": best_skill(control),
                            **summarise(control, results)})  # fmt: skip
            if not arguments.json:
                print(say(reports[-1]), flush=True)
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({"controls": reports, "seconds": seconds}) if arguments.json else f"{seconds} s")


def summarise(control: Control, results: list[dict]) -> dict[str, object]:
    """Rates with their 95 % Clopper-Pearson intervals, and whether they are what they must be."""
    count = len(results)
    any_model = _rate(sum(bool(each["models"]) for each in results), count)
    hybrid = _rate(sum("hybrid" in each["models"] for each in results), count)
    names = sorted({name for each in results for name in each["better"]})
    return {
        "any_model_better": any_model,
        "any_row_better": _rate(sum(bool(each["better"]) for each in results), count),
        "hybrid_better": hybrid,
        "earns_place": _rate(sum(each["place"] for each in results), count),
        "better_by_name": {name: sum(name in each["better"] for each in results) for name in names},
        "hybrid_skill": mean(each["skill"] for each in results),
        "hybrid_alive": mean(each["alive"] for each in results),
        "passed": any_model["rate"] <= 0.08 if control == "random_walk" else hybrid["rate"] >= 0.95,
    }


def _rate(hits: int, count: int) -> dict[str, float]:
    interval = binomtest(hits, count).proportion_ci()
    return {"rate": hits / count, "low": float(interval.low), "high": float(interval.high)}


def say(report: dict) -> str:
    """Lines for people."""
    lines = [f"{report['control']}: {report['repetitions']} repetitions, passed: {report['passed']}"]
    for key in ("any_model_better", "any_row_better", "hybrid_better", "earns_place"):
        rate = report[key]
        lines.append(f"  {key}: {rate['rate']:.1%} ({rate['low']:.1%} to {rate['high']:.1%})")
    lines.append(f"  hybrid skill {report['hybrid_skill']:.2%} of {report['best_skill']:.2%}")
    lines.append(
        f"  hybrid's circuit alive in {report['hybrid_alive']:.1%}; better: {report['better_by_name']}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

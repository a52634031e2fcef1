from dataclasses import replace

import pytest

from benchmarks import peers, peers_report, qlstm, scaling, seeds, threads, training_step
from benchmarks.__main__ import parse
from benchmarks.contenders import CONTENDERS
from benchmarks.page import refreshed
from benchmarks.plot import draw
from benchmarks.problem import Problem
from benchmarks.table import Table, markdown, target_table

pytestmark = pytest.mark.painted


SECONDS = {"qhq engine": 1e-4, "qhq QuantumLayer": 2e-4, "TensorCircuit-NG": 5e-4}


def peers_result():
    rows = []
    for name in CONTENDERS:
        row = {"contender": name, "qubits": 6, "layers": 3, "batch": 64, "skipped": "skipped: over budget"}
        if name in SECONDS:
            row |= {"skipped": "", "seconds": SECONDS[name], "open_seconds": 1.0}
        rows.append(row)
    return {"rows": rows}


def test_a_ratio_of_medians_meets_its_target_or_does_not():
    (target,) = peers_report.targets(peers_result())
    assert (target.measured, target.met) == ("2.5x", False)


def test_who_was_skipped_says_why():
    medians, ratios, _ = peers_report.tables(peers_result())
    assert "over budget" in medians.rows[0]
    assert ratios.rows[0][:4] == ("6 x 64", "0.5x", "1x", "2.5x")


def test_tables_become_markdown():
    page = markdown(Table("Title", "How to read it.", ("what", "ms"), (("a", "1"),)))
    assert page == "## Title\n\nHow to read it.\n\n| what | ms |\n| --- | ---: |\n| a | 1 |\n"


def test_targets_are_reported_as_met_or_missed_where_the_machine_was_quiet():
    row = {"qubits": 8, "batch": 64, "one": 1.0, "two": 0.5, "others": 0.0}
    rows = [row, row | {"two": 1.0}, row | {"two": 1.0, "others": 1.0}]
    table = target_table(threads.targets({"rows": rows}))
    assert [row[-1] for row in table.rows] == ["met", "MISSED", "machine busy"]


def test_growth_of_a_linear_series_is_one():
    assert scaling.growth([{"size": 2, "seconds": 3.0}, {"size": 8, "seconds": 12.0}]) == [1.0]


def test_share_is_over_the_classical_step():
    assert training_step.share({"seconds": {"step without": 2.0, "step with": 2.5}}) == 0.25


def test_seeds_at_once_must_be_fast_and_learn_the_same():
    case = {"one after another": 6.0, "at once": 1.5, "ratio": 4.0, "apart": 1e-3}
    result = {"cases": {seeds.PUBLISHED: case}}
    assert [each.met for each in seeds.targets(result)] == [True, False]
    assert seeds.tables(result)[0].rows == ((seeds.PUBLISHED, "6.00", "1.50", "4.00", "1e-03"),)


def test_a_qlstm_beside_pennylanes_says_how_much_faster_it_is_and_that_both_forecast_the_same():
    seconds = {qlstm.OURS: 0.004, qlstm.APART: 0.012, qlstm.THEIRS: 0.4}
    result = {"size": vars(qlstm.Size()), "seconds": seconds, "apart": 1e-7}
    assert [each.met for each in qlstm.targets(result)] == [True, True]
    assert qlstm.tables(result)[0].rows[-1] == (qlstm.THEIRS, "400", "100x")
    slower = {**result, "seconds": {**seconds, qlstm.THEIRS: 0.1}, "apart": 1e-3}
    assert [each.met for each in qlstm.targets(slower)] == [False, False]


def test_a_slow_contender_sits_out_larger_cells():
    runner = peers.Runner("plain torch")
    runner._known.append((8, 64, 0.1, 1.0))
    assert runner.reason_to_skip(Problem(8, 3, 64)) == ""
    assert runner.reason_to_skip(Problem(10, 3, 64)) == "skipped: over budget"
    assert runner.reason_to_skip(Problem(16, 3, 256)) == "skipped: over memory"


def test_the_plot_is_drawn(tmp_path):
    draw(peers_result()["rows"], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_a_refreshed_page_has_new_tables_where_the_old_ones_stood():
    targets = target_table(peers_report.targets(peers_result()))
    old = Table("A step", "ms.", ("what", "ms"), (("a", "1"),))
    page = "# Head\n\n" + "\n".join(map(markdown, (targets, old, replace(old, title="Other"))))
    assert refreshed(page, [], "Now.") == page
    same, other = targets.rows[0], ("Another target", ">= 2x", "3x", "met")
    changed = (same[0], same[1], "9x", "met")
    new = [
        replace(targets, rows=(changed, other)),
        replace(old, rows=(("a", "2"),)),
        replace(old, title="Last"),
    ]
    found = refreshed(page, new, "Now.")
    titles = [line for line in found.splitlines() if line.startswith("#")]
    assert titles == ["# Head", "## Targets", "## A step", "## Other", "## Last"]
    assert "| a | 2 |" in found
    assert found.count("ms. Now.") == 2
    assert "9x" in found
    assert same[2] not in found
    assert "Another target" in found


def test_docs_come_from_full_runs_only(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(["--docs", "--quick"])
    assert "--docs must be a full run" in capsys.readouterr().err

"""What the main tables, the pairs and report.json say, and what ``retain report`` can be asked for."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.commands import report as command
from results import report, summary
from results.all_columns import default_names, named_columns
from results.data import as_json
from results.groups import Group
from results.pairs import pairs_table, pairs_text
from results.record import FinishedRun, Order, Run
from results.statistics import estimate
from results.summary import SPLITS, Choice, Summary
from tests.results_fixtures import TASKS, make_run, table_of, text_of


def level(strategy: str, seed: int, value: float, **fields: Any) -> Run:
    """A run whose every score is the same from learning on."""
    return make_run(strategy, seed, [[0.1] * 3, *[[value] * 3] * 3], **fields)


GIVEN = {"best": [0.90, 0.92, 0.91], "middle": [0.70, 0.74, 0.72], "alike": [0.71, 0.73, 0.73]}
RUNS = [level(name, seed, value) for name, found in GIVEN.items() for seed, value in enumerate(found)]
TUNED = [level("ewc", seed, value + seed / 100, hyperparameters={"lam": lam})
         for lam, value in ((1.0, 0.5), (10.0, 0.8), (100.0, 0.6)) for seed in range(2)]  # fmt: skip


def made(runs: list[Run], choice: Choice | None = None) -> Summary:
    return summary.summarise([Group("", "", runs)], "title", choice)


def test_csv_holds_mean_deviation_interval_iqm_and_runs() -> None:
    lines = {line["strategy"]: line for line in table_of(RUNS).to_dict("records")}
    for name, given in GIVEN.items():
        sure = estimate(given)
        row = lines[name]
        assert (row["runs"], row["failed"]) == (3, 0)
        assert row["final_average"] == pytest.approx(statistics.mean(given))
        assert row["final_average_std"] == pytest.approx(statistics.stdev(given))
        assert (row["final_average_low"], row["final_average_high"]) == pytest.approx((sure.low, sure.high))
        assert row["final_average_iqm"] == pytest.approx(sure.iqm)
    assert {name: line["rank"] for name, line in lines.items()} == {"best": 1, "middle": 2, "alike": 2}


def test_a_single_run_has_no_interval_no_rank_and_a_note_says_why() -> None:
    alone = [level("a", 0, 0.5), level("b", 0, 0.9)]
    text = text_of(alone)
    assert text.headers[:3] == ["strategy", "seeds", "final\naverage ↑"]
    assert [row[2] for row in text.rows] == ["0.500", "0.900"]
    assert any("A single run has no interval" in note for note in text.notes)
    assert not any("bracket" in note for note in text.notes)
    several = text_of(RUNS)
    sure = estimate(GIVEN["alike"])
    assert several.headers[2] == "rank"
    assert several.rows[0][2:4] == ["2", f"{sure.mean:.3f} [{sure.low:.3f}, {sure.high:.3f}]"]
    assert not any("A single run" in note for note in several.notes)
    assert sum("bracket" in note for note in several.notes) == 1


def test_metrics_that_are_asked_for_are_the_columns_and_the_first_ranks() -> None:
    choice = Choice(metrics=("forgetting_first", "worst_task"))
    runs = [make_run(name, seed, retention=kept) for name, kept in (("low", 0.2), ("high", 0.9)) for seed in range(3)]
    found = made(runs, choice)
    assert [column.name for column in found.columns] == ["forgetting_first", "worst_task"]
    assert summary.table(found).set_index("strategy")["rank"].to_dict() == {"high": 1, "low": 2}
    assert [(pair.measure.name, pair.compared.first) for pair in found.pairs] == [
        ("forgetting_first", "high"),
        ("worst_task", "high"),
    ]
    assert found.pairs[0].compared.difference.mean < 0 < found.pairs[1].compared.difference.mean


def test_best_keeps_one_choice_a_strategy_and_says_that_it_is_optimistic() -> None:
    found = made([*RUNS, *TUNED], Choice(best=True))
    assert [row.variant.label for row in found.rows] == ["alike", "best", "ewc (lam=10)", "middle"]
    assert summary.table(found)["best_of"].tolist() == [1, 1, 3, 1]
    text = summary.text(found)
    assert "best hyperparameters" in text.title and "optimistic" in text.notes[0]
    assert "ewc (lam=10) of 3" in text.notes[0]
    assert not any("optimistic" in note for note in text_of([*RUNS, *TUNED]).notes)
    smallest = made(TUNED, Choice(metrics=("forgetting", "final_average"), best=True))
    assert len(smallest.rows) == 1


def test_best_by_a_measure_where_smaller_is_better_keeps_the_smallest() -> None:
    runs = [
        make_run("ewc", seed, retention=kept, hyperparameters={"lam": lam})
        for lam, kept in ((1.0, 0.3), (2.0, 0.8))
        for seed in range(2)
    ]
    (row,) = made(runs, Choice(metrics=("forgetting",), best=True)).rows
    assert (row.variant.label, row.choices) == ("ewc (lam=2)", 2)


def test_best_keeps_all_of_what_no_mean_tells_apart() -> None:
    runs = [make_run("ewc", hyperparameters={"lam": lam}, failed_stage=1) for lam in (1.0, 2.0)]
    assert [row.choices for row in made(runs, Choice(best=True)).rows] == [1, 1]


def test_rows_by_task_hold_the_scores_of_that_task() -> None:
    scores = [[0.1, 0.2, 0.3], [0.8, 0.25, 0.2], [0.9, 0.7, 0.5], [0.6, 0.75, 0.9]]
    table = table_of([make_run("naive", scores=scores)], Choice(group_by="task")).set_index("task")
    assert list(table.index) == list(TASKS)
    assert table["final_average"].tolist() == pytest.approx([0.6, 0.75, 0.9])
    assert table["learning_accuracy"].tolist() == pytest.approx([0.8, 0.7, 0.9])
    assert table["forgetting"].tolist()[:2] == pytest.approx([0.3, -0.05])
    assert pd.isna(table["forgetting"].iloc[2])
    assert "train_seconds" not in table.columns


def test_rows_by_order_split_the_runs_and_rank_each_order_by_itself() -> None:
    orders = {1: list(TASKS), 2: list(TASKS[::-1])}
    runs = [
        level(name, seed, 0.9 - 0.3 * (number == better) + seed / 100, order=Order(number=number, tasks=tasks))
        for name, better in (("first", 2), ("second", 1))
        for seed in range(3)
        for number, tasks in orders.items()
    ]
    together = table_of(runs).set_index("strategy")
    assert together["rank"].tolist() == [1, 1] and together["runs"].tolist() == [6, 6]
    split = table_of(runs, Choice(group_by="order"))
    assert split[["strategy", "order", "runs"]].to_numpy().tolist() == [
        ["first", "1", 3], ["second", "1", 3], ["first", "2", 3], ["second", "2", 3]
    ]  # fmt: skip
    assert split["rank"].tolist() == [1, 2, 2, 1]
    notes = text_of(runs, choice=Choice(group_by="order")).notes
    assert f"order 2: {', '.join(TASKS[::-1])}." in notes


def test_rows_by_backbone_stand_together_and_are_ranked_apart(tmp_path: Path) -> None:
    runs = [
        level(name, seed, value + seed / 100, backbone=backbone)
        for backbone, shift in (("large", 0.1), ("small", 0.0))
        for name, value in (("a", 0.5 + shift), ("b", 0.7 + shift))
        for seed in range(3)
    ]
    built = report.build(runs, Choice(group_by="backbone"))
    (one,) = built.summaries
    assert [(row.part, row.variant.label, row.standing and row.standing.rank) for row in one.rows] == [
        ("large", "a", 2), ("large", "b", 1), ("small", "a", 2), ("small", "b", 1)
    ]  # fmt: skip
    assert {(pair.part, pair.compared.first) for pair in one.pairs} == {("large", "b"), ("small", "b")}
    assert summary.text(one).headers[1] == "backbone"


def test_pairs_say_how_sure_and_how_many_more() -> None:
    found = made(RUNS)
    lines = {(line["first"], line["second"]): line for line in pairs_table(found).to_dict("records")}
    clear, close = lines["best", "middle"], lines["alike", "middle"]
    assert clear["separated"] and not close["separated"]
    assert clear["difference"] == pytest.approx(0.19)
    assert clear["low"] > 0 > close["low"] and close["high"] > 0
    assert clear["p"] < 0.05 < close["p"] and clear["p_holm"] >= clear["p"]
    assert close["runs_needed"] > 3 >= clear["runs_needed"]
    assert clear["smallest_shown"] < clear["difference"] and close["smallest_shown"] > close["difference"]
    text = pairs_text(found)
    assert len(text.rows) == 3 and text.rows[0][0].startswith("best − ")
    alone = pairs_text(made([level("a", 0, 0.5), level("b", 0, 0.9)]))
    assert alone.rows[0][3:] == ["0.400", "–", "–", "–", "–", "–"]


def test_json_has_everything_of_the_tables_under_stable_keys() -> None:
    runs = [*RUNS, make_run("lost", failed_stage=1, reason="out of memory")]
    found = made(runs)
    (table,) = json.loads(as_json([found], []))["tables"]
    assert list(table) == ["title", "ranked_by", "split_by", "best_only", "measures", "rows", "pairs"]
    rows = {row["label"]: row for row in table["rows"]}
    best = rows["best"]["values"]["final_average"]
    assert best == pytest.approx(vars(estimate(GIVEN["best"])))
    assert list(best) == ["mean", "low", "high", "iqm", "deviation", "runs"]
    assert (rows["best"]["rank"], rows["alike"]["tied_with"]) == (1, ["middle"])
    assert rows["lost"]["values"]["final_average"] is None
    assert rows["lost"]["failed"] == [{"seed": 0, "order": 1, "stage": 2, "reason": "out of memory"}]
    assert set(rows["best"]["values"]) == set(table["measures"]) == {column.name for column in found.columns}
    assert table["measures"]["forgetting"]["better"] == "smaller"
    assert len(table["pairs"]) == 3 and table["pairs"][0]["first"] == "best"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, run in enumerate([*RUNS, *TUNED]):
        run.save(tmp_path / "runs" / f"{number}.json")
    return tmp_path / "runs"


def test_the_command_takes_metrics_groups_and_best(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--metric", "worst_task", "--metric", "forgetting:loss", "--group-by", "task", "--best"]
    assert main(["report", str(folder), *asked, "--figures", "none"]) == 0
    shown = capsys.readouterr().out
    assert "optimistic" in shown and "--figures all" in shown
    table = pd.read_csv(folder / "report" / "forgetting.csv")
    assert list(table.columns[:7]) == ["strategy", "task", "runs", "failed", "rank", "best_of", "worst_task"]
    assert len(table) == 4 * 3
    assert not list((folder / "report").glob("*.png"))
    assert json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))["tables"][0]["best_only"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--metric", "forgeting"], "unknown metric 'forgeting': did you mean forgetting"),
        (["--metric", "forgetting:macro_f2"], "unknown metric 'forgetting:macro_f2'"),
        (["--metric", "worst_task", "--metric", "worst_task"], "each once"),
        (["--group-by", "seed"], "unknown group_by 'seed'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], asked: list[str], told: str
) -> None:
    try:
        code = main(["report", str(folder), *asked])
    except SystemExit as left:
        code = int(str(left.code))
    error = capsys.readouterr().err
    assert code == 2 and told in error and len(error.splitlines()) == 1
    assert not (folder / "report").exists()


def test_the_command_knows_the_groups_and_figures_that_there_are() -> None:
    assert command.GROUPS == SPLITS and command.FIGURES == report.FIGURES


def test_many_protocols_have_no_figures_unless_asked_for(tmp_path: Path) -> None:
    runs = [level("a", 0, 0.5, settings={"limit": number}) for number in range(report.MOST_DRAWN + 1)]
    assert not report.build(runs).drawn and report.build(runs, figures="all").drawn
    assert report.build(runs[1:]).drawn and not report.build(runs[1:], figures="none").drawn
    written = report.write(report.build(runs), tmp_path)
    assert not [path for path in written if path.suffix in (".png", ".svg")]


def test_probes_of_language_modelling_show_their_perplexity_at_the_end() -> None:
    probes = [{"news_causal_lm": {"token_probability": value}} for value in (0.05, 0.04, 0.03, 0.025)]
    run = make_run(probes=probes)
    columns = named_columns([run])
    assert columns["perplexity_news_causal_lm"].value(FinishedRun(run)) == pytest.approx(40.0)
    assert "perplexity_news_causal_lm" in default_names([run])
    assert not any(name.startswith("perplexity") for name in default_names([make_run()]))


def test_who_keeps_examples_is_ranked_among_those_who_do_and_who_has_all_at_once_not_at_all() -> None:
    kept = {"naive": (0.5, False), "ewc": (0.7, False), "replay": (0.9, True), "gem": (0.8, True)}
    runs = [
        level(name, seed, value + seed / 1000, keeps_examples=keeps)
        for name, (value, keeps) in kept.items()
        for seed in range(3)
    ]
    runs += [make_run("joint", seed, [[0.1] * 3, [0.95 + seed / 1000] * 3], together=True) for seed in range(3)]
    ranks = summary.table(made(runs)).set_index("strategy")["rank"]
    assert {name: ranks[name] for name in kept} == {"ewc": 1, "naive": 2, "replay": 1, "gem": 2}
    assert pd.isna(ranks["joint"])
    assert "joint" in {pair.compared.first for pair in made(runs).pairs}

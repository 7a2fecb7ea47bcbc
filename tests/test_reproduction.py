"""Verdicts on published figures: each of them, every kind of spread, and never one where the two can't be compared."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.papers.base import Figure, Ours, Row, Table
from results.papers.measures import Metric
from results.record import Run
from results.reproduction import ComparedRow, Mean, Verdict, compare_paper, judge
from results.reproduction_order import OrderVerdict, published_pairs
from results.reproduction_spread import half_widths
from results.reproduction_tables import console_text, write_reproduction
from results.statistics import Bootstrap, estimate
from tests.reproduction_fixtures import NEAREST, PROTOCOL, made_paper, made_table, of_value, runs_at

FEW = Bootstrap(draws=1000)
AT_80 = (0.79, 0.80, 0.81)
"""Mean 0.8, sample deviation 0.01."""


def only(table: Table, runs: list[Run]) -> ComparedRow:
    (comparison,) = compare_paper(made_paper(table), runs, FEW).comparisons
    (row,) = comparison.rows
    return row


def mean_of(values: list[float]) -> Mean:
    found = estimate(values, bootstrap=FEW)
    return Mean(found.mean, found.low, found.high, found.runs)


def test_a_figure_within_our_interval_is_reproduced() -> None:
    row = only(made_table(of_value(80.5)), runs_at(AT_80))
    assert row.verdict is Verdict.REPRODUCED
    assert row.ours is not None and row.ours.mean == pytest.approx(80)
    assert row.difference == pytest.approx(-0.5)
    assert row.low is not None and row.high is not None
    # Without a published spread it is our interval alone, moved.
    assert row.ours.low is not None and row.low == pytest.approx(row.ours.low - 80.5)
    assert row.ours.high is not None and row.high == pytest.approx(row.ours.high - 80.5)
    assert row.reasons == ()


def test_a_figure_far_from_our_interval_differs() -> None:
    row = only(made_table(of_value(90)), runs_at(AT_80))
    assert row.verdict is Verdict.DIFFERS
    assert row.low is not None and row.high is not None and row.low < row.high < 0


@pytest.mark.parametrize(
    ("kind", "spread", "runs", "half"),
    [
        ("std", 3.0, 9, stats.t.ppf(0.975, 8)),  # 3 / sqrt(9) is 1
        ("std", 3.0, None, 0.0),
        ("std", 3.0, 1, 0.0),
        ("sem", 1.0, 9, stats.t.ppf(0.975, 8)),
        ("sem", 1.0, None, 1.959964),
        ("interval", 2.5, 9, 2.5),
        ("interval", 2.5, None, 2.5),
    ],
)
def test_a_published_spread_is_half_an_interval_by_its_kind(
    kind: str, spread: float, runs: int | None, half: float
) -> None:
    assert half_widths(of_value(50, spread, kind), runs) == pytest.approx((half, half), abs=1e-6)


def test_a_spread_of_unknown_kind_is_read_in_every_way() -> None:
    t = stats.t.ppf(0.975, 4)
    assert half_widths(of_value(50, 4.8, "not said"), 5) == pytest.approx((4.8, t * 4.8))
    assert half_widths(of_value(50, 4.8, "not said"), 100)[0] == pytest.approx(stats.t.ppf(0.975, 99) * 0.48)
    assert half_widths(of_value(50), 5) == (0, 0)


def test_the_published_spread_widens_our_interval_as_two_independent_errors_add() -> None:
    ours = mean_of([79.0, 80.0, 81.0])
    verdict, low, high = judge(of_value(85, 2.0, "sem"), 9, ours)
    half = 2 * stats.t.ppf(0.975, 8)
    assert ours.low is not None and ours.high is not None
    assert low == pytest.approx(-5 - math.hypot(80 - ours.low, half))
    assert high == pytest.approx(-5 + math.hypot(ours.high - 80, half))
    assert verdict is Verdict.REPRODUCED
    assert judge(of_value(85), 9, ours)[0] is Verdict.DIFFERS  # it is that spread that makes it agree


def test_nothing_is_decided_where_it_hangs_on_what_the_spread_is() -> None:
    figure = of_value(87, 2.5, "not said")
    table = made_table(figure, runs=4)
    row = only(table, runs_at(AT_80))
    assert judge(of_value(87, 2.5, "std"), 4, mean_of([79, 80, 81]))[0] is Verdict.DIFFERS
    assert judge(of_value(87, 2.5, "sem"), 4, mean_of([79, 80, 81]))[0] is Verdict.REPRODUCED
    assert row.verdict is Verdict.UNDECIDED
    assert row.reasons[0].startswith("spread: ")


def test_one_run_has_a_difference_and_no_verdict() -> None:
    row = only(made_table(of_value(80)), runs_at([0.8]))
    assert row.verdict is Verdict.ONE_RUN
    assert row.difference == pytest.approx(0)
    assert (row.low, row.high) == (None, None)
    assert "one run" in console_text(compare_paper(made_paper(made_table(of_value(80))), runs_at([0.8])))


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "a backbone that is not from the hub": ({"hub": {}}, "backbone"),
    "another model of the hub": ({"hub": {"models/org/bert-base-uncased@main": "0" * 40}}, "backbone"),
    "data of the hub of that name": ({"hub": {"datasets/google-bert/bert-base-uncased@main": "0" * 40}}, "backbone"),
    "fewer examples": ({"limit": 100}, "data"),
    "other epochs": ({"training": {"epochs": 2}}, "protocol"),
    "another rate": ({"training": {"learning_rate": 1e-4}}, "protocol"),
    "another batch": ({"training": {"batch_size": 8}}, "protocol"),
    "another length": ({"length": 64}, "protocol"),
}


@pytest.mark.parametrize("different", DIFFERENT)
def test_what_is_made_otherwise_is_never_reproduced_nor_does_it_differ(different: str) -> None:
    changes, kind = DIFFERENT[different]
    for value in (80, 99):
        row = only(made_table(of_value(value, 1.0), runs=5), runs_at(AT_80, **changes))
        assert row.verdict is Verdict.NOT_COMPARABLE
        assert (row.low, row.high) == (None, None)  # an interval with zero inside could be read as an agreement
        assert [reason.partition(":")[0] for reason in row.reasons] == [kind]


@settings(max_examples=30, deadline=None)
@given(value=st.floats(0, 100), spread=st.floats(0.1, 50), seeds=st.integers(1, 4))
def test_no_figure_is_reproduced_on_another_backbone(value: float, spread: float, seeds: int) -> None:
    runs = runs_at([0.8 + 0.01 * seed for seed in range(seeds)], hub={})
    found = compare_paper(made_paper(made_table(of_value(value, spread, "not said"), runs=3)), runs, FEW)
    assert {row.verdict for one in found.comparisons for row in one.rows} == {Verdict.NOT_COMPARABLE}
    assert "reproduced" not in console_text(found).replace("reproduces no figure", "")


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(20, 80), min_size=2, max_size=6).filter(lambda found: np.std(found) > 0.01),
    apart=st.floats(-0.99, 0.99),
    spread=st.none() | st.floats(0.1, 10),
    kind=st.sampled_from(["std", "sem", "interval"]),
    runs=st.integers(2, 30),
)
def test_moving_ours_by_more_than_the_interval_turns_reproduced_into_differs(
    values: list[float], apart: float, spread: float | None, kind: str, runs: int
) -> None:
    ours = mean_of(values)
    _, low, high = judge(of_value(ours.mean, spread, kind), runs, ours)
    assert low is not None and high is not None and low < 0 < high
    end = high if apart > 0 else low
    for share, verdict in ((abs(apart), Verdict.REPRODUCED), (1.01, Verdict.DIFFERS)):
        figure = of_value(ours.mean + share * end, spread, kind)  # moving it is moving ours the other way
        assert judge(figure, runs, ours)[0] is verdict


@pytest.mark.parametrize(("ours_n", "theirs_n"), [(3, 3), (3, 30)])
def test_equal_means_are_said_to_differ_in_one_case_of_twenty_at_most(ours_n: int, theirs_n: int) -> None:
    generator = np.random.default_rng(ours_n)
    found = []
    for _ in range(1000):
        ours, theirs = generator.normal(70, 2, ours_n), generator.normal(70, 4, theirs_n)
        figure = of_value(float(theirs.mean()), float(theirs.std(ddof=1)), "std")
        found.append(judge(figure, theirs_n, mean_of(list(ours)))[0])
    assert 0.005 <= np.mean([verdict is Verdict.DIFFERS for verdict in found]) <= 0.07


def test_a_metric_or_a_strategy_that_is_another_forbids_a_verdict_by_itself() -> None:
    other = Metric("score", "final average", "accuracy", differs="theirs counts twice")
    row = only(made_table(of_value(80), metrics=(other,)), runs_at(AT_80))
    assert (row.verdict, row.reasons) == (Verdict.NOT_COMPARABLE, ("metric: theirs counts twice",))
    rows = (Row("plain", (of_value(80),), Ours("naive", differs="theirs has two heads")),)
    row = only(made_table(of_value(80), rows=rows), runs_at(AT_80))
    assert (row.verdict, row.reasons) == (Verdict.NOT_COMPARABLE, ("strategy: theirs has two heads",))


def test_a_failed_seed_forbids_a_verdict() -> None:
    runs = [*runs_at(AT_80), *runs_at([0, 0, 0, 0.8], failed_stage=1)[3:]]
    row = only(made_table(of_value(80)), runs)
    assert row.verdict is Verdict.NOT_COMPARABLE
    assert row.reasons[0].startswith("runs: 1 of 4 failed")


def test_what_the_source_does_not_say_is_listed_and_forbids_nothing() -> None:
    table = made_table(of_value(80), protocol=replace(PROTOCOL, epochs=None, backbone=None, unsaid=("alpha",)))
    (comparison,) = compare_paper(made_paper(table), runs_at(AT_80, training={"epochs": 9}, hub={})).comparisons
    assert comparison.rows[0].verdict is Verdict.REPRODUCED
    unknown = {fact.name for fact in comparison.facts if fact.agrees is None}
    assert unknown >= {"epochs", "backbone", "alpha", "warm-up"}
    assert "not said by the source, so not compared: backbone," in console_text(
        compare_paper(made_paper(table), runs_at(AT_80))
    )


def test_numbers_of_examples_and_orders_have_to_be_the_papers() -> None:
    counted = replace(PROTOCOL, train_examples=(1000, 1000, 1000), test_examples=500)
    assert only(made_table(of_value(80), protocol=counted), runs_at(AT_80, limit=1000)).verdict is Verdict.REPRODUCED
    fewer = replace(PROTOCOL, train_examples=(1000, 1000, 999))
    assert only(made_table(of_value(80), protocol=fewer), runs_at(AT_80)).verdict is Verdict.NOT_COMPARABLE
    backwards = ("three", "two", "one")
    both = replace(PROTOCOL, orders=(PROTOCOL.tasks, backwards))
    row = only(made_table(of_value(80), protocol=both), runs_at(AT_80))
    assert [reason.partition(" ")[0] for reason in row.reasons] == ["data:"] and "order" in row.reasons[0]
    order = {"number": 2, "tasks": list(backwards)}
    second = runs_at((0.6, 0.61, 0.62), order=order)
    row = only(made_table(of_value(70.5), protocol=both), [*runs_at(AT_80), *second])
    assert row.verdict is Verdict.REPRODUCED and row.ours is not None
    assert row.ours.runs == 6
    assert row.ours.mean == pytest.approx(70.5)
    # Of a table of one order only the runs in that order count.
    first = replace(PROTOCOL, orders=(PROTOCOL.tasks,))
    row = only(made_table(of_value(80), protocol=first), [*runs_at(AT_80), *second])
    assert row.verdict is Verdict.REPRODUCED and row.ours is not None and row.ours.runs == 3


def test_a_tuned_figure_is_compared_with_tuned_runs_alone() -> None:
    table = made_table(of_value(80), protocol=replace(PROTOCOL, tuned="lambda"))
    assert only(table, runs_at(AT_80)).verdict is Verdict.NOT_COMPARABLE
    strategy = {"name": "naive", "settings": {}, "tuning": {"trials": 5}}
    tuned = [run.model_copy(update={"settings": run.settings | {"strategy": strategy}}) for run in runs_at(AT_80)]
    assert only(table, tuned).verdict is Verdict.REPRODUCED


def test_rows_that_nothing_answers_say_why() -> None:
    rows = (
        Row("magic", (of_value(80),), why="no such strategy here"),
        Row("EWC", (of_value(80),), Ours("ewc", {"lam": 5})),
        Row("plain", (of_value(80),), Ours("naive")),
    )
    runs = [*runs_at(AT_80), *runs_at(AT_80, "ewc", hyperparameters={"lam": 6})]
    (comparison,) = compare_paper(made_paper(made_table(of_value(80), rows=rows)), runs).comparisons
    assert [(row.verdict.value, row.reasons) for row in comparison.rows] == [
        ("not run", ("no such strategy here",)),
        ("not run", ("no run of ewc (lam=5) among these",)),
        ("reproduced", ()),
    ]


def test_each_setting_of_a_strategy_stands_beside_the_figure_by_itself() -> None:
    rows = (Row("EWC", (of_value(50.5),), Ours("ewc")),)
    runs = runs_at((0.50, 0.51), "ewc", hyperparameters={"lam": 1})
    runs += runs_at((0.90, 0.901), "ewc", hyperparameters={"lam": 2})
    (comparison,) = compare_paper(made_paper(made_table(of_value(0), rows=rows)), runs).comparisons
    assert [(row.variant, row.verdict) for row in comparison.rows] == [
        ("ewc (lam=1)", Verdict.REPRODUCED),
        ("ewc (lam=2)", Verdict.DIFFERS),
    ]


def test_runs_of_other_tasks_are_left_out_and_named() -> None:
    other = runs_at(AT_80, tasks=("one", "two"))
    found = compare_paper(made_paper(made_table(of_value(80))), [*runs_at(AT_80), *other])
    assert len(found.comparisons) == 1
    assert len(found.left_out) == 1
    assert "left out, no table is about it: short: mixed on minilm" in console_text(found)
    class_incremental = runs_at(AT_80, scenario="class-incremental")
    assert compare_paper(made_paper(made_table(of_value(80))), class_incremental).comparisons == ()


def test_names_from_records_stay_text(tmp_path: Path) -> None:
    hostile = [*runs_at(AT_80, backbone="<b>|x"), *runs_at(AT_80, tasks=("one", "two"), suite="<script>")]
    write_reproduction(compare_paper(made_paper(made_table(of_value(80))), hostile), tmp_path)
    text = (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    assert re.findall(r"(?<!\\)<(?:b|script)>", text) == []
    assert "\\<script>" in text and "\\<b>\\|x" in text


def test_a_stand_in_is_marked_everywhere_and_never_reproduces() -> None:
    table = made_table(of_value(80), protocol=replace(PROTOCOL, tasks=("x", "y")), nearest=(NEAREST,))
    found = compare_paper(made_paper(table), runs_at(AT_80))
    (comparison,) = found.comparisons
    assert comparison.rows[0].verdict is Verdict.NOT_COMPARABLE
    assert "data: three tasks there, mixed: 3 tasks, task-incremental here" in comparison.rows[0].reasons
    assert "beside NOT THE SAME, but the nearest: short: mixed on minilm" in console_text(found)
    assert "nearest: another stream" in console_text(found)


def ordered(metric: Metric | None = None, **figures: Figure) -> Table:
    rows = tuple(Row(name, (figure,), Ours(name)) for name, figure in figures.items())
    return made_table(of_value(0), runs=5, rows=rows, metrics=(metric,) if metric else made_table(of_value(0)).metrics)


def orders_of(table: Table, runs: list[Run]) -> dict[tuple[str, str], OrderVerdict]:
    (comparison,) = compare_paper(made_paper(table), runs, FEW).comparisons
    return {(order.above, order.below): order.verdict for order in comparison.orders}


def test_an_order_of_rows_is_the_same_opposite_or_not_shown_on_any_backbone() -> None:
    table = ordered(joint=of_value(90), naive=of_value(60), freeze=of_value(70))
    runs = [*runs_at((0.80, 0.82, 0.84), hub={}), *runs_at((0.90, 0.92, 0.94), "joint", hub={}, together=True)]
    runs += runs_at((0.70, 0.72, 0.74), "freeze", hub={})
    assert orders_of(table, runs) == {
        ("joint", "naive"): OrderVerdict.SAME,
        ("joint", "freeze"): OrderVerdict.SAME,
        ("freeze", "naive"): OrderVerdict.OPPOSITE,
    }
    one_seed = [run for run in runs if run.seed == 0]
    assert set(orders_of(table, one_seed).values()) == {OrderVerdict.NOT_SHOWN}
    tied = [*runs_at((0.80, 0.82, 0.84)), *runs_at((0.84, 0.82, 0.80), "freeze")]
    assert orders_of(table, tied) == {("freeze", "naive"): OrderVerdict.NOT_SHOWN}


def test_order_is_paired_by_seed() -> None:
    table = ordered(naive=of_value(70), freeze=of_value(60))
    runs = [*runs_at((0.5, 0.7, 0.9)), *runs_at((0.49, 0.688, 0.889), "freeze")]
    assert orders_of(table, runs) == {("naive", "freeze"): OrderVerdict.SAME}


def test_where_smaller_is_better_the_smaller_stands_above() -> None:
    forgetting = Metric("forgetting", "forgetting", better="↓")
    table = ordered(forgetting, naive=of_value(20), lora=of_value(1))
    (pair,) = published_pairs(table, 0)
    assert [row.label for row in pair] == ["lora", "naive"]
    runs = [*runs_at((0.3, 0.31, 0.32)), *runs_at((0.48, 0.49, 0.5), "lora")]  # 0.5 after learning
    assert orders_of(table, runs) == {("lora", "naive"): OrderVerdict.SAME}


def test_rows_that_the_paper_does_not_tell_apart_claim_nothing() -> None:
    table = ordered(naive=of_value(70, 1.0, "interval"), freeze=of_value(71.3), joint=of_value(75), ewc=of_value(75))
    pairs = {(one.label, other.label) for one, other in published_pairs(table, 0)}
    # naive and freeze are 1.3 apart: less than sqrt(2), of the spread that one has and the other is given.
    assert pairs == {("joint", "naive"), ("ewc", "naive"), ("joint", "freeze"), ("ewc", "freeze")}


def test_the_files_hold_what_the_terminal_shows(tmp_path: Path) -> None:
    table = ordered(joint=of_value(90), naive=of_value(80, 1.5, "sem"))
    unrun = replace(table, name="another", suite="", missing="no data", protocol=replace(PROTOCOL, tasks=()))
    runs = [*runs_at(AT_80), *runs_at((0.90, 0.92, 0.94), "joint", together=True)]
    found = compare_paper(made_paper(table, unrun), runs)
    files = write_reproduction(found, tmp_path)
    assert [file.name for file in files] == [
        "reproduction.md",
        "reproduction.csv",
        "reproduction-order.csv",
        "reproduction.json",
    ]
    rows = {(row["table"], row["row"]): row for row in _read(tmp_path / "reproduction.csv")}
    assert [row["verdict"] for row in rows.values()] == ["not run", "not run", "reproduced", "reproduced"]
    naive = rows["made", "naive"]
    assert [naive[name] for name in ("published", "spread", "published_runs", "spread_kind")] == [
        "80",
        "1.5",
        "5",
        "sem",
    ]
    assert float(naive["ours"]) == pytest.approx(80)
    assert rows["another", "naive"]["published"] == "80"
    (order,) = _read(tmp_path / "reproduction-order.csv")
    assert [order[name] for name in ("above", "below", "verdict")] == ["joint", "naive", "same"]
    raw = json.loads((tmp_path / "reproduction.json").read_text(encoding="utf-8"))
    assert raw["comparisons"][0]["rows"][1]["verdict"] == "reproduced"
    assert raw["paper"]["tables"][0]["rows"][1]["figures"][0] == {"value": 80, "spread": {"value": 1.5, "kind": "sem"}}
    text = (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    assert "| naive, accuracy | reproduced | 80.00 ± 1.50 |" in text
    assert "Reproduced: the 95 % interval of ours minus published holds zero" in text


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))

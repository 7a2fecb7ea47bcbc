"""Backbones compared: which groups are alike, the Pareto front by hand, tables and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.groups import protocol_groups
from results.record import Run
from results.report import console_summary, write_report
from results.tradeoff import Comparison, comparisons, fronts, pareto_front, tradeoff_table, tradeoff_text
from results.tradeoff_plots import keeping_against_cost, learning_against_forgetting
from tests.results_fixtures import make_run

TWO = ("rotten_tomatoes", "bbc_news")


def run_of(
    backbone: str,
    strategy: str,
    learned: float,
    end: float,
    *,
    flops: float | None = 1e12,
    seconds: float = 20.0,
    **more: Any,
) -> Run:
    """Of two tasks: the first is learned to ``learned`` and ends at ``end``; the second is learned to 0.8."""
    scores = [[0.5, 0.2], [learned, 0.2], [end, 0.8]]
    if more.get("together"):
        scores = [[0.5, 0.2], [learned, 0.8]]
    made = make_run(
        strategy, scores=scores, tasks=TWO, backbone=backbone, settings={"suite": "short", "backbone": backbone}, **more
    )
    costs = [cost.model_copy(update={"flops": flops, "train_seconds": seconds}) for cost in made.costs]
    provenance = made.provenance.model_copy(update={"weights_sha256": backbone * 8})
    return made.model_copy(update={"costs": costs, "provenance": provenance})


def compared(*runs: Run) -> Comparison:
    (one,) = comparisons(protocol_groups(runs))
    return one


@pytest.mark.parametrize(
    "points, front",
    [
        ([], []),
        ([(1, 1)], [True]),
        ([(1, 2), (2, 1)], [True, True]),  # each better in one
        ([(1, 2), (2, 2)], [False, True]),  # as good in one, worse in the other
        ([(1, 1), (1, 1)], [True, True]),  # equals do not dominate each other
        ([(1, 1), (1, 1), (2, 1)], [False, False, True]),
        ([(3, 1), (2, 2), (1, 3), (2, 1), (1, 1)], [True, True, True, False, False]),
        ([(-1, -5), (-2, -4), (-2, -6)], [True, True, False]),
        ([(1, 2, 3), (1, 2, 2), (0, 3, 0)], [True, False, True]),
    ],
)
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, ...]], front: list[bool]) -> None:
    assert pareto_front(points) == front
    assert pareto_front(points[::-1]) == front[::-1]


def test_values_and_fronts_are_as_worked_out_by_hand() -> None:
    one = compared(
        run_of("big", "naive", 0.9, 0.6, seconds=40.0, retention=0.5, parameters=100),
        run_of("big", "ewc", 0.8, 0.7, seconds=50.0, retention=0.9, parameters=100),
        run_of("small", "naive", 0.8, 0.5, seconds=10.0, retention=0.4, parameters=10),
        run_of("small", "joint", 0.9, 0.9, seconds=15.0, retention=0.8, parameters=10, together=True),
    )
    assert [(choice.backbone, choice.strategy) for choice in one.choices] == [
        ("small", "joint"),
        ("small", "naive"),
        ("big", "ewc"),
        ("big", "naive"),
    ]
    assert [choice.learning for choice in one.choices] == pytest.approx([0.85, 0.8, 0.8, 0.85])
    assert [choice.forgetting for choice in one.choices] == [None, *(pytest.approx(x) for x in (0.3, 0.1, 0.3))]
    assert [choice.kept for choice in one.choices] == pytest.approx([0.8, 0.4, 0.9, 0.5])
    assert [choice.cost for choice in one.choices] == [15, 20, 100, 80]  # two stages, joint has one
    assert (one.unit, one.probe, one.title) == ("seconds", "news_retrieval", "short: mixed")
    assert fronts(one) == ({1: False, 2: True, 3: True}, {0: True, 1: False, 2: True, 3: False})
    table = tradeoff_table(one)
    assert list(table["parameters"]) == [10, 10, 100, 100]
    assert list(table["on_cost_front"]) == [True, False, True, False]
    assert pd.isna(table["on_learning_front"][0])
    rows = tradeoff_text(one).rows
    assert [row[:3] for row in rows] == [
        ["small, joint", "", "*"],
        ["small, naive", "", ""],
        ["big, ewc", "*", "*"],
        ["big, naive", "*", ""],
    ]


def test_means_are_over_seeds_and_only_of_runs_that_finished() -> None:
    one = compared(
        run_of("big", "naive", 0.9, 0.6, seed=0),
        run_of("big", "naive", 0.7, 0.6, seed=1),
        run_of("big", "ewc", 0.9, 0.6, failed_stage=1),
        run_of("small", "naive", 0.8, 0.5),
    )
    assert one.unit == "FLOPs"  # ewc never finished: there is one strategy
    assert [(c.backbone, c.strategy) for c in one.choices] == [("big", "naive"), ("small", "naive")]
    assert one.choices[0].learning == pytest.approx((0.85 + 0.75) / 2)


def test_seconds_stand_in_where_operations_were_not_noted() -> None:
    one = compared(run_of("big", "naive", 0.9, 0.6, flops=None), run_of("small", "naive", 0.8, 0.5))
    assert one.unit == "seconds"
    assert [choice.cost for choice in one.choices] == [20.0 + 20.0] * 2


def test_operations_are_the_cost_of_one_strategy_and_seconds_that_of_several() -> None:
    """Counted operations leave out a teacher's: by them lwf would tie with naive."""
    naive = [
        run_of("big", "naive", 0.9, 0.6, flops=7e12, seconds=30.0),
        run_of("small", "naive", 0.8, 0.5, flops=1e12, seconds=10.0),
    ]
    one, several = compared(*naive), compared(*naive, run_of("big", "lwf", 0.9, 0.6, flops=7e12, seconds=45.0))
    assert (one.unit, [choice.cost for choice in one.choices]) == ("FLOPs", [14e12, 2e12])
    costs = {f"{choice.backbone} {choice.strategy}": choice.cost for choice in several.choices}
    assert (several.unit, costs) == ("seconds", {"big lwf": 90, "big naive": 60, "small naive": 20})
    for comparison, axis, note in (
        (one, "training FLOPs ↓", "FLOPs."),
        (several, "training seconds ↓", "own work too."),
    ):
        assert keeping_against_cost(comparison).axes[0].get_xlabel() == axis
        assert tradeoff_text(comparison).notes[0].endswith(note)


def with_probes(run: Run, **rows: str) -> Run:
    """The same with probes on the given rows, each of which retains half."""
    data = run.provenance.data_sha256 | {probe: {"test": text} for probe, text in rows.items()}
    probes = [{probe: {"score": 0.8 - 0.2 * row} for probe in rows} for row in range(3)]
    return run.model_copy(
        update={"probes": probes, "provenance": run.provenance.model_copy(update={"data_sha256": data})}
    )


def test_backbones_are_compared_where_a_probe_was_left_out_for_one(tmp_path: Path) -> None:
    big, small = run_of("big", "naive", 0.9, 0.6), run_of("small", "naive", 0.8, 0.5)
    runs = [with_probes(big, masked="a", news="b"), with_probes(small, news="b")]
    one = compared(*runs)
    assert one.probe == "news"
    assert [choice.kept for choice in one.choices] == pytest.approx([0.5, 0.5])
    retained = {choice.backbone: choice.values["retention_masked"] for choice in one.choices}
    assert retained == {"big": pytest.approx(0.5), "small": None}
    assert "backbones.md" in {path.name for path in write_report(runs, tmp_path)}
    apart = compared(with_probes(big, masked="a"), with_probes(small, causal="b"))
    assert apart.probe == "" and all(choice.kept == choice.learning for choice in apart.choices)
    assert keeping_against_cost(apart).axes[0].get_ylabel() == "learning accuracy ↑"


def test_titles_say_nothing_of_a_probe_that_was_left_out_for_a_backbone() -> None:
    big, small = run_of("big", "naive", 0.9, 0.6), run_of("small", "naive", 0.8, 0.5)

    def titles(*runs: Run) -> list[str]:
        return [group.title for group in protocol_groups(runs)]

    assert titles(with_probes(big, news="b"), small) == ["short: mixed on big", "short: mixed on small"]
    assert all("data_sha256.news.test=" in title for title in titles(with_probes(big, news="b"), big))
    assert all(
        "data_sha256.news.test=" in title
        for title in titles(*(with_probes(r, news=n) for r, n in ((big, "a"), (small, "b"))))
    )


def test_backbones_that_have_a_probe_must_have_it_on_the_same_rows() -> None:
    one, two, three = (run_of(name, "naive", 0.9, 0.6) for name in ("one", "two", "three"))

    def found(*runs: Run) -> list[list[str]]:
        return [[choice.backbone for choice in each.choices] for each in comparisons(protocol_groups(runs))]

    assert found(with_probes(one, news="a"), with_probes(two, news="b")) == []
    assert found(with_probes(one, news="a"), with_probes(two, news="b"), with_probes(three, news="a")) == [
        ["one", "three"]
    ]
    # What lacks the probe can be compared with either, but those two not with each other.
    assert found(with_probes(one, news="a"), with_probes(two, news="b"), three) == [["one", "three"], ["three", "two"]]
    other = {"data_sha256": two.provenance.data_sha256 | {"bbc_news": {"train": "other"}}}
    assert found(one, two.model_copy(update={"provenance": two.provenance.model_copy(update=other)})) == []


def test_only_groups_that_differ_in_the_backbone_alone_are_compared() -> None:
    big, small = run_of("big", "naive", 0.9, 0.6), run_of("small", "naive", 0.8, 0.5)
    longer = small.model_copy(update={"settings": {**small.settings, "train": {"epochs": 9, "lr": 1e-3}}})
    assert comparisons(protocol_groups([big, longer])) == []
    assert comparisons(protocol_groups([big])) == []
    assert len(comparisons(protocol_groups([big, small, longer]))) == 1
    failed = run_of("small", "naive", 0.8, 0.5, failed_stage=0)
    assert comparisons(protocol_groups([big, failed])) == []


def test_titles_tell_backbones_by_name_unless_one_name_stands_for_two() -> None:
    big, small = run_of("big", "naive", 0.9, 0.6), run_of("small", "naive", 0.8, 0.5)
    titles = [group.title for group in protocol_groups([big, small])]
    assert titles == ["short: mixed on big", "short: mixed on small"]
    other = big.model_copy(update={"provenance": big.provenance.model_copy(update={"weights_sha256": "other"})})
    assert all("weights_sha256=" in group.title for group in protocol_groups([big, other]))


def test_a_report_of_several_backbones_compares_them(tmp_path: Path) -> None:
    runs = [
        run_of(backbone, strategy, learned, end, flops=flops, retention=retention)
        for backbone, flops in (("a-small-one", 1e12), ("a-larger-one", 7e12))
        for strategy, learned, end, retention in (("naive", 0.9, 0.6, 0.5), ("ewc", 0.8, 0.75, 0.9))
    ]
    names = {path.name for path in write_report(runs, tmp_path) if path.parent == tmp_path}
    figures = {f"backbones_{what}.{kind}" for what in ("learning", "cost") for kind in ("png", "svg")}
    assert names == figures | {"backbones.md", "backbones.csv", "backbones.tex", "report.json", "report.html"}
    assert len(pd.read_csv(tmp_path / "backbones.csv")) == 4
    assert "Backbones, short: mixed" in console_summary(runs)
    assert not any(path.name.startswith("backbones") for path in write_report(runs[:2], tmp_path / "one"))


def test_every_point_is_named_inside_the_axes_and_no_name_covers_another() -> None:
    one = compared(
        *(
            run_of(backbone, strategy, 0.4 + 0.02 * n, 0.3 + 0.01 * n, flops=10.0**n, retention=0.05 * n)
            for n, backbone in enumerate(("one", "two", "three"), start=10)
            for strategy in ("naive",)
        )
    )
    for draw in (learning_against_forgetting, keeping_against_cost):
        figure = draw(one)
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.texts] == ["naive"] * 3
        boxes = [text.get_window_extent() for text in axes.texts]
        assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()][:3] == ["one", "three", "two"]

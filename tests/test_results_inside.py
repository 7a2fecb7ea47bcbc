"""What records say of heads, bodies and the inside of stages: formulas by hand, columns and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from results import probe_plots, probe_tables, recovery, stability, tables
from results.record import FinishedRun, Run
from results.report import console_summary, write_report
from tests.results_fixtures import LAYERS, TASKS, make_run, table_of, text_of

SCORES = [[0.5, 0.5, 0.5], [0.9, 0.5, 0.5], [0.7, 0.8, 0.5], [0.6, 0.7, 0.9]]
REFITS: list[dict[str, float]] = [
    {},
    {"rotten_tomatoes": 0.95},
    {"bbc_news": 0.8},
    {"rotten_tomatoes": 0.85, "bbc_news": 0.85},
]
CURVES: list[list[dict[str, Any]]] = [
    [],
    [{"step": 4, "scores": {"rotten_tomatoes": 0.4}}, {"step": 8, "scores": {"rotten_tomatoes": 0.65}}],
    [{"step": 5, "scores": {"rotten_tomatoes": 0.65, "bbc_news": 0.2}}],
]


def inside(strategy: str = "naive", seed: int = 0, tasks: Sequence[str] = TASKS, **fields: Any) -> Run:
    """A record with everything, made up but for what is given."""
    run = make_run(strategy, seed, tasks=tasks, **fields)
    rows, stages = len(run.scores), len(run.costs)
    noise = np.random.default_rng(seed)
    curves: list[list[dict[str, Any]]] = []
    for stage in range(stages):
        trained = {name for group in run.stages[:stage] for name in group}
        points = range(2, 10, 2) if trained else ()
        curves.append([{"step": n, "scores": {t: noise.uniform(0.2, 0.9) for t in trained}} for n in points])
    refits: list[dict[str, float]] = [{} for _ in range(rows)]
    if len(run.stages) > 1:
        for row in range(1, min(rows, len(run.stages))):
            refits[row] = {name: noise.uniform(0.7, 0.9) for name in run.stages[row - 1]}
        if not run.failed:
            refits[-1] = {name: noise.uniform(0.6, 0.9) for group in run.stages[:-1] for name in group}
    alike = np.linspace(1, 0.3, rows)
    return Run.model_validate(
        run.model_dump()
        | {
            "similarity": [{layer: float(row) for layer in LAYERS} for row in alike],
            "refits": refits,
            "curves": curves,
        }
    )


def worked(**fields: Any) -> FinishedRun:
    return FinishedRun(make_run(scores=SCORES, **fields))


def test_forgetting_splits_into_what_the_body_and_the_head_lost() -> None:
    run = worked(refits=REFITS)
    split = recovery.losses(run)
    assert list(split) == ["rotten_tomatoes", "bbc_news"]
    # 0.9 - 0.6 lost, of it 0.95 - 0.85 by the body; 0.8 - 0.7 lost, by the body 0.8 - 0.85.
    assert astuple(split["rotten_tomatoes"]) == pytest.approx((0.2, 0.1))
    assert astuple(split["bbc_news"]) == pytest.approx((0.15, -0.05))
    assert recovery.head_lost(run) == pytest.approx(0.175)
    assert recovery.body_lost(run) == pytest.approx(0.025)


def test_a_refit_that_is_worse_than_the_trained_head_by_as_much_both_times_distorts_nothing() -> None:
    shifted = [{name: value - 0.3 for name, value in row.items()} for row in REFITS]
    for one, other in zip(
        recovery.losses(worked(refits=REFITS)).values(), recovery.losses(worked(refits=shifted)).values(), strict=True
    ):
        assert (one.head, one.body) == pytest.approx((other.head, other.body))


def test_a_task_without_fresh_heads_is_left_out(tmp_path: Path) -> None:
    """One that uses the pretrained head has none, neither after it was learned nor at the end."""
    refits = [{name: value for name, value in row.items() if name != "rotten_tomatoes"} for row in REFITS]
    run = worked(refits=refits)
    assert list(recovery.losses(run)) == ["bbc_news"]
    assert recovery.head_lost(run) == pytest.approx(0.15)
    assert recovery.body_lost(run) == pytest.approx(-0.05)
    assert probe_tables.lost_table([run])["task"].tolist() == ["bbc_news"]
    assert "lost by" in console_summary([run])
    assert "that do not use the pretrained head" in (text := text_of([run], "")).notes[6]
    assert text.headers[6].startswith("lost by\nthe head")
    assert "lost_by_head_and_body.png" in {path.name for path in write_report([run], tmp_path)}
    none = worked(refits=[{}] * 4)
    assert recovery.losses(none) == {} and recovery.head_lost(none) is None
    names = {path.name for path in write_report([none], tmp_path / "none")}
    assert "lost.csv" in names and "lost_by_head_and_body.png" not in names


def test_what_was_lost_is_not_drawn_if_no_strategy_has_it_in_all_runs(tmp_path: Path) -> None:
    """As when the one order has no earlier task with fresh heads: the table has no mean either."""
    runs = [worked(refits=REFITS), make_run(seed=1, scores=SCORES, refits=[{}] * 4)]
    assert "lost_by_head_and_body.png" not in {path.name for path in write_report(runs, tmp_path)}


@pytest.mark.parametrize(
    "run",
    [make_run(scores=SCORES), inside("joint", together=True), make_run(tasks=["only"], refits=[{}, {}])],
    ids=["not asked for", "together", "one task"],
)
def test_without_fresh_heads_or_later_stages_nothing_is_split(run: Run) -> None:
    finished = FinishedRun(run)
    assert recovery.losses(finished) == {}
    assert recovery.head_lost(finished) is recovery.body_lost(finished) is None


def test_the_curves_of_a_stage_begin_and_end_with_rows_of_scores() -> None:
    first, second, third = stability.stage_curves(worked(curves=CURVES))
    assert (first.steps, first.scores) == ([0, 10], {})
    assert second.steps == [0, 4, 8, 10]
    assert second.scores == {"rotten_tomatoes": [0.9, 0.4, 0.65, 0.7]}
    assert third.scores == {"rotten_tomatoes": [0.7, 0.65, 0.6], "bbc_news": [0.8, 0.2, 0.7]}


def test_the_worst_dip_is_from_the_beginning_of_a_stage_to_its_lowest_point() -> None:
    run = worked(curves=CURVES)
    assert stability.worst_dips(run) == {"rotten_tomatoes": pytest.approx(0.5), "bbc_news": pytest.approx(0.6)}
    assert stability.worst_dip(run) == pytest.approx(0.55)
    assert stability.lowest_scores(run) == {"rotten_tomatoes": 0.4, "bbc_news": 0.2}
    assert stability.min_acc(run) == pytest.approx(0.3)
    assert stability.wc_acc(run) == pytest.approx(0.9 / 3 + (1 - 1 / 3) * 0.3)


def test_a_score_that_never_falls_has_no_dip() -> None:
    rising = [[0.5, 0.5], [0.6, 0.5], [0.9, 0.9]]
    curves = [[], [{"step": 5, "scores": {"a": 0.7}}]]
    run = FinishedRun(make_run(scores=rising, tasks=["a", "b"], curves=curves))
    assert stability.worst_dip(run) == 0.0
    assert stability.min_acc(run) == 0.7


def test_what_was_not_tested_inside_is_undefined() -> None:
    for run in (make_run(scores=SCORES), inside("joint", together=True)):
        finished = FinishedRun(run)
        assert stability.worst_dip(finished) is stability.min_acc(finished) is stability.wc_acc(finished) is None


def test_columns_are_there_if_a_run_has_something_for_them() -> None:
    new = {"head_lost", "body_lost", "worst_dip", "min_acc", "wc_acc"}
    assert not new & set(table_of([make_run()]).columns)
    table = table_of([inside(), inside("joint", together=True)]).set_index("strategy")
    assert new <= set(table.columns)
    assert all(table[column].isna()["joint"] and table[column].notna()["naive"] for column in new)
    assert {"head_lost", "body_lost"} <= set(table_of([worked(refits=REFITS)]).columns)


def test_long_tables_hold_every_number() -> None:
    run = worked(refits=REFITS, curves=CURVES, similarity=[{"layer 1": value} for value in (1.0, 0.9, 0.8, 0.7)])
    assert tables.similarity_long([run])["value"].tolist() == [1.0, 0.9, 0.8, 0.7]
    refits = tables.refits_long([run])
    assert refits[["row", "task"]].to_numpy().tolist()[0] == [1, "rotten_tomatoes"] and len(refits) == 4
    lost = probe_tables.lost_table([run]).set_index("task")
    parts = [lost.at["bbc_news", name] for name in ("lost", "head_lost", "body_lost")]
    assert parts == pytest.approx([0.1, 0.15, -0.05])
    curves = probe_tables.curves_long([run])
    assert len(curves) == 4 + 3 + 3
    chosen = curves[(curves["stage"] == 2) & (curves["task"] == "rotten_tomatoes")]
    assert chosen[["step", "value"]].to_numpy().tolist() == [[0, 0.9], [4, 0.4], [8, 0.65], [10, 0.7]]


@pytest.mark.parametrize("field", ["similarity", "refits", "curves"])
def test_a_record_has_as_many_rows_as_there_are_states_or_none(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} has 1 entries, {3 if field == 'curves' else 4} or none expected"):
        made_up: dict[str, Any] = {field: [[] if field == "curves" else {}]}
        make_run(**made_up)


HOSTILE = "a_b & 50% | $x$ <b> \\frac{"
LONG = [f"a_task_with_a_long_name_{number}" for number in range(12)]
CASES: dict[str, list[Run]] = {
    "five": [
        inside(name, seed, together=name == "joint")
        for name in ("naive", "l2_anchor", "ewc", "freeze", "joint")
        for seed in range(2)
    ],
    "many strategies": [inside(f"strategy_{number}_" + "long_" * number) for number in range(7)],
    "twelve tasks": [inside(tasks=LONG), inside("ewc", tasks=LONG)],
    "hostile": [inside(HOSTILE, tasks=[HOSTILE, "_b"]), inside("_hidden", tasks=[HOSTILE, "_b"])],
    "some failed": [inside(), inside("ewc", failed_stage=1), inside("ewc", 1)],
}


def figures(runs: list[Run]) -> list[Figure]:
    return [
        *probe_plots.layers_over_stages(runs),
        probe_plots.lost_by_head_and_body(runs),
        probe_plots.scores_inside_stages(runs),
    ]


@pytest.mark.parametrize("case", CASES)
def test_figures_fit_a_column_with_nothing_clipped_or_small(case: str) -> None:
    for number, figure in enumerate(figures(CASES[case])):
        assert figure.get_figwidth() == pytest.approx(3.3)
        assert figure.get_figheight() < 14
        assert all(float(text.get_fontsize()) >= 7 for text in figure.findobj(Text) if isinstance(text, Text))
        buffer = BytesIO()
        figure.savefig(buffer, format="rgba", dpi=100)
        pixels = np.frombuffer(buffer.getvalue(), np.uint8).reshape(-1, 330, 4)[:, :, :3]
        assert (pixels < 128).any()
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == 255).all(), f"figure {number} is cut off at its edge"


def test_bars_are_as_long_as_what_was_lost_and_stand_end_to_end() -> None:
    axes = probe_plots.lost_by_head_and_body([worked(refits=REFITS)]).axes[0]
    body, head = axes.patches
    assert (body.get_x(), body.get_width()) == (0, pytest.approx(0.025))  # type: ignore[attr-defined]
    assert (head.get_x(), head.get_width()) == (pytest.approx(0.025), pytest.approx(0.175))  # type: ignore[attr-defined]
    opposite = [dict(row) for row in REFITS]
    opposite[3] = {"rotten_tomatoes": 1.0, "bbc_news": 0.85}  # the body gained 0.05 on the average
    body, head = probe_plots.lost_by_head_and_body([worked(refits=opposite)]).axes[0].patches
    assert (body.get_x(), body.get_width()) == (0, pytest.approx(-0.05))  # type: ignore[attr-defined]
    assert (head.get_x(), head.get_width()) == (0, pytest.approx(0.25))  # type: ignore[attr-defined]


def test_the_deepest_point_of_the_worst_dip_is_marked() -> None:
    first, second = probe_plots.scores_inside_stages([worked(curves=CURVES)]).axes
    (mark,) = [line for line in first.lines if line.get_marker() == "v"]
    assert (list(np.asarray(mark.get_xdata())), list(np.asarray(mark.get_ydata()))) == ([14], [0.4])
    (mark,) = [line for line in second.lines if line.get_marker() == "v"]
    assert (list(np.asarray(mark.get_xdata())), list(np.asarray(mark.get_ydata()))) == ([25], [0.2])


def test_layers_are_drawn_from_the_input_up_and_those_without_a_value_are_blank() -> None:
    run = make_run(layers=["embeddings", "layer 1", "top"])
    run = run.model_copy(update={"similarity": [{"embeddings": 1.0, "layer 1": 0.5}] * 4})
    (figure,) = probe_plots.layers_over_stages([run])
    left, right = figure.axes[:2]
    drawn = left.images[0].get_array()
    assert drawn is not None
    shown = np.ma.filled(np.ma.masked_invalid(drawn), -1)
    assert shown[:, 1].tolist() == [1.0, 0.5, -1]
    assert [label.get_text() for label in left.get_yticklabels()] == ["embeddings", "layer 1", "top"]
    assert left.get_ylim()[0] < left.get_ylim()[1]
    assert np.asarray(right.images[0].get_array())[0].tolist() == [row["embeddings"] for row in run.drift]


def test_a_report_has_them_where_there_is_something_to_show(tmp_path: Path) -> None:
    names = {path.name for path in write_report([inside(), inside("joint", together=True)], tmp_path / "all")}
    tables_ = {"similarity.csv", "refits.csv", "lost.csv", "curves.csv"}
    drawn = {f"{name}.png" for name in ("layers_over_stages_1", "lost_by_head_and_body", "scores_inside_stages")}
    assert tables_ | drawn <= names
    alone = {path.name for path in write_report([inside("joint", together=True)], tmp_path / "alone")}
    assert drawn & alone == {"layers_over_stages_1.png"}

"""Records of several orders: one table, a figure over stages for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from results import probe_plots, probe_tables, tables
from results.groups import by_order, protocol_groups, variants
from results.record import FinishedRun, Order, RecordError, Run
from results.report import console_summary, write_report
from tests.results_fixtures import TASKS, make_run, table_of, text_of

SWAPPED = [TASKS[0], TASKS[2], TASKS[1]]


def ordered(
    seed: int, number: int = 2, tasks: list[str] | None = None, strategy: str = "naive", **fields: object
) -> Run:
    """A run that learned the last two tasks the other way round: columns stay, rows move."""
    learned = SWAPPED
    scores = [[0.1] * 3, [0.9, 0.1, 0.1], [0.8, 0.1, 0.7], [0.7, 0.6, 0.5]]
    return make_run(
        strategy,
        seed,
        scores,
        order=Order(number=number, tasks=learned),
        stages=[[name] for name in learned],
        settings={"order": learned},
        **fields,  # type: ignore[arg-type]
    )


def test_orders_are_replicates_of_one_protocol() -> None:
    runs = [make_run(seed=0), make_run(seed=1), ordered(0), ordered(1)]
    assert len(protocol_groups(runs)) == 1
    (variant,) = variants(runs)
    assert [run.replicate for run in variant.runs] == ["seed 0", "seed 1", "seed 0, order 2", "seed 1, order 2"]
    (row,) = table_of(runs).to_dict("records")
    assert row["runs"] == 4
    text = text_of(runs, "")
    assert text.headers[1] == "runs" and text.rows[0][1] == "4" and "seeds and orders" in text.notes[1]
    assert text_of(runs[:2], "").headers[1] == "seeds"
    assert "runs" in console_summary(runs)


def test_a_task_is_followed_from_the_stage_that_trained_it() -> None:
    (row,) = table_of([ordered(0)]).to_dict("records")
    # Right after learning: 0.9 (stage 1), 0.6 (stage 3), 0.7 (stage 2); before the last stage two were learned.
    assert row["learning_accuracy"] == pytest.approx((0.9 + 0.6 + 0.7) / 3)
    assert row["backward_transfer"] == pytest.approx(((0.7 - 0.9) + (0.5 - 0.7)) / 2)


def test_the_same_seed_and_order_twice_is_refused_whatever_the_number() -> None:
    with pytest.raises(RecordError, match="naive: several records of seed 0, order 3"):
        variants([ordered(0), ordered(0, number=3)])
    with pytest.raises(RecordError, match="naive: several records of seed 0 with"):
        variants([make_run(seed=0), make_run(seed=0, order=Order(number=1, tasks=list(TASKS)))])


def test_records_from_before_have_the_order_of_their_columns() -> None:
    old = make_run()
    assert old.order == Order() and old.learned_in == list(TASKS) and old.replicate == "seed 0"
    with pytest.raises(ValidationError, match=r"order\.tasks and tasks name different tasks"):
        make_run(order=Order(number=2, tasks=["bbc_news"]))


def test_long_tables_tell_the_order() -> None:
    table = tables.scores_long([make_run(), ordered(0)])
    assert {order: len(rows) for order, rows in table.groupby("order")} == {1: 24, 2: 24}
    (line,) = tables.failures_table([ordered(0, failed_stage=1)]).to_dict("records")
    assert (line["order"], line["stage"], line["tasks"]) == (2, 2, "conll2003_ner")


def test_figures_over_stages_are_drawn_for_each_order(tmp_path: Path) -> None:
    runs = [make_run(seed=0), ordered(0), make_run("ewc"), ordered(0, strategy="ewc")]
    assert [len(same) for same in by_order(runs)] == [2, 2]
    names = {path.name for path in write_report(runs, tmp_path)}
    assert {"order_1_scores_over_stages.png", "order_2_scores_over_stages.png", "order_2_score_matrices_1.png"} <= names
    assert "scores_over_stages.png" not in names
    alone = {path.name for path in write_report(runs[::2], tmp_path / "alone")}
    assert "scores_over_stages.png" in alone


def probed(run: Run, *, similar: float = 0.5) -> Run:
    """The same with CKA and curves; stages that train ``bbc_news`` were tested twice, the others once."""
    curves: list[list[dict[str, Any]]] = [[]]
    for number, (name,) in list(enumerate(run.stages))[1:]:
        earlier = [task for (task,) in run.stages[:number]]
        steps = (3, 6) if name == "bbc_news" else (5,)
        curves.append([{"step": step, "scores": dict.fromkeys(earlier, 0.05 * step)} for step in steps])
    similarity = [dict.fromkeys(row, 1 - similar * (number > 0)) for number, row in enumerate(run.drift)]
    return Run.model_validate(run.model_dump() | {"curves": curves, "similarity": similarity})


def test_what_happens_inside_is_drawn_for_each_order(tmp_path: Path) -> None:
    runs = [probed(make_run(seed=0)), probed(ordered(0)), make_run("joint", together=True)]
    names = {path.name for path in write_report(runs, tmp_path)}
    drawn = {f"order_{n}_{what}.png" for n in (1, 2) for what in ("scores_inside_stages", "layers_over_stages_1")}
    assert drawn <= names
    assert not {"scores_inside_stages.png", "layers_over_stages_1.png"} & names
    alone = {path.name for path in write_report(runs[::2], tmp_path / "alone")}
    assert {"scores_inside_stages.png", "layers_over_stages_1.png"} <= alone


def test_an_order_without_curves_has_no_such_figure(tmp_path: Path) -> None:
    names = {path.name for path in write_report([probed(make_run(seed=0)), ordered(0)], tmp_path)}
    assert "order_1_scores_inside_stages.png" in names and "order_2_scores_inside_stages.png" not in names


def test_a_figure_of_an_order_has_its_own_tasks_values_and_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Any]] = {"scores_inside_stages": [], "layers_over_stages": []}

    def watched(name: str) -> Callable[[list[Run]], Any]:
        draw = getattr(probe_plots, name)

        def draw_and_keep(runs: list[Run]) -> Any:
            seen[name].append(draw(runs))
            return seen[name][-1]

        return draw_and_keep

    for name in seen:
        monkeypatch.setattr(probe_plots, name, watched(name))
    write_report([probed(make_run(seed=0), similar=0.2), probed(ordered(0), similar=0.6)], tmp_path)
    first, second = seen["scores_inside_stages"]
    # Order 2 learns the last two tasks the other way round: conll2003_ner is an earlier task in it, bbc_news is none.
    assert [axes.get_title(loc="left") for axes in first.axes] == ["rotten_tomatoes", "bbc_news"]
    assert [axes.get_title(loc="left") for axes in second.axes] == ["rotten_tomatoes", "conll2003_ner"]
    (line,) = [line for line in second.axes[1].lines if len(np.asarray(line.get_xdata())) == 4]
    assert np.asarray(line.get_xdata()).tolist() == [20, 23, 26, 30]
    assert np.asarray(line.get_ydata()) == pytest.approx([0.7, 0.15, 0.3, 0.5])
    for (page,), cka, stages in zip(seen["layers_over_stages"], (0.8, 0.4), (TASKS, SWAPPED), strict=True):
        assert np.asarray(page.axes[0].images[0].get_array())[:, 1:] == pytest.approx(np.full((7, 3), cka))
        words = "".join(page.get_suptitle().split())
        assert words == "stages:" + ",".join(f"{n}={task}" for n, task in enumerate(stages, start=1))


def test_tables_of_what_was_lost_and_of_curves_tell_the_order() -> None:
    refits = [[{}, {a: 0.9}, {b: 0.9}, {a: 0.8, b: 0.7}] for a, b, _ in (TASKS, SWAPPED)]
    runs = [
        FinishedRun(probed(run).model_copy(update={"refits": rows}))
        for run, rows in zip((make_run(seed=0), ordered(0)), refits, strict=True)
    ]
    lost = probe_tables.lost_table(runs)
    assert lost[["seed", "order", "task"]].to_numpy().tolist() == [
        [0, 1, "rotten_tomatoes"],
        [0, 1, "bbc_news"],
        [0, 2, "rotten_tomatoes"],
        [0, 2, "conll2003_ner"],
    ]
    curves = probe_tables.curves_long(runs)
    assert {order: len(rows) for order, rows in curves.groupby("order")} == {1: 4 + 2 * 3, 2: 3 + 2 * 4}
    assert curves.columns.tolist() == ["strategy", "seed", "order", "stage", "step", "task", "value"]

"""Records of several orders: one table, a figure over stages for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from results import tables
from results.groups import by_order, protocol_groups, variants
from results.record import Order, RecordError, Run
from results.report import console_summary, write_report
from tests.results_fixtures import TASKS, make_run

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
    (row,) = tables.forgetting_table(runs).to_dict("records")
    assert row["seeds"] == 4
    text = tables.forgetting_text(runs, "")
    assert text.headers[1] == "runs" and text.rows[0][1] == "4" and "seeds and orders" in text.notes[1]
    assert tables.forgetting_text(runs[:2], "").headers[1] == "seeds"
    assert "runs" in console_summary(runs)


def test_a_task_is_followed_from_the_stage_that_trained_it() -> None:
    (row,) = tables.forgetting_table([ordered(0)]).to_dict("records")
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

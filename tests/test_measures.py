"""Every published variant has its own name and its own number: by hand, by properties, and against Avalanche."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import metrics
from results.all_columns import named_columns
from results.measures import MEASURES, References, of_tasks
from results.record import FinishedRun, Run, finished_runs
from tests.results_fixtures import TASKS, make_run

SCORES = [[0.10, 0.20, 0.30], [0.80, 0.25, 0.20], [0.90, 0.70, 0.50], [0.60, 0.75, 0.90]]
JOINT = [[0.10, 0.20, 0.30], [0.85, 0.80, 1.00]]
ALONE = [[0.10, 0.20, 0.30], [0.80, 0.20, 0.30], [0.80, 0.75, 0.30], [0.80, 0.75, 0.85]]
RUNS = [
    make_run("naive", scores=SCORES),
    make_run("joint", scores=JOINT, together=True),
    make_run("independent", scores=ALONE),
]
BY_HAND = {
    "final_average": 2.25 / 3,
    "worst_task": 0.60,
    "average_incremental": (0.80 + 0.80 + 0.75) / 3,
    "average_of_triangle": (0.80 + 0.90 + 0.70 + 0.60 + 0.75 + 0.90) / 6,
    "learning_accuracy": 2.40 / 3,
    "forgetting": (0.30 - 0.05) / 2,
    "forgetting_over_all": (0.30 - 0.05) / 3,
    "forgetting_ever": (0.30 - 0.05) / 2,
    "forgetting_floored": (0.30 + 0.0) / 2,
    "forgetting_first": (0.20 - 0.05) / 2,
    "forgetting_first_over_all": (0.20 - 0.05) / 3,
    "backward_transfer": (-0.20 + 0.05) / 2,
    "backward_transfer_over_all": (-0.20 + 0.05) / 3,
    "backward_transfer_all_rows": (0.10 - 0.20 + 0.05) / 3,
    "backward_transfer_plus": 0.0,
    "remembering": 1 - 0.05 / 3,
    "forward_transfer": (0.05 + 0.20) / 2,
    "forward_transfer_over_all": (0.05 + 0.20) / 3,
    "forward_transfer_independent": (-0.05 + 0.05) / 2,
    "zero_shot": (0.25 + 0.20 + 0.50) / 3,
    "intransigence": (0.05 + 0.10 + 0.10) / 3,
    "intransigence_last": 0.10,
    "omega_base": (0.90 + 0.60) / 2 / 0.85,
    "omega_new": (0.70 + 0.90) / 2,
    "omega_all": (0.80 + 0.75) / 2 / 0.85,
}
AVALANCHE = json.loads((Path(__file__).parent / "avalanche_values.json").read_text(encoding="utf-8"))


def values(runs: list[Run], strategy: str = "naive") -> dict[str, float | None]:
    columns = named_columns(runs)
    (run,) = (run for run in finished_runs(runs) if run.strategy == strategy)
    return {measure.name: columns[measure.name].value(run) for measure in MEASURES}


def test_hand_worked_values_of_every_measure() -> None:
    assert values(RUNS) == pytest.approx(BY_HAND)


def test_names_are_unique_and_every_measure_says_what_it_is() -> None:
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)
    for measure in MEASURES:
        assert measure.formula and measure.better in "↑↓" and measure.header
        column = measure.column(References.among([]))
        assert measure.source in column.note and measure.formula in column.note
        assert not measure.against or measure.against in column.undefined


def test_a_run_of_one_stage_has_what_needs_no_sequence() -> None:
    defined = {name for name, value in values(RUNS, "joint").items() if value is not None}
    assert defined == {"final_average", "worst_task"}


def test_the_maximum_over_all_earlier_rows_sees_a_score_from_before_learning() -> None:
    lucky = [[0.0, 0.0, 0.0], [0.5, 0.9, 0.0], [0.5, 0.7, 0.0], [0.5, 0.6, 0.5]]
    assert metrics.forgetting(lucky, [1, 2, 3]) == pytest.approx(0.05)
    assert metrics.forgetting_ever(lucky, [1, 2, 3]) == pytest.approx(0.15)


@pytest.mark.parametrize("case", AVALANCHE["cases"], ids=lambda case: f"{len(case['scores'][0])} tasks")
def test_equal_to_avalanche_where_definitions_agree(case: dict[str, Any]) -> None:
    scores = np.array(case["scores"])
    learned_at = list(range(1, len(scores)))
    assert metrics.forgetting_first(scores, learned_at) == pytest.approx(case["stream_forgetting"])
    assert metrics.backward_transfer(scores, learned_at) == pytest.approx(case["stream_bwt"])
    assert metrics.forward_transfer(scores, learned_at) == pytest.approx(case["stream_forward_transfer"])
    last_row = case["functional_forgetting_last_row"]
    assert metrics.forgetting_first_over_all(scores, learned_at) == pytest.approx(np.mean(last_row))
    assert metrics.forgetting_first(scores, learned_at) == pytest.approx(np.mean(last_row[:-1]))


def test_a_reference_is_of_the_same_seed_and_order_and_there_is_just_one() -> None:
    naive, joint, alone = RUNS
    for missing in ([naive], [naive, joint.model_copy(update={"seed": 1}), alone.model_copy(update={"seed": 1})]):
        assert values(missing)["intransigence"] is values(missing)["forward_transfer_independent"] is None
    other = make_run("joint", scores=[[0.0] * 3, [0.5] * 3], together=True, hyperparameters={"x": 1})
    assert values([naive, joint, other])["intransigence"] is None
    failed = make_run("independent", failed_stage=1)
    assert values([naive, joint, failed])["forward_transfer_independent"] is None


def test_another_metric_of_the_tasks_has_the_same_formula() -> None:
    columns = named_columns(RUNS)
    run = finished_runs(RUNS)[0]
    # The fixture's second metric, "loss", is one minus the main score.
    assert columns["forgetting_first:loss"].value(run) == pytest.approx(-BY_HAND["forgetting_first"])
    assert columns["intransigence:loss"].value(run) == pytest.approx(-BY_HAND["intransigence"])
    assert "forgetting:span_f1" not in columns  # one task alone has it
    assert "loss" in columns["forgetting_first:loss"].note


def test_probe_measures_by_hand() -> None:
    probes = [{"search": {"mrr": value}} for value in (0.8, 0.4, 0.6, 0.2)]
    run = make_run(probes=probes)
    columns = named_columns([run])
    found = {name: columns[f"{name}_search"].value(FinishedRun(run)) for name in ("retention", "change", "fg")}
    assert found == pytest.approx({"retention": 0.25, "change": -0.6, "fg": (0.4 + 0.2 + 0.6) / 3 / 0.8})
    nothing = make_run(probes=[{"search": {"mrr": 0.0}}] * 4)
    assert named_columns([nothing])["fg_search"].value(FinishedRun(nothing)) is None


def test_a_run_seen_on_one_task_has_the_values_of_that_task() -> None:
    run = of_tasks(finished_runs(RUNS)[0], [TASKS[1]])
    columns = named_columns(RUNS)
    found = {name: columns[name].value(run) for name in ("final_average", "learning_accuracy", "forgetting_first")}
    assert found == pytest.approx({"final_average": 0.75, "learning_accuracy": 0.70, "forgetting_first": -0.05})
    assert columns["intransigence"].value(run) == pytest.approx(0.10)
    assert columns["forgetting"].value(of_tasks(finished_runs(RUNS)[0], [TASKS[2]])) is None


@st.composite
def _sequences(draw: st.DrawFn) -> tuple[Any, list[int], list[float]]:
    stages, tasks = draw(st.integers(2, 5)), draw(st.integers(1, 5))
    unit = st.floats(0, 1)
    cells = draw(st.lists(unit, min_size=(stages + 1) * tasks, max_size=(stages + 1) * tasks))
    learned_at = draw(st.lists(st.integers(1, stages), min_size=tasks, max_size=tasks))
    joint = draw(st.lists(st.floats(0.1, 1), min_size=tasks, max_size=tasks))
    return np.array(cells).reshape(stages + 1, tasks), learned_at, joint


@settings(max_examples=80, deadline=None)
@given(_sequences(), st.randoms(use_true_random=False))
def test_what_holds_of_every_matrix(sequence: tuple[Any, list[int], list[float]], random: Any) -> None:
    scores, learned_at, joint = sequence
    found = {measure.name: measure.compute(scores, learned_at, joint) for measure in MEASURES}
    order = random.sample(range(len(learned_at)), len(learned_at))
    for measure in MEASURES:
        moved = measure.compute(scores[:, order], [learned_at[t] for t in order], [joint[t] for t in order])
        assert moved == (None if found[measure.name] is None else pytest.approx(found[measure.name])), measure.name
    if found["forgetting"] is not None:
        first, best, ever = found["forgetting_first"], found["forgetting"], found["forgetting_ever"]
        assert first is not None and ever is not None and found["forgetting_floored"] is not None
        assert first - 1e-12 <= best <= ever + 1e-12
        assert found["forgetting_floored"] >= max(best, 0.0) - 1e-12
        share = sum(row < len(scores) - 1 for row in learned_at) / len(learned_at)
        assert found["forgetting_over_all"] == pytest.approx(best * share)
        assert found["forgetting_first_over_all"] == pytest.approx(first * share)
        plus, kept = found["backward_transfer_plus"], found["remembering"]
        assert plus is not None and kept is not None
        assert plus + kept - 1 == pytest.approx(found["backward_transfer_all_rows"])
    learning = found["learning_accuracy"]
    assert learning is not None
    assert found["intransigence"] == pytest.approx(np.mean(joint) - learning)
    later = [t for t, row in enumerate(learned_at) if row > 1]
    ahead = [scores[learned_at[t], t] - joint[t] for t in later]
    assert found["forward_transfer_independent"] == (pytest.approx(np.mean(ahead)) if later else None)


def test_the_documentation_has_every_measure_with_its_formula_and_source() -> None:
    text = (Path(__file__).parents[1] / "docs" / "statistics.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert list(rows) == [measure.name for measure in MEASURES]
    for measure in MEASURES:
        assert f"| {measure.formula} | {measure.better} | {measure.source or '–'} |" in rows[measure.name]

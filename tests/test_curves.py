"""Tests inside a stage: they change nothing of the training, and survive what stops it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.cli import main
from benchmark.curves import Curve
from benchmark.loop import evaluate
from benchmark.stages import path
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from results.record import Run
from strategies.base import Learner, Strategy
from tests.lab import OpenStudy, Ran, numbers, run_all
from tests.nursery import EVERYWHERE, suite_file, write_suite
from tests.test_checkpoints import After

STEPS = (6, 6, 13)
"""Of the stages of `tests.nursery`'s suite: sentiment, tags, spans."""


class Quiet:
    def __init__(self) -> None:
        self.told: list[float] = []

    def step(self, loss: float, examples: int) -> None:
        self.told.append(loss)

    def skip(self, examples: int) -> None:
        self.told.append(-examples)


def test_points_lie_every_so_many_steps_and_not_at_the_end() -> None:
    watch, asked = Quiet(), iter(range(100))
    curve = Curve(watch, nn.Linear(1, 1), 2, 6, lambda: {"a": next(asked)})
    for step in range(6):
        curve.step(float(step), 1)
    assert [(point["step"], point["scores"]) for point in curve.points] == [(2, {"a": 0}), (4, {"a": 1})]
    assert watch.told == [0, 1, 2, 3, 4, 5]
    assert 0 <= curve.seconds == sum(point["seconds"] for point in curve.points)


def test_the_mode_of_every_module_is_put_back() -> None:
    frozen = nn.Dropout()
    model = nn.Sequential(nn.Dropout(), nn.Sequential(frozen, nn.Dropout()))
    model.train()
    frozen.eval()  # as a strategy may that freezes a part
    modes = [module.training for module in model.modules()]

    def test() -> dict[str, float]:
        model.eval()
        return {}

    Curve(Quiet(), model, 1, 2, test).step(0.0, 1)
    assert [module.training for module in model.modules()] == modes
    assert modes == [True, True, True, False, True]


Opened = Callable[..., Study]


@pytest.fixture
def opened(offline_catalogue: Path, backbone_folder: Path) -> Any:
    """Opens the suite of three short stages with some strategies; one thread, it is too small for more."""
    write_suite(backbone_folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def study(strategies: str, *settings: str) -> Study:
        overrides = Overrides(strategies.split(","), None, settings)
        return open_study(load_suite(str(suite_file(backbone_folder)), overrides), "cpu", lambda _: None)

    yield study
    torch.set_num_threads(threads)


def plain(run: Run) -> dict[str, Any]:
    """A record but for times, and for what curves add."""
    record = numbers(run)
    assert record["settings"].pop("eval_every", 1) in (1, 2)
    del record["curves"]
    return record


USUAL = ["naive", "ewc", "replay", "lora", "independent", "joint"]


@pytest.mark.parametrize(
    "names", [USUAL, pytest.param([name for name in EVERYWHERE if name not in USUAL], marks=pytest.mark.slow)]
)
def test_records_with_and_without_curves_agree_bit_for_bit_in_all_else(
    opened: Opened, tmp_path: Path, names: list[str]
) -> None:
    studies = opened(",".join(names)), opened(",".join(names), "eval_every=2")
    without, watched = (Ran(study, tmp_path / str(number)).runs for number, study in enumerate(studies))
    for one, other in zip(without, watched, strict=True):
        assert one.failure is None, one.failure
        assert plain(one) == plain(other), one.strategy
        assert one.curves == []
        steps = [[point.step for point in stage] for stage in other.curves]
        assert steps == ([[]] if one.strategy == "joint" else [[], [2, 4], [2, 4, 6, 8, 10, 12]])


def test_a_point_is_what_a_test_then_would_tell(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last point before the end of a stage of n steps is the state after n - 1 of them, stopped there."""
    study = opened("naive", "eval_every=1")
    run = Ran(study, tmp_path / "whole").runs[0]
    # Stages ask after every step, and once more at their end: 6 + 1 and then 5 of the second.
    with pytest.raises(KeyboardInterrupt):
        Ran(study, tmp_path / "stopped", stop=After(7 + 5))
    found: dict[str, float] = {}

    def resumed(
        learner: Learner, strategy: Strategy, stage: Any, tasks: Any, team: Any, watch: Any, keeper: Any
    ) -> Any:
        from benchmark.loop import select_trainable

        select_trainable(learner, {task.head for task in tasks})
        strategy.before_stage(learner, stage)
        assert len(keeper.resume(learner, strategy.optimizer(learner))) == 5
        task = study.task("tiny_sentiment")
        found.update(evaluate(learner, strategy, task, team))
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.worker.train_stage", resumed)
    with pytest.raises(KeyboardInterrupt):
        Ran(study, tmp_path / "stopped")
    assert run.curves[1][-1].step == 5
    assert run.curves[1][-1].scores == {"tiny_sentiment": found["accuracy"]}


@pytest.mark.parametrize("times", [(10,), (10, 4), (17, 3)])
def test_a_run_that_is_stopped_inside_stages_keeps_its_curves(
    opened: Opened, tmp_path: Path, times: tuple[int, ...]
) -> None:
    study = opened("ewc", "eval_every=2")
    whole = Ran(study, tmp_path / "whole").runs[0]
    for number in times:
        with pytest.raises(KeyboardInterrupt):
            Ran(study, tmp_path / "stopped", stop=After(number))
    assert list((tmp_path / "stopped" / "stages" / "checkpoints").glob("*"))
    rest = Ran(study, tmp_path / "stopped").runs[0]
    assert numbers(rest) == numbers(whole)
    assert [len(stage) for stage in rest.curves] == [0, 2, 6]


def test_stages_without_curves_do_not_answer_for_those_with_them_but_first_stages_do(
    opened: Opened, tmp_path: Path
) -> None:
    keys = {
        every: [node.key for node in path(study, study.suite.cells[0]) if node.step == "train"]
        for every, study in {
            None: opened("naive"),
            2: opened("naive", "eval_every=2"),
            3: opened("naive", "eval_every=3"),
            "tests": opened("naive", "eval_every=2", "test_examples=4"),
        }.items()
    }
    assert len({keys[every][0] for every in keys}) == 1  # nothing comes before it
    for stage in (1, 2):
        assert len({keys[every][stage] for every in keys}) == 4
    Ran(opened("naive"), tmp_path / "runs", keep="all")
    ran = Ran(opened("naive", "eval_every=2"), tmp_path / "runs")
    assert ran.trained == 4 * sum(STEPS[1:])
    assert [len(stage) for stage in ran.runs[0].curves] == [0, 2, 6]


def test_time_for_tests_inside_stages_is_not_training_time(
    open_tiny: OpenStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_all(open_tiny(["naive"], ["training.epochs=1", "eval_every=1"]), tmp_path / "runs")["naive"]
    parts = sum(cost.train_seconds + cost.evaluate_seconds for cost in run.costs)
    assert all(cost.train_seconds > 0 for cost in run.costs)
    assert run.seconds > parts  # the untrained model is measured too
    assert sum(len(stage) for stage in run.curves) > 10


def test_the_command_line_sets_it(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> None:
    write_suite(backbone_folder)
    arguments = ["run", str(suite_file(backbone_folder)), "--strategies", "naive", "--device", "cpu"]
    assert main([*arguments, "--out", str(tmp_path / "runs"), "--eval-every", "4"]) == 0
    header, *lines = (tmp_path / "runs" / "report" / "curves.csv").read_text(encoding="utf-8").splitlines()
    assert header == "strategy,seed,order,stage,step,task,value"
    assert [line.split(",")[3:6] for line in lines][:3] == [["2", str(step), "tiny_sentiment"] for step in (0, 4, 6)]
    assert (tmp_path / "runs" / "report" / "scores_inside_stages.png").exists()

"""A model a task, and bodies that are merged of them: by hand on a few weights, and through the real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmark.loop import evaluate
from benchmark.stages import path
from strategies.base import Learner, Stage, Strategy, Training, snapshot
from strategies.independent import Independent
from strategies.naive import Naive
from strategies.task_arithmetic import TaskArithmetic
from strategies.ties import Ties, disjoint_mean, trimmed
from tests.kill_harness import records
from tests.lab import OpenStudy, Ran, numbers, train, weights
from tests.small_problem import Problem, problem
from tests.test_checkpoints import position, stop

ALONE: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (Independent(), TaskArithmetic(scale=0.5), Ties(density=0.3))
}
"""Every stage of each begins with the pretrained body."""


class Weights(nn.Module):
    """A body of two tensors with four weights together, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor([10.0, 20.0, 30.0]))
        self.second = nn.Parameter(torch.tensor([[40.0]]))
        self.head = nn.Parameter(torch.tensor([1.0]))


class ByHand:
    """Stages whose training is written down: what it adds to the four weights, and to the head."""

    def __init__(self, strategy: Strategy) -> None:
        model = Weights()
        layers = {"layer 1": ["first", "second"]}
        untrained = snapshot(dict(model.named_parameters()))
        self.learner = Learner(model, layers, {"head": ["head"]}, {}, Training(), 0, untrained)
        self.strategy, self.model, self.number = strategy, model, 0

    def stage(self, *added: float) -> list[float]:
        """The four weights after a stage that adds these; before it, they must be the pretrained ones."""
        stage = Stage(self.number, False, [], 1, lambda *_: iter([]))
        self.number += 1
        self.strategy.before_stage(self.learner, stage)
        assert self.body() == [10.0, 20.0, 30.0, 40.0]
        self.model.first.data += torch.tensor(added[:3])
        self.model.second.data += added[3]
        self.model.head.data += 1
        self.strategy.after_stage(self.learner, stage)
        assert self.model.head.item() == 1 + self.number
        return self.body()

    def body(self) -> list[float]:
        return [*self.model.first.tolist(), *self.model.second[0].tolist()]


def test_task_arithmetic_of_three_tasks_worked_out_by_hand() -> None:
    by_hand = ByHand(TaskArithmetic(scale=0.5))
    assert by_hand.stage(2, 0, -4, 8) == [11, 20, 28, 44]
    assert by_hand.stage(2, 6, 4, 0) == [12, 23, 30, 44]  # the third weight's changes cancel out
    assert by_hand.stage(-4, 2, 1, -8) == [10, 24, 30.5, 40]
    assert by_hand.learner.state_bytes() == 4 * 4


def test_ties_of_three_tasks_worked_out_by_hand() -> None:
    """Density 0.5 keeps two of the four weights of each vector, counted over both tensors."""
    by_hand = ByHand(Ties(density=0.5, scale=2.0))
    # (2, 1, -4, 8) -> (0, 0, -4, 8): alone, its mean is itself.
    assert by_hand.stage(2, 1, -4, 8) == [10, 20, 30 - 8, 40 + 16]
    # (3, 0, 1, 6) -> (3, 0, 0, 6). First: 3 alone, zeros don't count. Last: the mean of 8 and 6.
    assert by_hand.stage(3, 0, 1, 6) == [10 + 6, 20, 30 - 8, 40 + 14]
    # (-7, 0, 5, 1) -> (-7, 0, 5, 0). First: 3 - 7 elects minus, -7 alone. Third: -4 + 5 elects plus, 5 alone.
    assert by_hand.stage(-7, 0, 5, 1) == [10 - 14, 20, 30 + 10, 40 + 14]
    # (4, 0, 0, -20) -> (4, 0, 0, -20). First: 3 - 7 + 4 = 0 elects nothing. Last: 8 + 6 - 20 elects minus.
    assert by_hand.stage(4, 0, 0, -20) == [10, 20, 30 + 10, 40 - 40]
    assert by_hand.learner.state_bytes() == 4 * 4 * 4


@pytest.mark.parametrize(
    ("vector", "density", "expected"),
    [
        ([1, -3, 2, -4], 0.5, [0, -3, 0, -4]),
        ([1, -3, 2, -4], 1.0, [1, -3, 2, -4]),
        ([1, -3, 2, -4], 0.01, [0, 0, 0, -4]),  # at least one stays
        ([2, -2, 2, 1], 0.25, [2, -2, 2, 0]),  # and all that equal it
        ([0, 0, 0, 5], 0.75, [0, 0, 0, 5]),
        ([0, 0, 0, 0], 0.5, [0, 0, 0, 0]),
        ([1, -3, 2, -4], 0.3, [0, 0, 0, -4]),  # 1.2 entries are one
    ],
)
def test_trimming_keeps_the_largest_magnitudes(vector: list[float], density: float, expected: list[float]) -> None:
    values = torch.tensor(vector, dtype=torch.float32)
    assert trimmed({"all": values}, density)["all"].tolist() == expected
    parts = trimmed({"a": values[:1], "b": values[1:].reshape(1, -1)}, density)
    assert [*parts["a"].tolist(), *parts["b"][0].tolist()] == expected


def test_the_mean_of_those_that_agree_does_not_depend_on_order_and_is_none_of_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(50, generator=generator) * (torch.rand(50, generator=generator) > 0.4) for _ in range(5)]
    merged = disjoint_mean(parts)
    torch.testing.assert_close(disjoint_mean(parts[::-1]), merged)
    torch.testing.assert_close(disjoint_mean([-part for part in parts]), -merged)
    for place, value in enumerate(merged.tolist()):
        entries = [part[place].item() for part in parts]
        sign = 1 if sum(entries) > 0 else -1
        agreeing = [entry for entry in entries if entry * sign > 0]
        assert value == pytest.approx(sum(agreeing) / len(agreeing) if agreeing else 0)


def test_one_task_alone_keeps_its_own_body() -> None:
    expected = weights(trained(Naive(), 1).learner)
    for strategy in (TaskArithmetic(scale=1), Ties(density=1, scale=1)):
        for name, value in weights(trained(strategy, 1).learner).items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("strategy", [TaskArithmetic(scale=0), Ties(scale=0)])
def test_a_scale_of_0_gives_the_pretrained_body(strategy: Strategy) -> None:
    learner = trained(strategy, 2).learner
    assert all(torch.equal(value, learner.untrained[name]) for name, value in learner.body().items())


def trained(strategy: Strategy, stages: int, count: int = 3) -> Problem:
    made = problem(count=count)
    for index in range(stages):
        made.train(strategy, index)
    return made


def alone(index: int) -> dict[str, Tensor]:
    """The weights that a task trained by itself has."""
    made = problem(count=3)
    made.train(Naive(), index)
    return weights(made.learner)


def test_the_merged_body_is_that_of_models_trained_alone() -> None:
    bodies = [alone(index) for index in range(3)]
    learner = trained(TaskArithmetic(scale=0.5), 3).learner
    for name, value in learner.body().items():
        start = learner.untrained[name]
        summed = sum((body[name] - start for body in bodies), torch.zeros(()))
        torch.testing.assert_close(value.detach(), start + 0.5 * summed, rtol=1e-5, atol=1e-6)
    for index in range(3):
        name = f"heads.task{index}.weight"
        assert torch.equal(weights(learner)[name], bodies[index][name])
    learner = trained(Ties(density=1.0), 3).learner
    for name, value in learner.body().items():
        start = learner.untrained[name]
        merged = disjoint_mean([body[name] - start for body in bodies])
        torch.testing.assert_close(value.detach(), start + merged, rtol=1e-5, atol=1e-6)


def test_every_task_is_predicted_with_the_model_that_it_trained_alone() -> None:
    made = trained(Independent(), 3)
    current = weights(made.learner)
    for index, task in enumerate(made.tasks):
        expected = alone(index)
        with torch.inference_mode(), Independent().predicting(made.learner, task):
            inside = weights(made.learner)
            for name in [*made.learner.body(), *made.learner.heads[task.head]]:
                assert torch.equal(inside[name], expected[name])
        assert all(torch.equal(value, current[name]) for name, value in weights(made.learner).items())
    made.learner.model.train()
    for parameter in made.learner.model.parameters():  # none of them was spoilt for training
        parameter.requires_grad_(True)
    made.learner.rows(made.tasks[0], made.tasks[0].batch([0, 1])).logits.sum().backward()  # type: ignore[no-untyped-call]


def test_a_task_that_is_still_to_come_is_predicted_with_the_pretrained_model() -> None:
    made = trained(Independent(), 2)
    with Independent().predicting(made.learner, made.tasks[2]):
        for name in [*made.learner.body(), *made.learner.heads["task2"]]:
            assert torch.equal(weights(made.learner)[name], made.learner.untrained[name])


def test_an_error_while_predicting_leaves_the_current_model() -> None:
    made = trained(Independent(), 2)
    current = weights(made.learner)
    with pytest.raises(RuntimeError, match="no answer"), Independent().predicting(made.learner, made.tasks[0]):
        raise RuntimeError("no answer")
    assert all(torch.equal(value, current[name]) for name, value in weights(made.learner).items())


def test_models_of_tasks_that_share_a_head_have_one_each() -> None:
    def sharing() -> Problem:
        made = problem()
        made.learner.heads = {task.head: ["heads.task0.weight", "heads.task0.bias"] for task in made.tasks}
        heads = made.learner.model.get_submodule("heads")
        assert isinstance(heads, nn.ModuleDict)
        heads["task1"] = heads["task0"]
        return made

    made, second = sharing(), sharing()
    for index in range(2):
        made.train(Independent(), index)
    second.train(Naive(), 1)
    models = made.learner.state["models"]
    assert torch.equal(models["task1"]["heads.task0.weight"], weights(second.learner)["heads.task0.weight"])
    assert torch.equal(models["task0"]["heads.task0.weight"], alone(0)["heads.task0.weight"])


def test_independent_models_forget_nothing_and_cost_one_model_a_task(open_tiny: OpenStudy, tmp_path: Path) -> None:
    study = open_tiny(["independent", "naive"], ["training.learning_rate=1e-2"])
    ran = Ran(study, tmp_path / "runs")
    run, naive = ran.by_strategy["independent"], ran.by_strategy["naive"]
    for position_ in range(4):
        column = [row[position_] for row in run.scores]
        assert len(set(column[position_ + 1 :])) == 1
        assert len(set(column[: position_ + 1])) == 1  # untrained until its stage has come
    assert run.scores[4] != run.scores[0] and run.scores[1][0] == naive.scores[1][0]
    body = sum(value.numel() for value in study.backbone.body.parameters())
    heads = [(2 * 32 + 2), (2 * 32 + 2), (3 * 32 + 3), (2 * 32 + 2)]
    assert [cost.strategy_bytes for cost in run.costs] == [4 * ((1 + t) * body + sum(heads[: t + 1])) for t in range(4)]


def test_evaluating_uses_a_tasks_own_model(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"], ["training.epochs=10", "training.learning_rate=1e-2"])
    learner, _ = train(study, Independent(), stages=4)
    once, _ = train(study, Naive(), stages=1)
    first = study.tasks[0]
    assert evaluate(learner, Independent(), first, study.team) == evaluate(once, Naive(), first, study.team)
    assert evaluate(learner, Naive(), first, study.team) != evaluate(once, Naive(), first, study.team)


def test_the_first_stage_is_trained_once_for_all_and_those_that_follow_are_not(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive", *ALONE], ["training.epochs=1"])
    naive, *others = [path(study, cell) for cell in study.suite.cells]
    for nodes in others:
        assert nodes[1] == naive[1]
        assert [node.step for node in nodes] == ["start", *["train", "after"] * 4]
        assert not {node.key for node in nodes[2:]} & {node.key for node in naive[2:]}
    assert len({nodes[2].key for nodes in others}) == 3


@pytest.mark.parametrize("name", ALONE)
def test_the_last_stage_is_merged_or_kept_too(name: str) -> None:
    strategy = ALONE[name]
    assert strategy.fingerprint_after(problem().stage(1)) == strategy.fingerprint_after(problem().stage(0)) != {}
    assert bool(strategy.fingerprint_prediction()) is (name == "independent")


@pytest.mark.parametrize("name", ALONE)
def test_a_run_that_is_killed_in_the_middle_of_stages_equals_one_that_is_not(
    open_tiny: OpenStudy, tmp_path: Path, name: str
) -> None:
    settings = [f"{name}.{field}={value}" for field, value in vars(ALONE[name]).items()]
    study = open_tiny([name], ["training.epochs=1", "train_examples=32", *settings])
    whole = Ran(study, tmp_path / "whole")
    assert whole.runs[0].failure is None and len(whole.runs[0].scores) == 5
    at = []
    for times in (3, 5):
        stop(study, tmp_path / "killed", times)
        at.append(position(tmp_path / "killed"))
    assert at == [3, 2]
    rest = Ran(study, tmp_path / "killed", checkpoint_seconds=0)
    assert rest.progress.skipped > 0
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert numbers(rest.runs[0]) == numbers(whole.runs[0])


@pytest.mark.parametrize("name", ALONE)
def test_nothing_is_remembered_but_in_the_state(name: str) -> None:
    before = dict(vars(ALONE[name]))
    first, second = trained(ALONE[name], 3), trained(ALONE[name], 3)
    assert vars(ALONE[name]) == before
    assert all(torch.equal(value, weights(first.learner)[n]) for n, value in weights(second.learner).items())

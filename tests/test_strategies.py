"""What each strategy must and must not do, on a problem small enough to follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from strategies.base import Learner, Strategy, Training, snapshot
from strategies.ewc import EWC
from strategies.freeze import Freeze
from strategies.joint import Joint
from strategies.l2_anchor import L2Anchor
from strategies.naive import Naive
from tests.small_problem import Problem, problem


def weights(made: Problem) -> dict[str, Tensor]:
    return snapshot(dict(made.learner.model.named_parameters()))


def trained(strategy: Strategy, stages: int = 2, training: Training | None = None) -> Problem:
    made = problem(training=training)
    for index in range(stages):
        made.train(strategy, index)
    return made


def body_distance(made: Problem, reference: dict[str, Tensor]) -> float:
    return sum(float((value.detach() - reference[name]).norm()) for name, value in made.learner.body().items())


@pytest.mark.parametrize(
    "strategy", [L2Anchor(lam=0), L2Anchor(lam=0, anchor="previous"), EWC(lam=0), EWC(lam=0, fisher="exact")]
)
def test_without_strength_it_is_naive_bit_for_bit(strategy: Strategy) -> None:
    expected = weights(trained(Naive()))
    assert all(torch.equal(value, expected[name]) for name, value in weights(trained(strategy)).items())


@pytest.mark.parametrize("strategy", [L2Anchor(lam=0.5), L2Anchor(lam=0.5, anchor="previous"), EWC(lam=10)])
def test_with_strength_it_is_not_naive(strategy: Strategy) -> None:
    assert body_distance(trained(strategy), weights(trained(Naive()))) > 1e-3


@pytest.mark.parametrize("strategy", [L2Anchor(lam=0.5), EWC(lam=10), Freeze(), Naive()])
def test_the_same_run_twice_gives_the_same_bits(strategy: Strategy) -> None:
    expected = weights(trained(strategy))
    assert all(torch.equal(value, expected[name]) for name, value in weights(trained(strategy)).items())


def test_a_large_l2_strength_holds_the_pretrained_weights() -> None:
    training = Training(learning_rate=1e-3, head_learning_rate=0.05)
    start = weights(problem())
    free = body_distance(trained(Naive(), training=training), start)
    # Adam takes steps of the learning rate whatever the gradient's size: held weights still tremble by that much.
    assert body_distance(trained(L2Anchor(lam=1e4), training=training), start) < 0.35 * free


def test_a_large_ewc_strength_holds_the_weights_that_mattered() -> None:
    training = Training(learning_rate=1e-3, head_learning_rate=0.05)

    def moved_in_second_stage(strategy: Strategy) -> float:
        made = problem(training=training)
        made.train(strategy, 0)
        before = weights(made)
        made.train(strategy, 1)
        return body_distance(made, before)

    assert moved_in_second_stage(EWC(lam=1e6, fisher="exact")) < 0.35 * moved_in_second_stage(Naive())


def test_the_l2_pull_is_the_gradient_of_the_stated_formula() -> None:
    made, strategy = problem(), L2Anchor(lam=0.3)
    start = weights(made)
    strategy.before_stage(made.learner, made.stage(0))
    for parameter in made.learner.body().values():
        parameter.data += 1.5
        parameter.grad = torch.zeros_like(parameter)
    strategy.before_step(made.learner)
    loss = sum(
        (0.3 * ((value - start[name]) ** 2).sum() for name, value in made.learner.body().items()), torch.zeros(())
    )
    for value, expected in zip(
        made.learner.body().values(), torch.autograd.grad(loss, list(made.learner.body().values())), strict=True
    ):
        assert value.grad is not None
        torch.testing.assert_close(value.grad, expected)


@pytest.mark.parametrize(("anchor", "moves"), [("pretrained", False), ("previous", True)])
def test_the_l2_anchor_is_the_stated_one(anchor: str, moves: bool) -> None:
    made = problem()
    strategy = L2Anchor(lam=0.1, anchor=anchor)  # type: ignore[arg-type]
    made.train(strategy, 0)
    made.train(strategy, 1)
    start = weights(problem())
    same = all(torch.equal(value, start[name]) for name, value in made.learner.state["anchor"].items())
    assert same is not moves


def test_heads_are_not_anchored_by_l2() -> None:
    assert set(trained(L2Anchor()).learner.state["anchor"]) == set(problem().learner.body())


def test_ewc_holds_nothing_in_the_first_stage() -> None:
    expected = weights(trained(Naive(), stages=1))
    assert all(torch.equal(v, expected[n]) for n, v in weights(trained(EWC(lam=1e6), stages=1)).items())


def test_ewc_pulls_like_separate_penalties_of_all_earlier_tasks() -> None:
    made, strategy = problem(count=3), EWC(lam=7.0, fisher="exact", examples=12)
    anchors, fishers = [], []
    for index in range(2):
        made.train(strategy, index)
        anchors.append(snapshot(made.learner.body()))
        single = problem(count=3)
        single.learner.model.load_state_dict(made.learner.model.state_dict())
        single.learner.model.eval()
        strategy.after_stage(single.learner, made.stage(index))
        fishers.append(single.learner.state["importance"])
    for parameter in made.learner.model.parameters():
        parameter.requires_grad_(True)
        parameter.data += 0.3
        parameter.grad = torch.zeros_like(parameter)
    strategy.before_step(made.learner)
    for name, parameter in made.learner.body().items():
        written = sum(
            (
                7.0 * fisher[name] * (parameter.detach() - anchor[name])
                for fisher, anchor in zip(fishers, anchors, strict=True)
            ),
            torch.zeros(()),
        )
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, written, rtol=1e-4, atol=1e-6)


def test_ewc_measures_with_dropout_off() -> None:
    made, strategy = problem(), EWC(fisher="exact", examples=12)
    made.train(strategy, 0)
    first = snapshot(made.learner.state["importance"])
    made.learner.state.clear()
    torch.manual_seed(99)  # would give other dropout masks
    strategy.after_stage(made.learner, made.stage(0))
    assert all(torch.equal(value, first[name]) for name, value in made.learner.state["importance"].items())


def test_ewc_does_not_measure_what_nobody_will_use() -> None:
    made = trained(EWC(lam=1), stages=2)
    alone = trained(EWC(lam=1), stages=1)
    assert made.learner.state_bytes() == alone.learner.state_bytes()


def test_ewc_costs_two_copies_however_many_tasks() -> None:
    made = problem(count=5)
    trained_weights = sum(value.numel() for value in made.learner.body().values())
    head = sum(dict(made.learner.model.named_parameters())[name].numel() for name in made.learner.heads["task0"])
    for index in range(4):
        made.train(EWC(lam=1), index)
        assert made.learner.state_bytes() == 4 * 2 * (trained_weights + (index + 1) * head)


@pytest.mark.parametrize("strategy", [Naive(), L2Anchor(), EWC(), Freeze()])
def test_heads_of_other_tasks_keep_their_bits(strategy: Strategy) -> None:
    made = problem()
    made.train(strategy, 0)
    before = weights(made)
    made.train(strategy, 1)
    assert all(torch.equal(before[name], weights(made)[name]) for name in made.learner.heads["task0"])
    assert not torch.equal(before["heads.task1.weight"], weights(made)["heads.task1.weight"])


def layered() -> Learner:
    made = problem().learner
    made.layers = {"embeddings": ["body.weight"], "layer 1": ["body.bias"]}
    return made


def test_freezing_the_backbone_keeps_its_bits_and_trains_heads() -> None:
    start = weights(problem())
    made = trained(Freeze(part="backbone"))
    assert body_distance(made, start) == 0
    assert not torch.equal(weights(made)["heads.task0.weight"], start["heads.task0.weight"])


@pytest.mark.parametrize(
    ("part", "frozen"), [("embeddings", {"body.weight"}), ("backbone", {"body.weight", "body.bias"})]
)
def test_freezing_freezes_what_it_says(part: str, frozen: set[str]) -> None:
    learner = layered()
    Freeze(part=part).before_stage(learner, problem().stage(0))  # type: ignore[arg-type]
    assert {name for name, value in learner.body().items() if not value.requires_grad} == frozen


def test_freezing_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match=r"freeze.layers is 2, but the backbone has 1 layers"):
        Freeze(part="layers", layers=2).check(layered().model, layered().layers, problem().tasks)


def test_joint_has_one_stage_with_all_tasks() -> None:
    tasks = problem(count=3).tasks
    assert Joint().stages(tasks) == [tasks]
    assert Naive().stages(tasks) == [[task] for task in tasks]


def test_strategies_hold_nothing_between_stages_but_settings() -> None:
    for strategy in (Naive(), L2Anchor(lam=0.5), EWC(lam=10), Freeze()):
        before = dict(vars(strategy))
        trained(strategy)
        assert vars(strategy) == before


def test_state_bytes_count_shared_storage_once() -> None:
    learner = problem().learner
    tensor = torch.zeros(10)
    learner.state = {"a": {"x": tensor}, "b": [tensor[:5], torch.zeros(2, dtype=torch.float64)], "plain": 3}
    assert learner.state_bytes() == 40 + 16


def test_body_and_heads_have_their_own_learning_rates() -> None:
    made = problem(training=Training(learning_rate=1e-3, head_learning_rate=1e-1))
    groups = Naive().optimizer(made.learner).param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-1]
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(
        p.numel() for p in made.learner.model.parameters()
    )

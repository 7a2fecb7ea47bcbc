"""Online EWC, SI, MAS and RWalk: what they gather against numbers worked by hand, and what must not change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from strategies.base import Learner, Strategy, Training, snapshot
from strategies.ewc import EWC
from strategies.importance import fisher_diagonal
from strategies.mas import MAS
from strategies.naive import Naive
from strategies.online_ewc import OnlineEWC
from strategies.rwalk import RWalk
from strategies.si import SI
from tests.small_problem import Problem, problem

STRONG: list[Strategy] = [OnlineEWC(lam=3), SI(lam=3), MAS(lam=3), RWalk(lam=3, interval=2)]
OFF: list[Strategy] = [OnlineEWC(lam=0), SI(lam=0), MAS(lam=0), RWalk(lam=0)]
KEPT = {"online_ewc": set[str](), "si": set[str](), "mas": set[str](), "rwalk": {"fisher", "score"}}


def name_of(strategy: Strategy) -> str:
    return strategy.name


def weights(made: Problem) -> dict[str, Tensor]:
    return snapshot(dict(made.learner.model.named_parameters()))


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def trained(strategy: Strategy, stages: int, count: int = 3) -> Problem:
    made = problem(count=count)
    for index in range(stages):
        made.train(strategy, index)
    return made


class Numbers(nn.Module):
    """Weights and nothing else: gradients and moves are given by hand."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(values))


class Walk:
    """A strategy on bare numbers, moved by hand."""

    def __init__(self, strategy: Strategy, *start: float) -> None:
        self.strategy = strategy
        model = Numbers(start)
        self.weight = model.weight
        untrained = snapshot({"weight": model.weight})
        self.learner = Learner(model, {"layer 1": ["weight"]}, {}, {}, Training(), 0, untrained)

    def begin(self, index: int) -> None:
        self.strategy.before_stage(self.learner, problem(count=9).stage(index))

    def step(self, gradient: Sequence[float], move: Sequence[float]) -> None:
        self.weight.grad = torch.tensor(gradient)
        self.strategy.before_step(self.learner)
        self.weight.data += torch.tensor(move)
        self.strategy.after_step(self.learner)

    def end(self, index: int) -> Tensor:
        self.strategy.after_stage(self.learner, problem(count=9).stage(index))
        importance: Tensor = self.learner.state["importance"]["weight"]
        return importance


@pytest.mark.parametrize("strategy", OFF, ids=name_of)
def test_without_strength_it_is_naive_bit_for_bit(strategy: Strategy) -> None:
    made = trained(strategy, 3)
    assert same(weights(made), weights(trained(Naive(), 3)))
    assert any((value > 0).any() for value in made.learner.state["importance"].values())


@pytest.mark.parametrize("strategy", STRONG, ids=name_of)
def test_with_strength_it_is_not_naive_from_the_second_stage_on(strategy: Strategy) -> None:
    assert same(weights(trained(strategy, 1)), weights(trained(Naive(), 1)))
    held, free = weights(trained(strategy, 2)), weights(trained(Naive(), 2))
    assert (held["body.weight"] - free["body.weight"]).norm() > 1e-3


@pytest.mark.parametrize("strategy", STRONG, ids=name_of)
def test_heads_of_other_tasks_keep_their_bits(strategy: Strategy) -> None:
    before, after = weights(trained(strategy, 1)), weights(trained(strategy, 2))
    assert all(torch.equal(before[name], after[name]) for name in before if "task1" not in name and "heads" in name)


@pytest.mark.parametrize("strategy", STRONG, ids=name_of)
def test_the_gradient_added_is_that_of_the_written_formula(strategy: Strategy) -> None:
    made = trained(strategy, 1)
    strategy.before_stage(made.learner, made.stage(1))
    state = made.learner.state
    body = made.learner.body()
    for value in made.learner.model.parameters():
        value.requires_grad_(True)
        value.data += 0.3
        value.grad = torch.zeros_like(value)
    formula = strategy.penalty(made.learner)
    assert formula is not None
    written = torch.autograd.grad(formula, list(body.values()))
    half = 0.5 if strategy.name == "online_ewc" else 1.0
    by_hand = sum(
        (half * 3 * (state["importance"][n] * (v.detach() - state["anchor"][n]) ** 2).sum()
         for n, v in made.learner.trainable().items() if n in state["anchor"]), torch.zeros(()),
    )  # fmt: skip
    torch.testing.assert_close(formula.detach(), by_hand)
    strategy.before_step(made.learner)
    for value, expected in zip(body.values(), written, strict=True):
        assert value.grad is not None and expected.abs().sum() > 0
        torch.testing.assert_close(value.grad, expected)


@pytest.mark.parametrize("strategy", STRONG, ids=name_of)
def test_between_stages_nothing_lies_about_and_the_last_adds_nothing(strategy: Strategy) -> None:
    made = trained(strategy, 2)
    assert made.learner.state.keys() == {"anchor", "importance"} | KEPT[strategy.name]
    now = weights(made)
    assert same(made.learner.state["anchor"], {name: now[name] for name in made.learner.state["anchor"]})
    assert all((value >= 0).all() for value in made.learner.state["importance"].values())
    before = deepcopy(made.learner.state)
    made.train(strategy, 2)
    assert made.learner.state.keys() == before.keys()
    assert all(same(made.learner.state[what], kept) for what, kept in before.items())


def stepped(made: Problem, strategy: Strategy, optimizer: torch.optim.Optimizer, steps: range) -> None:
    task, learner = made.tasks[1], made.learner
    learner.model.train()
    for number in steps:
        optimizer.zero_grad()
        torch.manual_seed(number)
        strategy.loss(learner, task, task.batch(range(len(task.y)))).backward()  # type: ignore[no-untyped-call]
        strategy.before_step(learner)
        optimizer.step()
        strategy.after_step(learner)
    learner.model.eval()


def begun(strategy: Strategy) -> tuple[Problem, torch.optim.Optimizer]:
    made = trained(strategy, 1)
    for name, value in made.learner.model.named_parameters():
        value.requires_grad_(name.startswith("body") or "task1" in name)
    strategy.before_stage(made.learner, made.stage(1))
    return made, strategy.optimizer(made.learner)


@pytest.mark.parametrize("strategy", STRONG, ids=name_of)
def test_a_stage_that_was_kept_on_its_way_ends_in_the_same_bits(strategy: Strategy) -> None:
    whole, optimizer = begun(strategy)
    stepped(whole, strategy, optimizer, range(3))
    state, moved = deepcopy(whole.learner.state), weights(whole)
    settings = deepcopy(optimizer.state_dict())
    stepped(whole, strategy, optimizer, range(3, 5))
    again, other = begun(strategy)
    again.learner.model.load_state_dict(moved)
    again.learner.state = state
    other.load_state_dict(settings)
    stepped(again, strategy, other, range(3, 5))
    for made in (whole, again):
        strategy.after_stage(made.learner, made.stage(1))
    assert same(weights(whole), weights(again))
    assert all(same(whole.learner.state[what], again.learner.state[what]) for what in whole.learner.state)


@pytest.mark.parametrize("made", [SI, RWalk])
def test_strength_does_not_change_what_is_gathered_along_a_path(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.rwalk.stage_fisher", lambda *_: [{"weight": torch.tensor([1.0, 2.0])}])
    found = []
    for lam in (0.0, 1000.0):
        walk = Walk(made(lam=lam), 1.0, -1.0)
        for index in range(2):
            walk.begin(index)
            walk.step([1.0, 2.0], [-0.5, -0.25])
            walk.step([3.0, -1.0], [-0.1, 0.2])
            found.append(walk.end(index).clone())
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])


def measured(strategy: OnlineEWC, made: Problem, index: int) -> dict[str, Tensor]:
    task = made.tasks[index]
    return fisher_diagonal(
        lambda batch: made.learner.rows(task, batch),
        made.stage(index).examples(task, strategy.examples, 1),
        made.learner.trainable(),
        strategy.fisher,
        0,
    )


def test_online_ewc_fades_and_adds() -> None:
    strategy = OnlineEWC(lam=1, gamma=0.25, normalise=False, fisher="exact")
    made = trained(strategy, 1)
    first = measured(strategy, made, 0)
    made.train(strategy, 1)
    second = measured(strategy, made, 1)
    found = made.learner.state["importance"]
    for name in made.learner.body():
        torch.testing.assert_close(found[name], 0.25 * first[name] + second[name])
    torch.testing.assert_close(found["heads.task0.weight"], 0.25 * first["heads.task0.weight"])
    torch.testing.assert_close(found["heads.task1.weight"], second["heads.task1.weight"])


def test_online_ewc_counts_tasks_alike_when_it_normalises() -> None:
    made = trained(OnlineEWC(gamma=0.5, fisher="exact"), 1)
    first = made.learner.state["importance"]
    assert torch.cat([value.flatten() for value in first.values()]).mean().item() == pytest.approx(1)
    total = sum(value.sum().item() for value in first.values())
    made.train(OnlineEWC(gamma=0.5, fisher="exact"), 1)
    again = sum(value.sum().item() for value in made.learner.state["importance"].values())
    assert again == pytest.approx(1.5 * total)


def test_online_ewc_of_one_task_is_ewc() -> None:
    one, other = OnlineEWC(lam=7, normalise=False), EWC(lam=7)
    assert same(weights(trained(one, 2, count=2)), weights(trained(other, 2, count=2)))


def test_si_of_one_step_is_its_closed_form() -> None:
    walk = Walk(SI(xi=0.5), 2.0, -3.0)
    walk.begin(0)
    walk.step([4.0, -6.0], [-0.4, 0.6])  # loss theta^2, a step of 0.1 times the gradient
    moved = torch.tensor([0.16, 0.36])
    torch.testing.assert_close(walk.end(0), torch.tensor([1.6, 3.6]) / (moved + 0.5))


@pytest.mark.parametrize("rate", [0.1, 0.001])
def test_si_on_a_quadratic_loss_adds_up_to_the_loss_taken_off(rate: float) -> None:
    curvature, steps = torch.tensor([2.0, 0.5]), round(1 / rate)
    walk = Walk(SI(xi=1.0), 1.0, -2.0)
    start = walk.weight.detach().clone()
    walk.begin(0)
    for _ in range(steps):
        gradient = curvature * walk.weight.detach()
        walk.step(gradient.tolist(), (-rate * gradient).tolist())
    end = walk.weight.detach()
    importance = walk.end(0)
    path = importance * ((end - start).square() + 1)
    shrink = 1 - rate * curvature
    closed = rate * (curvature * start).square() * (1 - shrink ** (2 * steps)) / (1 - shrink.square())
    torch.testing.assert_close(path, closed, rtol=1e-4, atol=0)
    decrease = curvature / 2 * (start.square() - end.square())
    assert ((path > decrease) & (path < decrease * (1 + 2 * rate))).all()  # too much by the curvature over each step


def test_si_takes_the_gradient_as_it_was_before_clipping() -> None:
    walk = Walk(SI(xi=1.0), 0.0)
    walk.begin(0)
    walk.weight.grad = torch.tensor([8.0])
    walk.strategy.before_step(walk.learner)
    walk.weight.grad.mul_(0.125)
    walk.weight.data -= 0.5 * walk.weight.grad
    walk.strategy.after_step(walk.learner)
    assert walk.end(0).item() == pytest.approx(8 * 0.5 / (0.25 + 1))


def test_si_harm_in_one_task_takes_nothing_off_another() -> None:
    walk = Walk(SI(xi=1.0), 0.0, 0.0)
    walk.begin(0)
    walk.step([1.0, -1.0], [-1.0, -1.0])
    torch.testing.assert_close(walk.end(0), torch.tensor([0.5, 0.0]))
    walk.begin(1)
    walk.step([1.0, -3.0], [1.0, 1.0])
    torch.testing.assert_close(walk.end(1), torch.tensor([0.5, 1.5]))


def test_rwalk_is_what_one_works_out_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    fishers = iter([torch.tensor([2.0, 0.0, 8.0]), torch.tensor([1.0, 4.0, 0.0])])
    monkeypatch.setattr("strategies.rwalk.stage_fisher", lambda *_: [{"weight": next(fishers)}])
    walk = Walk(RWalk(alpha=0.75, interval=2, epsilon=0.5), 0.0, 0.0, 0.0)
    walk.begin(0)
    walk.step([1.0, 2.0, 1.0], [-1.0, -1.0, 1.0])
    walk.step([1.0, 2.0, 1.0], [0.0, 0.0, 0.0])  # first interval: w = 1, 2, -1; moved 1, 1, 1
    walk.step([2.0, 1.0, 4.0], [-1.0, 1.0, -1.0])  # a short one: w = 2, -1, 4; moved 1, 1, 1
    # decrease 3, 2, 4; distance 2, 2, 2; score 3 / 2.5, 2 / 0.5, 4 / 8.5; largest 4 and Fisher's largest 8
    score = torch.tensor([1.2, 4.0, 4 / 8.5])
    torch.testing.assert_close(walk.end(0), torch.tensor([0.25, 0.0, 1.0]) + score / 4)
    walk.begin(1)
    walk.step([1.0, -1.0, 0.0], [-2.0, 1.0, 1.0])  # w = 2, 1, 0; moved 4, 1, 1; score 2 / 2.5, 1 / 2.5, 0
    score = (score + torch.tensor([0.8, 0.4, 0.0])) / 2
    fisher = torch.tensor([0.75 * 1 + 0.25 * 2, 0.75 * 4, 0.25 * 8])
    torch.testing.assert_close(walk.end(1), fisher / 3 + score / 2.2)


def test_rwalk_with_one_interval_is_the_papers_ratio() -> None:
    strategy = RWalk(interval=1000, fisher="exact", epsilon=0.01)
    walk, fisher = problem(count=3), OnlineEWC(fisher="exact")
    start = weights(walk)
    path = problem(count=3)
    path.train(SI(xi=1.0), 0)
    walk.train(strategy, 0)
    found, moved = walk.learner.state["score"], weights(walk)
    for name, f in measured(fisher, walk, 0).items():
        distance = (moved[name] - start[name]).square()
        w = path.learner.state["importance"][name] * (distance + 1)
        torch.testing.assert_close(found[name], w / (f * distance / 2 + 0.01))


@pytest.mark.parametrize("strategy", [OnlineEWC(fisher="exact"), MAS()], ids=name_of)
def test_it_measures_with_dropout_off(strategy: Strategy) -> None:
    made = trained(strategy, 1)
    first = made.learner.state["importance"]
    made.learner.state = {}
    torch.manual_seed(99)  # would give other dropout masks
    strategy.after_stage(made.learner, made.stage(0))
    assert same(made.learner.state["importance"], first)


def test_first_stages_are_shared_as_far_as_they_are_alike() -> None:
    first, second, last = (problem(count=3).stage(index) for index in range(3))
    only = problem(count=1).stage(0)
    for strategy in STRONG:
        weaker = type(strategy)(**{**vars(strategy), "lam": 1.0})
        assert strategy.fingerprint(first) == weaker.fingerprint(first)
        assert strategy.fingerprint_after(first) == weaker.fingerprint_after(first) != {}
        assert strategy.fingerprint(second) != weaker.fingerprint(second)
        assert strategy.fingerprint(only) == {} == strategy.fingerprint_after(last)
    assert OnlineEWC().fingerprint(first) == MAS().fingerprint(first) == {}
    for gathers in (
        SI(),
        RWalk(),
    ):  # the state at a stage's end differs from naive's, and the last stage's from others'
        assert gathers.fingerprint(first) != {} and gathers.fingerprint(second) != gathers.fingerprint(last)
    assert SI(xi=1).fingerprint(first) == SI(xi=2).fingerprint(first)
    assert RWalk(interval=1).fingerprint(first) != RWalk(interval=2).fingerprint(first)


@pytest.mark.parametrize("strategy", STRONG, ids=name_of)
def test_the_memory_bill_is_the_stated_one(strategy: Strategy) -> None:
    copies = 2 + len(KEPT[strategy.name])
    made = problem(count=5)
    for index in range(3):
        made.train(strategy, index)
        held = sum(v.numel() for n, v in made.learner.model.named_parameters() if n in made.learner.state["anchor"])
        assert made.learner.state_bytes() == 4 * copies * held

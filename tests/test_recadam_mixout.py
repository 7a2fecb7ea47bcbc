"""RecAdam and mixout against their formulas, by worked examples and a plain implementation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from strategies.base import Learner, Strategy, Training, snapshot
from strategies.mixout import Mixout, _linear
from strategies.naive import Naive
from strategies.recadam import RecAdam
from tests.deep_problem import bodies, deep, same, trained
from tests.small_problem import STEPS


def begun(strategy: Strategy, training: Training) -> tuple[Learner, torch.optim.Optimizer]:
    """A learner before its first step, all weights half above the pretrained ones."""
    made = deep(training)
    strategy.before_stage(made.learner, made.stage(0))
    for parameter in made.learner.model.parameters():
        parameter.data += 0.5
    return made.learner, strategy.optimizer(made.learner)


def test_recadam_takes_the_stated_step() -> None:
    training = Training(learning_rate=0.1, head_learning_rate=0.2)
    learner, optimizer = begun(RecAdam(gamma=3.0, anneal="constant", weight=0.25), training)
    before = snapshot(dict(learner.model.named_parameters()))
    for parameter in learner.model.parameters():
        parameter.grad = torch.full_like(parameter, -4.0)
    optimizer.step()
    for name, value in learner.model.named_parameters():
        # Adam's first direction is the sign of the gradient.
        body = before[name] - 0.1 * (0.25 * -1 + 0.75 * 3.0 * 0.5)
        torch.testing.assert_close(value.detach(), body if name.startswith("body.") else before[name] + 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


def test_recadam_follows_a_plain_implementation_of_the_paper() -> None:
    strategy = RecAdam(gamma=2.0, k=0.7, t0=0.5)
    learner, optimizer = begun(strategy, Training(learning_rate=0.1))
    name, value = next(iter(learner.body().items()))
    theta, start = value.detach().double().clone(), learner.untrained[name].double()
    generator = torch.Generator().manual_seed(0)
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    for t in range(1, STEPS + 1):
        rate = optimizer.param_groups[0]["lr"] = 0.1 / t
        for parameter in learner.model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        assert value.grad is not None
        gradient = value.grad.double()
        optimizer.step()
        strategy.after_step(learner)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        adam = first / (1 - 0.9**t) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        share = 1 / (1 + math.exp(-0.7 * (t - 0.5 * STEPS)))
        theta = theta - rate * (share * adam + (1 - share) * 2.0 * (theta - start))
        torch.testing.assert_close(value.detach().double(), theta, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("strategy", "step", "share"),
    [
        (RecAdam(k=0.5, t0=0.25), 250, 0.5),
        (RecAdam(k=0.5, t0=0.25, weight=0.6), 250, 0.3),
        (RecAdam(k=0.5, t0=0.25), 254, 1 / (1 + math.exp(-2))),
        (RecAdam(k=1e6, t0=0.25), 1, 0.0),
        (RecAdam(k=1e6, t0=0.25), 1000, 1.0),
        (RecAdam(anneal="linear", t0=0.5), 100, 0.2),
        (RecAdam(anneal="linear", t0=0.5, weight=0.5), 900, 0.5),
        (RecAdam(anneal="linear", t0=0.0), 1, 1.0),
        (RecAdam(anneal="constant", weight=0.3), 1, 0.3),
    ],
)
def test_recadam_anneals_as_stated(strategy: RecAdam, step: int, share: float) -> None:
    assert strategy.share(step, 1000) == pytest.approx(share, abs=1e-12)


def test_a_pull_of_more_than_the_whole_way_goes_the_whole_way() -> None:
    learner, optimizer = begun(RecAdam(gamma=1e6, anneal="constant", weight=0.0), Training(learning_rate=0.1))
    for parameter in learner.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(torch.equal(value, learner.untrained[name]) for name, value in learner.body().items())


def test_every_stage_shifts_anew_from_recall_to_its_task() -> None:
    strategy, made = RecAdam(gamma=2.0), trained(RecAdam(gamma=2.0), stages=1)
    assert made.learner.state["step"] == STEPS
    strategy.before_stage(made.learner, made.stage(1))
    assert made.learner.state["step"] == 0
    assert same(made.learner.state["pretrained"], bodies(dict(made.learner.untrained)))


def mixing(unit: str, p: float) -> tuple[Mixout, Learner]:
    strategy, made = Mixout(p=p, unit=unit), deep()  # type: ignore[arg-type]
    strategy.before_stage(made.learner, made.stage(0))
    for parameter in made.learner.model.parameters():
        parameter.data += 0.5
    return strategy, made.learner


@pytest.mark.parametrize("unit", ["neuron", "weight"])
def test_mixout_puts_back_and_rescales_as_stated(unit: str) -> None:
    strategy, learner = mixing(unit, 0.4)
    mixed, body = strategy.mixed(learner), learner.body()
    assert mixed.keys() == {"body.0.weight", "body.1.weight", "body.2.weight"}
    whole_columns = []
    for name, value in mixed.items():
        pretrained, theta = learner.untrained[name], body[name].detach()
        back = torch.isclose(value, pretrained)
        # Of those that stay: (theta - p theta*) / (1 - p) = theta* + 0.5 / 0.6
        torch.testing.assert_close(value.detach(), torch.where(back, pretrained, (theta - 0.4 * pretrained) / 0.6))
        (gradient,) = torch.autograd.grad(value.sum(), [body[name]])
        torch.testing.assert_close(gradient, torch.where(back, 0.0, 1 / 0.6))
        whole_columns.append(bool((back == back[:1]).all()))
    assert all(whole_columns) is (unit == "neuron")


@pytest.mark.parametrize("unit", ["neuron", "weight"])
def test_mixout_expects_the_weights_themselves(unit: str) -> None:
    strategy, learner = mixing(unit, 0.7)
    draws = []
    for step in range(600):
        learner.state["step"] = step
        draws.append(torch.cat([value.detach().flatten() for value in strategy.mixed(learner).values()]))
    expected = torch.cat([learner.body()[name].detach().flatten() for name in learner.state["pretrained"]])
    error = torch.stack(draws).std(dim=0) / len(draws) ** 0.5
    assert (error > 0).all()
    assert ((torch.stack(draws).mean(dim=0) - expected).abs() < 4.5 * error).all()


def test_masks_are_those_of_the_step_and_leave_the_global_generator_alone() -> None:
    strategy, learner = mixing("weight", 0.5)
    before = torch.get_rng_state()
    once, again = strategy.mixed(learner), strategy.mixed(learner)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(value, again[name]) for name, value in once.items())
    strategy.after_step(learner)
    assert any(not torch.equal(value, again[name]) for name, value in strategy.mixed(learner).items())
    other = mixing("weight", 0.5)[1]
    other.seed = 1
    assert any(not torch.equal(value, again[name]) for name, value in strategy.mixed(other).items())
    back = [torch.isclose(once[f"body.{layer}.weight"], learner.untrained[f"body.{layer}.weight"]) for layer in (1, 2)]
    assert not torch.equal(*back)


def test_what_never_moved_is_not_changed_by_mixing() -> None:
    strategy, made = Mixout(p=0.6), deep()
    strategy.before_stage(made.learner, made.stage(0))
    made.learner.model.train()
    losses = []
    for chosen in (strategy, Naive()):
        torch.manual_seed(3)
        losses.append(chosen.loss(made.learner, made.tasks[0], made.tasks[0].batch(range(12))))
    torch.testing.assert_close(*losses)


def test_mixout_knows_which_way_round_matrices_are() -> None:
    model = nn.Sequential(nn.Linear(2, 3), Conv1D(3, 2), nn.Embedding(4, 2), nn.LayerNorm(2))
    assert _linear(model) == {"0.weight": 1, "1.weight": 0}
    with pytest.raises(ValueError, match="the backbone has none"):
        Mixout().check(model[2:], {}, [])

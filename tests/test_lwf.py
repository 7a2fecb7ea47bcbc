"""Learning without forgetting: the term as written, whose answers it compares, and what trains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from strategies.base import Learner, Strategy, snapshot
from strategies.lwf import LwF
from strategies.naive import Naive
from tests.small_problem import PointTask, Problem, problem

SEED = 5


def begun(strategy: LwF, index: int, rows_each: int = 1) -> tuple[Problem, nn.Module]:
    """A problem on its way in a stage, and its model as it was when the stage began."""
    made = problem(count=3, rows_each=rows_each)
    for before in range(index):
        made.train(Naive(), before)
    teacher = copy.deepcopy(made.learner.model).eval()
    learner = made.learner
    active = set(learner.body()) | set(learner.heads[f"task{index}"])
    for name, parameter in learner.model.named_parameters():
        parameter.requires_grad_(name in active)
    strategy.before_stage(learner, made.stage(index))
    generator = torch.Generator().manual_seed(7)
    for parameter in learner.model.parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    learner.model.train()
    return made, teacher


def written(made: Problem, teacher: nn.Module, index: int, strategy: LwF) -> Tensor:
    """Cross-entropy plus ``lam T^2 sum_t mean_rows sum_c p (log p - log q)``, all under one draw of dropout."""
    task = made.tasks[index]
    batch = task.batch(range(12))
    torch.manual_seed(SEED)
    rows = made.learner.rows(task, batch)
    total = nn.functional.cross_entropy(rows.logits, rows.targets)
    for old in made.tasks[:index]:
        torch.manual_seed(SEED)
        p = torch.softmax(teacher((old, batch))[0].logits.detach() / strategy.temperature, dim=1)
        q = torch.softmax(made.learner.rows(old, batch).logits / strategy.temperature, dim=1)
        total = total + strategy.lam * strategy.temperature**2 * (p * (p.log() - q.log())).sum(dim=1).mean()
    return total


@pytest.mark.parametrize("rows_each", [1, 3])
@pytest.mark.parametrize("index", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_loss_and_gradient_are_those_of_the_written_formula(index: int, temperature: float, rows_each: int) -> None:
    strategy = LwF(lam=0.7, temperature=temperature)
    made, teacher = begun(strategy, index, rows_each)
    weights = list(made.learner.trainable().values())
    task = made.tasks[index]
    ways: list[Callable[[], Tensor]] = [
        lambda: strategy.loss(made.learner, task, task.batch(range(12))),
        lambda: written(made, teacher, index, strategy),
    ]
    found = []
    for way in ways:
        torch.manual_seed(SEED)  # the same dropout in both
        loss = way()
        found.append([loss, *torch.autograd.grad(loss, weights)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("index", [1, 2])
def test_student_and_teacher_read_a_batch_once_however_many_heads_answer(index: int) -> None:
    strategy = LwF()
    made, _ = begun(strategy, index)
    modes: list[bool] = []
    body = made.learner.model.body
    assert isinstance(body, nn.Module)
    body.register_forward_hook(lambda module, given, out: modes.append(module.training))
    strategy.loss(made.learner, made.tasks[index], made.tasks[index].batch(range(12)))
    assert sorted(modes) == [False, True]


def test_where_no_head_came_before_there_is_nothing_to_ask() -> None:
    strategy = LwF()
    made, _ = begun(strategy, 1)
    first, batch = made.tasks[0], made.tasks[0].batch(range(12))
    made.learner.model.eval()
    assert torch.equal(strategy.loss(made.learner, first, batch), Naive().loss(made.learner, first, batch))


def test_one_row_by_hand() -> None:
    # p = (0.8, 0.2), q = (0.5, 0.5) at T = 2: KL = 0.8 ln 1.6 + 0.2 ln 0.4 = 0.192745; the other way round 0.223144
    teacher = 2 * torch.tensor([[0.8, 0.2]]).log()
    distance = LwF(temperature=2.0)._distance(teacher, torch.zeros(1, 2))
    assert float(distance) == pytest.approx(4 * 0.192745, abs=1e-5)


def test_a_student_that_answers_like_its_teacher_has_nothing_to_learn_from_it() -> None:
    made, strategy = problem(), LwF(lam=5.0)
    made.train(Naive(), 0)
    made.learner.model.eval()
    strategy.before_stage(made.learner, made.stage(1))
    task = made.tasks[1]
    with_teacher = strategy.loss(made.learner, task, task.batch(range(12)))
    torch.testing.assert_close(with_teacher, Naive().loss(made.learner, task, task.batch(range(12))))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 50.0])
def test_shut_places_have_no_part_in_it(temperature: float) -> None:
    strategy, lowest = LwF(temperature=temperature), torch.finfo(torch.float32).min
    open_places = torch.tensor([[1.0, -2.0, 0.5], [30.0, 0.0, -30.0]])
    student = torch.tensor([[0.0, 1.0, 0.5], [-30.0, 0.0, 30.0]], requires_grad=True)
    shut = torch.full((2, 2), lowest)
    expected = strategy._distance(open_places, student)
    found = strategy._distance(torch.cat([open_places, shut], dim=1), torch.cat([student, shut], dim=1))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value, [student])[0] for value in (found, expected)]
    assert torch.isfinite(gradients[0]).all()
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("training", [True, False])
def test_asking_the_teacher_leaves_the_mode_as_it_was(training: bool) -> None:
    strategy = LwF()
    made, _ = begun(strategy, 1)
    made.learner.model.train(training)
    strategy.loss(made.learner, made.tasks[1], made.tasks[1].batch(range(12)))
    assert all(module.training is training for module in made.learner.model.modules())


def test_the_teacher_is_the_model_before_the_stage_and_does_not_learn() -> None:
    made, strategy = problem(count=3), LwF()
    made.train(strategy, 0)
    assert made.learner.state == {}
    for index in (1, 2):
        before = snapshot(dict(made.learner.model.named_parameters()))
        made.train(strategy, index)
        teacher = made.learner.state["teacher"]
        old = {name for task in made.tasks[:index] for name in made.learner.heads[task.name]}
        assert teacher.keys() == made.learner.body().keys() | old
        assert all(torch.equal(value, before[name]) and not value.requires_grad for name, value in teacher.items())
    assert made.learner.state_bytes() == sum(value.nbytes for value in teacher.values())


def test_earlier_heads_train_and_later_ones_do_not() -> None:
    made, strategy = problem(count=3), LwF()
    made.train(strategy, 0)
    before = snapshot(dict(made.learner.model.named_parameters()))
    made.train(strategy, 1)
    after = dict(made.learner.model.named_parameters())
    assert not torch.equal(after["heads.task0.weight"], before["heads.task0.weight"])
    assert torch.equal(after["heads.task2.weight"], before["heads.task2.weight"])


def old_answers(learner: Learner, task: PointTask, texts: PointTask) -> Tensor:
    learner.model.eval()
    with torch.no_grad():
        return torch.log_softmax(learner.rows(task, texts.batch(range(12))).logits, dim=1)


def test_it_keeps_the_old_answers_to_the_new_texts() -> None:
    def drift(strategy: Strategy) -> float:
        made = problem()
        made.learner.model.dropout.p = 0.0  # type: ignore[union-attr]
        made.train(Naive(), 0)
        before = old_answers(made.learner, made.tasks[0], made.tasks[1])
        made.train(strategy, 1, steps=30)
        after = old_answers(made.learner, made.tasks[0], made.tasks[1])
        return float(nn.functional.kl_div(after, before, reduction="batchmean", log_target=True))

    assert drift(LwF(lam=10.0)) < 0.3 * drift(LwF(lam=0.1)) < 0.3 * drift(Naive())


@dataclass(frozen=True)
class Sharing(PointTask):
    """Asks the first task's head."""

    @property
    def head(self) -> str:
        return "task0"


def test_a_head_that_earlier_tasks_share_is_asked_once() -> None:
    strategy = LwF(lam=2.0)
    made, _ = begun(strategy, 2)
    made.tasks[1] = Sharing("task1", made.tasks[1].x, made.tasks[1].y)
    learner, task, batch = made.learner, made.tasks[2], made.tasks[2].batch(range(12))
    learner.tasks = {task.name: task for task in made.tasks}
    learner.model.eval()
    with torch.no_grad():
        wanted = learner.rows(made.tasks[0], batch, weights=learner.state["teacher"]).logits
        given = learner.rows(made.tasks[0], batch).logits
        term = strategy.loss(learner, task, batch) - Naive().loss(learner, task, batch)
        torch.testing.assert_close(term, 2.0 * strategy._distance(wanted, given), rtol=1e-4, atol=1e-6)


def test_strengths_share_the_first_stage() -> None:
    made = problem()
    assert LwF(lam=1.0).fingerprint(made.stage(0)) == LwF(lam=9.0).fingerprint(made.stage(0)) == {}
    changed = [LwF(), LwF(lam=3.0), LwF(temperature=5.0)]
    second = [strategy.fingerprint(made.stage(1)) for strategy in changed]
    assert all(one != other for place, one in enumerate(second) for other in second[:place])

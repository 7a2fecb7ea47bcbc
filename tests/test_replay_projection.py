"""Gradients that are projected so that memories are not hurt, against their inequalities and optimality conditions."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from strategies.agem import AGem
from strategies.base import Learner, Strategy
from strategies.gem import Gem, nonnegative_minimum
from strategies.memory import Drawn, draw, inner, reference_gradient
from strategies.naive import Naive
from tests.rehearsal import begun, loss_of, same, trained, weights, with_shared_head
from tests.small_problem import Problem


def gradient(made: Problem) -> list[Tensor | None]:
    return [None if value.grad is None else value.grad.clone() for value in made.learner.trainable().values()]


def backward(made: Problem, index: int) -> None:
    for value in made.learner.model.parameters():
        value.grad = None
    loss_of(made, Naive(), index).backward()  # type: ignore[no-untyped-call]


def references(made: Problem, drawn: list[list[Drawn]]) -> list[list[Tensor | None]]:
    made.learner.model.eval()
    found = [reference_gradient(made.learner, each, list(made.learner.trainable().values())) for each in drawn]
    made.learner.model.eval()
    return found


def against(made: Problem, drawn: list[list[Drawn]]) -> list[list[Tensor | None]]:
    """Sets a gradient that hurts some of them: the task's less a multiple of theirs, which it returns."""
    backward(made, 2)
    found = references(made, drawn)
    for reference in found:
        for value, other in zip(made.learner.trainable().values(), reference, strict=True):
            if value.grad is not None and other is not None:
                value.grad -= 10 * other
    return found


def test_after_the_projection_of_agem_the_memory_is_not_hurt() -> None:
    strategy = AGem(replay_batch=5)
    made = begun(strategy, 2)
    for _ in range(5):
        (reference,) = against(made, [draw(made.learner, 5, "replay")])
        before = gradient(made)
        assert inner(before, reference) < 0
        strategy.before_step(made.learner)
        after = gradient(made)
        size = (inner(after, after) * inner(reference, reference)) ** 0.5
        assert inner(after, reference) >= -1e-6 * size
        factor = inner(before, reference) / inner(reference, reference)
        names = list(made.learner.trainable())
        for name, old, new, other in zip(names, before, after, reference, strict=True):
            assert (other is None) == name.startswith("heads.")
            assert old is not None and new is not None
            torch.testing.assert_close(new, old if other is None else old - factor * other)
        strategy.after_step(made.learner)


@pytest.mark.parametrize("strategy", [AGem(replay_batch=99), Gem(replay_batch=99)])
def test_a_gradient_that_hurts_nobody_keeps_its_bits(strategy: Strategy) -> None:
    made = begun(strategy, 2)
    parts = [draw(made.learner, 99, "replay", [name]) for name in ("task0", "task1")]
    backward(made, 2)
    first, second = references(made, parts)
    for value, one, other in zip(made.learner.trainable().values(), first, second, strict=True):
        if one is not None and other is not None:
            value.grad = one / inner(first, first) ** 0.5 + other / inner(second, second) ** 0.5
    before = gradient(made)
    assert all(inner(before, reference) > 0 for reference in (first, second))
    strategy.before_step(made.learner)
    assert all(
        new is not None and old is not None and torch.equal(new, old)
        for new, old in zip(gradient(made), before, strict=True)
    )
    assert made.learner.model.training


def test_a_head_that_tasks_share_is_projected_too() -> None:
    strategy, made = AGem(replay_batch=99), with_shared_head(3)
    for index in (0, 1):
        made.train(strategy, index)
    made.learner.model.eval()
    against(made, [draw(made.learner, 99, "replay")])
    before = gradient(made)
    strategy.before_step(made.learner)
    for old, new in zip(before, gradient(made), strict=True):
        assert old is not None and new is not None and not torch.equal(old, new)


@pytest.mark.parametrize("margin", [0.0, 0.5, 3.0])
def test_after_the_projection_of_gem_no_earlier_task_is_hurt_and_no_nearer_gradient_does_that(margin: float) -> None:
    strategy = Gem(replay_batch=5, margin=margin)
    made = begun(strategy, 2)
    for _ in range(5):
        found = against(made, [draw(made.learner, 5, "replay", [name]) for name in ("task0", "task1")])
        before = gradient(made)
        assert min(inner(before, reference) for reference in found) < 0
        strategy.before_step(made.learner)
        after = gradient(made)
        shared = [place for place, value in enumerate(found[0]) if value is not None]
        old, new = (torch.cat([values[place].flatten() for place in shared]) for values in (before, after))  # type: ignore[union-attr]
        rows = torch.stack([torch.cat([each[place].flatten() for place in shared]) for each in found])  # type: ignore[union-attr]
        products = rows @ new
        assert float((products / rows.norm(dim=1) / new.norm()).min()) >= -1e-5
        # KKT: what was added is a combination of the r_t, each at least the margin, and more only if it binds.
        factors = torch.linalg.lstsq(rows.T, new - old).solution
        torch.testing.assert_close(rows.T @ factors, new - old, rtol=1e-4, atol=1e-5)
        assert float(factors.min()) >= margin - 1e-4
        assert float(((factors - margin) * products).abs().max()) < 1e-4 * float(new.norm() * rows.norm())
        strategy.after_step(made.learner)


def test_with_one_earlier_task_gem_is_agem() -> None:
    made = [trained(strategy, 2, 2) for strategy in (AGem(replay_batch=4), Gem(replay_batch=4, margin=0.0))]
    left, right = (weights(each) for each in made)
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], rtol=1e-4, atol=1e-5)
    assert not same(left, weights(trained(Naive(), 2, 2)))


def objective(gram: Tensor, products: Tensor, value: Tensor) -> float:
    return float(value @ gram @ value / 2 + products @ value)


def best_of_all_active_sets(gram: Tensor, products: Tensor) -> float:
    count, best = len(products), 0.0
    for size in range(1, count + 1):
        for chosen in map(list, itertools.combinations(range(count), size)):
            value = torch.zeros_like(products)
            value[chosen] = torch.linalg.pinv(gram[chosen][:, chosen]) @ -products[chosen]
            if (value >= -1e-9).all():
                best = min(best, objective(gram, products, value.clamp(min=0)))
    return best


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("width", [2, 5, 40])
def test_the_dual_is_solved_as_well_as_by_trying_everything(count: int, width: int) -> None:
    generator = torch.Generator().manual_seed(count * 100 + width)
    for _ in range(40):
        vectors = torch.randn(count, width, generator=generator, dtype=torch.float64)
        vectors *= 10 ** torch.randint(-3, 4, (count, 1), generator=generator).double()  # tasks of very unlike losses
        gram, products = vectors @ vectors.T, vectors @ torch.randn(width, generator=generator, dtype=torch.float64)
        value = nonnegative_minimum(gram, products)
        slope = (gram @ value + products) / gram.diagonal().sqrt()
        assert float(value.min()) >= 0
        assert float(slope.min()) >= -1e-5
        assert float((slope * value * gram.diagonal().sqrt()).abs().max()) < 1e-5
        assert objective(gram, products, value) == pytest.approx(
            best_of_all_active_sets(gram, products), rel=1e-5, abs=1e-9
        )


def test_equal_opposite_and_absent_constraints_do_not_confuse_the_dual() -> None:
    vectors = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 0], [-1, 0, 0], [0, 2, 0]], dtype=torch.float64)
    own = torch.tensor([-3.0, -4, 5], dtype=torch.float64)
    value = nonnegative_minimum(vectors @ vectors.T, vectors @ own)
    torch.testing.assert_close(own + value @ vectors, torch.tensor([0.0, 0, 5], dtype=torch.float64))
    noisy = vectors.float() * (1 + 1e-7 * torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    noisy[1, 1] = noisy[3, 2] = 1e-7
    value = nonnegative_minimum((noisy @ noisy.T).double(), (noisy @ own.float()).double())
    assert torch.isfinite(value).all()
    assert float((own + value @ noisy.double() - torch.tensor([0.0, 0, 5])).norm()) < 1e-4


@pytest.mark.parametrize("strategy", [AGem(), Gem()])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_memory_that_has_diverged_is_not_hidden(strategy: Strategy, value: float) -> None:
    made = begun(strategy, 2)
    backward(made, 2)
    for held in made.learner.state["memory"].values():
        held["examples"]["x"]["values"].fill_(value)
    strategy.before_step(made.learner)
    assert any(each is not None and not torch.isfinite(each).all() for each in gradient(made))


def test_dropout_is_off_in_the_reference_and_on_again_after_it() -> None:
    made = begun(AGem(), 2)
    learner: Learner = made.learner
    learner.model.train()
    drawn = draw(learner, 5, "replay")
    values = [reference_gradient(learner, drawn, list(learner.body().values())) for _ in range(2)]
    assert learner.model.training
    for one, other in zip(*values, strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


@pytest.mark.parametrize("strategy", [AGem(replay_batch=5), Gem(replay_batch=5)])
def test_a_memory_that_is_known_by_heart_changes_nothing(strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    made = begun(strategy, 2)
    backward(made, 2)
    # So small that its square is 0 in 32 bits, though its product with the gradient is not.
    tiny = [None if value is None else -1e-30 * value.sign() for value in gradient(made)]
    for module in ("agem", "gem"):
        monkeypatch.setattr(f"strategies.{module}.reference_gradient", lambda *_: tiny)
    before = gradient(made)
    assert inner(before, tiny) < 0 == inner(tiny, tiny)
    strategy.before_step(made.learner)
    for was, now in zip(before, gradient(made), strict=True):
        assert (was is None) == (now is None)
        if was is not None and now is not None:
            torch.testing.assert_close(now, was)

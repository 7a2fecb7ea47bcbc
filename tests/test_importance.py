"""The Fisher information against closed forms, and what must not change it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from strategies.importance import Fisher, fisher_diagonal, output_sensitivity
from tasks.base import Rows
from tests.small_problem import Points, PointTask, Problem, problem

KINDS: list[Fisher] = ["exact", "sampled", "empirical"]


def measured(made: Problem, labels: Fisher, batches: list[list[int]], seed: int = 0) -> dict[str, Tensor]:
    task = made.tasks[0]
    made.learner.model.eval()
    return fisher_diagonal(
        lambda batch: made.learner.rows(task, batch),
        [task.batch(indices) for indices in batches],
        dict(made.learner.model.named_parameters()),
        labels,
        seed,
    )


class Logistic(nn.Module):
    """Softmax regression: its Fisher information is known."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, *questions: tuple[PointTask, Points]) -> list[Rows]:
        return [Rows(batch.x @ self.weight.T, batch.y, torch.arange(len(batch))) for _, batch in questions]


def logistic(labels: Fisher, seed: int = 0, examples: int = 40) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fisher of softmax regression, with its inputs, targets and probabilities."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(examples, 4, generator=generator)
    y = torch.randint(3, (examples,), generator=generator)
    weight = torch.randn(3, 4, generator=generator)
    model = Logistic(weight)
    task = PointTask("logistic", x, y)
    batches = [task.batch([index]) for index in range(examples)]
    result = fisher_diagonal(lambda batch: model((task, batch))[0], batches, {"weight": model.weight}, labels, seed)
    return result["weight"], x, y, torch.softmax(x @ weight.T, dim=1)


def test_exact_fisher_of_softmax_regression_is_its_closed_form() -> None:
    fisher, x, _, p = logistic("exact")
    closed = torch.einsum("nc,nd->cd", p * (1 - p), x.square()) / len(x)
    torch.testing.assert_close(fisher, closed, rtol=1e-5, atol=1e-7)


def test_empirical_fisher_of_softmax_regression_is_its_closed_form() -> None:
    fisher, x, y, p = logistic("empirical")
    error = nn.functional.one_hot(y, 3) - p
    torch.testing.assert_close(
        fisher, torch.einsum("nc,nd->cd", error.square(), x.square()) / len(x), rtol=1e-5, atol=1e-7
    )


def test_sampled_fisher_is_unbiased() -> None:
    exact, *_ = logistic("exact")
    draws = torch.stack([logistic("sampled", seed)[0] for seed in range(150)])
    error = draws.std(dim=0) / len(draws) ** 0.5
    assert ((draws.mean(dim=0) - exact).abs() < 4.5 * error).all()
    assert (draws.std(dim=0) > 0).all()


@pytest.mark.parametrize("labels", KINDS)
@pytest.mark.parametrize("rows_each", [1, 3])
def test_batch_size_and_order_do_not_matter(labels: Fisher, rows_each: int) -> None:
    made = problem(rows_each=rows_each)
    singles = measured(made, labels, [[index] for index in range(12)])
    for batches in ([list(range(12))], [list(range(11, -1, -1))], [[3, 1, 0, 2], [9, 8, 10, 11, 4], [5, 7, 6]]):
        other = measured(made, labels, batches)
        for name, value in singles.items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-9)


def test_it_is_not_the_square_of_the_batch_mean() -> None:
    made = problem()
    right = measured(made, "empirical", [list(range(12))])["body.weight"]
    task = made.tasks[0]
    rows = made.learner.rows(task, task.batch(range(12)))
    mean_loss = nn.functional.cross_entropy(rows.logits, rows.targets)
    (gradient,) = torch.autograd.grad(mean_loss, [made.learner.body()["body.weight"]])
    assert right.sum() > 3 * gradient.square().sum()  # the published bug is about batch-size times too small


def test_rows_of_one_example_are_summed_before_squaring() -> None:
    made = problem(rows_each=2)
    task, weight = made.tasks[0], made.learner.body()["body.weight"]
    made.learner.model.eval()
    expected = torch.zeros_like(weight)
    for index in range(12):
        rows = made.learner.rows(task, task.batch([index]))
        joint = nn.functional.cross_entropy(rows.logits, rows.targets, reduction="sum")
        expected += torch.autograd.grad(joint, [weight])[0].square() / 12
    torch.testing.assert_close(measured(made, "empirical", [list(range(12))])["body.weight"], expected)


def test_weights_that_the_task_does_not_use_have_none() -> None:
    fisher = measured(problem(), "exact", [[0, 1, 2]])
    assert (fisher["heads.task1.weight"] == 0).all()
    assert (fisher["heads.task0.weight"] > 0).any()
    assert all((value >= 0).all() for value in fisher.values())


def test_shut_choices_with_the_lowest_logit_give_finite_numbers() -> None:
    made = problem()
    task = made.tasks[0]

    def rows(batch: Any) -> Any:
        open_rows = made.learner.rows(task, batch)
        shut = torch.tensor([False, False, True])
        return Rows(
            open_rows.logits.masked_fill(shut, torch.finfo(torch.float32).min), open_rows.targets * 0, open_rows.owner
        )

    for labels in KINDS:
        fisher = fisher_diagonal(rows, [task.batch([0, 1])], made.learner.body(), labels, 0)
        assert all(torch.isfinite(value).all() for value in fisher.values())


def test_no_examples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no examples"):
        measured(problem(), "exact", [])
    with pytest.raises(ValueError, match="no examples"):
        sensitivity(problem(), [])


def sensitivity(made: Problem, batches: list[list[int]]) -> dict[str, Tensor]:
    task = made.tasks[0]
    made.learner.model.eval()
    return output_sensitivity(
        lambda batch: made.learner.rows(task, batch),
        [task.batch(indices) for indices in batches],
        dict(made.learner.model.named_parameters()),
    )


def linear_map(shut: float | None = None, kind: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Sensitivity of a linear map, with its inputs and outputs; its last output may be shut."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(10, 4, generator=generator)
    model = Logistic(torch.randn(3, 4, generator=generator))
    task = PointTask("linear", x, torch.randint(3, (10,), generator=generator))

    def rows(batch: Any) -> Any:
        (made,) = model((task, batch))
        logits = made.logits.to(kind)
        if shut is not None:
            logits = logits.masked_fill(torch.tensor([False, False, True]), shut)
        return Rows(logits, made.targets, made.owner)

    batches = [task.batch(range(4)), task.batch(range(4, 10))]
    found = output_sensitivity(rows, batches, {"weight": model.weight})
    return found["weight"], x, (x @ model.weight.T).detach()


def test_sensitivity_of_a_linear_map_is_its_closed_form() -> None:
    found, x, f = linear_map()
    torch.testing.assert_close(found, torch.einsum("nc,nd->cd", 2 * f.abs(), x.abs()) / len(x))
    batch_first = (torch.einsum("nc,nd->cd", 2 * f, x) / len(x)).abs()  # the published bug: signs cancel
    assert found.sum() > 1.3 * batch_first.sum()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_shut_choices_are_no_output(kind: torch.dtype) -> None:
    found, x, f = linear_map(torch.finfo(kind).min, kind)
    closed = torch.einsum("nc,nd->cd", 2 * f[:, :2].abs(), x.abs()) / len(x)
    torch.testing.assert_close(found[:2], closed, rtol=1e-5 if kind == torch.float32 else 0.03, atol=0)
    assert (found[2] == 0).all()


@pytest.mark.parametrize("lowest", [torch.finfo(torch.bfloat16).min, -torch.inf])
def test_choices_that_were_shut_in_another_type_are_no_output(lowest: float) -> None:
    found, *_ = linear_map(lowest)
    assert torch.isfinite(found).all() and (found[:2] > 0).all() and (found[2] == 0).all()


@pytest.mark.parametrize("rows_each", [1, 3])
def test_batch_size_and_order_do_not_matter_to_sensitivity(rows_each: int) -> None:
    made = problem(rows_each=rows_each)
    singles = sensitivity(made, [[index] for index in range(12)])
    for batches in ([list(range(12))], [[3, 1, 0, 2], [9, 8, 10, 11, 4], [5, 7, 6]]):
        other = sensitivity(made, batches)
        for name, value in singles.items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-7)
    assert (singles["heads.task1.weight"] == 0).all() and (singles["body.weight"] > 0).all()


def test_rows_of_one_example_are_one_output() -> None:
    once, thrice = (sensitivity(problem(rows_each=rows), [list(range(12))]) for rows in (1, 3))
    for name, value in once.items():  # logits times 1, 2 and 3
        torch.testing.assert_close(thrice[name], value * (1 + 4 + 9), rtol=1e-4, atol=1e-7)


def test_sensitivity_looks_at_no_label() -> None:
    made, other = problem(), problem()
    other.tasks[0].y.copy_((other.tasks[0].y + 1) % 3)
    one, two = (sensitivity(found, [list(range(12))]) for found in (made, other))
    assert all(torch.equal(value, two[name]) for name, value in one.items())

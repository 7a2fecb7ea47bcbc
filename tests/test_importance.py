"""The Fisher information against closed forms, and what must not change it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from strategies.importance import Fisher, fisher_diagonal
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

    def forward(self, task: PointTask, batch: Points) -> Any:
        from tasks.base import Rows

        return Rows(batch.x @ self.weight.T, batch.y, torch.arange(len(batch)))


def logistic(labels: Fisher, seed: int = 0, examples: int = 40) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fisher of softmax regression, with its inputs, targets and probabilities."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(examples, 4, generator=generator)
    y = torch.randint(3, (examples,), generator=generator)
    weight = torch.randn(3, 4, generator=generator)
    model = Logistic(weight)
    task = PointTask("logistic", x, y)
    batches = [task.batch([index]) for index in range(examples)]
    result = fisher_diagonal(lambda batch: model(task, batch), batches, {"weight": model.weight}, labels, seed)
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
        from tasks.base import Rows

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

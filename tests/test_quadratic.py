"""The fused penalty against autograd, and the folded one against the sum it stands for."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from strategies.quadratic import add_penalty_gradient, merge


def tensors(seed: int, positive: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = {"a": torch.randn(3, 2, generator=generator), "b": torch.randn(5, generator=generator)}
    return {name: value.abs() for name, value in made.items()} if positive else made


def parameters(seed: int) -> dict[str, nn.Parameter]:
    made = {name: nn.Parameter(value) for name, value in tensors(seed).items()}
    for value in made.values():
        value.grad = torch.ones_like(value)
    return made


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1e4), st.booleans())
def test_it_equals_the_gradient_of_the_written_formula(seed: int, lam: float, weighted: bool) -> None:
    theta, anchor = parameters(seed), tensors(seed + 1)
    weight = tensors(seed + 2, positive=True) if weighted else {name: torch.ones_like(v) for name, v in anchor.items()}
    loss = sum(((lam / 2) * (weight[n] * (theta[n] - anchor[n]) ** 2).sum() for n in theta), torch.zeros(()))
    written = torch.autograd.grad(loss, list(theta.values()))
    add_penalty_gradient(theta, anchor, lam, weight if weighted else None)
    for value, expected in zip(theta.values(), written, strict=True):
        assert value.grad is not None
        torch.testing.assert_close(value.grad - 1, expected, rtol=1e-4, atol=1e-5 * max(1, lam))


def test_lam_0_leaves_gradients_bit_for_bit_even_at_infinite_weights() -> None:
    theta, anchor = parameters(0), tensors(1)
    anchor["a"][0, 0] = torch.inf
    before = {name: value.grad.clone() for name, value in theta.items() if value.grad is not None}
    add_penalty_gradient(theta, anchor, 0.0)
    assert all(torch.equal(value.grad, before[name]) for name, value in theta.items() if value.grad is not None)


def test_parameters_without_gradient_or_anchor_are_left_alone() -> None:
    theta, anchor = parameters(0), tensors(1)
    theta["a"].grad = None
    del anchor["b"]
    add_penalty_gradient(theta, anchor, 1.0)
    assert theta["a"].grad is None
    assert theta["b"].grad is not None and (theta["b"].grad == 1).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.booleans(), st.lists(st.integers(0, 2), unique=True))
def test_rows_at_their_anchor_may_be_left_out(seed: int, weighted: bool, rows: list[int]) -> None:
    anchor, weight = tensors(seed + 1), tensors(seed + 2, positive=True)
    whole, part = parameters(seed), parameters(seed)
    for theta in (whole, part):
        others = [row for row in range(3) if row not in rows]
        theta["a"].data[others] = anchor["a"][others]
    add_penalty_gradient(whole, anchor, 3.0, weight if weighted else None)
    add_penalty_gradient(part, anchor, 3.0, weight if weighted else None, {"a": torch.tensor(rows, dtype=torch.int64)})
    for name, value in whole.items():
        found = part[name].grad
        assert value.grad is not None and found is not None and torch.equal(value.grad, found)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9))
def test_many_folded_penalties_pull_like_their_sum(seed: int, tasks: int) -> None:
    theta = parameters(seed)
    folded_anchor: dict[str, Tensor] = {}
    folded_weight: dict[str, Tensor] = {}
    expected = {name: torch.zeros_like(value) for name, value in theta.items()}
    for task in range(tasks):
        anchor, weight = tensors(seed + 10 + task), tensors(seed + 50 + task, positive=True)
        weight["b"][0] = 0  # never matters to any task
        merge(folded_anchor, folded_weight, anchor, weight)
        for name in expected:
            expected[name] += 3.0 * weight[name] * (theta[name].detach() - anchor[name])
    add_penalty_gradient(theta, folded_anchor, 3.0, folded_weight)
    for name, value in theta.items():
        assert value.grad is not None
        torch.testing.assert_close(value.grad - 1, expected[name], rtol=1e-4, atol=1e-4)
    assert all(torch.isfinite(value).all() for value in folded_anchor.values())


def test_folding_copies_what_it_is_given() -> None:
    anchor: dict[str, Tensor] = {}
    weight: dict[str, Tensor] = {}
    given_anchor, given_weight = tensors(0), tensors(1, positive=True)
    merge(anchor, weight, given_anchor, given_weight)
    given_anchor["a"].zero_()
    given_weight["a"].zero_()
    assert (anchor["a"] != 0).all() and (weight["a"] != 0).all()

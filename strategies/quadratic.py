"""The quadratic penalty that anchors weights, applied to the gradients of all tensors at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from strategies.in_use import put_rows, rows_of


def add_penalty_gradient(
    parameters: Mapping[str, nn.Parameter],
    anchor: Mapping[str, Tensor],
    lam: float,
    weight: Mapping[str, Tensor] | None = None,
    in_use: Mapping[str, Tensor] | None = None,
) -> None:
    """Adds the gradient of ``lam / 2 * sum(weight * (theta - anchor)^2)`` to the gradients.

    Parameters without a gradient or without an anchor are left alone: they don't move, or are not held. With
    ``lam = 0`` nothing is touched, so the run equals one without the penalty bit for bit.

    Args:
        parameters: Name -> parameter, after the backward pass.
        anchor: Name -> where the parameter is pulled to.
        lam: Strength, >= 0.
        weight: Name -> importance of every single weight, >= 0; None for 1 everywhere.
        in_use: Name -> rows outside of which a parameter is at its anchor or weighs 0, so that nothing pulls it
            (`Learner.in_use`); None for all rows of all.
    """
    gradients = {name: value.grad for name, value in parameters.items() if value.grad is not None and name in anchor}
    if lam == 0 or not gradients:
        return
    held, rows = list(gradients), in_use or {}
    with torch.no_grad():
        pulled = rows_of(gradients, rows, held)
        distance = torch._foreach_sub(rows_of(parameters, rows, held), rows_of(anchor, rows, held))
        if weight is None:
            torch._foreach_add_(pulled, distance, alpha=lam)
        else:
            torch._foreach_addcmul_(pulled, distance, rows_of(weight, rows, held), value=lam)
        put_rows(gradients, rows, held, pulled)


def quadratic(
    parameters: Mapping[str, nn.Parameter],
    anchor: Mapping[str, Tensor],
    lam: float,
    weight: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """``lam / 2 * sum(weight * (theta - anchor)^2)`` over the parameters that have an anchor, to be differentiated."""
    terms = [
        ((value - anchor[name]).square() * (1.0 if weight is None else weight[name])).sum()
        for name, value in parameters.items()
        if name in anchor
    ]
    return lam / 2 * torch.stack(terms).sum() if terms else torch.zeros(())


def merge(
    anchor: dict[str, Tensor],
    weight: dict[str, Tensor],
    new_anchor: Mapping[str, Tensor],
    new_weight: Mapping[str, Tensor],
) -> None:
    """Folds one more quadratic into a running one, in place; afterwards both pull as one.

    ``sum_t w_t (theta - a_t)^2`` equals ``W (theta - A)^2`` plus a constant, with ``W = sum_t w_t`` and ``A`` the mean
    of the ``a_t`` weighted by ``w_t``. So any number of tasks costs two buffers and one operation a step. Where the
    total weight is 0 nothing pulls and the anchor does not matter. The new tensors are copied.
    """
    for name, addition in new_weight.items():
        here = new_anchor[name].detach()
        if name not in weight:
            weight[name] = addition.clone()
            anchor[name] = here.clone()
            continue
        weight[name] += addition
        share = torch.where(weight[name] > 0, addition / weight[name], 0)
        anchor[name].lerp_(here, share)

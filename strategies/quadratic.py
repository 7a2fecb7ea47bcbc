"""The quadratic penalty that anchors weights, applied to the gradients of all tensors at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def add_penalty_gradient(
    parameters: Mapping[str, nn.Parameter],
    anchor: Mapping[str, Tensor],
    lam: float,
    weight: Mapping[str, Tensor] | None = None,
) -> None:
    """Adds the gradient of ``lam / 2 * sum(weight * (theta - anchor)^2)`` to the gradients.

    Parameters without a gradient or without an anchor are left alone: they don't move, or are not held. With
    ``lam = 0`` nothing is touched, so the run equals one without the penalty bit for bit.

    Args:
        parameters: Name -> parameter, after the backward pass.
        anchor: Name -> where the parameter is pulled to.
        lam: Strength, >= 0.
        weight: Name -> importance of every single weight, >= 0; None for 1 everywhere.
    """
    if lam == 0:
        return
    held = [name for name, value in parameters.items() if value.grad is not None and name in anchor]
    if not held:
        return
    gradients = [gradient for name in held if (gradient := parameters[name].grad) is not None]
    with torch.no_grad():
        distance = torch._foreach_sub([parameters[name].detach() for name in held], [anchor[name] for name in held])
        if weight is None:
            torch._foreach_add_(gradients, distance, alpha=lam)
        else:
            torch._foreach_addcmul_(gradients, distance, [weight[name] for name in held], value=lam)


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

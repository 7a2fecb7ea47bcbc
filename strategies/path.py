"""What each weight's moves take off the task's loss while a stage trains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from strategies.base import Learner
from strategies.in_use import put_rows, rows_of


def begin_path_step(learner: Learner) -> None:
    """Notes the weights and the gradients of the task's loss, before anything is added to these and they are clipped.

    Until `end_path_step` both lie in the state under ``step``: nothing is saved in between.
    """
    weights = learner.trainable()
    gradients = {name: value.grad for name, value in weights.items() if value.grad is not None}
    learner.state["step"] = {
        "in_use": {name: rows for name, rows in learner.in_use.items() if name in gradients},
        "gradients": _copies(gradients, learner.in_use),
        "weights": _copies({name: weights[name].detach() for name in gradients}, learner.in_use),
    }


def end_path_step(learner: Learner, path: Mapping[str, Tensor]) -> None:
    """Adds to a path what each weight's move took off the task's loss to first order, ``-gradient * (after - before)``.

    Args:
        learner: Right after the step that began with `begin_path_step`.
        path: Name -> tensor of the parameter's shape, changed in place; what is added is below 0 where a move did harm.
    """
    step = learner.state.pop("step")
    gradients: dict[str, Tensor] = step["gradients"]
    before, weights = list(step["weights"].values()), learner.trainable()
    with torch.no_grad():
        torch._foreach_sub_(before, rows_of(weights, step["in_use"], gradients))
        walked = rows_of(path, step["in_use"], gradients)
        torch._foreach_addcmul_(walked, list(gradients.values()), before)
        put_rows(path, step["in_use"], gradients, walked)


def _copies(tensors: Mapping[str, Tensor], in_use: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of those that are in use in part, the rows that are: others have no gradient, so their moves count nothing."""
    copies = rows_of(tensors, in_use, tensors)
    return {name: copy if name in in_use else copy.clone() for name, copy in zip(tensors, copies, strict=True)}

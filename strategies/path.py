"""What each weight's moves take off the task's loss while a stage trains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from strategies.base import Learner, snapshot


def begin_path_step(learner: Learner) -> None:
    """Notes the weights and the gradients of the task's loss, before anything is added to these and they are clipped.

    Until `end_path_step` both lie in the state under ``step``: nothing is saved in between.
    """
    weights = learner.trainable()
    gradients = {name: value.grad.clone() for name, value in weights.items() if value.grad is not None}
    learner.state["step"] = {
        "gradients": gradients,
        "weights": snapshot({name: weights[name] for name in gradients}),
    }


def end_path_step(learner: Learner, path: Mapping[str, Tensor]) -> None:
    """Adds to a path what each weight's move took off the task's loss to first order, ``-gradient * (after - before)``.

    Args:
        learner: Right after the step that began with `begin_path_step`.
        path: Name -> tensor of the parameter's shape, changed in place; what is added is below 0 where a move did harm.
    """
    step = learner.state.pop("step")
    gradients: dict[str, Tensor] = step["gradients"]
    before = list(step["weights"].values())
    weights = learner.trainable()
    torch._foreach_sub_(before, [weights[name].detach() for name in gradients])
    torch._foreach_addcmul_([path[name] for name in gradients], list(gradients.values()), before)

"""Floating-point operations of training, counted by running one example of each task."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.batching import Step
from benchmark.frozen import FrozenPart
from benchmark.modes import modes_kept
from benchmark.team import Team
from strategies.base import Learner


def training_flops(learner: Learner, plan: Sequence[Step], team: Team, frozen: FrozenPart | None = None) -> float:
    """Operations of the forward and backward passes of a stage's batches: two for each multiplication with addition.

    Of every task one example is run forward and backward and counted by `torch.utils.flop_counter`: the longest of the
    batch whose size with its padding is the median. All batches are taken to cost as much for each token, padding
    included. That is exact but for the products of attention, which grow with the square of a text's length; 6 N D
    would leave those out, and frozen layers, adapters and embeddings in. One example, as it must not be what needs
    most memory in a stage; its time, less than that of a step, is part of the stage's.

    What trains is what trains when the stage begins: no gradient is counted where none is needed, and frozen layers
    whose outputs are kept (`benchmark.frozen`) count once for each text, not in every step. Only matrix products count.
    What a strategy computes beside (a teacher, a rehearsed batch, its Fisher) and the optimizer do not: the seconds
    have them. Nothing is changed: no gradient is kept, dropout is off, no random number is drawn.

    Args:
        learner: At the beginning of the stage, after the strategy has prepared it.
        plan: All batches of the stage.
        team: Says where it runs.
        frozen: Makes the stage's batches; None where all is computed in every step.
    """
    with modes_kept(learner.model):
        learner.model.eval()
        return sum(
            _task_flops(learner, [step for step in plan if step.task is task], team, frozen) for task in _tasks(plan)
        )


def _tasks(plan: Sequence[Step]) -> list[object]:
    return list({id(step.task): step.task for step in plan}.values())


def _task_flops(learner: Learner, steps: Sequence[Step], team: Team, frozen: FrozenPart | None = None) -> float:
    sizes = [_padded(step) for step in steps]
    chosen = steps[sizes.index(median_low(sizes))]
    lengths = chosen.task.train.lengths[chosen.indices]
    part = Step(chosen.task, [chosen.indices[int(lengths.argmax())]])
    batch = part.task.collate(part.task.train, part.indices).to(team.device)
    weights = list(learner.trainable().values())
    once = 0.0
    # Fused attention is not counted on every device; written out it is.
    if frozen is not None and part.task.name in frozen.served:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            batch = frozen.computed_now(part.task, batch)
        once = float(counter.get_total_flops()) / _padded(part) * frozen.padded_tokens(part.task)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        rows = learner.rows(part.task, batch)
        loss = nn.functional.cross_entropy(rows.logits, rows.targets)
        if weights:
            loss.backward()  # type: ignore[no-untyped-call]  # autograd.grad can't be counted with every family's hooks
    for weight in weights:
        weight.grad = None
    return once + float(counter.get_total_flops()) / _padded(part) * sum(sizes)


def _padded(step: Step) -> int:
    """Tokens of a batch, padding included."""
    return len(step.indices) * int(step.task.train.lengths[step.indices].max())

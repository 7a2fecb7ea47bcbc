"""Fisher information of single examples: ours, and the loop over batches of one that everybody starts with.

All take the labels of the data, as Avalanche does, so that they compute the same and differ in how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.loop import select_trainable
from benchmark.study import Study
from benchmark.worker import new_learner
from strategies.base import Learner
from strategies.importance import stage_fisher
from tasks.base import Batch, Task
from tests.bench.job import Contender, Job
from tests.bench.material import opened, stage_of, timed
from tests.bench.ratios import Numbers

Diagonal = Mapping[str, Tensor]


def ours(job: Job) -> Contender:
    """As strategies measure it after a stage."""
    study = opened(job)
    (task,) = study.tasks
    learner = ready(study)
    stage = stage_of(learner, task)

    def measured(examples: int) -> Diagonal:
        (found,) = stage_fisher(learner, stage, examples, "empirical")
        return found

    return compared(job, learner, task, measured)


def batches_of_one(job: Job) -> Contender:
    """One example, one backward pass, gradients squared and added up."""
    study = opened(job)
    (task,) = study.tasks
    learner = ready(study)
    return compared(job, learner, task, lambda examples: looped(learner, task, examples))


def ready(study: Study) -> Learner:
    """A learner as it is after a stage of the one task."""
    learner = new_learner(study, 0)
    select_trainable(learner, {study.tasks[0].head})
    learner.model.eval()
    return learner


def compared(job: Job, learner: Learner, task: Task, measured: Callable[[int], Diagonal]) -> Contender:
    """A contender that measures the Fisher information in this way, and is checked against double precision."""

    def check() -> Numbers:
        found = measured(job.sizes.checked)
        learner.model.double()
        exact = looped(learner, task, job.sizes.checked)
        learner.model.float()
        return {"error": relative_error(found, exact)}

    return replace(timed(job, lambda: measured(job.sizes.fisher)), check=check)


def looped(learner: Learner, task: Task, examples: int) -> Diagonal:
    """The Fisher information as the formula says it, in the precision of the model."""
    parameters = learner.trainable()
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    count = 0
    for batch in chosen(learner, task, examples):
        learner.model.zero_grad()
        rows: Any = learner.rows(task, batch)
        nn.functional.cross_entropy(rows.logits, rows.targets).backward()  # type: ignore[no-untyped-call]
        for name, value in parameters.items():
            if value.grad is not None:
                total[name] += value.grad**2
        count += 1
    learner.model.zero_grad()
    return {name: value / count for name, value in total.items()}


def chosen(learner: Learner, task: Task, examples: int) -> list[Batch]:
    """The examples that ours takes, one a batch."""
    return list(stage_of(learner, task).examples(task, examples, 1))  # type: ignore[arg-type]  # our own batches


def relative_error(found: Diagonal, exact: Diagonal) -> float:
    """Norm of the difference over all weights, as a share of the norm."""
    apart = sum(float((found[name].double() - value).square().sum()) for name, value in exact.items())
    whole = sum(float(value.square().sum()) for value in exact.values())
    return float((apart / whole) ** 0.5)

"""Training and evaluating as `retain run` does, on a learner in memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

import torch

from benchmark.backbone import Model
from benchmark.loop import Trained, evaluate, train_stage
from benchmark.worker import new_learner
from strategies.naive import Naive
from tests.bench.job import Contender, Job, spent
from tests.bench.material import finish, opened, stage_of, timed
from tests.bench.ratios import Numbers

MATRIX = {"cpu": 2048, "cuda": 8192}
"""Rows of the matrices by which a device's rate is measured."""


class Unwatched:
    """Is told how training goes, and does nothing with it."""

    def step(self, loss: float, examples: int) -> None:
        pass

    def skip(self, examples: int) -> None:
        pass


def training(job: Job, compiled: bool = False) -> Contender:
    """One epoch of plain fine-tuning; tells the tokens read and the operations too, and as its check the device's rate.

    Args:
        job: What to work on.
        compiled: Whether the body is compiled, for batches of any size; what that takes is not in the rounds.
    """
    study = opened(job)
    (task,) = study.tasks
    learner, strategy, watch = new_learner(study, 0), Naive(), Unwatched()
    stage = stage_of(learner, task)
    if compiled:
        assert isinstance(learner.model, Model)
        learner.model.body.compile(dynamic=True)

    def round() -> Numbers:
        trained: list[Trained] = []
        # torch never compiles what it has once seen run under a counter of operations.
        uncounted: AbstractContextManager[object] = nullcontext()
        if compiled:
            uncounted = patch("benchmark.loop.training_flops", lambda *given: 0.0)
        with uncounted:
            took = spent(
                lambda: trained.append(train_stage(learner, strategy, stage, [task], study.team, watch)),
                lambda: finish(job),
            )
        return took | {"tokens": float(trained[0].tokens), "flops": trained[0].flops}

    return Contender(round, lambda: {"rate": matrix_rate(job)})


def compiled_training(job: Job) -> Contender:
    """The same with the body compiled."""
    return training(job, compiled=True)


def matrix_rate(job: Job) -> float:
    """Operations a second in products of large square matrices, in the precision of training: the best of ten."""
    size = MATRIX[job.device]
    kind = torch.bfloat16 if job.precision == "bf16" else torch.float32
    left, right = torch.randn(2, size, size, device=job.device, dtype=kind)
    torch.mm(left, right)
    finish(job)
    return 2 * size**3 / min(spent(lambda: torch.mm(left, right), lambda: finish(job))["wall"] for _ in range(10))


def evaluation(job: Job) -> Contender:
    """The test split once."""
    study = opened(job)
    (task,) = study.tasks
    learner, strategy = new_learner(study, 0), Naive()
    return timed(job, lambda: evaluate(learner, strategy, task, study.team))

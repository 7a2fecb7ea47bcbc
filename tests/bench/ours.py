"""Training and evaluating as `retain run` does, on a learner in memory."""

from __future__ import annotations

from benchmark.loop import evaluate, train_stage
from benchmark.worker import new_learner
from strategies.naive import Naive
from tests.bench.job import Contender, Job, spent
from tests.bench.material import opened, stage_of


class Unwatched:
    """Is told how training goes, and does nothing with it."""

    def step(self, loss: float, examples: int) -> None:
        pass

    def skip(self, examples: int) -> None:
        pass


def training(job: Job) -> Contender:
    """One epoch of plain fine-tuning."""
    study = opened(job)
    (task,) = study.tasks
    learner, strategy, watch = new_learner(study, 0), Naive(), Unwatched()
    stage = stage_of(learner, task)
    return Contender(lambda: spent(lambda: train_stage(learner, strategy, stage, [task], study.team, watch)))


def evaluation(job: Job) -> Contender:
    """The test split once."""
    study = opened(job)
    (task,) = study.tasks
    learner, strategy = new_learner(study, 0), Naive()
    return Contender(lambda: spent(lambda: evaluate(learner, strategy, task, study.team)))

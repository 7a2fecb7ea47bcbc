"""Largest memory of a whole process that trains with EWC after one task and after eight, beside plain fine-tuning."""

from __future__ import annotations

from benchmark.loop import finish_stage, train_stage
from benchmark.provenance import peak_memory
from benchmark.worker import new_learner
from strategies.base import Strategy
from strategies.ewc import EWC
from strategies.naive import Naive
from tests.bench.job import Contender, Job
from tests.bench.material import opened, stage_of
from tests.bench.ours import Unwatched
from tests.bench.ratios import Numbers
from tests.bench.steps import PAST


def naive(job: Job) -> Contender:
    """Two stages."""
    return _trained(job, Naive(), 1)


def ewc_after_one(job: Job) -> Contender:
    """Two stages, between which it looks back."""
    return _trained(job, EWC(examples=16), 1)


def ewc_after_eight(job: Job) -> Contender:
    """The same, but it looks back eight times, each on a task."""
    return _trained(job, EWC(examples=16), PAST)


def _trained(job: Job, strategy: Strategy, past: int) -> Contender:
    def round() -> Numbers:
        study = opened(job)
        (task,) = study.tasks
        learner, watch = new_learner(study, 0), Unwatched()
        stages = [stage_of(learner, task, index=index, count=past + 2) for index in range(past + 1)]
        train_stage(learner, strategy, stages[0], [task], study.team, watch)
        for stage in stages[:-1]:
            if strategy.fingerprint_after(stage):
                finish_stage(learner, strategy, stage)
        train_stage(learner, strategy, stages[-1], [task], study.team, watch)
        weights = sum(value.nbytes for value in learner.trainable().values())
        return {"peak": float(peak_memory()), "weights": float(weights)}

    return Contender(round)

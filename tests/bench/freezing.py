"""An epoch in which the head alone trains, after the first, beside one in which everything does."""

from __future__ import annotations

from dataclasses import replace

from benchmark.loop import train_stage
from benchmark.worker import new_learner
from strategies.base import Strategy
from strategies.freeze import Freeze
from strategies.naive import Naive
from tests.bench.job import Contender, Job
from tests.bench.material import opened, stage_of
from tests.bench.ratios import Numbers
from tests.bench.steps import Stopwatch


def epochs(job: Job) -> Contender:
    """Seconds of an epoch of each, and of the whole stage with the backbone frozen, in epochs of everything."""
    study = opened(job)
    (task,) = study.tasks

    def run(strategy: Strategy, count: int) -> Numbers:
        learner, watch = new_learner(study, 0), Stopwatch()
        learner.training = replace(learner.training, epochs=count)
        stage = stage_of(learner, task, learner.training)
        train_stage(learner, strategy, stage, [task], study.team, watch)
        first = stage.steps // count - 1
        return {
            "wall": (watch.wall[-1] - watch.wall[first]) / (count - 1),
            "cpu": (watch.cpu[-1] - watch.cpu[first]) / (count - 1),
        }

    def round() -> Numbers:
        full, head = run(Naive(), 2), run(Freeze(), 1 + job.sizes.head_epochs)
        return {f"{name} {clock}": found[clock] for name, found in (("full", full), ("head", head)) for clock in found}

    return Contender(round)

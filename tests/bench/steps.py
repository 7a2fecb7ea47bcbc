"""What a step of EWC and of the L2 anchor takes beside one of plain fine-tuning, on the same batches, in turns."""

from __future__ import annotations

import time
from dataclasses import replace

from benchmark.loop import finish_stage, train_stage
from benchmark.study import Study
from benchmark.worker import new_learner
from strategies.base import Learner, Strategy
from strategies.ewc import EWC
from strategies.l2_anchor import L2Anchor
from strategies.naive import Naive
from tests.bench.fisher import ready
from tests.bench.job import Contender, Job
from tests.bench.material import opened, stage_of
from tests.bench.ratios import Numbers, in_turns

PAST = 8


class Stopwatch:
    """Notes the clocks after every step."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def step(self, loss: float, examples: int) -> None:
        self.cpu.append(time.process_time())
        self.wall.append(time.perf_counter())

    def skip(self, examples: int) -> None:
        pass


def steps(job: Job) -> Contender:
    """Processor seconds of the steps after a stage's first, for each strategy."""
    study = opened(job)
    (task,) = study.tasks
    ewc = EWC(examples=4)
    variants: dict[str, tuple[Strategy, Learner, int]] = {
        "naive": (Naive(), new_learner(study, 0), 0),
        "l2_anchor": (L2Anchor(), new_learner(study, 0), 0),  # it takes its anchor before the first stage
        "ewc 1": (ewc, after_tasks(study, ewc, 1), 1),
        "ewc 8": (ewc, after_tasks(study, ewc, PAST), PAST),
    }
    few = task.train.features.select(range(min(len(task.train.features), job.sizes.steps * job.batch)))
    short = replace(task, train=replace(task.train, features=few, lengths=task.train.lengths[: len(few)]))
    turn = 0

    def round() -> Numbers:
        nonlocal turn
        turn += 1
        found: dict[str, float] = {}
        for name in in_turns(list(variants), turn):
            strategy, learner, past = variants[name]
            watch = Stopwatch()
            stage = stage_of(learner, short, index=past, count=PAST + 2)
            train_stage(learner, strategy, stage, [short], study.team, watch)
            found[name] = watch.cpu[-1] - watch.cpu[0]
        return found

    return Contender(round)


def after_tasks(study: Study, strategy: Strategy, past: int) -> Learner:
    """A learner that has looked back on so many tasks: on one and the same, since only their number matters here."""
    learner = ready(study)
    for index in range(past):
        finish_stage(learner, strategy, stage_of(learner, study.tasks[0], index=index, count=PAST + 2))
    return learner

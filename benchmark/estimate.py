"""What running a study would take, in time and on the disk: tried out on a few examples of each task and strategy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from benchmark.batching import evaluation_batches
from benchmark.engine import Engine
from benchmark.jobs import Graph, Job
from benchmark.loop import EVALUATION_TOKENS, finish_stage, make_stage, train_stage
from benchmark.measuring import measure_probes, measure_similarity, reader_of
from benchmark.stages import earlier_tasks, refitted_tasks, stage_tasks
from benchmark.study import Study
from benchmark.worker import new_learner
from strategies.base import Batch, Learner, Strategy
from strategies.base import Task as StrategyTask
from strategies.naive import Naive
from tasks.base import Task

TRIED_EXAMPLES = 8
"""Examples that a strategy gets for what it does after a stage (its Fisher, say) when it is tried out: about a batch of
its own, so that what batches save, and what it does once a task, is not counted for every example."""
FORWARD = 1 / 3
"""What a forward pass takes of a training step, about."""


@dataclass(frozen=True)
class Cost:
    """What one strategy costs.

    Attributes:
        step: Its training step, as a multiple of naive fine-tuning's.
        after: Seconds that it takes after a stage.
        weights: Bytes of the weights that a stage changes.
        state: Bytes that it keeps between stages.
        once: What it computes once for each example of a stage, in the same unit as `step`.
    """

    step: float
    after: float
    weights: int
    state: int
    once: float = 0.0


@dataclass(frozen=True)
class Prices:
    """What everything in a study costs here.

    Attributes:
        train: Task -> seconds of naive fine-tuning an example.
        tests: Task -> seconds of testing it once.
        probes: Seconds of measuring all probes once, and of comparing layers.
        strategies: Strategy -> what it costs.
    """

    train: Mapping[str, float]
    tests: Mapping[str, float]
    probes: float
    strategies: Mapping[str, Cost]


@dataclass(frozen=True)
class Estimate:
    """What the jobs of a study take together, one after another.

    Attributes:
        seconds: Of training, of what strategies do after stages, and of measuring.
        disk: Most bytes of weights that lie on the disk at once.
    """

    seconds: float
    disk: int


def estimate(engine: Engine, todo: Mapping[str, Job]) -> Estimate:
    """Adds up the prices of jobs, those of this machine at this moment."""
    graph, study = engine.graph, engine.study
    prices = try_out(study, {study.suite.cells[job.cell].strategy.name for job in todo.values()})
    seconds = sum(_seconds(graph, prices, job) for job in todo.values())
    return Estimate(seconds, _peak_disk(engine, prices, todo))


def try_out(study: Study, strategies: set[str]) -> Prices:
    """Times a few examples of each task, and what each of these strategies does with them."""
    learner = new_learner(study, 0)
    train = {task.name: _seconds_an_example(study, learner, Naive(), task, 0) for task in study.tasks}
    tests = {task.name: _evaluation_seconds(study, learner, task) for task in study.tasks}
    cells = {cell.strategy.name: cell.strategy for cell in study.suite.cells if cell.strategy.name in strategies}
    costs = {name: _cost(study, strategy, train) for name, strategy in cells.items()}
    return Prices(train, tests, _probe_seconds(study, learner), costs)


def _cost(study: Study, strategy: Strategy, naive: Mapping[str, float]) -> Cost:
    """Tries a strategy on the cheapest task: a first stage, what follows it, a second stage."""
    task = min(study.tasks, key=lambda task: naive[task.name])
    learner = new_learner(study, 0)
    _seconds_an_example(study, learner, strategy, task, 0)
    weights = sum(value.nbytes for value in learner.trainable().values())
    stage = make_stage(0, 0, 2, [task], study.suite.training, study.device)
    wanted, seconds = [0], 0.0

    def few(task: StrategyTask, count: int, batch_size: int) -> Iterator[Batch]:
        wanted[0] += min(count, len(study.task(task.name).train.features))
        return stage.examples(task, min(count, TRIED_EXAMPLES), batch_size)

    if strategy.fingerprint_after(stage):
        started = time.perf_counter()
        finish_stage(learner, strategy, replace(stage, examples=few))
        seconds = (time.perf_counter() - started) * max(1.0, wanted[0] / TRIED_EXAMPLES)
    again, kept = _tried(study, learner, strategy, task, 1)
    once = FORWARD if kept else 0.0
    return Cost(again / naive[task.name], seconds, weights, learner.state_bytes(), once)


def _seconds_an_example(study: Study, learner: Learner, strategy: Strategy, task: Task, index: int) -> float:
    return _tried(study, learner, strategy, task, index)[0]


def _tried(study: Study, learner: Learner, strategy: Strategy, task: Task, index: int) -> tuple[float, bool]:
    """Trains on two batches of texts of middling length; the first warms up, the second counts.

    Returns:
        Seconds an example, and whether outputs of frozen layers were computed before.
    """
    size = study.suite.training.batch_size
    near = np.argsort(np.abs(task.train.lengths - task.train.lengths.mean()), kind="stable")
    chosen = np.resize(near[:size], 2 * size)
    features, lengths = task.train.features.select(chosen.tolist()), task.train.lengths[chosen]
    short = replace(task, train=replace(task.train, features=features, lengths=lengths))
    watch = _Clock()
    with_one_epoch = replace(learner, training=replace(learner.training, epochs=1))
    stage = make_stage(0, index, 2, [short], with_one_epoch.training, study.device)
    trained = train_stage(with_one_epoch, strategy, stage, [short], study.team, watch)
    learner.state = with_one_epoch.state
    return (watch.times[-1] - watch.times[-2]) / size, trained.kept_bytes > 0


@dataclass
class _Clock:
    """Notes when steps end."""

    times: list[float] = field(default_factory=list)

    def step(self, loss: float, examples: int) -> None:
        self.times.append(time.perf_counter())

    def skip(self, examples: int) -> None:
        raise AssertionError("nothing was kept that could be gone on from")


def _evaluation_seconds(study: Study, learner: Learner, task: Task) -> float:
    """Evaluates a batch of middling length, and takes it for all."""
    batches = list(evaluation_batches(task.test.lengths, EVALUATION_TOKENS[study.device.type]))
    tokens = [len(batch) * int(task.test.lengths[batch].max()) for batch in batches]
    middle = batches[int(np.argsort(tokens)[len(tokens) // 2])]
    learner.model.eval()
    started = time.perf_counter()
    with torch.inference_mode():
        learner.rows(task, task.collate(task.test, middle).to(study.device))
    taken = time.perf_counter() - started
    return taken * sum(tokens) / max(1, len(middle) * int(task.test.lengths[middle].max()))


def _probe_seconds(study: Study, learner: Learner) -> float:
    assert study.pretrained_states is not None  # read once a process, so it is no row's cost
    started = time.perf_counter()
    reader = reader_of(study, learner)
    measure_similarity(study, reader)
    measure_probes(study, reader)
    return time.perf_counter() - started


def _seconds(graph: Graph, prices: Prices, job: Job) -> float:
    """What a job takes: its step, as far as it is not done, and measuring."""
    node, cell = graph.node(job), graph.study.suite.cells[job.cell]
    cost = prices.strategies[cell.strategy.name]
    study, training = graph.study, graph.study.suite.training
    seconds = sum(prices.tests.values()) + prices.probes if job.measured else 0.0
    for name in refitted_tasks(study, cell, node.stage) if job.measured else ():
        examples = min(study.suite.refit or 0, len(study.task(name).train.features))
        seconds += prices.train[name] * examples * FORWARD + prices.tests[name]
    if node.step == "after":
        return seconds + cost.after
    if node.step == "train" and study.suite.eval_every is not None:
        points = graph.examples(job) / training.batch_size // study.suite.eval_every
        seconds += points * sum(prices.tests[task.name] for task in earlier_tasks(study, cell, node.stage))
    for task in stage_tasks(study, cell)[node.stage] if node.step == "train" else ():
        # What strategies add, they mostly add once there is something to keep.
        step, once = (cost.step, cost.once) if node.stage else (1.0, 0.0)
        seconds += prices.train[task.name] * len(task.train.features) * (training.epochs * step + once)
    return seconds


def _peak_disk(engine: Engine, prices: Prices, todo: Mapping[str, Job]) -> int:
    """Goes through the jobs as they will be done, and counts what must be kept after each."""
    sizes = {key: _bytes(engine.graph, prices, job) for key, job in todo.items()}
    left, peak, there = list(todo.values()), 0, set[str]()
    kept = engine.keeps()
    while left:
        there.add(left.pop(0).key)
        peak = max(peak, sum(sizes[key] for key in there))
        needed = kept | {job.parent for job in left}
        there &= needed
    return peak


def _bytes(graph: Graph, prices: Prices, job: Job) -> int:
    node = graph.node(job)
    cost = prices.strategies[graph.study.suite.cells[job.cell].strategy.name]
    return 0 if node.step == "start" else cost.weights + cost.state

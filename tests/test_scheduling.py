"""What several processes do first."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from benchmark import jobs
from benchmark.engine import Engine
from benchmark.executors import InProcess
from benchmark.jobs import Job
from benchmark.progress import Progress
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import Worker
from tests.command import write_suite
from tests.lab import Ran, numbers

Open = Callable[..., Study]


@pytest.fixture
def opened(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Open:
    suite = write_suite(tmp_path, backbone_folder)

    def open_(*strategies: str, settings: list[str] | None = None) -> Study:
        return open_study(load_suite(str(suite), Overrides(list(strategies), None, settings or [])), "cpu", print)

    return open_


class Eager(InProcess):
    """Says that it can do several jobs at once, and notes which it was given."""

    parallel = True

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self.begun: list[Job] = []

    def start(self, job: Job) -> None:
        self.begun.append(job)
        super().start(job)


def test_a_way_is_as_long_as_what_is_read_on_it(opened: Open, tmp_path: Path) -> None:
    study = opened("joint", "ewc")
    with Progress(stream=StringIO()) as progress:
        graph = Engine(study, tmp_path / "runs", progress).graph
    joint, ewc = ([graph.ahead[node.key] for node in nodes] for nodes in graph.paths)
    train = [int(task.train.lengths.sum()) for task in study.tasks]
    tests = sum(int(task.test.lengths.sum()) for task in study.tasks)
    epochs = 3 * study.suite.training.epochs
    assert joint == [ewc[0], epochs * sum(train) + tests]  # both begin alike
    costs = [tests]
    for tokens in train[:-1]:
        costs += [epochs * tokens, tokens + tests]  # Fisher information, behind which the stage is measured
    costs += [epochs * train[-1] + tests]
    assert ewc == [sum(costs[place:]) for place in range(len(costs))]


@pytest.mark.parametrize(("bound", "most"), [(1, 3), (3, 5), (99, 10)])  # two run at once; there are ten runs
def test_no_more_weights_wait_on_the_disk_than_may(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int, most: int
) -> None:
    monkeypatch.setattr(jobs, "OPEN_STEPS", bound)
    study = opened("l2_anchor", "ewc", settings=["l2_anchor.lam=[1,2,3,4,5,6]", "ewc.lam=[1,2,3,4]"])
    with Progress(stream=StringIO()) as progress:
        graph = Engine(study, tmp_path / "runs", progress).graph
    todo, kept, running = dict(graph.jobs), 0, list[Job]()
    while todo:
        ready = [job for job in todo.values() if job not in running and not graph.waits(job, todo)]
        running += graph.in_order(ready, todo)[: 2 - len(running)]
        todo.pop(running.pop(0).key)
        parents = {job.parent for job in todo.values()} - todo.keys()
        kept = max(kept, sum(graph.jobs[key].place > 0 for key in parents if key))
    assert kept <= most
    assert bound < 99 or kept == 10


def test_the_longest_way_is_gone_first(opened: Open, tmp_path: Path) -> None:
    study = opened("joint", "freeze", "ewc")
    with Progress(stream=StringIO()) as progress:
        engine = Engine(study, tmp_path / "runs", progress)
        executor = Eager(Worker(study, engine.store, progress.lane()))
        runs = engine.run(executor)
    names = [(study.suite.cells[job.cell].strategy.name, engine.graph.node(job).stage) for job in executor.begun]
    ways = [engine.graph.ahead[job.key] for job in executor.begun]
    assert ways == sorted(ways, reverse=True)
    assert names[:2] == [("joint", -1), ("ewc", 0)]  # the start is everyone's; then the run that has most beside it
    alone = Ran(opened("joint", "freeze", "ewc"), tmp_path / "alone").by_strategy
    assert [numbers(run) for run in runs] == [numbers(alone[run.strategy]) for run in runs]

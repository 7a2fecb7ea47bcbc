"""What is to be done of a stage graph: every distinct step of a study as one job, and which of them are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmark.stages import Node, evaluation_key, path, refitted_tasks, stage_tasks
from benchmark.store import Saved, Store
from benchmark.study import Study
from tasks.base import Task

OPEN_STEPS = 8
"""Finished steps from which others are still to go on, whose weights lie on the disk. Where there are as many, jobs
that would make them more are put off."""


@dataclass(frozen=True)
class Job:
    """A step to be done and, where a record needs it, its row of results.

    Attributes:
        key: Of the step.
        parent: Key of the step before; empty for the start.
        cell: Place among the suite's cells of one on whose path the step lies.
        place: Of the step on that path.
        measured: Whether every task and probe is measured after it.
    """

    key: str
    parent: str
    cell: int
    place: int
    measured: bool


class Graph:
    """The jobs of a study, those of each run in the order of its path."""

    def __init__(self, study: Study, store: Store) -> None:
        """Asks the store what is known when it is asked what is to do."""
        self.study, self.store = study, store
        self.paths: list[list[Node]] = [path(study, cell) for cell in study.suite.cells]
        self.jobs: dict[str, Job] = {}
        for cell, nodes in enumerate(self.paths):
            ends = _ends(nodes)
            for place, node in enumerate(nodes):
                known = self.jobs.get(node.key)
                if known is None or (place in ends and not known.measured):
                    parent = nodes[place - 1].key if place else ""
                    self.jobs[node.key] = Job(node.key, parent, cell, place, place in ends)

    def node(self, job: Job) -> Node:
        """The step that a job does."""
        return self.paths[job.cell][job.place]

    def rows(self, cell: int) -> list[Job]:
        """The jobs that give a run its rows of results, the untrained start first."""
        nodes = self.paths[cell]
        return [self.jobs[nodes[place].key] for place in _ends(nodes)]

    def examples(self, job: Job) -> int:
        """Training examples that a job reads, every epoch counted."""
        if self.node(job).step != "train":
            return 0
        return self.study.suite.training.epochs * sum(len(task.train.features) for task in self._trained(job))

    def to_do(self, cells: Collection[int]) -> dict[str, Job]:
        """What these cells still need: what is missing, and what it needs whose tensors are gone."""
        todo: set[str] = set()
        for cell in cells:
            needed = False
            for node in reversed(self.paths[cell]):
                job = self.jobs[node.key]
                if not self.known(job) or (needed and not self.readable(job)):
                    todo.add(node.key)
                needed = node.key in todo
        return {key: job for key, job in self.jobs.items() if key in todo}

    def known(self, job: Job) -> bool:
        """Whether a step is done and, where it should be, measured."""
        saved = self.saved(job)
        if job.place and saved is None:
            return False
        return not job.measured or self.row(job) is not None

    def waits(self, job: Job, todo: Mapping[str, Job]) -> bool:
        """Whether the step before a job is to be done first. The start is not: all that is done of it is measuring."""
        return job.place > 1 and job.parent in todo

    def in_order(self, ready: Sequence[Job], todo: Mapping[str, Job]) -> list[Job]:
        """Jobs that can begin, in the order in which several at once should.

        The longest way first, so that no long run is left alone at the end. That alone would go through all first
        stages before any second one, and keep the weights of each; so where many are kept, those come first that end a
        run or are the last to go on from a step.

        Args:
            ready: That wait for no other.
            todo: All that are not done, these and those that run included.
        """
        going_on = Counter(job.parent for job in todo.values())
        kept = sum(parent not in todo and self.jobs[parent].place > 0 for parent in going_on if parent)

        def opens(job: Job) -> bool:
            return going_on[job.key] > 0 and (job.place == 1 or going_on[job.parent] > 1)

        full = kept >= OPEN_STEPS
        return sorted(ready, key=lambda job: (full and opens(job), -self.ahead[job.key]))

    def readable(self, job: Job) -> bool:
        """Whether another step can go on from this one without doing it again."""
        saved = self.saved(job)
        return job.place == 0 or (saved is not None and self.store.has(saved))

    def saved(self, job: Job) -> Saved | None:
        """What is kept of a step; None if it is not done, and for the start."""
        return self.store.node(job.key) if job.place else None

    def row(self, job: Job) -> dict[str, object] | None:
        """What was measured after a step; None if nothing was."""
        start, cell = self.paths[job.cell][0].key, self.study.suite.cells[job.cell]
        refit = refitted_tasks(self.study, cell, self.node(job).stage)
        return self.store.row(evaluation_key(self.study, start, self.saved(job), cell, refit))

    @cached_property
    def ahead(self) -> Mapping[str, int]:
        """Step -> what the longest way from its beginning to the end of a run takes, in tokens that are read.

        Training reads a text forward and backward, which counts as three times; tests are read once where a row of
        results is measured. What a strategy does after a stage counts as reading it once: how long it takes nobody
        knows before, and it is less than an epoch. Frozen layers are not thought of.
        """
        tests = sum(int(task.test.lengths.sum()) for task in self.study.tasks)
        longest: dict[str, int] = {}
        for nodes in self.paths:
            way = 0
            for node in reversed(nodes):
                job = self.jobs[node.key]
                passes = {"start": 0, "train": 3 * self.study.suite.training.epochs, "after": 1}[node.step]
                way += sum(passes * int(task.train.lengths.sum()) for task in self._trained(job))
                way += tests if job.measured else 0
                longest[node.key] = max(way, longest.get(node.key, 0))
        return longest

    def _trained(self, job: Job) -> Sequence[Task]:
        """The tasks of a job's stage; none of the start."""
        node = self.node(job)
        return [] if node.step == "start" else stage_tasks(self.study, self.study.suite.cells[job.cell])[node.stage]


def still_needed(todo: Mapping[str, Job], paths: Sequence[Sequence[Node]], cells: Collection[int]) -> dict[str, Job]:
    """Those of the jobs that lie on the path of one of the cells."""
    keys = {node.key for cell in cells for node in paths[cell]}
    return {key: job for key, job in todo.items() if key in keys}


def _ends(nodes: Sequence[Node]) -> list[int]:
    """Places on a path where a stage ends, and that of the start."""
    return [place for place, node in enumerate(nodes) if place + 1 == len(nodes) or nodes[place + 1].stage > node.stage]

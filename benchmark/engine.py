"""Walks the stage graph of a study on an executor: every step once, every run to its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.assemble import failed_run, finished_run, main_score
from benchmark.executors import Executor
from benchmark.jobs import Graph, Job, still_needed
from benchmark.output import writing
from benchmark.progress import Progress
from benchmark.shelf import Command
from benchmark.stages import stage_tasks
from benchmark.status import Planned, note_plan
from benchmark.store import Store
from benchmark.study import Study
from benchmark.suite import Cell
from benchmark.worker import Busy, Failed, Halted
from results.record import RecordError, Run, load

Keep = Literal["none", "last", "all"]
"""Which weights stay when no run needs them any more: none, those at the end of each run, or all."""
RETRY_SECONDS = 0.5
"""After which a step that another command works on is looked at again."""


class Engine:
    """Runs the cells of a study. Steps that several runs share, or that were finished before, are not repeated."""

    def __init__(
        self,
        study: Study,
        folder: Path,
        progress: Progress,
        keep: Keep = "none",
        listener: Callable[[Cell, Run], None] = lambda cell, run: None,
    ) -> None:
        """Records go into the folder, finished steps into its folder ``stages``; the listener gets every new record."""
        self.study, self.folder, self.progress, self.keep, self.listener = study, folder, progress, keep, listener
        self.cells = study.suite.cells
        self.store = Store(folder / "stages", progress.say)
        self.graph = Graph(study, self.store)

    def waiting(self) -> list[int]:
        """Places of the cells that have no record of a finished run yet."""
        return [number for number in range(len(self.cells)) if self.done_before(number) is None]

    def run(self, executor: Executor) -> list[Run]:
        """Runs every cell that has no record yet; records are written as soon as each is done.

        A step that fails ends the runs that it belongs to, and no others: they are recorded as failed.

        Raises:
            UserError: something can't be written or read.
            KeyboardInterrupt: it was asked to stop; what was done is kept.
        """
        found = [self.done_before(number) for number in range(len(self.cells))]
        runs = {number: run for number, run in enumerate(found) if run is not None}
        for number in runs:
            self.progress.say(f"{self.cells[number].name}: done before, {self.folder / self.cells[number].filename}")
        with self.store.shelf.command([self.folder / cell.filename for cell in self.cells]) as command:
            self.announce()
            work = Work(self, executor, command, [number for number, run in enumerate(found) if run is None])
            try:
                runs |= dict(work.records())
            except KeyboardInterrupt:
                executor.stop()
                raise
            finally:
                executor.close()
        return [runs[number] for number in range(len(self.cells))]

    def announce(self) -> None:
        """Leaves word of all runs in the folder, for `benchmark.status`.

        Raises:
            UserError: it can't be written.
        """
        note_plan(self.store.shelf, [self._planned(number) for number in range(len(self.cells))])

    def done_before(self, number: int) -> Run | None:
        """A cell's record, if the same code made it from the same data on the same kind of machine to its end."""
        cell = self.cells[number]
        place = self.folder / cell.filename
        if not place.exists():
            return None
        try:
            run = load(place)
        except RecordError as error:
            self.progress.say(f"{error}; it is run again")
            return None
        same_code = {"version": "", "commit": None, "dirty": None}  # what tells is the hash of the sources
        made_by, here = (made.model_copy(update=same_code) for made in (run.provenance, self.study.made(cell)))
        return run if run.failure is None and run.settings == cell.settings and made_by == here else None

    def _planned(self, number: int) -> Planned:
        cell, nodes = self.cells[number], self.graph.paths[number]
        names = [[task.name for task in tasks] for tasks in stage_tasks(self.study, cell)]
        steps = [[node.key for node in nodes if node.stage == stage] for stage in range(len(names))]
        return Planned(cell.name, cell.filename, names, steps, self.study.backbone.spec.name)

    def keeps(self) -> set[str]:
        """Steps whose weights stay though no run needs them."""
        if self.keep == "all":
            return set(self.graph.jobs)
        return {nodes[-1].key for nodes in self.graph.paths} if self.keep == "last" else set()

    def write(self, number: int, run: Run) -> None:
        """Writes a cell's record."""
        cell = self.cells[number]
        place = self.folder / cell.filename
        with writing(place):
            run.save(place)
        self.listener(cell, run)
        if run.failure is None:
            self.progress.say(f"{cell.name}: done in {run.seconds:.0f} s, {place}")
            return
        names = "+".join(run.stages[run.failure.stage]) if run.failure.stage >= 0 else "the untrained model"
        self.progress.say(f"{cell.name}: failed at {names}: {run.failure.reason}; the other runs go on")

    def tell(self, job: Job) -> None:
        """Says how all tasks stand after a stage."""
        row, cell = self.graph.row(job), self.cells[job.cell]
        if row is not None and job.measured and job.place:
            names = "+".join(task.name for task in stage_tasks(self.study, cell)[self.graph.node(job).stage])
            scores = ", ".join(f"{task.name} {main_score(task, row):.3f}" for task in self.study.tasks)
            self.progress.say(f"{cell.name}, after {names}: {scores}")


@dataclass
class Work:
    """What one command does: jobs go to the executor when what they need is done, runs become records.

    Attributes:
        waiting: Cells without a record.
        todo: Jobs that are not done, those that run included.
        running: Keys of the jobs that the executor has.
        busy: Key of a job that another command works on -> when to look again.
        needed: Steps whose tensors this command has said that it needs.
        spared: Steps from which failed ones began: trying those again should not begin at the start.
    """

    engine: Engine
    executor: Executor
    command: Command
    waiting: list[int]

    def records(self) -> Iterator[tuple[int, Run]]:
        """Does all that is to be done; gives each cell's run as soon as it is written."""
        self.graph = self.engine.graph
        self.needed = set(self.graph.jobs)
        self.command.needs(self.needed)  # before it is looked what is there, or it might be gone a moment later
        self.todo = self.graph.to_do(self.waiting)
        self.running: set[str] = set()
        self.busy: dict[str, float] = {}
        self.spared: set[str] = set()
        yield from self._finished()
        while self.waiting:
            self._drop()
            self._expect()
            self._start()
            if not self.running:  # all that is left is done by another command
                time.sleep(RETRY_SECONDS)
                continue
            for job, outcome in self.executor.wait():
                self.running.discard(job.key)
                if isinstance(outcome, Halted):
                    raise KeyboardInterrupt
                if isinstance(outcome, Busy):
                    if job.key not in self.busy:
                        self.engine.progress.say(f"{self.engine.cells[job.cell].name}: another command is at it")
                    self.busy[job.key] = time.monotonic() + RETRY_SECONDS
                elif isinstance(outcome, Failed):
                    yield from self._failed(job, outcome)
                else:
                    self.todo.pop(job.key, None)
                    self.engine.tell(job)
            yield from self._finished()
        self._expect()
        self.needed = set(self.graph.jobs)  # so that all are dropped: also what others needed, or was done twice
        self._drop()

    def _start(self) -> None:
        """Gives the executor jobs that need nothing that is still to be done, as many as it has room for."""
        ready = [
            job
            for job in self.todo.values()
            if job.key not in self.running
            and not self.graph.waits(job, self.todo)
            and self.busy.get(job.key, 0.0) <= time.monotonic()
        ]
        if self.executor.parallel:
            ready = self.graph.in_order(ready, self.todo)
        for job in ready:
            if self.executor.room:
                self.running.add(job.key)
                self.executor.start(job)

    def _finished(self) -> Iterator[tuple[int, Run]]:
        """Writes the records of the cells of which nothing is to be done any more."""
        for number in list(self.waiting):
            if any(node.key in self.todo for node in self.graph.paths[number]):
                continue
            run = finished_run(self.graph, number)
            if run is None:  # damaged since it was done
                self.todo |= self.graph.to_do([number])
                continue
            yield self._written(number, run)

    def _failed(self, job: Job, outcome: Failed) -> Iterator[tuple[int, Run]]:
        """Records every run as failed that the step belongs to."""
        self.spared |= {job.parent, job.key}
        for number in list(self.waiting):
            if any(node.key == job.key for node in self.graph.paths[number]):
                yield self._written(number, failed_run(self.graph, number, job, outcome.reason, outcome.trace))
        self.todo = still_needed(self.todo, self.graph.paths, self.waiting)

    def _written(self, number: int, run: Run) -> tuple[int, Run]:
        self.engine.write(number, run)
        self.waiting.remove(number)
        return number, run

    def _expect(self) -> None:
        self.engine.progress.expect(sum(self.graph.examples(job) for job in self.todo.values()))

    def _drop(self) -> None:
        """Frees the tensors of steps from which no job goes on."""
        needed = self.engine.keeps() | self.spared | set(self.todo) | {job.parent for job in self.todo.values()}
        if needed != self.needed:
            self.command.needs(needed)
            self.command.drop(self.needed - needed, needed)
            self.needed = needed

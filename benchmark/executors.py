"""Where jobs are done: in this process, or in several on this machine. Ray has its own file."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from multiprocessing.queues import SimpleQueue
from operator import methodcaller
from pathlib import Path
from typing import Any, Protocol

from benchmark.jobs import Job
from benchmark.progress import Lane, Progress
from benchmark.store import Store
from benchmark.study import Study
from benchmark.worker import Failed, Outcome, Worker

TRIES = 3
"""How often a job is begun before its process's death is its own fault."""
GRACE_SECONDS = 30.0
"""That workers are given to end their step, and to keep it, when all is stopped."""
TELL_SECONDS = 0.25
"""Between two messages of a worker on how training goes."""


class Executor(Protocol):
    """Does jobs whose parents are done."""

    @property
    def parallel(self) -> bool:
        """Whether several jobs may run at once."""

    @property
    def room(self) -> bool:
        """Whether one more job can be started."""

    def start(self, job: Job) -> None:
        """Begins a job."""

    def wait(self) -> list[tuple[Job, Outcome]]:
        """Waits until at least one of the jobs that were started has ended.

        Raises:
            UserError: something can't be written or read.
        """

    def stop(self) -> None:
        """Lets training steps end and be kept, then returns."""

    def close(self) -> None:
        """Ends all that was begun."""


class InProcess:
    """One job at a time, in this process. The learner of one is at hand for the next."""

    def __init__(self, worker: Worker) -> None:
        """Works with this worker."""
        self.worker = worker
        self.job: Job | None = None

    @property
    def parallel(self) -> bool:
        """One at a time."""
        return False

    @property
    def room(self) -> bool:
        """Whether no job waits to be done."""
        return self.job is None

    def start(self, job: Job) -> None:
        """Takes a job; `wait` does it."""
        self.job = job

    def wait(self) -> list[tuple[Job, Outcome]]:
        """Does the job."""
        assert self.job is not None
        job, self.job = self.job, None
        return [(job, self.worker.do(job))]

    def stop(self) -> None:
        """Nothing runs on: a signal has ended the job in `wait`."""

    def close(self) -> None:
        """Nothing is left."""


class Processes:
    """Several processes on this machine. One that dies is replaced, and its job taken up where it was kept."""

    def __init__(
        self, study: Study, folder: Path, progress: Progress, count: int, checkpoint_seconds: float = math.inf
    ) -> None:
        """Starts processes as jobs come; each gets the study as it is and reads no data itself."""
        self.progress = progress
        # A fork would copy torch's threads in the middle of what they do.
        self.context = multiprocessing.get_context("spawn")
        # Without a lock, which a process could take with it into its death.
        self.stopping = self.context.Value("b", 0, lock=False)
        settings = (study, folder, self.stopping, checkpoint_seconds)
        self.slots = [_Slot(self.context, settings, progress.lane()) for _ in range(count)]

    @property
    def parallel(self) -> bool:
        """As many as there are processes."""
        return True

    @property
    def room(self) -> bool:
        """Whether a process has nothing to do."""
        return any(slot.job is None for slot in self.slots)

    def start(self, job: Job) -> None:
        """Gives a job to a process: best to the one that did the step before, whose learner is at hand."""
        free = [slot for slot in self.slots if slot.job is None]
        min(free, key=lambda slot: slot.at != job.parent).start(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        """Shows what the processes tell until one of them has ended a job."""
        outcomes: list[tuple[Job, Outcome]] = []
        while not outcomes:
            wait([slot.future for slot in self.slots if slot.job is not None], TELL_SECONDS, FIRST_COMPLETED)
            for slot in self.slots:
                slot.show()
                if slot.job is not None and slot.future.done():
                    outcomes += slot.ended()
        return outcomes

    def stop(self) -> None:
        """Asks all processes to keep the step that they are in, and gives them some time for it."""
        self.stopping.value = 1
        wait([slot.future for slot in self.slots if slot.job is not None], GRACE_SECONDS)

    def close(self) -> None:
        """Ends all processes, at once: what they write is whole or absent."""
        for process in multiprocessing.active_children():
            process.kill()
        for slot in self.slots:
            slot.close()


class _Slot:
    """One process, replaced when it dies, and the job that it does."""

    def __init__(self, context: SpawnContext, settings: tuple[Any, ...], lane: Lane) -> None:
        self.context, self.settings, self.lane = context, settings, lane
        self.job: Job | None = None
        self.at = ""
        self.deaths: Counter[str] = Counter()
        self.pool: ProcessPoolExecutor | None = None

    def start(self, job: Job) -> None:
        if self.pool is None:
            self.queue: SimpleQueue[methodcaller] = self.context.SimpleQueue()
            self.pool = ProcessPoolExecutor(1, self.context, _begin, (*self.settings, self.queue))
        self.job, self.future = job, self.pool.submit(_do, job)

    def ended(self) -> list[tuple[Job, Outcome]]:
        """The job's outcome; nothing if the process died and the job was begun anew."""
        assert self.job is not None
        job, self.job = self.job, None
        try:
            outcome = self.future.result()
        except BrokenProcessPool:
            self.close()
            self.lane.leave()
            self.deaths[job.key] += 1
            if self.deaths[job.key] == TRIES:
                return [(job, Failed(f"its process died {TRIES} times (killed, or out of memory?)"))]
            self.lane.say("a process died (killed, or out of memory?); its work goes on from what was kept")
            self.start(job)
            return []
        self.at = job.key
        return [(job, outcome)]

    def show(self) -> None:
        """Passes on what the process has told."""
        while self.pool is not None and not self.queue.empty():
            self.queue.get()(self.lane)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.queue.close()
            self.pool, self.at = None, ""


class _Teller:
    """A lane in a worker's process: tells the main one, and of steps not oftener than that looks."""

    def __init__(self, queue: SimpleQueue[methodcaller]) -> None:
        self.queue = queue
        self.told = 0.0
        self.examples = 0
        self.loss = 0.0

    def enter(self, where: str) -> None:
        self.queue.put(methodcaller("enter", where))

    def step(self, loss: float, examples: int) -> None:
        self.loss = loss
        self.examples += examples
        if time.monotonic() - self.told >= TELL_SECONDS:
            self._tell()

    def skip(self, examples: int) -> None:
        self.queue.put(methodcaller("skip", examples))

    def leave(self) -> None:
        self._tell()
        self.queue.put(methodcaller("leave"))

    def say(self, message: str) -> None:
        self.queue.put(methodcaller("say", message))

    def _tell(self) -> None:
        if self.examples:
            self.queue.put(methodcaller("step", self.loss, self.examples))
            self.told, self.examples = time.monotonic(), 0


@dataclass(frozen=True)
class _Asked:
    """Whether the main process asks to stop."""

    flag: Any

    def asked(self) -> bool:
        return bool(self.flag.value)

    def patiently(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()


_worker: Worker | None = None
"""Of this process, if it is one of `Processes`."""


def _begin(
    study: Study, folder: Path, stopping: Any, checkpoint_seconds: float, queue: SimpleQueue[methodcaller]
) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches all of a terminal's processes; the main one asks
    threading.Thread(target=_die_with_parent, daemon=True).start()
    teller = _Teller(queue)
    _worker = Worker(study, Store(folder / "stages", teller.say), teller, _Asked(stopping), checkpoint_seconds)


def _do(job: Job) -> Outcome:
    assert _worker is not None
    return _worker.do(job)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

"""What a process does that works for another one: jobs come through a pipe, outcomes and all that it tells go back."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from operator import methodcaller
from pathlib import Path

from benchmark.errors import UserError
from benchmark.jobs import Job
from benchmark.store import Store
from benchmark.study import Study
from benchmark.worker import Halted, Worker

TELL_SECONDS = 0.25
"""Between two messages of a worker on how training goes."""


class Teller:
    """A lane in a worker's process: tells the main one, and of steps not oftener than that looks."""

    def __init__(self, tell: Callable[[methodcaller], None]) -> None:
        """Calls `tell` with what the main process is to call on the lane there."""
        self.tell = tell
        self.told = 0.0
        self.losses: list[float] = []
        self.examples = 0

    def enter(self, where: str) -> None:
        """Tells at once."""
        self.tell(methodcaller("enter", where))

    def step(self, loss: float, examples: int) -> None:
        """Tells of several steps together: their examples and mean loss."""
        self.losses.append(loss)
        self.examples += examples
        if time.monotonic() - self.told >= TELL_SECONDS:
            self._flush()

    def skip(self, examples: int) -> None:
        """Tells at once."""
        self.tell(methodcaller("skip", examples))

    def leave(self) -> None:
        """Tells at once, after the last steps."""
        self._flush()
        self.tell(methodcaller("leave"))

    def end(self, done: bool) -> None:
        """Tells at once, after the last steps."""
        self._flush()
        self.tell(methodcaller("end", done))

    def say(self, message: str) -> None:
        """Tells at once."""
        self.tell(methodcaller("say", message))

    def _flush(self) -> None:
        if self.losses:
            self.tell(methodcaller("step", sum(self.losses) / len(self.losses), self.examples))
            self.told, self.losses, self.examples = time.monotonic(), [], 0


@dataclass(frozen=True)
class _Asked:
    """Whether the main process asks to stop: while a job is done, that is all that it sends."""

    pipe: Connection

    def asked(self) -> bool:
        return self.pipe.poll()

    def patiently(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()


def work(pipe: Connection, luggage: Path, folder: Path, checkpoint_seconds: float) -> None:
    """Does jobs as they come, until something comes that is none."""
    teller, stopping = Teller(pipe.send), _Asked(pipe)
    try:
        study = _unpacked(luggage)
        worker = Worker(study, Store(folder, teller.say), teller, stopping, checkpoint_seconds)
        while isinstance(job := pipe.recv(), Job):
            pipe.send(Halted() if stopping.asked() else worker.do(job))
    except UserError as error:
        pipe.send(error)


def _unpacked(luggage: Path) -> Study:
    """The study.

    Raises:
        UserError: it does not fit this process, or a file that it speaks of is gone.
    """
    with luggage.open("rb") as file:
        try:
            study: Study = pickle.load(file)
        except FileNotFoundError as error:
            raise UserError(f"encoded texts are gone ({error}): the same command makes them again") from error
    return study

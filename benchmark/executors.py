"""Where jobs are done: in this process, or in several on this machine. Ray has its own file."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import shutil
import signal
import tempfile
import time
from collections import Counter
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from operator import methodcaller
from pathlib import Path
from typing import Any, Protocol

from benchmark.beginning import begin
from benchmark.errors import UserError
from benchmark.forking import deaf, workers
from benchmark.jobs import Job
from benchmark.output import writing
from benchmark.progress import Lane, Progress
from benchmark.serving import TELL_SECONDS
from benchmark.study import Study
from benchmark.worker import Failed, Never, Outcome, Stop, Worker
from tasks.base import Split

TRIES = 3
"""How often a job is begun before its process's death is its own fault."""
GRACE_SECONDS = 30.0
"""That workers are given to end their step, and to keep it, when all is stopped."""
DEATH_SECONDS = 1.0
"""That a process whose pipe has ended is given to end by itself, so that it can be told how."""
PAUSE_SECONDS = 0.5
"""After which one who waits is asked for more jobs if there is room for them."""


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
        """Waits until at least one of the jobs that were started has ended, or a while if there is room for more.

        Raises:
            UserError: something can't be written or read.
            KeyboardInterrupt: all was asked to stop.
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
        self,
        study: Study,
        folder: Path,
        progress: Progress,
        count: int,
        checkpoint_seconds: float = math.inf,
        stopping: Stop | None = None,
    ) -> None:
        """Starts processes as jobs come; each gets the study as it is and reads no data itself.

        Args:
            study: What is studied.
            folder: Where records go.
            progress: Gets a lane for each process.
            count: How many processes.
            checkpoint_seconds: Time between two checkpoints inside a stage.
            stopping: Whether to stop.
        """
        self.stopping = stopping or Never()
        self.luggage = _Luggage(study)
        self.slots = [
            _Slot(self.luggage, (folder / "stages", checkpoint_seconds), progress.lane()) for _ in range(count)
        ]
        self.given: list[Job] = []
        self.deaths: Counter[str] = Counter()

    @property
    def parallel(self) -> bool:
        """As many as there are processes."""
        return True

    @property
    def room(self) -> bool:
        """Whether a process has nothing to do."""
        return len(self.given) < sum(slot.job is None for slot in self.slots)

    def start(self, job: Job) -> None:
        """Takes a job; `wait` gives it to a process, when all that can begin together are known."""
        self.given.append(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        """Shows what the processes tell until one of them has ended a job."""
        until = time.monotonic() + PAUSE_SECONDS
        outcomes: list[tuple[Job, Outcome]] = []
        with self.stopping.patiently():  # a message read by half, or a process begun by half, would be of no use
            self._deal()
            while not outcomes and not (self.room and time.monotonic() >= until):
                if self.stopping.asked():
                    raise KeyboardInterrupt
                for slot, outcome in self._heard():
                    outcomes += self._ended(slot, outcome)
        return outcomes

    def stop(self) -> None:
        """Asks all processes to keep the step that they are in, and gives them some time for it."""
        for slot in self.slots:
            slot.ask_to_stop()
        until = time.monotonic() + GRACE_SECONDS
        while any(slot.job is not None for slot in self.slots) and time.monotonic() < until:
            for slot, _ in self._heard():
                slot.job = None

    def close(self) -> None:
        """Ends all processes, at once: what they write is whole or absent."""
        for slot in self.slots:
            slot.end()
        self.luggage.close()

    def _deal(self) -> None:
        """Gives each job to the process that did the step before, whose learner is at hand; the others to any."""
        for job in list(self.given):
            for slot in self.slots:
                if slot.job is None and slot.at == job.parent:
                    self.given.remove(job)
                    slot.start(job)
                    break
        for job in self.given:
            free = [slot for slot in self.slots if slot.job is None]
            min(free, key=lambda slot: slot.process is None).start(job)
        self.given = []

    def _heard(self) -> list[tuple[_Slot, Outcome | None]]:
        """Listens to all that work, for a moment; gives the outcomes of those that have ended, None of the dead."""
        working = [slot for slot in self.slots if slot.job is not None]
        wait([slot.pipe for slot in working], TELL_SECONDS)
        heard: list[tuple[_Slot, Outcome | None]] = []
        for slot in working:
            try:
                outcome = slot.listen()
            except (EOFError, OSError):
                heard.append((slot, None))
            else:
                heard += [(slot, outcome)] if outcome is not None else []
        return heard

    def _ended(self, slot: _Slot, outcome: Outcome | None) -> list[tuple[Job, Outcome]]:
        """The outcome of the slot's job; nothing if its process died and the job was begun anew."""
        assert slot.job is not None
        job, slot.job = slot.job, None
        if outcome is not None:
            slot.at = job.key
            return [(job, outcome)]
        how = slot.end(DEATH_SECONDS)
        slot.lane.end(done=False)
        self.deaths[job.key] += 1
        if self.deaths[job.key] == TRIES:
            return [(job, Failed(f"its process died {TRIES} times ({how})"))]
        slot.lane.say(f"a process died ({how}); its work goes on from what was kept")
        slot.start(job)
        return []


class _Luggage:
    """A study as a file that this user alone can read, packed when the first process needs it.

    Through a pipe, each process would have to be waited for until it has imported what reads it; as shared memory,
    torch's way, it would take a file descriptor for every tensor, and more of /dev/shm than containers have.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.file: Path | None = None

    def packed(self) -> Path:
        """The file.

        Raises:
            UserError: it can't be written.
        """
        if self.file is None:
            with writing(Path(tempfile.gettempdir())):
                self.file = Path(tempfile.mkdtemp(prefix="retain-")) / "study"
                with self.file.open("wb") as file:
                    _Packer(file, pickle.HIGHEST_PROTOCOL).dump(self.study)
        return self.file

    def close(self) -> None:
        if self.file is not None:
            shutil.rmtree(self.file.parent, ignore_errors=True)
            self.file = None


class _Packer(pickle.Pickler):
    """Packs for processes of this machine, which see the files of encoded texts that this one does."""

    def reducer_override(self, packed: object) -> Any:
        """Of a split that it knows where its features lie; of all else what it is packed as elsewhere."""
        return packed.by_path() if isinstance(packed, Split) else NotImplemented


class _Slot:
    """One process, replaced when it dies, and the job that it does.

    Attributes:
        job: What it does, or did when it died.
        at: Key of the step that its learner is at.
        heard: Whether it has told anything.
    """

    def __init__(self, luggage: _Luggage, settings: tuple[Path, float], lane: Lane) -> None:
        self.luggage, self.settings, self.lane = luggage, settings, lane
        self.process: BaseProcess | None = None
        self.job: Job | None = None
        self.at = ""
        self.heard = False

    def start(self, job: Job) -> None:
        if self.process is not None and not self.process.is_alive():
            self.end()
        if self.process is None:
            self._begin()
        self.job = job
        with contextlib.suppress(OSError):  # it has died just now; `listen` will find out
            self.pipe.send(job)

    def listen(self) -> Outcome | None:
        """Passes on what the process has told; gives the outcome of its job if that is there.

        Raises:
            EOFError, OSError: it is dead.
            UserError: something can't be written or read, or it refuses to work.
        """
        while self.pipe.poll():
            told = self.pipe.recv()
            self.heard = True
            if isinstance(told, UserError):
                raise told
            if not isinstance(told, methodcaller):
                outcome: Outcome = told
                return outcome
            told(self.lane)
        return None

    def ask_to_stop(self) -> None:
        if not self.heard:  # it is only on its way, and has nothing to keep
            self.job = None
        if self.job is not None:
            with contextlib.suppress(OSError):
                self.pipe.send(None)

    def end(self, seconds: float = 0.0) -> str:
        """Ends the process, if it does not end by itself in that time; how it ended, in words."""
        if self.process is None:
            return ""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        self.pipe.close()
        self.process, self.at, self.heard = None, "", False
        if code >= 0:
            return f"exit code {code}"
        return f"signal {-code}, {signal.strsignal(-code)}{'; out of memory?' if -code == signal.SIGKILL else ''}"

    def _begin(self) -> None:
        self.lane.enter("a process starts")
        context, luggage = workers(self.luggage.study.device.type), self.luggage.packed()
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=begin, args=(theirs, dict(os.environ), luggage, *self.settings))
        try:
            with deaf():
                self.process.start()
        finally:
            theirs.close()  # so that ours ends when the process does

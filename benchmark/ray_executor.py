"""Jobs as Ray tasks, on as many machines as a Ray cluster has. Needs the extra ``retain[ray]``."""

from __future__ import annotations

import contextlib
import logging
import math
import pickle
import signal
import socket
import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

import ray

from benchmark.errors import UserError
from benchmark.executors import GRACE_SECONDS, TRIES
from benchmark.interrupts import SIGNALS
from benchmark.jobs import Job
from benchmark.output import writing
from benchmark.progress import Progress
from benchmark.serving import TELL_SECONDS, Teller
from benchmark.store import Store
from benchmark.study import Study
from benchmark.worker import Failed, Outcome, Worker

REACH_SECONDS = 5.0
"""In which a cluster must answer."""
LOOK_SECONDS = 0.5
"""Between two looks at whether to stop."""


@dataclass(frozen=True)
class Resources:
    """What Ray sets aside for one stage. Threads are those of the study.

    Attributes:
        address: Of a running cluster (``auto`` for the one this machine belongs to); empty starts one here.
        gpus: For each stage; less than 1 lets several share one.
        memory: Bytes for each stage; 0 leaves it to Ray.
    """

    address: str = ""
    gpus: float = 0.0
    memory: int = 0


@dataclass
class Answer:
    """What a task gives back: the job's outcome, and what it told on its way."""

    outcome: Outcome | None
    told: list[methodcaller]
    refused: str = ""
    """One line for the user, if the job could not even be tried."""


class RayTasks:
    """Every job is a Ray task. Ray finds the machine, and tries again elsewhere when one is lost."""

    parallel = True
    room = True  # Ray queues what does not fit yet, and a cluster that grows on demand grows by its queue

    def __init__(
        self,
        study: Study,
        folder: Path,
        progress: Progress,
        resources: Resources,
        checkpoint_seconds: float = math.inf,
    ) -> None:
        """Joins the cluster, or starts one on this machine.

        Raises:
            UserError: there is no cluster at the address.
        """
        self.lane = progress.lane()
        self.running: dict[ray.ObjectRef[Answer], Job] = {}
        _join(resources.address)
        needs = {"CPU": study.provenance.threads, "GPU": resources.gpus, "memory": resources.memory}
        if not any(all(node["Resources"].get(name, 0) >= need for name, need in needs.items()) for node in ray.nodes()):
            wanted = ", ".join(f"{need:g} {name}" for name, need in needs.items() if need)
            progress.say(f"no machine of the cluster has {wanted} now: stages wait for one that has")
        # As bytes, so that what unpacking finds wrong comes out as it is, not as an error of Ray's.
        self.study = ray.put(pickle.dumps(study, pickle.HIGHEST_PROTOCOL))
        self.stopping = _commands(folder.absolute()) / f"{uuid.uuid4().hex}.stop"
        self.settings = (self.stopping, folder.absolute(), checkpoint_seconds)
        self.task = ray.remote(_do).options(
            num_cpus=study.provenance.threads,
            num_gpus=resources.gpus,
            memory=resources.memory or None,
            max_retries=TRIES - 1,
        )

    def start(self, job: Job) -> None:
        """Queues a job."""
        # In a list the study stays a reference: a process that has it already need not read it again.
        self.running[self.task.remote([self.study], *self.settings, job)] = job

    def wait(self) -> list[tuple[Job, Outcome]]:
        """Waits until at least one task has ended."""
        ended: list[ray.ObjectRef[Answer]] = []
        while not ended:
            ended, _ = ray.wait(list(self.running), timeout=TELL_SECONDS)
        return [(self.running.pop(task), self._outcome(task)) for task in ended]

    def stop(self) -> None:
        """Asks all tasks to keep the step that they are in, and gives them some time for it."""
        with writing(self.stopping):
            self.stopping.touch()
        if self.running:
            ray.wait(list(self.running), num_returns=len(self.running), timeout=GRACE_SECONDS)

    def close(self) -> None:
        """Leaves the cluster, which ends what runs for it."""
        ray.shutdown()
        self.stopping.unlink(missing_ok=True)

    def _outcome(self, task: ray.ObjectRef[Answer]) -> Outcome:
        try:
            answer: Answer = ray.get(task)
        except ray.exceptions.RayError as error:  # its process or machine was lost too often
            return Failed(f"Ray gave up: {' '.join(str(error).split())}")
        for tell in answer.told:
            tell(self.lane)
        if answer.outcome is None:
            raise UserError(answer.refused)
        return answer.outcome


def _join(address: str) -> None:
    """Joins the cluster at an address, or starts one of this machine alone.

    Raises:
        UserError: there is no cluster at the address.
    """
    host, _, port = address.rpartition(":")
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        if host and "://" not in address:
            # Ray asks for minutes, and writes pages about it.
            socket.create_connection((host, int(port)), REACH_SECONDS).close()
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--address {address}: no Ray cluster answers there ({reason})") from error
    finally:
        for number, handler in before.items():  # Ray takes SIGTERM for itself
            signal.signal(number, handler)


@dataclass
class _StopFile:
    """Whether the driver asks to stop: by a file, since cancelling a task of Ray's breaks it off in the middle.

    Attributes:
        path: Is there if it does.
        looked: When that was last looked at: on a network folder not in every step.
        there: What was seen.
    """

    path: Path
    looked: float = -math.inf
    there: bool = False

    def asked(self) -> bool:
        if time.monotonic() - self.looked >= LOOK_SECONDS:
            self.looked, self.there = time.monotonic(), self.path.exists()
        return self.there

    def patiently(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()


_workers: dict[Path, Worker] = {}
"""Of this process: the stop file of a command -> its worker. Ray gives one process many tasks of a command."""


def _do(study: list[ray.ObjectRef[bytes]], stopping: Path, folder: Path, checkpoint_seconds: float, job: Job) -> Answer:
    """Does a job in a process of Ray's."""
    told: list[methodcaller] = []
    teller = Teller(told.append)
    store = Store(folder / "stages", teller.say)
    try:
        if not _commands(folder).is_dir():
            raise UserError(f"machine {socket.gethostname()}: sees no {folder}; --out must be a folder that all share")
        if stopping not in _workers:
            _workers.clear()
            there = pickle.loads(ray.get(study[0]))
            _workers[stopping] = Worker(there, store, teller, _StopFile(stopping), checkpoint_seconds)
        worker = _workers[stopping]
        worker.lane, worker.store = teller, store
        return Answer(worker.do(job), told)
    except UserError as error:
        return Answer(None, told, str(error))


def _commands(folder: Path) -> Path:
    """Where the commands that work on a folder enter themselves."""
    return folder / "stages" / "commands"

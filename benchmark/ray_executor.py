"""Jobs as Ray tasks, on as many machines as a Ray cluster has. Needs the extra ``retain[ray]``."""

from __future__ import annotations

import logging
import math
import pickle
import socket
import uuid
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

import ray

from benchmark.errors import UserError
from benchmark.executors import GRACE_SECONDS, TRIES
from benchmark.interrupts import Interrupts
from benchmark.jobs import Job
from benchmark.progress import Progress
from benchmark.serving import TELL_SECONDS, Teller
from benchmark.store import Store
from benchmark.study import Study
from benchmark.worker import Failed, Outcome, Worker


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
        self.settings = (uuid.uuid4().hex, folder.absolute(), checkpoint_seconds)
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
        for task in self.running:
            ray.cancel(task, force=False)  # interrupts the process as Ctrl-C does
        if self.running:
            ray.wait(list(self.running), num_returns=len(self.running), timeout=GRACE_SECONDS)

    def close(self) -> None:
        """Leaves the cluster, which ends what runs for it."""
        ray.shutdown()

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
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--address {address}: {reason}") from error


_workers: dict[str, Worker] = {}
"""Of this process: study -> its worker. Ray gives one process many tasks of a study."""


def _do(study: list[ray.ObjectRef[bytes]], identity: str, folder: Path, checkpoint_seconds: float, job: Job) -> Answer:
    """Does a job in a process of Ray's."""
    told: list[methodcaller] = []
    teller = Teller(told.append)
    try:
        if not (folder / "stages" / "commands").is_dir():
            raise UserError(f"machine {socket.gethostname()}: sees no {folder}; --out must be a folder that all share")
        if identity not in _workers:
            _workers.clear()
            _workers[identity] = Worker(pickle.loads(ray.get(study[0])), Store(folder / "stages", teller.say), teller)
        worker = _workers[identity]
        with Interrupts(teller.say) as interrupts:
            worker.lane, worker.stop, worker.checkpoint_seconds = teller, interrupts, checkpoint_seconds
            worker.store = Store(folder / "stages", teller.say)
            return Answer(worker.do(job), told)
    except UserError as error:
        return Answer(None, told, str(error))

"""Sets a suite to work: opens the study, picks the executor, listens for signals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from signal import SIGINT

import torch

from benchmark.engine import Engine, Keep
from benchmark.errors import UserError
from benchmark.executors import Executor, InProcess, Processes
from benchmark.interrupts import Interrupts
from benchmark.progress import Progress
from benchmark.store import Store
from benchmark.study import Say, Study, open_study
from benchmark.suite import Suite
from benchmark.team import Gone
from benchmark.together import Leader, TeamStore, follow
from benchmark.worker import Worker
from results.record import Run


@dataclass(frozen=True)
class Launch:
    """How a suite is run, as opposed to what it says.

    Attributes:
        folder: Where records go.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        jobs: Processes that work on different stages.
        threads: That each trains with; None shares the cores among them.
        accumulation: Parts that every batch is cut into.
        keep: Which weights stay.
        checkpoint_minutes: Time between two checkpoints inside a stage; 0 makes none.
    """

    folder: Path
    device: str = "auto"
    jobs: int = 1
    threads: int | None = None
    accumulation: int = 1
    keep: Keep = "none"
    checkpoint_minutes: float = 10.0

    @property
    def checkpoint_seconds(self) -> float:
        """Time between two checkpoints, infinite if there are none."""
        return self.checkpoint_minutes * 60 if self.checkpoint_minutes else math.inf


def run_suite(suite: Suite, launch: Launch, say: Say) -> list[Run]:
    """Runs all cells; gives their runs, or nothing in a process that only follows the main one.

    Raises:
        UserError: something can't be fetched, loaded, read or written, or does not fit together.
        KeyboardInterrupt: a signal came, whose number is its argument; what was done is kept.
    """
    study = open_launched(suite, launch, say)
    if study.team.count > 1 and launch.jobs > 1:
        raise UserError("--jobs trains several models at once, accelerate launch one on several processes: use one")
    with Interrupts(say) as interrupts:
        try:
            runs = _lead(study, launch, interrupts) if study.team.main else _follow(study, launch, interrupts)
            study.team.leave()
            return runs
        except Gone:
            if not interrupts.asked():
                raise
            raise KeyboardInterrupt(interrupts.signal) from None  # that is what ended the others
        except KeyboardInterrupt:
            raise KeyboardInterrupt(interrupts.signal or SIGINT) from None


def open_launched(suite: Suite, launch: Launch, say: Say) -> Study:
    """Opens a suite's study as it is launched.

    Raises:
        UserError: something can't be fetched, loaded or read.
    """
    threads = launch.threads
    if threads is None and launch.jobs > 1:
        threads = max(1, torch.get_num_threads() // launch.jobs)
    return open_study(suite, launch.device, say, threads, launch.accumulation)


def _lead(study: Study, launch: Launch, interrupts: Interrupts) -> list[Run]:
    with Progress() as progress:
        engine = Engine(study, launch.folder, progress, launch.keep)
        return engine.run(_executor(study, launch, progress, interrupts))


def _follow(study: Study, launch: Launch, interrupts: Interrupts) -> list[Run]:
    store = TeamStore(launch.folder / "stages", lambda _: None, study.team)
    lane = Progress(stream=StringIO()).lane()
    with interrupts.patiently():  # the main process decides when to stop
        follow(Worker(study, store, lane, interrupts, launch.checkpoint_seconds))
    return []


def _executor(study: Study, launch: Launch, progress: Progress, interrupts: Interrupts) -> Executor:
    if launch.jobs > 1:
        return Processes(study, launch.folder, progress, launch.jobs, launch.checkpoint_seconds)
    folder, kind = launch.folder / "stages", InProcess
    store = Store(folder, progress.say)
    if study.team.count > 1:
        store, kind = TeamStore(folder, progress.say, study.team), Leader
    return kind(Worker(study, store, progress.lane(), interrupts, launch.checkpoint_seconds))

"""Sets a suite to work: opens the study, picks the executor, listens for signals."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from signal import SIGINT
from typing import Literal

import torch

from benchmark.division import Wish, divide
from benchmark.engine import Engine, Keep
from benchmark.errors import UserError
from benchmark.executors import Executor, InProcess, Processes
from benchmark.forking import begin_early
from benchmark.interrupts import Interrupts
from benchmark.needs import fetch_needed
from benchmark.progress import Progress
from benchmark.store import Store
from benchmark.study import Say, Study, open_study
from benchmark.suite import Cell, Suite
from benchmark.team import Gone
from benchmark.together import Leader, TeamStore, follow
from benchmark.worker import Worker
from results.record import Run

QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}
"""Keeps Ray from reporting to its makers, and from printing pages of its own log; read when it is imported."""


@dataclass(frozen=True)
class Launch:
    """How a suite is run, as opposed to what it says.

    Attributes:
        folder: Where records go.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        jobs: Processes that work on different stages; None leaves the choice to `benchmark.division`.
        threads: That each trains with; None shares the cores among them.
        accumulation: Parts that every batch is cut into.
        keep: Which weights stay.
        checkpoint_minutes: Time between two checkpoints inside a stage; with 0 only an interrupt makes one.
        executor: ``local`` for processes of this machine, ``ray`` for tasks of a Ray cluster.
        address: Of the Ray cluster; empty starts one here.
        stage_gpus: That Ray sets aside for each stage.
        stage_memory: Gigabytes that Ray sets aside for each stage; 0 leaves it to Ray.
        track: Tracker that new records are sent to; empty for none.
        cores: Threads that torch trains with when nothing is said: asked once, since opening a study may change it.
    """

    folder: Path
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    accumulation: int = 1
    keep: Keep = "none"
    checkpoint_minutes: float = 10.0
    executor: Literal["local", "ray"] = "local"
    address: str = ""
    stage_gpus: float = 0.0
    stage_memory: float = 0.0
    track: str = ""
    cores: int = field(default_factory=torch.get_num_threads)

    @property
    def wish(self) -> Wish:
        """What is said of how the cores are divided."""
        return Wish(self.jobs, self.threads, self.executor == "local", self.device, self.cores)

    @property
    def checkpoint_seconds(self) -> float:
        """Time between two checkpoints, infinite if there are none."""
        return self.checkpoint_minutes * 60 if self.checkpoint_minutes else math.inf


def run_suites(suites: Sequence[Suite], launch: Launch, say: Say) -> list[Run]:
    """Runs a suite on each of its backbones, one after another, into the same folder.

    All are opened once before the first is run, so that what is missing or does not fit is said at once, and the
    folder knows of every run that is to come.

    Raises:
        UserError: as `run_suite`.
        KeyboardInterrupt: likewise.
    """
    if len(suites) > 1:
        _check(launch)
        for suite in suites:
            _announce(suite, launch, say)
    runs: list[Run] = []
    for number, suite in enumerate(suites, start=1):
        if len(suites) > 1:
            say(f"backbone {suite.backbone.name}, {number} of {len(suites)}")
        runs += run_suite(suite, launch, say, last=number == len(suites))
    return runs


def run_suite(suite: Suite, launch: Launch, say: Say, last: bool = True) -> list[Run]:
    """Runs all cells; gives their runs, or nothing in a process that only follows the main one.

    Args:
        suite: What to run.
        launch: How.
        say: Is told what goes on.
        last: Whether nothing is run after it, so that processes that train together may part.

    Raises:
        UserError: something can't be fetched, loaded, read or written, or does not fit together.
        KeyboardInterrupt: a signal came, whose number is its argument; what was done is kept.
    """
    _check(launch)
    launch = settled(launch, suite, say)
    return run_study(open_launched(suite, launch, say), launch, say, last)


def settled(launch: Launch, suite: Suite, say: Say, repeated: int = 1) -> Launch:
    """A launch with the numbers of processes and threads settled for a suite, workers on their way if there are any.

    Args:
        launch: As the user wants it.
        suite: What is run.
        say: Is told if the choice was not the user's.
        repeated: How often each of the suite's runs is trained, in another way each time.
    """
    chosen = divide(suite, launch.wish, repeated)
    if launch.jobs is None and chosen.jobs > 1:
        say(str(chosen))
    if launch.executor == "local" and chosen.jobs > 1:
        begin_early(launch.device)
    return replace(launch, jobs=chosen.jobs, threads=chosen.threads)


def run_study(study: Study, launch: Launch, say: Say, last: bool = True) -> list[Run]:
    """The same for a suite that is open.

    Raises:
        UserError: something can't be read or written, or does not fit together.
        KeyboardInterrupt: a signal came, whose number is its argument; what was done is kept.
    """
    if study.team.count > 1 and ((launch.jobs or 1) > 1 or launch.executor != "local"):
        raise UserError("--jobs and --executor train several models at once, accelerate launch one together: use one")
    with Progress(stream=None if study.team.main else StringIO()) as progress, Interrupts(progress.say) as interrupts:
        try:
            runs = (_lead if study.team.main else _follow)(study, launch, progress, interrupts)
            if last:
                study.team.leave()
            return runs
        except Gone:
            if not interrupts.asked():
                raise
            raise KeyboardInterrupt(interrupts.signal) from None  # that is what ended the others
        except KeyboardInterrupt:
            raise KeyboardInterrupt(interrupts.signal or SIGINT) from None


def _announce(suite: Suite, launch: Launch, say: Say) -> None:
    """Opens a suite and leaves word of its runs in the folder; what there is to say of its tasks is said later."""
    fetch_needed(suite, say)
    study = open_launched(suite, launch, lambda message: None)
    if study.team.main:
        Engine(study, launch.folder, Progress(stream=StringIO()), launch.keep).announce()


def _check(launch: Launch) -> None:
    """Refuses what does not fit together, and what needs a package that is not installed."""
    if launch.executor == "ray" and (launch.jobs or 1) > 1:
        raise UserError("--jobs counts processes of this machine; with --executor ray, as many stages run as fit")
    if launch.executor == "local" and (launch.address or launch.stage_gpus or launch.stage_memory):
        raise UserError("--address, --stage-gpus and --stage-memory are for --executor ray")
    if launch.executor == "ray" and find_spec("ray") is None:
        raise UserError("--executor ray needs Ray: pip install 'retain[ray]'")
    if launch.track:
        from benchmark.tracking import check_tracker

        check_tracker(launch.track)


def _listener(launch: Launch, progress: Progress) -> Callable[[Cell, Run], None]:
    """What is done with every new record."""
    if not launch.track:
        return lambda cell, run: None
    from benchmark.tracking import track

    return lambda cell, run: track(launch.track, Path(cell.filename).stem, run, launch.folder, progress.say)


def open_launched(suite: Suite, launch: Launch, say: Say) -> Study:
    """Opens a suite's study as it is launched.

    Raises:
        UserError: something can't be fetched, loaded or read.
    """
    threads = divide(suite, launch.wish).threads
    return open_study(suite, launch.device, say, threads, launch.accumulation)


def _lead(study: Study, launch: Launch, progress: Progress, interrupts: Interrupts) -> list[Run]:
    engine = Engine(study, launch.folder, progress, launch.keep, _listener(launch, progress))
    return engine.run(_executor(study, launch, progress, interrupts))


def _follow(study: Study, launch: Launch, progress: Progress, interrupts: Interrupts) -> list[Run]:
    store = TeamStore(launch.folder / "stages", progress.say, study.team)
    with interrupts.patiently():  # the main process decides when to stop
        follow(Worker(study, store, progress.lane(), interrupts, launch.checkpoint_seconds))
    return []


def _executor(study: Study, launch: Launch, progress: Progress, interrupts: Interrupts) -> Executor:
    if launch.executor == "ray":
        for name, value in QUIET_RAY.items():
            os.environ.setdefault(name, value)
        from benchmark.ray_executor import RayTasks, Resources

        resources = Resources(launch.address, launch.stage_gpus, int(launch.stage_memory * 2**30))
        return RayTasks(study, launch.folder, progress, resources, launch.checkpoint_seconds)
    if (jobs := launch.jobs or 1) > 1:
        return Processes(study, launch.folder, progress, jobs, launch.checkpoint_seconds, interrupts)
    folder, kind = launch.folder / "stages", InProcess
    store = Store(folder, progress.say)
    if study.team.count > 1:
        store, kind = TeamStore(folder, progress.say, study.team), Leader
    return kind(Worker(study, store, progress.lane(), interrupts, launch.checkpoint_seconds))

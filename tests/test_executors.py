"""How jobs are dealt to processes and what comes of them, in threads: a real process takes seconds to start."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.executors import PAUSE_SECONDS, TRIES, Processes
from benchmark.jobs import Graph, Job
from benchmark.launch import Launch, open_launched
from benchmark.progress import Progress
from benchmark.serving import TELL_SECONDS, Teller, work
from benchmark.store import Store
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import Done, Failed, Halted, Never, Outcome
from tests.command import write_suite

THREADS = 1
ALL = ["naive", "l2_anchor", "ewc", "freeze", "joint"]


@pytest.fixture
def suite(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Path:
    return write_suite(tmp_path, backbone_folder)


def opened(suite: Path, *strategies: str, epochs: int = 1) -> Study:
    overrides = Overrides(list(strategies), None, [f"training.epochs={epochs}"])
    return open_study(load_suite(str(suite), overrides), "cpu", print, THREADS)


class Threads:
    """What `multiprocessing` gives as a context, as far as it is used."""

    def __init__(self) -> None:
        self.pipes: dict[int, Connection] = {}
        self.begun = 0

    def Pipe(self) -> tuple[Connection, Connection]:
        ours, theirs = Pipe()
        self.pipes[id(theirs)] = ours
        return ours, theirs

    def Process(self, target: Any, args: tuple[Any, ...]) -> Any:
        self.begun += 1
        return Stand(args, self.pipes[id(args[0])])


class Stand(threading.Thread):
    """Stands in for a process: killed, it finds its pipe at an end."""

    def __init__(self, arguments: tuple[Any, ...], ours: Connection) -> None:
        # The other end as the main process has it is closed there, as after a real start.
        pipe = Connection(os.dup(arguments[0].fileno()))
        super().__init__(daemon=True)
        self.arguments, self.pipe, self.ours = arguments[2:], pipe, ours  # the second is the environment
        self.exitcode: int | None = None

    def run(self) -> None:
        try:
            work(self.pipe, *self.arguments)
            self.exitcode = 0
        except (EOFError, OSError):
            self.exitcode = -signal.SIGKILL
        except SystemExit as death:
            self.exitcode = int(str(death.code))
        finally:
            self.pipe.close()

    def kill(self) -> None:
        self.ours.close()

    def close(self) -> None:
        """Nothing is left."""


@dataclass
class Clerk:
    """A worker that tells and notes what it is to do, in which thread, and does what it is told to with it."""

    lane: Teller
    notes: list[tuple[str, int]]
    does: Callable[[Job], Outcome]

    def do(self, job: Job) -> Outcome:
        self.notes.append((job.key, threading.get_ident()))
        self.lane.enter(job.key)
        return self.does(job)


@dataclass
class Office:
    """Processes with clerks in them."""

    processes: Processes
    threads: Threads
    notes: list[tuple[str, int]]
    said: StringIO

    def done(self, *jobs: Job) -> dict[str, Outcome]:
        """Starts some jobs together, and waits for all of them."""
        for job in jobs:
            self.processes.start(job)
        outcomes: dict[str, Outcome] = {}
        while len(outcomes) < len(jobs):
            outcomes |= {job.key: outcome for job, outcome in self.processes.wait()}
        return outcomes


def a_job(key: str, parent: str = "") -> Job:
    return Job(key, parent, 0, 1, False)


@pytest.fixture
def office(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Office]]:
    offices: list[Office] = []

    def open_(does: Callable[[Job], Outcome] = lambda job: Done(), count: int = 2, **options: Any) -> Office:
        notes: list[tuple[str, int]] = []
        threads, said = Threads(), StringIO()
        monkeypatch.setattr("benchmark.executors.workers", lambda device: threads)
        monkeypatch.setattr("benchmark.serving.Worker", lambda study, store, lane, *more: Clerk(lane, notes, does))
        processes = Processes(opened(suite, "naive"), tmp_path, Progress(stream=said), count, **options)
        offices.append(Office(processes, threads, notes, said))
        return offices[-1]

    yield open_
    for left in offices:
        left.processes.close()


def test_a_process_gets_the_child_of_what_it_did_before_whatever_the_order(office: Callable[..., Office]) -> None:
    both = threading.Barrier(2, timeout=10)

    def together(job: Job) -> Outcome:
        both.wait()  # so that each is done by another one
        return Done()

    it = office(together)
    it.done(a_job("a"), a_job("b"))
    it.done(a_job("other"), a_job("b2", "b"))
    it.done(a_job("b3", "b2"), a_job("other2", "other"))
    at = dict(it.notes)
    assert at["a"] == at["other"] == at["other2"] != at["b"] == at["b2"] == at["b3"]


def test_no_process_is_started_while_another_one_is_idle(office: Callable[..., Office]) -> None:
    it = office(count=3)
    assert it.processes.parallel and it.processes.room
    for key in ("a", "b", "c"):
        it.done(a_job(key, "unknown"))
    assert it.threads.begun == 1
    it.done(a_job("d"), a_job("e"), a_job("f"))
    assert it.threads.begun == 3


def test_there_is_room_for_as_many_jobs_as_processes(office: Callable[..., Office]) -> None:
    it, full = office(count=2), []
    for key in ("a", "b"):
        full.append(it.processes.room)
        it.processes.start(a_job(key))
    assert [*full, it.processes.room] == [True, True, False]


def test_one_who_waits_is_asked_for_more_jobs_now_and_then_if_there_is_room(office: Callable[..., Office]) -> None:
    go = threading.Event()

    def patient(job: Job) -> Outcome:
        go.wait(10)
        return Done()

    it = office(patient)
    it.processes.start(a_job("a"))
    assert it.processes.wait() == []
    it.processes.start(a_job("b"))
    threading.Timer(2 * PAUSE_SECONDS, go.set).start()
    assert it.processes.wait() != []


def test_a_death_is_said_and_after_a_few_the_job_has_failed(office: Callable[..., Office]) -> None:
    def deadly(job: Job) -> Outcome:
        if job.key == "deadly" or [key for key, _ in it.notes] == ["unlucky"]:
            raise SystemExit(3)
        return Done()

    it = office(deadly, count=1)
    assert it.done(a_job("unlucky")) == {"unlucky": Done()}
    assert it.said.getvalue() == "a process died (exit code 3); its work goes on from what was kept\n"
    assert it.done(a_job("deadly")) == {"deadly": Failed(f"its process died {TRIES} times (exit code 3)")}
    assert it.done(a_job("after")) == {"after": Done()}
    assert [key for key, _ in it.notes] == ["unlucky"] * 2 + ["deadly"] * TRIES + ["after"]


def test_a_process_that_dies_with_nothing_to_do_is_replaced(office: Callable[..., Office]) -> None:
    it = office(count=1)
    it.done(a_job("a"))
    (slot,) = it.processes.slots
    assert slot.process is not None
    slot.process.kill()
    slot.process.join(10)
    assert it.done(a_job("b")) == {"b": Done()}
    assert it.threads.begun == 2


def test_what_the_user_can_mend_is_raised_where_the_user_is(office: Callable[..., Office]) -> None:
    def full(job: Job) -> Outcome:
        raise UserError("the disk is full")

    it = office(full)
    with pytest.raises(UserError, match="the disk is full"):
        it.done(a_job("a"))


def test_a_worker_that_is_asked_to_stop_is_waited_for_but_not_one_that_has_not_begun(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def until_asked(job: Job) -> Outcome:
        thread = threading.current_thread()
        assert isinstance(thread, Stand)
        assert thread.pipe.poll(10)
        time.sleep(0.5)
        asked.set()
        return Halted()

    it = office(until_asked)
    it.processes.start(a_job("a"))
    assert it.processes.wait() == []
    it.processes.stop()
    assert asked.is_set()
    assert not any(slot.job for slot in it.processes.slots)

    monkeypatch.setattr("benchmark.serving.pickle.load", lambda file: time.sleep(2))
    late = office()
    late.processes.start(a_job("b"))
    assert late.processes.wait() == []
    before = time.monotonic()
    late.processes.stop()
    assert time.monotonic() - before < 1 and not late.notes


class Asking(Never):
    """Asks to stop as soon as it is asked."""

    def asked(self) -> bool:
        return True


def test_a_signal_that_was_noted_stops_the_waiting(office: Callable[..., Office]) -> None:
    it = office(stopping=Asking())
    it.processes.start(a_job("a"))
    with pytest.raises(KeyboardInterrupt):
        it.processes.wait()


def test_a_job_that_comes_after_all_was_asked_to_stop_is_not_begun(suite: Path, tmp_path: Path) -> None:
    luggage = tmp_path / "study"
    luggage.write_bytes(pickle.dumps(opened(suite, "naive")))
    ours, theirs = Pipe()
    ours.send(a_job("a"))
    ours.send(None)
    work(theirs, luggage, tmp_path, 0.0)
    assert ours.recv() == Halted()


def test_a_study_arrives_with_the_same_keys_and_reads_nothing_again(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(suite, *ALL)
    content = pickle.dumps(study)
    monkeypatch.setenv("RETAIN_CACHE", str(tmp_path / "empty"))
    arrived = pickle.loads(content)
    graphs = [Graph(found, Store(tmp_path, print)) for found in (study, arrived)]
    assert graphs[0].paths == graphs[1].paths
    assert arrived.provenance == study.provenance


@pytest.mark.parametrize(
    ("name", "other"),
    [("torch.get_num_threads", lambda: 7), ("benchmark.provenance.code_sha256", lambda: "0" * 64)],
)
def test_a_study_does_not_arrive_where_numbers_would_differ(
    suite: Path, monkeypatch: pytest.MonkeyPatch, name: str, other: Callable[[], object]
) -> None:
    content = pickle.dumps(opened(suite, "naive"))
    monkeypatch.setattr(name, other)
    field = "threads" if "threads" in name else "code_sha256"
    with pytest.raises(UserError, match=rf"machine \S+: {field} is {other()}, but where the command runs it is "):
        pickle.loads(content)


def test_threads_are_divided_between_processes(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for jobs, threads in [(1, None), (2, None), (3, None), (64, None), (2, 5)]:
        torch.set_num_threads(8)
        study = open_launched(load_suite(str(suite)), Launch(tmp_path, "cpu", jobs=jobs, threads=threads), print)
        found.append(study.provenance.threads)
    torch.set_num_threads(THREADS)
    assert found == [8, 4, 2, 1, 5]


def test_a_teller_tells_the_mean_of_some_steps_together_and_the_last_ones_before_it_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("benchmark.serving.time.monotonic", lambda: now[0])
    said = StringIO()
    with Progress(100, said) as progress:
        lane = progress.lane()
        told: list[str] = []

        def tell(call: Any) -> None:
            told.append(call.__reduce__()[1][0])
            call(lane)

        teller = Teller(tell)
        teller.enter("a")
        for loss in (4.0, 1.0, 3.0):
            teller.step(loss, 10)
        assert (lane.counted, lane.loss) == (10, 4.0)
        now[0] += TELL_SECONDS
        teller.step(5.0, 10)
        assert lane.counted == 40 and lane.loss == pytest.approx(0.9 * 4.0 + 0.1 * 3.0)
        teller.step(1.0, 5)
        teller.leave()
        teller.end(True)
    assert told == ["enter", "step", "step", "step", "leave", "end"]
    assert progress.settled == 45
    assert said.getvalue().startswith("a: loss 3.610, 45/100 examples")  # 0.9 * 3.9 + 0.1 * 1.0

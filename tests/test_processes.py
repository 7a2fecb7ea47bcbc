"""Jobs in several processes: what dies is replaced, what is asked to stop is kept, and the records are the same."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmark.engine import Engine
from benchmark.errors import UserError
from benchmark.executors import TRIES, Processes
from benchmark.progress import Lane, Progress
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from results.record import Run
from tests.apart import begin
from tests.command import is_one_line, write_suite
from tests.faulty import Deadly, Pausing, with_strategies
from tests.lab import Ran, numbers

THREADS = 1
SORTS = ["naive", "ewc", "joint"]
"""Strategies that share a stage, that learn something after it, that have one stage alone."""


@pytest.fixture
def suite(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Path:
    return write_suite(tmp_path, backbone_folder)


def opened(suite: Path, *strategies: str, epochs: int = 1) -> Study:
    overrides = Overrides(list(strategies), None, [f"training.epochs={epochs}"])
    return open_study(load_suite(str(suite), overrides), "cpu", print, THREADS)


class Several:
    """A study that several processes ran."""

    def __init__(self, study: Study, folder: Path, count: int = 2, checkpoint_seconds: float = 0.0) -> None:
        said = StringIO()
        with Progress(stream=said) as self.progress:
            self.engine = Engine(study, folder, self.progress)
            self.executor = Processes(study, folder, self.progress, count, checkpoint_seconds)
            try:
                self.runs = self.engine.run(self.executor)
            finally:
                self.said = said.getvalue()

    @property
    def by_strategy(self) -> dict[str, Run]:
        return {run.strategy: run for run in self.runs}


def workers(process: psutil.Process) -> list[psutil.Process]:
    """The processes that do jobs for this one: children of the one that imports for all of them."""
    found = []
    for child in process.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # git, say, which has just ended
            found += child.children() if any("forkserver" in part for part in child.cmdline()) else []
    return found


def waited_until(true: Callable[[], object], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_all_sorts_of_strategies_give_the_same_records_though_a_worker_is_killed_in_the_middle(
    suite: Path, tmp_path: Path
) -> None:
    note, killed = tmp_path / "note", []

    def kill() -> None:
        waited_until(lambda: note.exists() and note.read_text(encoding="utf-8"))
        (victim,) = [one for one in workers(psutil.Process()) if str(one.pid) == note.read_text(encoding="utf-8")]
        victim.kill()
        killed.append(victim.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    study = with_strategies(opened(suite, *SORTS), [Pausing(note=str(note))])
    several = Several(study, tmp_path / "several")
    killer.join()
    one = Ran(study, tmp_path / "one")
    assert len(killed) == 1
    assert [run.strategy for run in several.runs] == [*SORTS, "pausing"]
    assert [numbers(run) for run in several.runs] == [numbers(run) for run in one.runs]
    dying = "a process died (signal 9, Killed; out of memory?); its work goes on from what was kept"
    assert several.said.count(dying) == several.said.count("died") == 1
    assert several.progress.skipped == 8  # one step of the second stage was kept, the next one paused
    assert several.progress.position == several.progress.total == one.progress.total
    nodes = tmp_path / "several" / "stages" / "nodes"  # whose names the processes worked out themselves
    assert {path.stem for path in nodes.iterdir()} == {
        job.key for job in several.engine.graph.jobs.values() if job.place
    }
    assert not list((tmp_path / "several" / "stages" / "tensors").iterdir())
    assert not workers(psutil.Process())


@pytest.mark.slow
def test_a_job_whose_process_dies_every_time_fails_and_the_others_go_on(suite: Path, tmp_path: Path) -> None:
    study = with_strategies(opened(suite, "naive", "freeze"), [Deadly("loss", 1)])
    several = Several(study, tmp_path / "several")
    failed = several.by_strategy["deadly"]
    assert failed.failure is not None
    assert failed.failure.reason == f"its process died {TRIES} times (signal 9, Killed; out of memory?)"
    assert (failed.failure.stage, len(failed.scores)) == (1, 2)
    assert several.said.count("a process died") == TRIES - 1
    one = Ran(opened(suite, "naive", "freeze"), tmp_path / "one")
    for name, run in one.by_strategy.items():
        assert numbers(several.by_strategy[name]) == numbers(run)
    assert not workers(psutil.Process())


@pytest.mark.slow
def test_a_process_with_other_code_refuses_in_one_line(suite: Path, tmp_path: Path) -> None:
    study = opened(suite, "naive")
    other = replace(study, provenance=study.provenance.model_copy(update={"code_sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"machine .*: code_sha256 is \w{64}, but where the command runs it is 0{64}"):
        Several(other, tmp_path / "runs")
    assert not workers(psutil.Process())
    assert not list((tmp_path / "runs").glob("*.json")) and not (tmp_path / "runs" / "stages" / "nodes").exists()


@pytest.mark.slow
def test_an_interrupted_study_goes_on_in_several_processes(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(suite, "naive", "ewc")
    step = Lane.step

    def interrupted(lane: Lane, loss: float, examples: int) -> None:
        if "stage 3/3" in lane.where:
            raise KeyboardInterrupt
        step(lane, loss, examples)

    monkeypatch.setattr(Lane, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Ran(study, tmp_path / "runs")
    monkeypatch.undo()
    several = Several(study, tmp_path / "runs")
    one = Ran(study, tmp_path / "one")
    assert [numbers(run) for run in several.runs] == [numbers(run) for run in one.runs]
    features = [len(task.train.features) for task in study.tasks]
    assert several.progress.done == features[2] + features[1] + features[2]  # naive's last, EWC's last two


# The command, and signals to it


class Running:
    """A command in a session of its own, with two workers."""

    def __init__(self, folder: Path, suite: Path, *more: object, strategies: str = "l2_anchor,freeze") -> None:
        self.folder = folder
        command = ("run", suite, "--strategies", strategies, "--device", "cpu", "--threads", THREADS, "--jobs", 2)
        self.process = begin(folder, *command, "--out", folder / "out", *more)

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8")

    @property
    def positions(self) -> dict[str, int]:
        """Steps taken of each stage that is on its way."""
        files = (self.folder / "out" / "stages" / "checkpoints").glob("[!.]*.json")
        return {path.stem: json.loads(path.read_text(encoding="utf-8"))["value"]["position"] for path in files}

    def left(self) -> list[psutil.Process]:
        """All processes of the session that have not ended."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def ended(self, seconds: float) -> int:
        """Its exit code, when it has ended and nothing of it is left."""
        code = self.process.wait(seconds)
        waited_until(lambda: not self.left(), 2)  # multiprocessing's tracker of resources ends a moment later
        assert "Traceback" not in self.said
        return code


@pytest.fixture
def begun(suite: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    commands: list[Running] = []

    def begin_(*more: object, **options: Any) -> Running:
        commands.append(Running(tmp_path, suite, *more, **options))
        return commands[-1]

    yield begin_
    for command in commands:
        for left in command.left():
            left.kill()
        command.process.wait()


LONG = ("--set", "training.epochs=1000", "--checkpoint-minutes", "0.001")
STOPPING = "stopping after this step, which is kept; Ctrl-C again stops at once"
STOPPED = "retain: interrupted; what was done is kept, the same command goes on from there"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_after_their_step_which_is_kept(
    begun: Callable[..., Running], number: signal.Signals, code: int
) -> None:
    running = begun(*LONG)
    waited_until(lambda: len(running.positions) == 2)
    before = running.positions
    os.killpg(running.process.pid, number)  # as a terminal and as SLURM do: all processes get it
    assert running.ended(20) == code
    assert running.said.splitlines()[-2:] == [STOPPING, STOPPED]
    assert "died" not in running.said
    kept = running.positions
    assert kept.keys() == before.keys() and all(kept[key] > before[key] for key in kept)
    again = begun(*LONG)

    def further() -> bool:
        now = again.positions
        assert all(now[key] >= kept[key] for key in kept)  # it never begins at the start
        return any(now[key] > kept[key] for key in kept)

    waited_until(further)
    again.process.send_signal(number)  # this time the main process alone
    assert again.ended(20) == code


@pytest.mark.slow
def test_workers_end_by_themselves_when_the_main_process_is_killed_whatever_they_do(
    begun: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, luggages = tmp_path / "note", tmp_path / "luggages"
    luggages.mkdir()
    monkeypatch.setenv("TMPDIR", str(luggages))  # other tests have theirs
    running = begun("--set", f"faulty.note={note}", "--set", "faulty.stage=0", strategies="faulty,naive")
    main = psutil.Process(running.process.pid)
    waited_until(lambda: note.exists() and len(workers(main)) == 2)  # one is at a step of a minute
    assert len(list(luggages.glob("retain-*/study"))) == 1
    running.process.kill()
    running.process.wait()
    waited_until(lambda: not running.left(), 5)
    assert "Traceback" not in running.said
    assert not list(luggages.glob("retain-*/study"))


@pytest.mark.slow
def test_workers_that_only_start_end_as_well_when_the_main_process_is_killed(begun: Callable[..., Running]) -> None:
    running = begun(*LONG)
    waited_until(lambda: workers(psutil.Process(running.process.pid)))
    running.process.kill()
    running.process.wait()
    waited_until(lambda: not running.left(), 4)
    assert "Traceback" not in running.said


@pytest.mark.slow
def test_a_ctrl_c_while_processes_start_ends_at_once_and_quietly(begun: Callable[..., Running]) -> None:
    running = begun(*LONG)
    waited_until(lambda: workers(psutil.Process(running.process.pid)))
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.ended(5) == 130
    assert running.said.splitlines()[-2:] == [STOPPING, STOPPED]


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_a_long_step(begun: Callable[..., Running], tmp_path: Path) -> None:
    note = tmp_path / "note"
    running = begun("--set", f"faulty.note={note}", "--set", "faulty.stage=0", strategies="faulty,naive")
    waited_until(note.exists)
    os.killpg(running.process.pid, signal.SIGINT)
    time.sleep(2)
    assert running.process.poll() is None
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.ended(5) == 130
    assert running.said.splitlines()[-2:] == [STOPPING, STOPPED]


@pytest.mark.slow
def test_a_full_disk_in_a_worker_is_one_line(begun: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "out" / "stages").mkdir(parents=True)
    (tmp_path / "out" / "stages" / "tensors").write_text("no folder", encoding="utf-8")
    running = begun()
    assert running.ended(90) == 2
    (last,) = [line for line in running.said.splitlines(keepends=True) if "retain: " in line]
    assert is_one_line(last) and "writing failed" in last

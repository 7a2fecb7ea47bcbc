"""Ctrl-C, what schedulers send, full disks: the command ends in one line, and the same command goes on from there."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

from benchmark.interrupts import Interrupts
from benchmark.store import Store
from tests.command import is_one_line
from tests.kill_harness import MOST_SECONDS, Nursery, nursery_of, records, remains, steps, until
from tests.nursery import Attempt

STOPPING = "stopping after this step, which is kept; Ctrl-C again stops at once\n"
STOPPED = "retain: interrupted; what was done is kept, the same command goes on from there\n"


class Commands:
    """Runs the command with EWC in a folder until something happens to it, and then again."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self.nursery, self.folder = nursery, folder
        self.attempt = Attempt(folder / "runs", command=nursery.command(folder / "runs", "--strategies", "ewc"))
        self.whole = nursery.undisturbed(folder, "ewc")

    def run(self, site: str = "", call: int = 0, *signals: int, error: int = 0, deaf: bool = False) -> int:
        """The exit code."""
        what = (site, call) if site else None
        self.said_before = len(self.said_in_all())
        return self.nursery.run(replace(self.attempt, site=what, signals=signals, error=error, deaf=deaf)).status

    def said_in_all(self) -> str:
        return self.attempt.said.read_text(encoding="utf-8") if self.attempt.said.exists() else ""

    @property
    def said(self) -> str:
        """By the last command."""
        return self.said_in_all()[self.said_before :]

    def repeated(self) -> int:
        """Examples that were trained on once more than need be."""
        trained = steps(self.attempt.diary)
        assert trained.keys() == self.whole.steps.keys()
        return trained.total() - self.whole.steps.total()

    def known(self, kind: str) -> list[str]:
        return Store(self.attempt.folder / "stages", lambda _: None).shelf.keys(kind)

    def go_on(self) -> None:
        """The same command again comes to the end of an undisturbed one."""
        assert self.run() == 0, self.said
        assert records(self.attempt.folder) == self.whole.records
        assert not remains(self.attempt.folder)


@pytest.fixture
def commands(
    request: pytest.FixtureRequest, offline_catalogue: Path, backbone_folder: Path, tmp_path: Path
) -> Commands:
    return Commands(nursery_of(request.config, backbone_folder, offline_catalogue), tmp_path)


@pytest.mark.parametrize(("number", "code"), [(SIGINT, 130), (SIGTERM, 143)])
def test_one_signal_lets_the_step_end_and_nothing_is_trained_twice(commands: Commands, number: int, code: int) -> None:
    assert commands.run("the weights have moved", 9, number) == code
    assert commands.said.endswith(STOPPING + STOPPED)
    (key,) = commands.known("checkpoints")
    found = Store(commands.attempt.folder / "stages", lambda _: None).checkpoint(key)
    assert found is not None and found.position == 3  # 6 steps were the first stage's
    commands.go_on()
    assert commands.repeated() == 0


def test_two_signals_stop_in_the_middle_of_a_step_and_lose_no_more_than_the_stage(commands: Commands) -> None:
    assert commands.run("a batch begins", 10, SIGINT, SIGINT) == 130
    assert commands.said.endswith(STOPPING + STOPPED)
    assert commands.known("checkpoints") == []
    commands.go_on()
    assert commands.repeated() == 3 * 4


@pytest.mark.parametrize(
    ("site", "call"),
    [
        ("Fisher", 3),
        ("a task is evaluated", 5),
        pytest.param("a file is written", 2, marks=pytest.mark.slow),
        pytest.param("a lock is held", 1, marks=pytest.mark.slow),
        pytest.param("results are kept", 2, marks=pytest.mark.slow),
    ],
)
def test_a_signal_outside_of_training_stops_at_once_and_keeps_all_finished_steps(
    commands: Commands, site: str, call: int
) -> None:
    assert commands.run(site, call, SIGINT) == 130
    assert commands.said.endswith(STOPPED) and STOPPING not in commands.said
    commands.go_on()
    assert commands.repeated() == 0


def test_a_signal_after_the_last_step_of_a_stage_stops_before_it_is_measured(commands: Commands) -> None:
    assert commands.run("a step's tensors are kept", 1, SIGINT) == 130
    assert commands.said.endswith(STOPPING + STOPPED)
    assert len(commands.known("nodes")) == len(commands.known("rows")) == 1  # the stage, and the untrained model
    commands.go_on()
    assert commands.repeated() == 0


def test_a_signal_that_also_ends_who_listens_is_one_all_the_same(commands: Commands) -> None:
    """As in ``retain run ... 2>&1 | tee log``, where Ctrl-C ends tee first."""
    assert commands.run("the weights have moved", 9, SIGINT, deaf=True) == 130
    assert len(commands.known("checkpoints")) == 1
    assert records(commands.attempt.folder) == {}
    commands.go_on()
    assert commands.repeated() == 0


def test_runs_go_on_though_nobody_listens_any_more(commands: Commands) -> None:
    commands.run("a batch begins", 2, deaf=True)
    assert records(commands.attempt.folder) == commands.whole.records


def test_the_command_in_a_python_of_its_own_stops_with_a_checkpoint(commands: Commands) -> None:
    arguments = (*commands.attempt.command, "--set", "training.epochs=1000", "--checkpoint-minutes", "0.0001")
    with commands.nursery.afresh(*arguments) as process:
        try:
            until(lambda: commands.known("checkpoints") != [])
            process.send_signal(SIGINT)
            _, said = process.communicate(timeout=MOST_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 130
    assert said.endswith(STOPPING + STOPPED)
    assert len(commands.known("checkpoints")) == 1


@pytest.mark.parametrize(
    ("site", "call", "error"),
    [
        pytest.param("half a file is written", 1, errno.ENOSPC, marks=pytest.mark.slow),
        ("half a file is written", 9, errno.ENOSPC),
        pytest.param("half a file is written", 20, errno.ENOSPC, marks=pytest.mark.slow),
        ("a file is begun", 12, errno.EROFS),
        pytest.param("a file is begun", 29, errno.ENOSPC, marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_gets_full_or_read_only_is_one_line_and_the_same_command_goes_on(
    commands: Commands, site: str, call: int, error: int
) -> None:
    assert commands.run(site, call, error=error) == 2
    last = commands.said.splitlines(keepends=True)[-1]
    assert is_one_line(last) and f"writing failed ({os.strerror(error)}" in last
    assert "Traceback" not in commands.said
    assert not [path for path in commands.attempt.folder.rglob(".*") if path.is_file()]
    commands.go_on()
    assert commands.repeated() <= 24  # the stage that could not be written


@pytest.mark.parametrize("place", ["stages", "stages/tensors"])
def test_a_file_where_a_folder_should_be_is_one_line_and_the_same_command_goes_on(
    commands: Commands, place: str
) -> None:
    path = commands.attempt.folder / place
    path.parent.mkdir(parents=True)
    path.write_text("in the way", encoding="utf-8")
    assert commands.run() == 2
    last = commands.said.splitlines(keepends=True)[-1]
    assert is_one_line(last) and place in last
    assert "Traceback" not in commands.said
    path.unlink()
    commands.go_on()


def test_what_a_killed_command_had_half_written_of_a_record_is_cleared_away(commands: Commands) -> None:
    (name,) = commands.whole.records
    commands.attempt.folder.mkdir()
    (commands.attempt.folder / f".{name}.x7").write_text("half", encoding="utf-8")
    commands.go_on()


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (SIGINT, SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in (SIGINT, SIGTERM)} == before


def test_the_first_signal_is_noted_while_somebody_asks_and_the_second_raises(handlers: None) -> None:
    said: list[str] = []
    with Interrupts(said.append) as interrupts:
        assert not interrupts.asked()
        with interrupts.patiently():
            os.kill(os.getpid(), SIGTERM)
            assert interrupts.asked() and interrupts.signal == SIGTERM
            assert said == [STOPPING.strip()]
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), SIGINT)
        assert interrupts.signal == SIGINT


def test_a_signal_raises_at_once_while_nobody_asks(handlers: None) -> None:
    with Interrupts(lambda _: None) as interrupts:
        with interrupts.patiently():
            pass
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), SIGINT)
        assert interrupts.asked()


@pytest.mark.parametrize("error", [BrokenPipeError, RuntimeError])
def test_a_signal_is_noted_though_it_can_not_be_said(handlers: None, error: type[Exception]) -> None:
    def failing(message: str) -> None:
        raise error

    with Interrupts(failing) as interrupts, interrupts.patiently():
        os.kill(os.getpid(), SIGINT)
        assert interrupts.asked()

"""Killed at any moment and started again, a run ends in the records of one to which nothing happened."""

from __future__ import annotations

import itertools
import math
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.kill_harness import Killer, Nursery, nursery_of, records, remains, steps, until
from tests.nursery import EVERYWHERE, SITES, Attempt

ALWAYS = 0.0
"""A checkpoint after every step."""
NEVER = math.inf
MANY = 50
"""Kills that every strategy must survive in the slow test."""
FEW = "naive,joint,l2_anchor,ewc,freeze,replay,lora"
"""Strategies of all sorts, for the ordinary tests."""


@pytest.fixture
def nursery(request: pytest.FixtureRequest, offline_catalogue: Path, backbone_folder: Path) -> Nursery:
    return nursery_of(request.config, backbone_folder, offline_catalogue)


def test_runs_that_were_killed_a_few_times_equal_undisturbed_ones(nursery: Nursery, tmp_path: Path) -> None:
    killer = Killer(nursery, tmp_path, FEW)
    killer.kill_at("Fisher", ALWAYS, again=2)
    assert killer.kills >= 1
    assert killer.wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [*EVERYWHERE, "momentum", "drifting"])
def test_a_run_equals_an_undisturbed_one_wherever_and_whenever_it_was_killed(
    nursery: Nursery, tmp_path: Path, strategy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    killer, rounds = Killer(nursery, tmp_path, strategy), itertools.cycle([ALWAYS, NEVER])
    for number, site in enumerate(SITES):
        every = ALWAYS if number % 2 or "checkpoint" in site else NEVER
        if nursery.undisturbed(tmp_path, strategy, every).passed[site]:
            killer.kill_at(site, every)
        else:
            assert site == "Fisher"
    while killer.kills < MANY:
        killer.kill_anywhere(next(rounds))
    with capsys.disabled():
        sys.stdout.write(f"{strategy}: {killer.kills} kills\n")
    assert killer.wrong == []


@pytest.mark.parametrize(
    ("strategy", "every", "sabotage"),
    [
        ("naive", ALWAYS, "the optimizer is not restored"),
        ("forgetful", ALWAYS, ""),
        pytest.param("naive", ALWAYS, "the weights are not restored", marks=pytest.mark.slow),
        pytest.param("forgetful", NEVER, "", marks=pytest.mark.slow),
    ],
)
def test_the_harness_notices_what_was_lost(
    nursery: Nursery, tmp_path: Path, strategy: str, every: float, sabotage: str
) -> None:
    killer = Killer(nursery, tmp_path, strategy, sabotage=sabotage)
    killer.kill_at("a batch begins", every, call=10, again=0)
    assert killer.kills == len(killer.wrong) == 1


def test_two_commands_on_one_folder_do_every_step_once(nursery: Nursery, tmp_path: Path) -> None:
    whole = nursery.undisturbed(tmp_path, FEW, ALWAYS)
    attempt = Attempt(tmp_path / "shared", FEW, every=ALWAYS)
    for pid in [nursery.start(attempt), nursery.start(attempt)]:
        assert nursery.wait(pid).status == 0, attempt.said.read_text(encoding="utf-8")
    assert records(attempt.folder) == whole.records
    assert steps(attempt.diary) == whole.steps
    assert not remains(attempt.folder)


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_what_another_command_works_on_waits_until_it_is_done_or_dead(
    nursery: Nursery, tmp_path: Path, end: signal.Signals
) -> None:
    whole = nursery.undisturbed(tmp_path, "naive,freeze", ALWAYS)
    folder = tmp_path / "shared"
    stopped = Attempt(folder, "naive", every=ALWAYS, site=("the weights have moved", 3), signals=(signal.SIGSTOP,))
    first = nursery.start(stopped)
    until(lambda: steps(stopped.diary).total() == 12)  # told just before it stops
    second = nursery.start(attempt := Attempt(folder, "naive,freeze", every=ALWAYS))
    until(lambda: len(records(folder)) == 1)
    assert list(records(folder)) == [name for name in whole.records if name.startswith("freeze")]
    until(lambda: "naive-seed0: another command is at it" in attempt.said.read_text(encoding="utf-8"))
    os.kill(first, end)
    assert nursery.wait(first).status == (0 if end == signal.SIGCONT else -signal.SIGKILL)
    assert nursery.wait(second).status == 0, attempt.said.read_text(encoding="utf-8")
    assert records(folder) == whole.records
    assert not remains(folder)
    repeated = steps(attempt.diary)
    repeated.subtract(whole.steps)
    assert repeated.total() == (0 if end == signal.SIGCONT else 4)  # the step in which it was killed

from __future__ import annotations

import io
import re

import pytest

from benchmark.progress import LINE_SECONDS, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("benchmark.progress.time", clock)
    return clock


def test_plain_lines_come_now_and_then_with_stage_loss_speed_and_time_left(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(8000, stream) as progress:
        lane = progress.lane()
        lane.enter("ewc-seed0, stage 1/2 a")
        for _ in range(4):
            clock.now += LINE_SECONDS / 2
            lane.step(0.5, 10)
    assert stream.getvalue().splitlines() == [
        "ewc-seed0, stage 1/2 a: loss 0.500, 20/8000 examples, 1.0 examples/s, 2:13:00 left",
        "ewc-seed0, stage 1/2 a: loss 0.500, 40/8000 examples, 1.0 examples/s, 2:12:40 left",
    ]


def test_a_short_stage_still_says_how_it_ended(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(100, stream) as progress:
        lane = progress.lane()
        lane.enter("naive-seed0, stage 1/2 a")
        clock.now += 2
        lane.step(0.25, 50)
        lane.leave()
    assert stream.getvalue() == ("naive-seed0, stage 1/2 a: loss 0.250, 50/100 examples, 25.0 examples/s, 00:02 left\n")


def test_nothing_is_said_of_a_stage_before_its_first_step(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(100, stream) as progress:
        lane = progress.lane()
        lane.enter("before training")
        clock.now += 1000
        lane.leave()
    assert stream.getvalue() == ""
    assert progress.summary() == "0/100 examples, 0.0 examples/s, ? left"


def test_the_loss_is_a_running_mean_that_starts_anew_with_each_stage(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(100, stream) as progress:
        lane = progress.lane()
        lane.enter("a")
        lane.step(2.0, 1)
        lane.step(1.0, 1)
        lane.leave()
        lane.enter("b")
        lane.step(5.0, 1)
        lane.leave()
    assert re.findall(r"loss ([\d.]+)", stream.getvalue()) == ["1.900", "5.000"]


def test_the_time_left_is_of_the_examples_that_are_expected(clock: Clock) -> None:
    with Progress(100, io.StringIO()) as progress:
        lane = progress.lane()
        progress.expect(50)
        clock.now += 10
        lane.step(1.0, 25)
    assert progress.summary() == "25/50 examples, 2.5 examples/s, 00:10 left"


def test_time_left_is_never_negative(clock: Clock) -> None:
    with Progress(10, io.StringIO()) as progress:
        lane = progress.lane()
        clock.now += 1
        lane.step(1.0, 15)
    assert progress.summary().endswith("00:00 left")


def test_a_terminal_gets_a_bar_with_stage_loss_speed_and_time_left() -> None:
    stream = Terminal()
    with Progress(100, stream) as progress:
        lane = progress.lane()
        assert progress.bar is not None
        progress.bar.mininterval = 0
        lane.enter("ewc-seed0, stage 1/2 a")
        lane.step(0.5, 10)
        progress.bar.refresh()
        drawn = stream.getvalue().split("\r")[-1]
    assert re.search(r"ewc-seed0, stage 1/2 a \|.*\| +10% +[\d.]+ examples/s, [\d:]+ left, loss 0\.500", drawn)


def test_a_bar_never_shows_the_loss_of_the_stage_before_nor_nan() -> None:
    stream = Terminal()
    with Progress(100, stream) as progress:
        lane = progress.lane()
        lane.enter("a")
        lane.step(0.5, 10)
        lane.enter("b")
        assert progress.bar is not None
        progress.bar.refresh()
        drawn = stream.getvalue().split("\r")[-1]
    assert "b |" in drawn
    assert "loss" not in drawn
    assert "nan" not in stream.getvalue()


def test_messages_stand_above_the_bar_on_lines_of_their_own() -> None:
    stream = Terminal()
    with Progress(100, stream) as progress:
        lane = progress.lane()
        lane.enter("a")
        progress.say("naive-seed0: done")
        lane.leave()
    assert re.search(r"\rnaive-seed0: done\n", stream.getvalue())
    assert stream.getvalue().count("\n") == 1


def test_a_bar_with_nothing_left_to_do_is_drawn() -> None:
    stream = Terminal()
    with Progress(10, stream) as progress:
        progress.expect(0)
        progress.say("all done before")
    assert "all done before\n" in stream.getvalue()

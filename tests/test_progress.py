from __future__ import annotations

import io
import os
import re

import pytest

from benchmark.progress import DRAW_SECONDS, LINE_SECONDS, Progress


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


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


def test_a_stage_that_begins_late_says_nothing_of_its_first_step_alone(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(100, stream) as progress:
        lane = progress.lane()
        clock.now += 10 * LINE_SECONDS
        lane.enter("naive-seed0, stage 1/2 a")
        lane.step(1.0, 10)
    assert stream.getvalue() == ""


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


def test_more_than_was_expected_is_all_of_it_and_no_time_is_left(clock: Clock) -> None:
    with Progress(10, io.StringIO()) as progress:
        lane = progress.lane()
        clock.now += 1
        lane.step(1.0, 15)
    assert progress.summary() == "10/10 examples, 15.0 examples/s, 00:00 left"


def test_each_lane_says_its_own_stage_and_only_when_it_has_something_to_say(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(100, stream) as progress:
        one, two = progress.lane(), progress.lane()
        one.enter("naive-seed0, stage 1/2 a")
        two.enter("ewc-seed0, stage 2/2 b")
        clock.now += LINE_SECONDS
        one.step(0.5, 10)
        two.step(2.0, 30)
        one.leave()
        two.leave()
    assert stream.getvalue().splitlines() == [
        "naive-seed0, stage 1/2 a: loss 0.500, 10/100 examples, 0.5 examples/s, 03:00 left",
        "ewc-seed0, stage 2/2 b: loss 2.000, 40/100 examples, 2.0 examples/s, 00:30 left",
    ]


def test_what_a_dead_or_failed_job_trained_on_counts_for_nothing_but_took_its_time(clock: Clock) -> None:
    with Progress(100, io.StringIO()) as progress:
        good, bad = progress.lane(), progress.lane()
        clock.now += 10
        good.step(1.0, 20)
        bad.step(1.0, 30)
        assert progress.summary() == "50/100 examples, 5.0 examples/s, 00:10 left"
        bad.end(done=False)
        assert progress.summary() == "20/100 examples, 5.0 examples/s, 00:16 left"
        bad.skip(25)
        bad.step(1.0, 5)
        bad.end(done=True)
        good.end(done=True)
        progress.expect(50)
        assert (progress.position, progress.total) == (50, 100)


def test_jobs_that_need_not_be_done_any_more_are_not_waited_for(clock: Clock) -> None:
    with Progress(100, io.StringIO()) as progress:
        lane = progress.lane()
        clock.now += 10
        lane.step(1.0, 20)
        lane.end(done=True)
        progress.expect(0)
    assert progress.summary() == "20/20 examples, 2.0 examples/s, 00:00 left"


def test_skipped_examples_are_done_but_say_nothing_of_the_speed(clock: Clock) -> None:
    with Progress(100, io.StringIO()) as progress:
        lane = progress.lane()
        clock.now += 10
        lane.skip(60)
        lane.step(1.0, 20)
    assert progress.summary() == "80/100 examples, 2.0 examples/s, 00:10 left"


def rows(stream: io.StringIO) -> list[str]:
    """What a terminal shows: of all that a bar writes, only carriage returns, new lines and ups move the cursor."""
    shown: list[str] = []
    row = column = 0
    for part in re.findall(r"\r|\n|\x1b\[A|[^\r\n\x1b]+", stream.getvalue()):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
        elif part == "\x1b[A":
            row -= 1
        else:
            shown += [""] * (row + 1 - len(shown))
            shown[row] = shown[row][:column].ljust(column) + part + shown[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in shown]


@pytest.fixture
def screen(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr("os.get_terminal_size", lambda descriptor: os.terminal_size((80, 24)))
    return Terminal()


def test_a_terminal_gets_a_bar_with_speed_and_time_left_and_below_it_what_each_worker_does(
    clock: Clock, screen: Terminal
) -> None:
    with Progress(100, screen) as progress:
        one, _, three = progress.lane(), progress.lane(), progress.lane()
        one.enter("ewc-seed0, stage 1/2 a")
        three.enter("joint-seed0, stage 1/1 a+b: measuring")
        clock.now += 10
        one.step(0.5, 10)
        bar, *below = rows(screen)
    assert re.fullmatch(r" 10% \|█+.? +\| 1\.0 examples/s, 01:30 left", bar)
    assert below == [
        "  loss 0.500   ewc-seed0, stage 1/2 a",
        "",
        "               joint-seed0, stage 1/1 a+b: measuring",
    ]
    assert all(row == "" for row in rows(screen))  # taken away at the end


def test_a_bar_never_shows_the_loss_of_the_stage_before_nor_nan(clock: Clock, screen: Terminal) -> None:
    with Progress(100, screen) as progress:
        lane = progress.lane()
        lane.enter("a")
        lane.step(0.5, 10)
        lane.enter("b")
        assert rows(screen)[1].split() == ["b"]
        lane.step(0.25, 10)
        lane.leave()
        assert rows(screen)[1] == ""
    assert "nan" not in screen.getvalue()


def test_a_bar_of_a_failed_job_falls_back_and_shows_nothing_of_it(clock: Clock, screen: Terminal) -> None:
    with Progress(100, screen) as progress:
        lane = progress.lane()
        lane.enter("a")
        clock.now += 1
        lane.step(0.5, 40)
        assert rows(screen)[0].startswith(" 40%")
        lane.end(done=False)
        progress.expect(100)
        bar, line = rows(screen)
    assert bar.startswith("  0%") and line == ""


def test_no_line_is_wider_than_the_terminal(screen: Terminal) -> None:
    with Progress(100, screen) as progress:
        progress.lane().enter("joint-seed0, stage 1/1 " + "+".join(f"task{number}" for number in range(30)))
        assert max(len(row) for row in rows(screen)) < 80
        assert rows(screen)[1].startswith("               joint-seed0, stage 1/1 task0+task1")


def test_the_bar_is_drawn_now_and_then_however_short_the_steps(clock: Clock, screen: Terminal) -> None:
    with Progress(1000, screen) as progress:
        lane = progress.lane()
        lane.enter("a")
        before = len(screen.getvalue())
        for _ in range(500):
            clock.now += DRAW_SECONDS / 100
            lane.step(0.5, 1)
        drawn = screen.getvalue()[before:].count("examples/s")
    assert 4 <= drawn <= 5


def test_messages_stand_above_the_bar_on_lines_of_their_own(screen: Terminal) -> None:
    with Progress(100, screen) as progress:
        one, two = progress.lane(), progress.lane()
        one.enter("a")
        two.enter("b")
        progress.say("naive-seed0: done")
        two.say("a process died")
        shown = rows(screen)
    assert shown[:2] == ["naive-seed0: done", "a process died"]
    assert [line.split()[-1] for line in shown[2:]] == ["left", "a", "b"]
    assert [line for line in rows(screen) if line] == shown[:2]


def test_a_bar_with_nothing_left_to_do_is_drawn(screen: Terminal) -> None:
    with Progress(10, screen) as progress:
        progress.expect(0)
        progress.say("all done before")
    assert rows(screen)[0] == "all done before"

"""What a run says while it goes on: a bar on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import NoReturn, Self, TextIO

from tqdm import tqdm

LINE_SECONDS = 20.0
"""Time between plain lines."""
DRAW_SECONDS = 0.1
"""Time between two pictures of the bar."""


class Progress:
    """Progress over all training examples of all cells, with speed and time left, and what each worker does.

    A terminal gets a bar with one line below it for each worker; anything else gets plain lines now and then.

    Attributes:
        left: Training examples of jobs that have not ended, every epoch counted.
        settled: Those of jobs that have.
        done: Examples counted so far, whatever became of them.
        skipped: Of these, how many were trained on before.
    """

    def __init__(self, left: int = 0, stream: TextIO | None = None) -> None:
        """Shows nothing until it is entered."""
        self.left = left
        self.stream = stream or sys.stderr
        self.settled = self.done = self.skipped = 0
        self.lanes: list[Lane] = []
        self.started = time.monotonic()
        self.drawn = -DRAW_SECONDS
        self.bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        """Starts the clock and the bar."""
        if self.stream.isatty():
            self.bar = self._row("{percentage:3.0f}% |{bar}| {desc}")
        self.started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        for row in [*(lane.row for lane in reversed(self.lanes)), self.bar]:
            if row is not None:
                row.close()

    @property
    def total(self) -> int:
        """Examples to train on in all."""
        return self.settled + self.left

    @property
    def position(self) -> int:
        """How many of them are done."""
        return min(self.settled + sum(lane.counted for lane in self.lanes), self.total)

    def say(self, message: str) -> None:
        """Prints a line, above the bar if there is one."""
        with contextlib.suppress(OSError):  # who listened may have gone, or a log's disk be full: no reason to fail
            if self.bar is not None:
                self.bar.write(message, file=self.stream)
            else:
                self.stream.write(f"{message}\n")
                self.stream.flush()

    def lane(self) -> Lane:
        """Room for what one more worker does."""
        lane = Lane(self, None if self.bar is None else self._row("{desc}", len(self.lanes) + 1))
        self.lanes.append(lane)
        return lane

    def expect(self, left: int) -> None:
        """Says how many examples there are in jobs that have not ended, those that they have done included."""
        self.left = left
        self.draw(now=True)

    def draw(self, now: bool = False) -> None:
        """Brings the bar up to date, unless that was done a moment ago."""
        if self.bar is None or not (now or time.monotonic() - self.drawn >= DRAW_SECONDS):
            return
        self.drawn = time.monotonic()
        self.bar.total, self.bar.n = self.total, self.position
        self.bar.set_description_str(self._speed(), refresh=False)
        self.bar.refresh()
        for lane in self.lanes:
            lane.draw()

    def summary(self) -> str:
        """How far everything is, at what speed, and the time left."""
        return f"{self.position}/{self.total} examples, {self._speed()}"

    def _speed(self) -> str:
        """Mean speed since the start, evaluation and all else included, and the time left at that speed."""
        rate = (self.done - self.skipped) / max(time.monotonic() - self.started, 1e-9)
        left = tqdm.format_interval((self.total - self.position) / rate) if rate > 0 else "?"
        return f"{rate:.1f} examples/s, {left} left"

    def _row(self, layout: str, place: int = 0) -> tqdm[NoReturn]:
        return tqdm(file=self.stream, bar_format=layout, position=place, leave=False, dynamic_ncols=True)


class Lane:
    """What one worker does: where it is, and its loss as a running mean.

    Attributes:
        counted: Examples of the job that it does.
    """

    def __init__(self, progress: Progress, row: tqdm[NoReturn] | None = None) -> None:
        """Does nothing yet."""
        self.progress, self.row = progress, row
        self.where = ""
        self.loss: float | None = None
        self.counted = self.untold = 0
        self.spoken = time.monotonic()

    def enter(self, where: str) -> None:
        """Names what comes next, such as ``ewc-seed0, stage 2/3 bbc_news``."""
        self.where, self.loss, self.untold = where, None, 0
        self.spoken = time.monotonic()
        self.progress.draw(now=True)

    def step(self, loss: float, examples: int) -> None:
        """Counts one optimizer step, or the examples of several and their mean loss."""
        self._count(examples)
        self.untold += examples
        self.loss = loss if self.loss is None else 0.9 * self.loss + 0.1 * loss
        self.progress.draw()
        if time.monotonic() - self.spoken >= LINE_SECONDS:
            self._tell()

    def skip(self, examples: int) -> None:
        """Counts examples that were trained on before."""
        self._count(examples)
        self.progress.skipped += examples

    def leave(self) -> None:
        """Says how training stands, at the end of a stage at the latest."""
        if self.untold:
            self._tell()
        self.where, self.loss = "", None
        self.progress.draw(now=True)

    def end(self, done: bool) -> None:
        """Its job has ended; what it counted was for nothing if the job was not done."""
        if done:
            self.progress.settled += self.counted
        self.where, self.loss, self.counted, self.untold = "", None, 0, 0

    def say(self, message: str) -> None:
        """Prints a line."""
        self.progress.say(message)

    def draw(self) -> None:
        """Brings its line below the bar up to date."""
        if self.row is not None:
            loss = "" if self.loss is None else f"loss {self.loss:.3f}"
            self.row.set_description_str(f"  {loss:<12} {self.where}" if self.where else "", refresh=False)
            self.row.refresh()

    def _count(self, examples: int) -> None:
        self.counted += examples
        self.progress.done += examples

    def _tell(self) -> None:
        """A line of its own, which a bar makes needless."""
        if self.row is None and self.loss is not None:
            self.spoken, self.untold = time.monotonic(), 0
            self.say(f"{self.where}: loss {self.loss:.3f}, {self.progress.summary()}")

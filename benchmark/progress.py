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


class Progress:
    """Progress over all training examples of all cells, with stage, loss, examples a second and time left.

    Args:
        total: Training examples in all, every epoch counted.
        stream: Where to; a terminal gets a bar, anything else plain lines.
    """

    def __init__(self, total: int = 0, stream: TextIO | None = None) -> None:
        """Shows nothing until it is entered."""
        self.total = total
        self.stream = stream or sys.stderr
        self.done = self.skipped = 0
        self.lanes: list[Lane] = []
        self.started = time.monotonic()
        self.bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        """Starts the clock and the bar."""
        if self.stream.isatty():
            layout = "{desc} |{bar}| {percentage:3.0f}% {rate_noinv_fmt}, {remaining} left{postfix}"
            self.bar = tqdm(total=self.total, file=self.stream, bar_format=layout, unit=" examples", leave=False)
        self.started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        if self.bar is not None:
            self.bar.close()

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
        lane = Lane(self)
        self.lanes.append(lane)
        return lane

    def show(self) -> None:
        """Brings the bar up to date; elsewhere a line now and then does."""
        if self.bar is not None:
            self.bar.set_description_str(" | ".join(lane.where for lane in self.lanes if lane.where), refresh=False)
            losses = ", ".join(f"{lane.loss:.3f}" for lane in self.lanes if lane.loss is not None)
            self.bar.set_postfix_str(f"loss {losses}" if losses else "", refresh=False)
            self.bar.update(self.done - self.bar.n)

    def expect(self, examples: int) -> None:
        """Says how many examples there are to train on in all."""
        self.total = examples
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.refresh()

    def summary(self) -> str:
        """How far everything is, at what speed, and the time left."""
        rate = (self.done - self.skipped) / max(time.monotonic() - self.started, 1e-9)
        left = tqdm.format_interval(max(self.total - self.done, 0) / rate) if rate > 0 else "?"
        return f"{self.done}/{self.total} examples, {rate:.1f} examples/s, {left} left"


class Lane:
    """What one worker does: where it is, and its loss as a running mean."""

    def __init__(self, progress: Progress) -> None:
        """Does nothing yet."""
        self.progress = progress
        self.where = ""
        self.loss: float | None = None
        self.told = 0
        self.spoken = time.monotonic()

    def enter(self, where: str) -> None:
        """Names what comes next, such as ``ewc-seed0, stage 2/3 bbc_news``."""
        self.where, self.loss = where, None
        self.progress.show()

    def step(self, loss: float, examples: int) -> None:
        """Counts one optimizer step, or the examples of several."""
        self.progress.done += examples
        self.loss = loss if self.loss is None else 0.9 * self.loss + 0.1 * loss
        self.progress.show()
        if self.progress.bar is None and time.monotonic() - self.spoken >= LINE_SECONDS:
            self._tell()

    def skip(self, examples: int) -> None:
        """Counts examples that were trained on before."""
        self.progress.done += examples
        self.progress.skipped += examples

    def leave(self) -> None:
        """Says how training stands, at the end of a stage at the latest; a bar has said it already."""
        if self.progress.bar is None and self.progress.done != self.told:
            self._tell()
        self.where, self.loss = "", None

    def say(self, message: str) -> None:
        """Prints a line."""
        self.progress.say(message)

    def _tell(self) -> None:
        if self.loss is not None:
            self.spoken, self.told = time.monotonic(), self.progress.done
            self.say(f"{self.where}: loss {self.loss:.3f}, {self.progress.summary()}")

"""Ctrl-C, and what cluster schedulers send: once stops when nothing is lost by it, twice stops now."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""SLURM, Kubernetes and most others send SIGTERM some time before they kill."""


class Interrupts:
    """While it is entered, the first signal lets a training step end and be kept; any other raises at once.

    Attributes:
        signal: The last that came; 0 if none did.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Listens once it is entered."""
        self.say = say
        self.signal = 0
        self.count = 0
        self.patient = False

    def __enter__(self) -> Self:
        """Takes the signals over."""
        self.before = {number: signal.signal(number, self._came) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        """Gives them back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Whether a signal came."""
        return self.count > 0

    @contextlib.contextmanager
    def patiently(self) -> Iterator[None]:
        """As long as this lasts, the first signal is only noted: somebody asks for it after every step."""
        before, self.patient = self.patient, True
        try:
            yield
        finally:
            self.patient = before

    def _came(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self.count += 1
        if self.patient and self.count == 1:
            # Somebody may have stopped listening (tee, say, which the same Ctrl-C ends), or be in the middle of a line.
            with contextlib.suppress(OSError, RuntimeError):
                self.say("stopping after this step, which is kept; Ctrl-C again stops at once")
            return
        raise KeyboardInterrupt

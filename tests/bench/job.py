"""What a contender is given, and what it gives back. Light: the main process imports no torch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from tests.bench.ratios import Numbers

BATCH = 16
RATE = 2e-4
"""Of the body, as in the quickstart."""


@dataclass(frozen=True)
class Sizes:
    """How much a round does.

    Attributes:
        train: Examples that a round of training reads.
        test: Examples that a round of evaluation reads.
        steps: Of the stages in which steps of strategies are compared.
        fisher: Examples whose Fisher information is measured.
        checked: Of these so many, when it is compared with the one of double precision.
        head_epochs: Epochs of the head alone.
        limit: ``--limit`` of a whole quickstart; None for none.
        sweep: ``--limit`` of the sweep; None for none.
    """

    train: int
    test: int
    steps: int
    fisher: int
    checked: int
    head_epochs: int
    limit: int | None
    sweep: int | None


FULL = Sizes(800, 1000, 24, 512, 128, 20, None, 128)
QUICK = Sizes(80, 80, 4, 16, 8, 4, 16, 8)
GPU = replace(FULL, train=6000, test=2000)
"""As many texts as there are in the proportions of the quickstart: a round must last longer than a clock is coarse."""


@dataclass(frozen=True)
class Job:
    """What a contender works on.

    Attributes:
        folder: Where the texts and the suite lie: see `tests.bench.material`.
        threads: That it computes with.
        sizes: How much it does in a round.
        device: ``cpu`` or ``cuda``.
        precision: Of training: ``no`` for float32, or ``bf16`` for autocast.
        batch: Examples in a step of training.
    """

    folder: str
    threads: int
    sizes: Sizes
    device: str = "cpu"
    precision: str = "no"
    batch: int = BATCH

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Job:
        raw = json.loads(text)
        return cls(**raw | {"sizes": Sizes(**raw["sizes"])})


def nothing() -> Numbers:
    """Where there is nothing to check."""
    return {}


@dataclass(frozen=True)
class Contender:
    """One that is measured: a round at a time, and at the end checked."""

    round: Callable[[], Numbers]
    check: Callable[[], Numbers] = field(default=nothing)


def spent(work: Callable[[], object], finish: Callable[[], object] = nothing) -> dict[str, float]:
    """Seconds of the clock and of the processor that a call takes, with what it has left to be waited for."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    finish()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

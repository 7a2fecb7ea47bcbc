"""How the cores of a machine are divided: one process that trains with all of them, or several with fewer each.

Several processes with one thread each do more together than one with as many threads: of a small model's step, too
much can't be divided among threads. But each keeps a model of its own, and is worth its start only if there is enough
to do. The number of threads is recorded and stands in the keys of stages, so the choice must come out the same each
time: it is made of the machine and of the suite, never of what is left to do or of what else the machine is doing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from benchmark.backbone_facts import facts_of
from benchmark.backbones import BackboneSpec
from benchmark.console import launched
from benchmark.suite import Suite, TaskPlan

SMALL = 50_000_000
"""Weights of the largest body that is divided unasked. Only one of 23 million was measured (docs/engine.md): the larger
it is, the more several processes wait for the same memory."""
WORTHWHILE = 4e12
"""Weights times training tokens, of all runs, from which on processes are worth their start: about a minute and
a half of two slow cores."""
EXAMPLES = 1000
"""That a task is taken to train on whose size neither the suite nor the catalogue tells."""
COPIES = 10
"""Of a body's weights that a process is taken to hold: pretrained, trained, gradient, two moments, what strategies
keep, activations."""
PROCESS_BYTES = 2**30
"""That a process takes besides."""
SHARE = 0.5
"""Of the machine's memory that all of them may take."""


@dataclass(frozen=True)
class Division:
    """How many processes work on different stages, and with how many threads each; None leaves these to a launcher."""

    jobs: int
    threads: int | None

    def __str__(self) -> str:
        """For the user."""
        threads = "one thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.jobs} processes with {threads} each (--jobs 1 trains in one process)"


@dataclass(frozen=True)
class Wish:
    """What the user says of it.

    Attributes:
        jobs: Processes; None leaves it to `divide`.
        threads: Of each; None likewise.
        local: Whether the processes are this machine's, rather than Ray's.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        cores: Threads that torch would train with if nothing were said.
    """

    jobs: int | None
    threads: int | None
    local: bool
    device: str
    cores: int = field(default_factory=torch.get_num_threads)


def divide(suite: Suite, wish: Wish, repeated: int = 1) -> Division:
    """As the user wants it; else several processes for a small backbone, enough work, enough runs and enough memory.

    Args:
        suite: What is run.
        wish: What is settled.
        repeated: How often each of its runs is trained, in another way each time.
    """
    alone = Division(1, wish.threads or (None if launched() else wish.cores))
    if wish.jobs is not None:
        return alone if wish.jobs == 1 else Division(wish.jobs, wish.threads or max(1, wish.cores // wish.jobs))
    weights = _weights(suite.backbone)
    if not wish.local or launched() or not _on_cpu(wish.device) or weights is None or weights > SMALL:
        return alone
    runs = len(suite.cells) * repeated
    jobs = min(runs, wish.cores // (wish.threads or 1), int(SHARE * _memory() / (PROCESS_BYTES + COPIES * 4 * weights)))
    tokens = runs * suite.training.epochs * sum(_examples(plan) * plan.max_length for plan in suite.tasks)
    if jobs < 2 or weights * tokens < WORTHWHILE:
        return alone
    return Division(jobs, wish.threads or wish.cores // jobs)


def forks(suites: Sequence[Suite], wish: Wish) -> bool:
    """Whether any of these suites is run by several processes of this machine."""
    return wish.local and not launched() and any(divide(suite, wish).jobs > 1 for suite in suites)


def _on_cpu(device: str) -> bool:
    return device == "cpu" or (
        device == "auto" and not torch.cuda.is_available() and not torch.backends.mps.is_available()
    )


def _weights(backbone: BackboneSpec) -> int | None:
    """Of the body, from the catalogue or the headers of a local folder's files; None of a hub model that is unknown."""
    facts = facts_of(Path(backbone.folder)) if backbone.folder else backbone.facts
    return facts.parameters or facts.stored


def _examples(plan: TaskPlan) -> int:
    """That a task trains on in an epoch."""
    there = plan.spec.counts.get("train", EXAMPLES)
    return there if plan.train_examples is None else min(there, plan.train_examples)


def _memory() -> int:
    """Bytes that this machine has, or the container that this process is in."""
    total = psutil.virtual_memory().total
    with suppress(OSError, ValueError):  # another system, or no limit: "max"
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return total

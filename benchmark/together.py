"""One model on several processes: the main one leads through the jobs, the others follow; only the main one writes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from torch import Tensor

from benchmark.errors import UserError
from benchmark.executors import InProcess
from benchmark.jobs import Job
from benchmark.shelf import Say, Shelf
from benchmark.store import Checkpoint, Saved, Store
from benchmark.team import Gone, Team
from benchmark.worker import Outcome, Worker

T = TypeVar("T")


class TeamStore(Store):
    """The steps of one folder as the main process sees them, for all processes alike.

    What depends on the moment, such as whether a file is there, is asked by the main process alone and told to all,
    so that all do the same. Tensors are read by each, so the folder must be one that all of them see.
    """

    def __init__(self, folder: Path, say: Say, team: Team) -> None:
        """Belongs to one process of the team."""
        super().__init__(folder, say)
        self.team = team
        if not team.main:
            self.shelf = _Follower(folder, say)

    def node(self, key: str) -> Saved | None:
        """What the main process knows of a step."""
        return self.team.agree(super().node(key) if self.team.main else None)

    def row(self, key: str) -> dict[str, Any] | None:
        """What the main process knows of an evaluation."""
        return self.team.agree(super().row(key) if self.team.main else None)

    def save_row(self, key: str, row: Mapping[str, Any]) -> None:
        """Keeps the results of an evaluation, once."""
        if self.team.main:
            super().save_row(key, row)
        self.team.agree(None)

    def save_node(
        self,
        key: str,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        trainable: list[str],
        cost: dict[str, float],
        losses: Sequence[float] = (),
        notes: Mapping[str, float] = MappingProxyType({}),
        curve: Sequence[dict[str, Any]] = (),
    ) -> Saved:
        """Keeps a finished step, once."""
        saved = None
        if self.team.main:
            saved = super().save_node(key, weights, state, trainable, cost, losses, notes, curve)
        agreed = self.team.agree(saved)
        assert agreed is not None
        return agreed

    def load(self, saved: Saved) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Weights and state after a step, if the main process can read them."""
        return self._read_alike(partial(super().load, saved))

    def save_checkpoint(self, key: str, checkpoint: Checkpoint) -> None:
        """Keeps a step on its way, once."""
        if self.team.main:
            super().save_checkpoint(key, checkpoint)
        self.team.agree(None)

    def checkpoint(self, key: str) -> Checkpoint | None:
        """How far a step had come, if the main process can read it."""
        return self._read_alike(partial(super().checkpoint, key))

    def _read_alike(self, read: Callable[[], T | None]) -> T | None:
        """What all processes read, if the main one can.

        Raises:
            UserError: this process can't, though the main one can.
        """
        found = read() if self.team.main else None
        if not self.team.agree(found is not None):
            return None
        if not self.team.main and (found := read()) is None:
            raise UserError(
                f"process {self.team.rank} on {socket.gethostname()} does not find in {self.shelf.folder} "
                "what the main process wrote: --out must be a folder that all machines share"
            )
        return found


@dataclass(frozen=True)
class _Follower(Shelf):
    """Holds no locks: the main process holds them for all."""

    @contextlib.contextmanager
    def lock(self, key: str, wait: bool = False) -> Iterator[bool]:
        yield True

    def drop(self, digests: Collection[str]) -> None:
        """Leaves what can't be read as it is."""


class Leader(InProcess):
    """Does one job at a time, together with the processes that follow."""

    def __init__(self, worker: Worker) -> None:
        """Leads with this worker."""
        super().__init__(worker)
        self.in_step = True

    def wait(self) -> list[tuple[Job, Outcome]]:
        """Does the job."""
        self.in_step = False
        self.worker.study.team.agree(self.job)
        outcomes = super().wait()
        self.in_step = True
        return outcomes

    def close(self) -> None:
        """Lets the others go, unless a job was broken off: then they wait in the middle of it, and are ended."""
        if self.in_step:
            with contextlib.suppress(Gone):
                self.worker.study.team.agree(None)


def follow(worker: Worker) -> None:
    """Does what the main process does until that has nothing more to do."""
    nothing: Job | None = None
    while (job := worker.study.team.agree(nothing)) is not None:
        worker.do(job)

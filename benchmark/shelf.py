"""Files of a run folder that several processes share: whole or absent, checked when they are read, locked by key.

    <folder>/<kind>/<key>.json              plain values with their checksum
    <folder>/tensors/<sha256>.safetensors   content named by its hash
    <folder>/locks/<key>.lock               held by the process that computes a key
    <folder>/commands/<name>.json           what a running command still needs; its lock is held as long as it runs

Locks are the operating system's, so one left by a dead process is free at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark.errors import UserError
from benchmark.output import writing
from results.record import write_atomically

Say = Callable[[str], None]

COMMANDS = "commands"
"""Lock under which commands come and go, and under which is decided which tensors nobody needs."""
DROPPED = "dropped"
"""Marks a step that names tensors but holds them no more. Equal tensors are one file, which others may still hold."""


@dataclass(frozen=True)
class Shelf:
    """One folder of files that are written once and read by many."""

    folder: Path
    say: Say

    def read(self, kind: str, key: str) -> dict[str, Any] | None:
        """Plain values; None if there are none, or if they are damaged, which is said.

        Raises:
            UserError: the file is there and can't be read.
        """
        path = self.folder / kind / f"{key}.json"
        try:
            checked = json.loads(path.read_text(encoding="utf-8"))
            value = checked["value"]
            whole = hashlib.sha256(json.dumps(value).encode()).hexdigest() == checked["sha256"]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            self.say(f"{path}: damaged; it is computed again")
            with contextlib.suppress(OSError):  # said once; what can't be deleted is written over
                path.unlink()
            return None
        found: dict[str, Any] = value
        return found

    def write(self, kind: str, key: str, value: Mapping[str, Any]) -> None:
        """Keeps plain values in the order they have.

        Raises:
            UserError: they can't be written.
        """
        body = json.dumps(value)
        checked = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "value": json.loads(body)})
        path = self.folder / kind / f"{key}.json"
        with writing(path):
            write_atomically(path, checked + "\n")

    def keys(self, kind: str) -> list[str]:
        """The keys of everything of a kind."""
        return sorted(path.stem for path in (self.folder / kind).glob("[!.]*.json"))

    def delete(self, kind: str, key: str) -> None:
        """Forgets plain values; nothing happens if there are none."""
        path = self.folder / kind / f"{key}.json"
        with writing(path):
            path.unlink(missing_ok=True)

    def put(self, content: bytes) -> str:
        """Keeps some bytes and returns their SHA-256, by which they are found again.

        Raises:
            UserError: they can't be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self.place(digest)
        if not path.exists():
            with writing(path):
                write_atomically(path, content)
        return digest

    def keep(self, kind: str, key: str, contents: Mapping[str, bytes], value: Mapping[str, Any]) -> dict[str, str]:
        """Keeps some bytes, then plain values together with the hashes of the bytes; returns the hashes.

        Raises:
            UserError: they can't be written.
        """
        digests = {name: self.put(content) for name, content in contents.items()}
        with self.lock(COMMANDS, wait=True):  # nobody drops now; what was dropped before it was named is put again
            for name, content in contents.items():
                if not self.place(digests[name]).exists():
                    self.put(content)
            self.write(kind, key, {**value, **digests})
        return digests

    def get(self, digest: str) -> bytes | None:
        """The bytes with this hash; None if they were dropped, or are damaged, which is said.

        Raises:
            UserError: the file is there and can't be read.
        """
        path = self.place(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            self.say(f"{path}: damaged; it is computed again")
            self.drop([digest])
            return None
        return content

    def drop(self, digests: Collection[str]) -> None:
        """Deletes the bytes with these hashes, as far as they are there."""
        for digest in digests:
            path = self.place(digest)
            with writing(path):
                path.unlink(missing_ok=True)

    def place(self, digest: str) -> Path:
        """Where bytes with this hash lie, if they are there."""
        return self.folder / "tensors" / f"{digest}.safetensors"

    @contextlib.contextmanager
    def lock(self, key: str, wait: bool = False) -> Iterator[bool]:
        """Holds a key against all other processes. Gives False if another one holds it, unless told to wait.

        Raises:
            UserError: the lock's file can't be made.
        """
        lock = self._acquire(self.folder / "locks" / f"{key}.lock", wait)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()

    def held(self, key: str) -> bool:
        """Whether a process holds a key now."""
        path = self.folder / "locks" / f"{key}.lock"
        if not path.exists():
            return False
        with self.lock(key) as free:
            return not free

    @contextlib.contextmanager
    def command(self, beside: Collection[Path] = ()) -> Iterator[Command]:
        """Enters this process as a command that works here, for as long as the context lasts.

        Args:
            beside: Files outside of the folder that only its commands write.

        Raises:
            UserError: the folder can't be written to.
        """
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        place = self.folder / "commands" / f"{name}.lock"
        with self.lock(COMMANDS, wait=True):
            own = self._acquire(place, wait=True)
            if not self._others(name):
                self._sweep(beside)
        try:
            yield Command(self, name)
        finally:
            self._leave(name, own)

    def commands(self) -> list[str]:
        """The commands that work here now; what dead ones left is cleared away."""
        if not (self.folder / "commands").exists():
            return []
        with self.lock(COMMANDS, wait=True):
            return self._others("")

    def _others(self, own: str) -> list[str]:
        """Living commands but this one. A command whose lock is free is dead."""
        living = []
        for path in sorted((self.folder / "commands").glob("*.lock")):
            if path.stem == own:
                continue
            lock = self._acquire(path, wait=False)
            if lock is None:
                living.append(path.stem)
            else:
                self._leave(path.stem, lock)
        return living

    def _leave(self, name: str, lock: FileLock | None) -> None:
        """Clears away a command that has ended. In this order: one that lives and needs nothing yet may need all."""
        if lock is not None:
            lock.release()
        self.delete("commands", name)
        (self.folder / "commands" / f"{name}.lock").unlink(missing_ok=True)

    def _sweep(self, beside: Collection[Path]) -> None:
        """Clears away what killed writers left: half-written files, checkpoints of finished steps, unneeded tensors."""
        halves = [*self.folder.glob("*/.*")]
        for path in beside:
            halves += path.parent.glob(f".{escape(path.name)}.*")
        for path in halves:
            with contextlib.suppress(OSError):  # not ours, if it is a folder, say; it harms nobody
                path.unlink()
        for key in self.keys("checkpoints"):
            node = self.read("nodes", key)
            if node is not None and DROPPED not in node and self._whole(node):
                self.delete("checkpoints", key)
        self.drop({path.stem for path in (self.folder / "tensors").glob("*.safetensors")} - self._needed(()))

    def release(self, digests: Collection[str]) -> None:
        """Deletes the bytes with these hashes that no step and no checkpoint needs."""
        if digests:
            with self.lock(COMMANDS, wait=True):
                self.drop(set(digests) - self._needed(()))

    def forget(self, keys: Collection[str], wanted: Collection[str]) -> None:
        """Deletes the tensors of steps, but for those that others need. Only while the commands are locked."""
        digests = self.digests(keys) | self.digests(keys, "checkpoints")
        for key in keys:
            found = self.read("nodes", key)
            if found is not None and DROPPED not in found:
                self.write("nodes", key, found | {DROPPED: True})
            self.delete("checkpoints", key)
        self.drop(digests - self._needed(wanted))

    def _needed(self, wanted: Collection[str]) -> set[str]:
        """Hashes that a checkpoint names, or a finished step that is whole, and is wanted or was never dropped."""
        needed = self.digests(self.keys("checkpoints"), "checkpoints")
        for key in self.keys("nodes"):
            found = self.read("nodes", key)
            if found is not None and (key in wanted or DROPPED not in found) and self._whole(found):
                needed |= _digests([found])
        return needed

    def _whole(self, step: Mapping[str, Any]) -> bool:
        return all(self.place(digest).exists() for digest in _digests([step]))

    def digests(self, keys: Collection[str], kind: str = "nodes") -> set[str]:
        """Hashes of the tensors that these steps name."""
        return _digests(found for key in keys if (found := self.read(kind, key)) is not None)

    def _acquire(self, path: Path, wait: bool) -> FileLock | None:
        """A lock that is held now; None if another process holds it and it should not be waited for."""
        lock = FileLock(path, thread_local=False)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=-1 if wait else 0)
            except Timeout:
                return None
        return lock


@dataclass(frozen=True)
class Command:
    """This process among those that work on a folder.

    Attributes:
        shelf: The folder.
        name: Of the command.
        left: Steps whose tensors this command needs no more, but another one does.
    """

    shelf: Shelf
    name: str
    left: set[str] = field(default_factory=set)

    def needs(self, keys: Collection[str]) -> None:
        """Says of which steps this command will still read the tensors. Until it has said so it may be any."""
        self.shelf.write("commands", self.name, {"needs": sorted(keys)})

    def drop(self, keys: Collection[str], needed: Collection[str]) -> None:
        """Deletes the tensors of steps, those that this or another command needs as soon as it does no more."""
        self.left.update(keys)
        if not self.left:
            return
        with self.shelf.lock(COMMANDS, wait=True):
            others = [self.shelf.read("commands", other) for other in self.shelf._others(self.name)]
            wanted = set(needed).union(*(other["needs"] for other in others if other is not None))
            if None not in others:
                self.shelf.forget(self.left - wanted, wanted)
                self.left.intersection_update(wanted)


def _digests(steps: Iterable[Mapping[str, Any]]) -> set[str]:
    return {step[name] for step in steps for name in ("weights", "state") if step.get(name)}

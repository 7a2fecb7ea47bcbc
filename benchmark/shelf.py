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
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark.errors import UserError
from benchmark.output import writing
from results.record import write_atomically

Say = Callable[[str], None]


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
    def command(self) -> Iterator[Command]:
        """Enters this process as a command that works here, for as long as the context lasts.

        Raises:
            UserError: the folder can't be written to.
        """
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        place = self.folder / "commands" / f"{name}.lock"
        with self.lock("commands", wait=True):
            own = self._acquire(place, wait=True)
            if not self._others(name):
                self._sweep()
        try:
            yield Command(self, name)
        finally:
            self._leave(name, own)

    def commands(self) -> list[str]:
        """The commands that work here now; what dead ones left is cleared away."""
        if not (self.folder / "commands").exists():
            return []
        with self.lock("commands", wait=True):
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
        """Clears away a command that has ended."""
        self.delete("commands", name)
        if lock is not None:
            lock.release()
        (self.folder / "commands" / f"{name}.lock").unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Clears away what killed writers left: half-written files, and tensors that nothing names."""
        for path in self.folder.glob("*/.*"):
            path.unlink(missing_ok=True)
        named = self.digests(self.keys("nodes"), "nodes") | self.digests(self.keys("checkpoints"), "checkpoints")
        self.drop({path.stem for path in (self.folder / "tensors").glob("*.safetensors")} - named)

    def digests(self, keys: Collection[str], kind: str = "nodes") -> set[str]:
        """Hashes of the tensors that these steps name."""
        known = [found for key in keys if (found := self.read(kind, key)) is not None]
        return {digest for found in known for digest in (found.get("weights"), found.get("state")) if digest}

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
    """This process among those that work on a folder."""

    shelf: Shelf
    name: str

    def needs(self, keys: Collection[str]) -> None:
        """Says of which steps this command will still read the tensors."""
        self.shelf.write("commands", self.name, {"needs": sorted(keys)})

    def drop(self, keys: Collection[str], needed: Collection[str]) -> None:
        """Deletes the tensors of steps, but for those that this or another command needs."""
        with self.shelf.lock("commands", wait=True):
            wanted = set(needed)
            for other in self.shelf._others(self.name):
                wanted.update((self.shelf.read("commands", other) or {}).get("needs", ()))
            spared = self.shelf.digests(wanted) | self.shelf.digests(self.shelf.keys("checkpoints"), "checkpoints")
            self.shelf.drop(self.shelf.digests(set(keys) - wanted) - spared)

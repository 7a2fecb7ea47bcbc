"""Encoded features as files: written once, found by the next command, mapped into memory by all that read them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from tasks.spec import TaskSpec

PACKAGES = ("datasets", "pyarrow", "tokenizers", "transformers")
"""Whose versions may change what a text becomes."""
DAY = 24 * 3600
"""Seconds. What was used so lately may still be."""
MOST_DAYS = 30
"""After which a file that nobody has used goes."""
MOST_BYTES = 2**32
"""That all files may take before those go that were not used for longest."""


@dataclass(frozen=True)
class Kept:
    """A folder of encoded features. Any of its files may be deleted at any time when no command runs.

    A file is named by what its content follows from, and by the hash of the content: one that was damaged is noticed,
    and made again. It gets its name only when it is complete.

    Attributes:
        folder: Where they lie; made when it is needed. Where nothing can be written, nothing is kept.
        tokenizer: A hash of what the tokenizer was loaded from.
        say: Is told of damage.
        writes: Whether this process may: of several that train together one does.
    """

    folder: Path
    tokenizer: str
    say: Callable[[str], None]
    writes: bool = True

    def name(self, spec: TaskSpec, rows: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> str:
        """What tells the features of rows, given by their hash, from all others."""
        made_of = {
            "code": _code(),
            "packages": {package: version(package) for package in PACKAGES},
            "tokenizer": [self.tokenizer, *tokenizer.model_input_names, str(tokenizer.pad_token_id)],
            "task": [spec.kind, *spec.labels],
            "max_length": max_length,
            "rows": rows,
        }
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32]

    def find(self, name: str) -> Dataset | None:
        """The features of this name; None if they are not there whole."""
        with contextlib.suppress(OSError):
            for path in sorted(self.folder.glob(f"{name}-*.arrow")):
                if _digest(path) == path.stem.partition("-")[2]:
                    if self.writes:
                        with contextlib.suppress(OSError):  # somebody else's, or read-only
                            os.utime(path)
                    return Dataset.from_file(str(path))
                if self.writes:
                    self.say(f"{path} is damaged: its texts are encoded again")
                    path.unlink()
        return None

    def keep(self, name: str, features: Dataset) -> Dataset:
        """Writes features under a name; gives them as the file holds them, or as they are if it can't be written."""
        if not self.writes:
            return features
        draft = self.folder / f".{name}-{os.getpid()}"
        table = features.with_format("arrow")[:].combine_chunks()  # in one piece it can be read without a copy
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                with pa.ipc.new_stream(file, table.schema) as stream:
                    stream.write_table(table)
                file.flush()
                os.fsync(file.fileno())
            path = self.folder / f"{name}-{_digest(draft)}.arrow"
            draft.replace(path)
            self._tidy()
            return Dataset.from_file(str(path))
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            return features

    def _tidy(self) -> None:
        """Deletes what was not used for long, then what was used least lately, and what killed commands left."""
        files = [(path, path.stat()) for path in self.folder.iterdir()]
        now, total = time.time(), sum(found.st_size for _, found in files)
        for path, found in sorted(files, key=lambda one: one[1].st_mtime):
            unused = now - found.st_mtime
            draft = path.name.startswith(".")
            if unused > DAY and (draft or unused > MOST_DAYS * DAY or total > MOST_BYTES):
                path.unlink(missing_ok=True)
                total -= found.st_size


@cache
def _code() -> str:
    """SHA-256 of the modules that turn rows into features, and of those beside them."""
    whole = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        whole.update(f"{path.name}\n".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]

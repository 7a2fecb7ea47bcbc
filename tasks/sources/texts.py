"""The texts of another source alone, to model their language: held out by document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.sources.archive import DataFiles
from tasks.sources.base import Row, Source, Splits
from tasks.sources.splitting import normalise, split


@dataclass(frozen=True)
class Texts:
    """The texts of a source of labelled texts, or of documents, each once, without their labels.

    The source's own split stays, but a text of its test split is taken out of its train split. Documents, which have
    one split only, are split by hash.

    Attributes:
        source: What is read.
        salt: Of the split, where it is ours.
    """

    source: Source
    salt: str = "retain-1"

    @property
    def archive(self) -> DataFiles:
        """Where the source's files come from."""
        return self.source.archive

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train`` and ``test``: ``text``."""
        splits = self.source.read(folder)
        if "train" not in splits:
            rows: list[Row] = [{"text": row["text"], "label": ""} for row in splits["test"]]
            splits = split(rows, self.salt)
        seen: set[str] = set()
        texts: Splits = {}
        for name in ("test", "train"):
            texts[name] = []
            for row in splits[name]:
                text = str(row["text"])
                key = normalise(text)
                if key and key not in seen:
                    seen.add(key)
                    texts[name].append({"text": text})
        return texts

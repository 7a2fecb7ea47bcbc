"""Small files of the formats that the readers know, and their complaints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.sources.archive import Archive
from tasks.sources.base import Source, SourceError

ANY = Archive(project="any", filename="any-1.whl", sha256="0" * 64, size=0, members=())


def put(folder: Path, member: str, content: str | bytes) -> None:
    path = folder / member
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def complaint(source: Source, folder: Path) -> str:
    """The reader's error, which is always one line."""
    with pytest.raises(SourceError) as caught:
        source.read(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def question(name: str, *answers: tuple[str, object]) -> dict[str, object]:
    spans = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": "Who?", "answers": spans}


def squad_file(*questions: object, context: object = "The cat sat.") -> str:
    return json.dumps({"canary": "c", "data": [{"paragraphs": [{"context": context, "qas": questions}]}]})

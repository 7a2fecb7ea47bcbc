"""Files to plain values, with errors that name the file and the row. What all readers share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tasks.sources.base import malformed


def read_bytes(folder: Path, member: str) -> bytes:
    """The content of a member."""
    try:
        return (folder / member).read_bytes()
    except OSError as error:
        raise malformed(member, f"cannot be read in {folder} ({error.strerror})") from error


def decode(content: bytes, member: str, encoding: str = "utf-8") -> str:
    """The text that the bytes of a member encode. Nothing is replaced: a bad byte is an error."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise malformed(member, f"byte {content[error.start]:#04x} is not {encoding}", row) from error


def read_text(folder: Path, member: str, encoding: str = "utf-8") -> str:
    """The text of a member."""
    return decode(read_bytes(folder, member), member, encoding)


def read_lines(folder: Path, member: str) -> list[str]:
    """The lines of a member without their ends; one empty line at the end of the file is no line."""
    # Not splitlines(), which also cuts at form feeds and other characters that belong to the text.
    lines = read_text(folder, member).replace("\r\n", "\n").split("\n")
    return lines[:-1] if not lines[-1] else lines


def csv_rows(text: str, member: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The numbered rows of a comma-separated text whose first line names its columns.

    Args:
        text: Content of the file.
        member: Its name, for errors.
        columns: Those that must be there; others are kept as well.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        header = next(reader, [])
        missing = [column for column in columns if column not in header]
        if missing:
            raise malformed(member, f"has no column {', '.join(missing)}; its columns are {', '.join(header)}")
        for number, fields in enumerate(reader, start=1):
            if len(fields) != len(header):
                raise malformed(member, f"has {len(fields)} fields, not {len(header)}", number)
            yield number, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise malformed(member, f"is not valid CSV ({error})", number + 1) from error


def parse_json(text: str, member: str, row: int | None = None) -> object:
    """The value that a JSON text stands for."""
    try:
        value: object = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise malformed(member, f"is not valid JSON ({error})", row) from error
    return value


def json_lines(folder: Path, member: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """The numbered objects of a member that holds one JSON object a line."""
    for number, line in enumerate(read_lines(folder, member), start=1):
        value = parse_json(line, member, number)
        if not isinstance(value, dict):
            raise malformed(member, "is not a JSON object", number)
        yield number, value


def string_field(record: Mapping[str, object], key: str, member: str, row: int) -> str:
    """The text under a key of a record: there, a string, and not blank."""
    value = record.get(key)
    if not isinstance(value, str):
        raise malformed(member, f"has no text under '{key}'", row)
    if not value.strip():
        raise malformed(member, f"'{key}' is blank", row)
    return value

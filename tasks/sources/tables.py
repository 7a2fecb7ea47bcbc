"""Tables of the user's own as numbered records: CSV, JSON, JSON lines, Parquet, and columns as CoNLL has them.

Texts stay what they are in the file. Nothing guesses types: ``no`` in a CSV is a text, and so is ``1``.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from tasks.sources.arrow_tables import class_names
from tasks.sources.base import SourceError, malformed
from tasks.sources.parsing import parse_json, read_bytes

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

Format = Literal["csv", "tsv", "jsonl", "json", "parquet", "conll"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".conll": "conll",
    ".conllu": "conll",
    ".bio": "conll",
    ".iob": "conll",
}
"""Which format a file's suffix stands for."""
SEPARATORS = (",", ";", "\t", "|")
"""Between the fields of a CSV: the first under which its header has the columns asked for is taken."""
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""What a file may begin with, and the encoding that this is the mark of; the longer marks first."""


@dataclass(frozen=True)
class Dialect:
    """How files are to be read, where their suffix does not say it.

    Attributes:
        format: Of every file; None for what each suffix stands for.
        separator: Between fields of a CSV, or columns of CoNLL; None to find it out.
        quotes: Whether ``"`` encloses fields of a CSV.
        encoding: Of the text.
        comment: What lines begin with that are left out; empty for none. CoNLL only.
    """

    format: Format | None = None
    separator: str | None = None
    quotes: bool = True
    encoding: str = "utf-8"
    comment: str = ""


@dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        number: Counted from 1, the header of a CSV not counted; for CoNLL the line that a sentence begins in.
        values: Column -> value.
        names: Column -> what the file itself calls its class numbers, in the order of the numbers.
    """

    number: int
    values: Mapping[str, object]
    names: Mapping[str, Sequence[str]]


def records(folder: Path, member: str, dialect: Dialect, columns: Sequence[str]) -> Iterator[Record]:
    """The records of a file.

    Args:
        folder: That the member's path starts from.
        member: The file.
        dialect: How to read it.
        columns: That are asked for; ``a.b`` is ``b`` inside ``a``.

    Raises:
        SourceError: the file can't be read, is not of its format, or has no such column.
    """
    read = {
        "csv": _csv,
        "tsv": _csv,
        "jsonl": _json_lines,
        "json": _json,
        "parquet": _parquet,
        "conll": _conll,
    }[format_of(member, dialect)]
    return read(folder, member, dialect, columns)


def format_of(member: str, dialect: Dialect) -> Format:
    """The format of a file.

    Raises:
        SourceError: neither its suffix nor the dialect says it.
    """
    found = dialect.format or SUFFIXES.get(Path(member).suffix.lower())
    if found is None:
        raise malformed(member, f"no format has this suffix; say which with 'format': {', '.join(FORMATS)}")
    return found


FORMATS: tuple[Format, ...] = tuple(dict.fromkeys(SUFFIXES.values()))
"""All of them."""


def value_at(values: Mapping[str, object], column: str) -> object:
    """The value of a column, which may lie inside another: ``answers.text``; None if there is none.

    A column whose own name has the points comes first. Inside a list, it is the list of what each part has.
    """
    if column in values:
        return values[column]
    outer, point, inner = column.partition(".")
    while point:
        if outer in values:
            return _inside(values[outer], inner)
        more, point, inner = inner.partition(".")
        outer = f"{outer}.{more}"
    return None


def _inside(value: object, column: str) -> object:
    if isinstance(value, Mapping):
        return value_at(value, column)
    if isinstance(value, list):
        return [_inside(part, column) for part in value]
    return None


def no_column(member: str, wanted: str, known: Sequence[str], row: int | None = None) -> SourceError:
    """The error for a column that is not there, with the nearest that are."""
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known) or 'none'}"
    return malformed(member, f"has no column '{wanted}': {hint}", row)


def _text(folder: Path, member: str, dialect: Dialect) -> str:
    """The text of a file, without a mark of its encoding."""
    content = read_bytes(folder, member)
    encoding = "utf-8-sig" if codecs.lookup(dialect.encoding).name == "utf-8" else dialect.encoding
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
        place = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = content.count(b"\n", 0, place) + 1
        hint = f"'encoding: {marked}'" if marked else "'encoding', such as cp1252 or gb18030,"
        raise malformed(
            member,
            f"line {line}, byte {place + 1} of the file ({content[place : place + 1].hex(' ') or 'none'}) is not "
            f"{dialect.encoding}: set {hint} in the task's data, or save the file as UTF-8",
        ) from error
    if not text.strip():
        raise malformed(member, "is empty")
    return text


def _csv(folder: Path, member: str, dialect: Dialect, columns: Sequence[str]) -> Iterator[Record]:
    csv.field_size_limit(sys.maxsize)  # a long document is a long field
    text = _text(folder, member, dialect)
    separator = dialect.separator or _separator(text, member, dialect, columns)
    reader = _reader(text, separator, dialect)
    number = 0
    try:
        header = [name.strip() for name in next(reader)]
        for column in columns:
            if header.count(column) != 1:
                raise _header_problem(member, column, header)
        for fields in reader:
            if not fields:
                continue  # a blank line is no record
            number += 1
            if len(fields) != len(header):
                raise malformed(
                    member,
                    f"has {len(fields)} fields, the header {len(header)} (it ends in line {reader.line_num}; a field "
                    f"that holds {separator!r} or a line end needs quotes)",
                    number,
                )
            yield Record(number, dict(zip(header, fields, strict=True)), {})
    except csv.Error as error:
        line = reader.line_num
        raise malformed(
            member,
            f"is not valid CSV at line {line} ({error}); where quotes mean nothing, set 'quotes: false'",
            number + 1,
        ) from error


def _reader(text: str, separator: str, dialect: Dialect) -> CsvReader:
    lines = io.StringIO(text, newline="")
    if dialect.quotes:
        return csv.reader(lines, delimiter=separator, strict=True)
    return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)


def _separator(text: str, member: str, dialect: Dialect, columns: Sequence[str]) -> str:
    """The separator under which the header has the columns; else the one under which it has most."""
    order = ("\t", *SEPARATORS) if format_of(member, dialect) == "tsv" else SEPARATORS
    headers: dict[str, list[str]] = {}
    for separator in order:
        try:
            headers[separator] = [name.strip() for name in next(_reader(text, separator, dialect))]
        except csv.Error as error:
            raise malformed(member, f"its header is not valid CSV ({error})") from error
    for separator, header in headers.items():
        if set(columns) <= set(header):
            return separator
    return max(headers, key=lambda separator: len(headers[separator]))


def _header_problem(member: str, column: str, header: Sequence[str]) -> SourceError:
    if column in header:
        return malformed(member, f"has {header.count(column)} columns '{column}'")
    return no_column(member, column, header)


def _json_lines(folder: Path, member: str, dialect: Dialect, columns: Sequence[str]) -> Iterator[Record]:
    number = 0
    # Not splitlines(), which also cuts at characters that may stand inside a JSON text.
    for line_number, line in enumerate(_text(folder, member, dialect).split("\n"), start=1):
        if line.strip():
            number += 1
            yield _object(parse_json(line, member, line_number), member, line_number, columns)


def _json(folder: Path, member: str, dialect: Dialect, columns: Sequence[str]) -> Iterator[Record]:
    found = parse_json(_text(folder, member, dialect), member)
    if isinstance(found, dict) and len(lists := [value for value in found.values() if isinstance(value, list)]) == 1:
        (found,) = lists  # as {"data": [...]} has it
    if not isinstance(found, list):
        raise malformed(member, "is not a list of JSON objects; for one object a line use .jsonl")
    for number, value in enumerate(found, start=1):
        yield _object(value, member, number, columns)


def _object(value: object, member: str, number: int, columns: Sequence[str]) -> Record:
    if not isinstance(value, dict):
        raise malformed(member, f"is no JSON object, but {type(value).__name__}", number)
    for column in columns:
        if value_at(value, column) is None and not _has(value, column):
            raise no_column(member, column, list(value), number)
    return Record(number, value, {})


def _has(value: Mapping[str, object], column: str) -> bool:
    """Whether a column is there with nothing in it, which is another mistake than a wrong name."""
    return column in value or ("." in column and column.partition(".")[0] in value)


def _parquet(folder: Path, member: str, dialect: Dialect, columns: Sequence[str]) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(read_bytes(folder, member)))
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise malformed(member, f"is not valid Parquet ({reason})") from error
    known = list(file.schema_arrow.names)
    outer = []
    for column in columns:
        found = column if column in known else column.partition(".")[0]
        if found not in known:
            raise no_column(member, column, known)
        outer.append(found)
    names = class_names(file.schema_arrow, outer)
    number = 0
    try:
        for batch in file.iter_batches(columns=list(dict.fromkeys(outer))):
            for values in batch.to_pylist():
                number += 1
                yield Record(number, values, names)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise malformed(member, f"cannot be read on ({reason})", number + 1) from error


def _conll(folder: Path, member: str, dialect: Dialect, columns: Sequence[str]) -> Iterator[Record]:
    """Sentences: a word a line, its columns numbered from 1, a blank line between sentences."""
    places = [_place(column, member) for column in columns]
    found: dict[str, list[str]] = {column: [] for column in columns}
    began = 0
    lines = _text(folder, member, dialect).replace("\r\n", "\n").split("\n")
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith("-DOCSTART-") or (dialect.comment and line.startswith(dialect.comment)):
            continue
        if not line.strip():
            if began:
                yield Record(began, cast("Mapping[str, object]", found), {})
            found, began = {column: [] for column in columns}, 0
            continue
        fields = line.split(dialect.separator)
        began = began or number
        for column, place in zip(columns, places, strict=True):
            if place > len(fields):
                raise malformed(
                    member, f"has {len(fields)} columns, and '{column}' is asked for: '{line[:40]}'", number
                )
            found[column].append(fields[place - 1])


def _place(column: str, member: str) -> int:
    if not column.isdecimal() or int(column) == 0:
        raise malformed(member, f"its columns have no names: count them from 1, as in 'tags: 4', not '{column}'")
    return int(column)

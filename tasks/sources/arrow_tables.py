"""Parquet, JSONL and CSV files as Arrow tables: their columns checked, their numbers' names found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.sources.base import malformed

if TYPE_CHECKING:
    import pyarrow as pa

HUB_METADATA = b"huggingface"
"""Under which `datasets` describes the columns in a Parquet file's schema."""


@dataclass(frozen=True)
class Table:
    """The rows of all files that a pattern matches, in the order of their names.

    Attributes:
        name: The pattern, for errors.
        columns: The wanted columns.
        names: Column of class numbers -> what the files say that the numbers mean.
    """

    name: str
    columns: pa.Table
    names: dict[str, tuple[str, ...]]

    def column(self, name: str) -> pa.ChunkedArray:
        """One of the wanted columns."""
        return self.columns.column(name)

    def __len__(self) -> int:
        """Number of rows."""
        length: int = self.columns.num_rows
        return length


def read_table(folder: Path, pattern: str, columns: Sequence[str]) -> Table:
    """Reads columns of the Parquet, JSONL or CSV files that match a pattern.

    Raises:
        SourceError: no file matches, one can't be read or lacks a column, or files disagree about a column.
    """
    import pyarrow as pa

    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise malformed(pattern, f"there is no such file in {folder}")
    parts = [_read(path, path.relative_to(folder).as_posix(), columns) for path in paths]
    names = [class_names(part.schema, columns) for part in parts]
    for path, part, found in zip(paths, parts, names, strict=True):
        if found != names[0] or part.schema.types != parts[0].schema.types:
            where = path.relative_to(folder).as_posix()
            raise malformed(where, f"describes its columns otherwise than {paths[0].relative_to(folder).as_posix()}")
    return Table(pattern, pa.concat_tables([part.replace_schema_metadata(None) for part in parts]), names[0])


def _read(path: Path, name: str, columns: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, parquet
    from pyarrow import json as json_lines

    readers: dict[str, Callable[[Path], Any]] = {
        ".parquet": lambda path: parquet.ParquetFile(path),
        ".jsonl": lambda path: json_lines.read_json(path),
        ".csv": lambda path: csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)),
    }
    reader = readers.get(path.suffix)
    if reader is None:
        raise malformed(name, f"is of no format that is read here: {', '.join(readers)}")
    try:
        opened = reader(path)
        there = opened.schema_arrow.names if path.suffix == ".parquet" else opened.column_names
        missing = [column for column in columns if column not in there]
        if missing:
            raise malformed(name, f"has no column {', '.join(missing)}; its columns are {', '.join(there)}")
        table = opened.read(columns=list(columns)) if path.suffix == ".parquet" else opened
        return table.select(list(columns))
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise malformed(name, f"can't be read as {path.suffix.removeprefix('.')} ({reason})") from error


def class_names(schema: pa.Schema, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names of class numbers, from the description that `datasets` writes; empty where there is none."""
    written = (schema.metadata or {}).get(HUB_METADATA)
    try:
        features = json.loads(written)["info"]["features"] if written else {}
    except (ValueError, KeyError, TypeError):
        return {}
    if not isinstance(features, dict):
        return {}
    named = {column: _names_in(features.get(column)) for column in columns}
    return {column: names for column, names in named.items() if names}


def _names_in(feature: object) -> tuple[str, ...]:
    """The names of a ClassLabel, which may lie inside a list."""
    while isinstance(feature, dict):
        names = feature.get("names")
        if isinstance(names, list):
            return tuple(map(str, names))
        feature = feature.get("feature")
    if isinstance(feature, list) and len(feature) == 1:  # as older versions write a list
        return _names_in(feature[0])
    return ()

"""Made-up files of data sets on the hub: the columns, names and numbers of rows of the real ones, with other texts."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tasks.sources.hub_rows import HubTags, HubTexts
from tasks.spec import TaskSpec
from tests.conftest import BAD, GOOD, PLAIN

ClassNames = Mapping[str, Sequence[str]]


def parquet_bytes(columns: Mapping[str, Any], names: ClassNames | None = None) -> bytes:
    """A Parquet file as `datasets` writes them, with the names of classes in its schema."""
    features: dict[str, Any] = {}
    for column, labels in (names or {}).items():
        label = {"names": list(labels), "_type": "ClassLabel"}
        listed = bool(columns[column]) and isinstance(columns[column][0], list)
        features[column] = {"feature": label, "_type": "List"} if listed else label
    table = pa.table(dict(columns))
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def like(spec: TaskSpec) -> dict[str, bytes]:
    """Path -> content of all files that a task of the catalogue reads, with as many rows as it must have."""
    source = spec.source
    assert isinstance(source, HubTexts | HubTags)
    random_ = random.Random(spec.name)
    made = {}
    for split, pattern in source.splits.items():
        rows = source.counts[split]
        made[pattern.replace("*", "00000-of-00001")] = (
            _texts(source, rows, random_) if isinstance(source, HubTexts) else _tags(source, rows, random_)
        )
    return made


def _texts(source: HubTexts, rows: int, random_: random.Random) -> bytes:
    names = source.labels or source.published
    kept = [names.index(name) for name in source.only or names]
    left_out = [number for number in range(len(names)) if number not in kept]
    numbers = [kept[row % len(kept)] for row in range(rows)] + left_out
    columns: dict[str, Any] = {
        name: [" ".join(random_.choices(BAD if number % 2 else GOOD, k=3)) for number in numbers]
        for name in (*source.text, *source.pair)
    }
    columns[source.label] = [number + source.first for number in numbers]
    return parquet_bytes(columns, {source.label: source.published})


def _tags(source: HubTags, rows: int, random_: random.Random) -> bytes:
    lengths = [random_.randint(1, 6) for _ in range(rows)]
    columns = {
        source.words: [random_.choices(PLAIN, k=length) for length in lengths],
        source.tags: [random_.choices(range(len(source.published)), k=length) for length in lengths],
    }
    return parquet_bytes(columns, {source.tags: source.published})


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Writes the files below the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder

"""Readers of data sets as the model hub has them: columns of a table to rows of the kinds.

Rows are made when they are asked for: a split of millions of texts stays in Arrow's memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from tasks.sources.archive import HubFiles
from tasks.sources.arrow_tables import Table, read_table
from tasks.sources.base import LazySplits, Row, malformed

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 4096  # rows that are made at once where all are wanted


class TableRows(Sequence[Row]):
    """Rows made from a table's columns."""

    def __init__(self, columns: pa.Table) -> None:
        """Keeps the columns; a subclass says how rows are made of their values."""
        self.columns = columns

    def rows(self, columns: Mapping[str, list[Any]]) -> list[Row]:
        """Rows from the values of some of them, column by column."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Number of rows."""
        length: int = self.columns.num_rows
        return length

    @overload
    def __getitem__(self, position: int) -> Row: ...

    @overload
    def __getitem__(self, position: slice) -> list[Row]: ...

    def __getitem__(self, position: int | slice) -> Row | list[Row]:
        """One row, or several."""
        chosen = range(len(self))[position]
        if isinstance(chosen, int):
            return self.rows(self.columns.slice(chosen, 1).to_pydict())[0]
        return self.rows(self.columns.take(list(chosen)).to_pydict())

    def __iter__(self) -> Iterator[Row]:
        """All rows, in order."""
        for begin in range(0, len(self), BATCH):
            yield from self.rows(self.columns.slice(begin, BATCH).to_pydict())


@dataclass(frozen=True)
class HubTexts:
    """Texts, or pairs of texts, with one label each.

    Attributes:
        archive: The files.
        splits: Split -> path or glob of its files.
        text: Columns that make the text, put together with `joiner`; what is missing in a row is left out.
        label: Column of the label: a number or a name.
        published: Names of the labels as the files have them, in the order of their numbers.
        labels: What they are called here, in the same order; the same names if empty.
        counts: Split -> rows that it must have; splits that are not named may have any number.
        pair: Columns that make the second text of a pair; empty where there is none.
        joiner: Between the columns of a text.
        first: The number of the first label.
        only: Of these labels, as called here, rows are taken; of all if empty.
    """

    archive: HubFiles
    splits: Mapping[str, str]
    text: tuple[str, ...]
    label: str
    published: tuple[str, ...]
    labels: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    pair: tuple[str, ...] = ()
    joiner: str = " "
    first: int = 0
    only: tuple[str, ...] = ()

    def read(self, folder: Path) -> LazySplits:
        """Reads the splits: ``text``, ``text_pair`` where there is one, and ``label``."""
        return {split: self._split(folder, split, pattern) for split, pattern in self.splits.items()}

    def _split(self, folder: Path, split: str, pattern: str) -> Sequence[Row]:
        table = read_table(folder, pattern, [*self.text, *self.pair, self.label])
        for columns in filter(None, (self.text, self.pair)):
            _check_texts(table, columns)
        labels = _numbered(table, self.label, table.column(self.label), self.published, self.first)
        names = self.labels or self.published
        rows = _TextRows(_with(table, self.label, labels, names, self.only), self, names)
        _check_count(table, split, len(rows), self.counts)
        return rows


class _TextRows(TableRows):
    """Texts and labels."""

    def __init__(self, columns: pa.Table, source: HubTexts, names: tuple[str, ...]) -> None:
        super().__init__(columns)
        self.source, self.names = source, names

    def rows(self, columns: Mapping[str, list[Any]]) -> list[Row]:
        source = self.source
        made: list[Row] = [{"label": self.names[number]} for number in columns[source.label]]
        for key, parts in (("text", source.text), ("text_pair", source.pair)):
            if parts:
                for row, values in zip(made, zip(*(columns[part] for part in parts), strict=True), strict=True):
                    row[key] = source.joiner.join(value for value in values if value)
        return made


@dataclass(frozen=True)
class HubTags:
    """Sentences as words with one tag each.

    Attributes:
        archive: The files.
        splits: Split -> path or glob of its files.
        words: Column of the words.
        tags: Column of the tags: lists of numbers.
        published: Names of the tags as the files have them, in the order of their numbers.
        scheme: ``bio``, or ``io`` where a tag is only the type of its entity. That becomes BIO here: neighbours of the
            same type are one entity, since the files can't tell.
        counts: Split -> rows that it must have.
        only: Entities of these types are kept, all others become O; of all types if empty.
    """

    archive: HubFiles
    splits: Mapping[str, str]
    words: str
    tags: str
    published: tuple[str, ...]
    scheme: Literal["bio", "io"] = "bio"
    counts: Mapping[str, int] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    def read(self, folder: Path) -> LazySplits:
        """Reads the splits: ``words`` and ``tags``."""
        return {split: self._split(folder, split, pattern) for split, pattern in self.splits.items()}

    def _split(self, folder: Path, split: str, pattern: str) -> Sequence[Row]:
        import pyarrow as pa
        import pyarrow.compute as pc

        table = read_table(folder, pattern, [self.words, self.tags])
        words, tags = table.column(self.words), table.column(self.tags)
        for name, column in ((self.words, words), (self.tags, tags)):
            if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
                raise malformed(table.name, f"'{name}' is no column of lists, but of {column.type}")
            _check_complete(table, name, column)
        if not _is_text(words.type.value_type):
            raise malformed(table.name, f"'{self.words}' holds no text, but {words.type.value_type}")
        uneven = pc.not_equal(pc.list_value_length(words), pc.list_value_length(tags))
        _refuse(table, uneven, "has not as many tags as words")
        inside = pc.list_flatten(tags)
        _numbered(table, self.tags, inside, self.published, 0)
        rows = _TagRows(table.columns, self)
        _check_count(table, split, len(rows), self.counts)
        return rows


class _TagRows(TableRows):
    """Words and tags."""

    def __init__(self, columns: pa.Table, source: HubTags) -> None:
        super().__init__(columns)
        self.source = source

    def rows(self, columns: Mapping[str, list[Any]]) -> list[Row]:
        source = self.source
        return [
            {"words": words, "tags": self._tags([source.published[number] for number in numbers])}
            for words, numbers in zip(columns[source.words], columns[source.tags], strict=True)
        ]

    def _tags(self, tags: list[str]) -> list[str]:
        if self.source.scheme == "io":
            before = ["O", *tags]
            tags = [
                tag if tag == "O" else f"{'I' if tag == last else 'B'}-{tag}"
                for tag, last in zip(tags, before, strict=False)
            ]
        only = self.source.only
        return [tag if not only or tag.partition("-")[2] in only else "O" for tag in tags]


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_texts(table: Table, columns: Sequence[str]) -> None:
    """Refuses columns that hold no text, and rows that have none in any of them."""
    import pyarrow.compute as pc

    for name in columns:
        if not _is_text(table.column(name).type):
            raise malformed(table.name, f"'{name}' holds no text, but {table.column(name).type}")
    absent = pc.is_null(table.column(columns[0]))
    for name in columns[1:]:
        absent = pc.and_(absent, pc.is_null(table.column(name)))
    _refuse(table, absent, f"has no text under '{', '.join(columns)}'")


def _check_complete(table: Table, name: str, column: pa.ChunkedArray) -> None:
    import pyarrow.compute as pc

    _refuse(table, pc.is_null(column), f"has nothing under '{name}'")


def _refuse(table: Table, wrong: pa.ChunkedArray, problem: str) -> None:
    """Raises the error for the first row that is wrong, if any is."""
    import pyarrow.compute as pc

    row = pc.index(wrong, True).as_py()
    if row >= 0:
        raise malformed(table.name, problem, row + 1)


def _numbered(
    table: Table, name: str, values: pa.ChunkedArray, published: tuple[str, ...], first: int
) -> pa.ChunkedArray:
    """Labels as numbers from 0, whether the file has them as numbers or as names.

    Raises:
        SourceError: the file names them otherwise, or a value is none of them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = table.names.get(name)
    if found is not None and found != published:
        differing = [f"'{theirs}'" for theirs, ours in zip(found, published, strict=False) if theirs != ours]
        what = f"such as {differing[0]}" if differing else f"{len(found)} of them"
        raise malformed(table.name, f"'{name}' has other labels than the task's {len(published)} ({what})")
    _check_complete(table, name, values)
    if _is_text(values.type):
        numbers = pc.index_in(values, pa.array(published))
        _refuse(table, pc.is_null(numbers), f"its '{name}' is none of the task's {len(published)} labels")
        return numbers
    if not (pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)):
        raise malformed(table.name, f"'{name}' holds neither numbers nor names, but {values.type}")
    numbers = pc.subtract(pc.cast(values, pa.int64()), first)
    outside = pc.or_(pc.less(numbers, 0), pc.greater_equal(numbers, len(published)))
    problem = f"its '{name}' is not among {first} to {first + len(published) - 1}"
    if pc.any(outside).as_py():
        listed = len(values) != len(table)  # the place in a flattened list is no row
        raise (
            malformed(table.name, problem)
            if listed
            else malformed(table.name, problem, pc.index(outside, True).as_py() + 1)
        )
    return numbers


def _with(
    table: Table, label: str, numbers: pa.ChunkedArray, names: tuple[str, ...], only: tuple[str, ...]
) -> pa.Table:
    """The columns with labels as numbers from 0; of some labels alone if some are named."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = table.columns.set_column(table.columns.schema.get_field_index(label), label, numbers)
    if not only:
        return columns
    wanted = pa.array([names.index(name) for name in only], type=numbers.type)
    return columns.filter(pc.is_in(numbers, wanted))


def _check_count(table: Table, split: str, found: int, counts: Mapping[str, int]) -> None:
    expected = counts.get(split, found)
    if found != expected:
        raise malformed(
            table.name, f"gives {found:,} rows for the {split} split, but {expected:,} are published: other data"
        )

"""The reader of a user's own table: which columns are what, checked row by row."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.sources.archive import HubFiles, LocalFiles
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.splitting import deduplicate, normalise, split
from tasks.sources.tables import Dialect, Record, format_of, records, value_at

OwnKind = Literal["sequence", "pair", "token", "span"]

COLUMNS: dict[OwnKind, tuple[str, ...]] = {
    "sequence": ("text", "label"),
    "pair": ("text", "text_pair", "label"),
    "token": ("words", "tags"),
    "span": ("question", "context", "answer"),
}
"""What a kind needs; where a file has a column of the same name, nothing has to be said."""
OPTIONAL: dict[OwnKind, tuple[str, ...]] = {"sequence": (), "pair": (), "token": ("sentence",), "span": ("start",)}
"""What a kind may have besides."""


class _Absent(Exception):
    """A record has nothing under a column that it needs."""


@dataclass(frozen=True)
class OwnTable:
    """Files of the user's own, and which of their columns are what.

    Attributes:
        archive: Holds the files.
        kind: Of the task.
        files: Split -> its files, as paths of the archive; of a hub repository they may be globs.
        columns: What a kind needs (see `COLUMNS`) -> column of the files.
        dialect: How to read them.
        names: Class number, as a text -> the label that it stands for; empty where labels are in the files.
        labels: Those that there may be; empty for whatever the files have.
        test_share: Of the train files' rows, for a test split that they have no file of; None where they have one.
        skip_missing: Whether a record that lacks something is left out; if not it is an error.
    """

    archive: LocalFiles | HubFiles
    kind: OwnKind
    files: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, str]
    dialect: Dialect
    names: Mapping[str, str]
    labels: tuple[str, ...] = ()
    test_share: float | None = None
    skip_missing: bool = False

    def read(self, folder: Path) -> Splits:
        """Reads every split, and divides the only one there is if so asked."""
        splits = {
            name: [row for file in files for row in self._rows(folder, file)]
            for name, files in self._found(folder).items()
        }
        for name, rows in splits.items():
            if not rows:
                raise malformed(self.files[name][0], "holds no record that can be used")
        if self.kind in ("sequence", "pair", "token"):
            _check_numbers(self.files, splits)
        if self.test_share is None:
            return splits
        divided = divide(splits["train"], self.kind, self.test_share)
        if not all(divided.values()):
            empty = next(name for name, rows in divided.items() if not rows)
            raise malformed(
                self.files["train"][0],
                f"of {len(splits['train'])} rows no one is left for the {empty} split at test_share "
                f"{self.test_share:g}, after removing duplicates",
            )
        return divided

    def _found(self, folder: Path) -> dict[str, list[str]]:
        """Split -> its files, once no pattern has one that is there already: no row is both trained and tested on."""
        found: dict[str, list[str]] = {name: [] for name in self.files}
        seen: dict[str, str] = {}
        for name, members in self.files.items():
            for member in members:
                for file in self._files(folder, member):
                    if file in seen:
                        raise malformed(file, f"{name} has it (as {member}), which {seen[file]} has already")
                    seen[file] = name
                    found[name].append(file)
        return found

    def _files(self, folder: Path, member: str) -> list[str]:
        if isinstance(self.archive, LocalFiles) or "*" not in member:
            return [member]
        return sorted(path.relative_to(folder).as_posix() for path in folder.glob(member))

    def _rows(self, folder: Path, member: str) -> Iterator[Row]:
        make = {"sequence": self._text, "pair": self._pair, "token": self._sentence, "span": self._question}[self.kind]
        found = records(folder, member, self.dialect, list(self.columns.values()))
        if "sentence" in self.columns:
            found = self._gathered(found, member)
        elif self.kind == "token" and format_of(member, self.dialect) in ("csv", "tsv"):
            raise malformed(
                member,
                "in a CSV a row is a word: name the column that numbers the sentences under 'sentence', "
                "or keep lists of words and tags in JSON lines or Parquet",
            )
        for record in found:
            try:
                yield make(record, member)
            except _Absent as absent:
                if not self.skip_missing:
                    raise malformed(
                        member,
                        f"nothing in column '{absent}'; fill it, or leave such rows out with 'missing: skip'",
                        record.number,
                    ) from absent

    def _text(self, record: Record, member: str) -> Row:
        return {"text": self._string("text", record, member), "label": self._label(record, member)}

    def _pair(self, record: Record, member: str) -> Row:
        return {
            "text": self._string("text", record, member),
            "text_pair": self._string("text_pair", record, member),
            "label": self._label(record, member),
        }

    def _sentence(self, record: Record, member: str) -> Row:
        words, tags = (self._list(role, record, member) for role in ("words", "tags"))
        if len(words) != len(tags):
            raise malformed(member, f"has {len(words)} words but {len(tags)} tags", record.number)
        column = self.columns["words"]
        for place, word in enumerate(words, start=1):
            if not isinstance(word, str) or not word.strip():
                raise malformed(member, f"column '{column}': word {place} is {_shown(word)}, not a word", record.number)
            _check_characters(word, column, record, member)
        known = record.names.get(self.columns["tags"], ())
        return {"words": words, "tags": [self._named(tag, known, "tags", record, member) for tag in tags]}

    def _question(self, record: Record, member: str) -> Row:
        question, context = (self._string(role, record, member) for role in ("question", "context"))
        answers = self._listed("answer", record)
        if not answers:
            raise _Absent(self.columns["answer"])
        column = self.columns["answer"]
        for answer in answers:
            if not isinstance(answer, str) or not answer.strip():
                raise malformed(member, f"column '{column}': {_shown(answer)} is no answer", record.number)
        if "start" in self.columns:
            starts = [self._whole(start, record, member) for start in self._listed("start", record)]
        else:
            starts = [self._only_place(str(answer), context, record, member) for answer in answers]
        if len(starts) != len(answers):
            raise malformed(member, f"has {len(answers)} answers but {len(starts)} starts", record.number)
        for answer, start in zip(answers, starts, strict=True):
            if start < 0 or context[start : start + len(str(answer))] != answer:
                raise malformed(
                    member,
                    f"column '{column}': at character {start} of the context stands "
                    f"{_shown(context[max(0, start) :][: len(str(answer))])}, not the answer {_shown(answer)}",
                    record.number,
                )
        return {
            "id": str(record.number),
            "question": question,
            "context": context,
            "answers": {"text": answers, "answer_start": starts},
        }

    def _only_place(self, answer: str, context: str, record: Record, member: str) -> int:
        count = context.count(answer)
        if count != 1:
            raise malformed(
                member,
                f"the answer {_shown(answer)} stands {count} times in its context, not once; "
                + ("name the column of its first character under 'start'" if count else "it must be cut out of it"),
                record.number,
            )
        return context.index(answer)

    def _value(self, role: str, record: Record) -> object:
        value = value_at(record.values, self.columns[role])
        if value is None:
            raise _Absent(self.columns[role])
        return value

    def _string(self, role: str, record: Record, member: str) -> str:
        value = self._value(role, record)
        if not isinstance(value, str):
            raise malformed(member, f"column '{self.columns[role]}': {_shown(value)} is no text", record.number)
        _check_characters(value, self.columns[role], record, member)
        return value

    def _list(self, role: str, record: Record, member: str) -> list[object]:
        value = self._value(role, record)
        if not isinstance(value, list):
            raise malformed(member, f"column '{self.columns[role]}': {_shown(value)} is no list", record.number)
        return value

    def _listed(self, role: str, record: Record) -> list[object]:
        """A list as it is, anything else as a list of one."""
        value = self._value(role, record)
        return value if isinstance(value, list) else [value]

    def _whole(self, value: object, record: Record, member: str) -> int:
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            column = self.columns["start"]
            raise malformed(member, f"column '{column}': {_shown(value)} is no whole number", record.number)
        return value

    def _label(self, record: Record, member: str) -> str:
        known = record.names.get(self.columns["label"], ())
        return self._named(self._value("label", record), known, "label", record, member)

    def _named(self, value: object, known: Sequence[str], role: str, record: Record, member: str) -> str:
        """A label as a text: by its number's name if it has one."""
        column = self.columns[role]
        if not isinstance(value, str | int | float) or value != value:
            raise malformed(member, f"column '{column}': {_shown(value)} is no label", record.number)
        label = label_text(value)
        if not label:
            raise _Absent(column)
        _check_characters(label, column, record, member)
        if self.names and label not in self.names:
            numbers = ", ".join(self.names)
            raise malformed(member, f"column '{column}': '{label}' has no name among {numbers}", record.number)
        if self.names:
            return self.names[label]
        if known and isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value < len(known):
                raise malformed(member, f"column '{column}': the file names no class {value}", record.number)
            label = known[value]
        if self.labels and label not in self.labels:
            near = difflib.get_close_matches(label, self.labels, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"they are {', '.join(self.labels)}"
            raise malformed(
                member, f"column '{column}': '{label}' is not among the task's labels: {hint}", record.number
            )
        return label

    def _gathered(self, found: Iterable[Record], member: str) -> Iterator[Record]:
        """Sentences from records of one word each: those that follow each other with the same sentence."""
        current: object = None
        number = 0
        values: dict[str, list[object]] = {}
        seen: set[str] = set()
        for record in found:
            sentence = value_at(record.values, self.columns["sentence"])
            if sentence is None or sentence == "":
                raise malformed(member, f"nothing in column '{self.columns['sentence']}'", record.number)
            if not number or sentence != current:
                if number:
                    yield Record(number, values, {})
                if str(sentence) in seen:
                    raise malformed(
                        member, f"sentence '{sentence}' began before: its words must stand together", record.number
                    )
                seen.add(str(sentence))
                current, number = sentence, record.number
                values = {self.columns[role]: [] for role in ("words", "tags")}
            for column, words in values.items():
                value = value_at(record.values, column)
                if value is None or value == "":
                    raise malformed(member, f"nothing in column '{column}'", record.number)
                words.append(value)
        if number:
            yield Record(number, values, {})


def label_text(value: str | int | float) -> str:
    """A label as a text. A text stays as it is; of typed numbers, 1.0 is 1; of truth values, ``true`` is one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def divide(rows: Sequence[Row], kind: OwnKind, test_share: float) -> Splits:
    """A split of our own: by hash of the text, without duplicates, stratified where a row has one label.

    Questions about one passage stay together, so that no test passage is read in training.
    """
    units: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        units[normalise(str(row["context"])) if kind == "span" else str(len(units))].append(row)
    together: dict[int, list[Row]] = {}
    told: list[Row] = []
    for number, same in enumerate(units.values()):
        together[number] = _distinct_questions(same) if kind == "span" else same
        told.append({"text": content(same[0], kind), "label": "\0".join(labels_of(same[0])), "unit": number})
    # Of sentences whose copies have other tags none may stay, though only their words decide where they go.
    left = [{**row, "label": row["label"] if "label" in rows[0] else ""} for row in deduplicate(told)]
    halves = split(left, "own", test_share)
    return {name: [row for unit in half for row in together[int(str(unit["unit"]))]] for name, half in halves.items()}


def content(row: Row, kind: OwnKind) -> str:
    """What of a row is read, in one text: what decides whether two rows are the same."""
    if kind == "token":
        words = row["words"]
        assert isinstance(words, list)
        return " ".join(words)
    if kind == "span":
        return str(row["context"])
    return f"{row['text']} \0 {row['text_pair']}" if kind == "pair" else str(row["text"])


def _distinct_questions(rows: Sequence[Row]) -> list[Row]:
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(normalise(str(row["question"])), row)
    return list(first.values())


def _check_numbers(files: Mapping[str, tuple[str, ...]], splits: Splits) -> None:
    """Refuses ``1`` and ``1.0`` as two labels: in a CSV nobody can say whether they are meant to be."""
    seen: dict[float, str] = {}
    for label in sorted({label for rows in splits.values() for row in rows for label in labels_of(row)}):
        if not re.fullmatch(r"[-+]?\d+(\.\d*)?", label, re.ASCII):
            continue
        number = float(label)
        if label != seen.setdefault(number, label):
            raise malformed(
                files["train"][0], f"labels '{seen[number]}' and '{label}' are the same number: write them alike"
            )


def labels_of(row: Row) -> Iterable[str]:
    """The labels of a row: one, as many as words, or none."""
    if "tags" in row:
        tags = row["tags"]
        assert isinstance(tags, list)
        return tags
    return [str(row["label"])] if "label" in row else []


def _check_characters(text: str, column: str, record: Record, member: str) -> None:
    """Refuses half of a surrogate pair, which JSON can write and which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = _shown(text[max(0, error.start - 20) : error.end + 20])
        raise malformed(
            member, f"column '{column}': half of a surrogate pair, which is no character: {around}", record.number
        ) from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 50 else f"{text[:47]}..."

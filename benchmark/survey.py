"""What the rows of a task are like, and what may be wrong with them: counts, lengths, labels, warnings."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from tasks.sources.base import Row
from tasks.sources.own import labels_of
from tasks.sources.splitting import normalise
from tasks.spec import TaskSpec

QUANTILES = {"shortest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "longest": 1.0}
"""Of lengths: name -> share of texts that are at most as long."""
ENCODED = 10_000
"""Texts a split that are encoded to count their tokens: evenly taken, since encoding all may take minutes."""
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Characters of writings that put no spaces between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer."""
SPLITS = ("train", "validation", "test")

Measure = Callable[[Sequence[tuple[str, ...]]], Sequence[int]]
"""Lengths in tokens of examples, each the texts that are read together."""


@dataclass(frozen=True)
class SplitSurvey:
    """One split.

    Attributes:
        rows: How many there are.
        labels: Label -> how often; of words where each has one.
        lengths: Unit (``characters``, ``words``, ``tokens``) -> `QUANTILES` of the texts' lengths. Words are missing
            where the writing does not separate them.
        cut: Share of examples that do not fit into a window; with no tokenizer at hand by their words, so at least
            so many; None where nobody can tell.
    """

    rows: int
    labels: Counter[str]
    lengths: Mapping[str, Mapping[str, int]]
    cut: float | None


def survey(rows: Sequence[Row], max_length: int, measure: Measure | None = None) -> SplitSurvey:
    """Counts and measures a split.

    Args:
        rows: At least one.
        max_length: Tokens in a window.
        measure: Counts tokens; None if there is no tokenizer.
    """
    texts = [texts_of(row) for row in rows]
    lengths = {"characters": [sum(map(len, parts)) for parts in texts]}
    words = [sum(len(part.split()) for part in parts) for parts in texts]
    if not _unspaced(texts):
        lengths["words"] = words
    if measure is not None:
        step = max(1, -(-len(texts) // ENCODED))
        lengths["tokens"] = list(measure(texts[::step]))
    counted = lengths.get("tokens", lengths.get("words"))
    return SplitSurvey(
        len(rows),
        Counter(label for row in rows for label in labels_of(row)),
        {unit: _quantiles(values) for unit, values in lengths.items()},
        None if counted is None else sum(length > max_length for length in counted) / len(counted),
    )


def _unspaced(texts: Sequence[tuple[str, ...]]) -> bool:
    """Whether most texts are in a writing that does not separate words, by some of them."""
    some = texts[:: max(1, len(texts) // 500)]
    letters = [(len(UNSPACED.findall(text)), len(text)) for parts in some if (text := "".join(parts)[:1000])]
    return 2 * sum(2 * found > size for found, size in letters) > len(letters)


def texts_of(row: Row) -> tuple[str, ...]:
    """What of a row is read, in the order in which it is."""
    if "words" in row:
        words = row["words"]
        assert isinstance(words, list)
        return (" ".join(words),)
    return tuple(str(row[name]) for name in ("question", "context", "text", "text_pair") if name in row)


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    found = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
    return {name: int(value) for name, value in zip(QUANTILES, found, strict=True)}


def warnings(spec: TaskSpec, splits: Mapping[str, Sequence[Row]]) -> list[str]:
    """What a user should know before training on the rows, each in a sentence."""
    return [*_repeated(splits), *_labelling(spec, splits), *_writing(splits)]


def _same(row: Row) -> str:
    """What two rows share if they are the same example, whatever their whitespace."""
    return "\0".join(map(normalise, texts_of(row)))


def _repeated(splits: Mapping[str, Sequence[Row]]) -> Iterable[str]:
    keys = {name: [_same(row) for row in rows] for name, rows in splits.items()}
    for name, found in keys.items():
        if again := len(found) - len(set(found)):
            example = next(key for key, count in Counter(found).items() if count > 1)
            yield f"{name}: {_rows(again)} repeat an earlier one: {excerpt(example)}"
    seen = set(keys.get("train", []))
    for name in islice(keys, 1, None):
        if shared := [key for key in keys[name] if key in seen]:
            yield f"{name}: {_rows(len(shared))} stand in train too, so scores are too good: {excerpt(shared[0])}"
    answers: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for name, rows in splits.items():
        for key, row in zip(keys[name], rows, strict=True):
            answers[key].add(tuple(labels_of(row)))
    if torn := [key for key, found in answers.items() if len(found) > 1]:
        yield f"{_texts(len(torn))} with more than one answer: {excerpt(torn[0])}"


def _labelling(spec: TaskSpec, splits: Mapping[str, Sequence[Row]]) -> Iterable[str]:
    for name, rows in splits.items():
        found = {label for row in rows for label in labels_of(row)}
        if missing := [label for label in spec.labels if label not in found]:
            meaning = "can't be learned" if name == "train" else "are not measured"
            yield f"{name}: no row of {', '.join(map(excerpt, missing[:10]))}{_more(missing)}: such labels {meaning}"
        if odd := sorted(found - set(spec.labels)):
            yield f"{name}: {', '.join(map(excerpt, odd[:10]))}{_more(odd)} not among the task's labels"
    folded: defaultdict[str, list[str]] = defaultdict(list)
    for label in spec.labels:
        folded[normalise(label).casefold()].append(label)
    for alike in folded.values():
        if len(alike) > 1:
            yield f"labels {' and '.join(map(repr, alike))} differ in capitals or spaces only"


def _more(found: Sequence[str]) -> str:
    return f" and {len(found) - 10} more" if len(found) > 10 else ""


def _writing(splits: Mapping[str, Sequence[Row]]) -> Iterable[str]:
    for name, rows in splits.items():
        texts = [texts_of(row) for row in rows]
        empty = sum(any(not part.strip() for part in parts) for parts in texts)
        if empty:
            yield f"{name}: {_rows(empty)} without text"
        loose = [part for parts in texts for part in parts if not unicodedata.is_normalized("NFC", part)]
        if loose:
            told = f"{_texts(len(loose))} not in Unicode's form NFC, so that equal letters may differ"
            yield f"{name}: {told}: {excerpt(loose[0])}"
        wrong = [part for parts in texts for part in parts if "\ufffd" in part]
        if wrong:
            told = f"{_texts(len(wrong))} with U+FFFD, which stands for what was once read wrongly"
            yield f"{name}: {told}: {excerpt(wrong[0])}"
    parts = [part for rows in splits.values() for row in rows for part in texts_of(row)]
    returns = sum("\r" in part for part in parts)
    feeds = sum("\n" in part.replace("\r\n", "") for part in parts) if returns else 0
    if returns and feeds:
        yield f"mixed line ends inside texts: {returns} with \\r, {feeds} with \\n alone"


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count > 1 else ''}"


def _texts(count: int) -> str:
    return f"{count:,} text{'s' if count > 1 else ''}"


def examples(rows: Sequence[Row], count: int) -> list[Row]:
    """Some rows, evenly taken: files are often sorted by label."""
    return [rows[len(rows) * number // count] for number in range(count)] if len(rows) > count else list(rows)


def excerpt(text: str, width: int = 60) -> str:
    """The begin of a text on one line, as wide as a terminal shows it; characters that print nothing are escaped."""
    shown: list[str] = []
    used = 0
    for character in text:
        if character == "\0":
            character = " | "
        piece = character if _prints(character) else character.encode("unicode_escape").decode("ascii")
        used += sum(columns(part) for part in piece)
        if used > width - 3 and len(text) > 1:
            return "".join(shown).rstrip() + "..."
        shown.append(piece)
    return "".join(shown)


def _prints(character: str) -> bool:
    """Joiners make one sign of several, and letters of Arabic and Indian writing what they are."""
    return character.isprintable() or character in "\u200c\u200d" or len(character) > 1


def columns(character: str) -> int:
    """Of a terminal, that a character takes."""
    if unicodedata.combining(character) or character in "\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

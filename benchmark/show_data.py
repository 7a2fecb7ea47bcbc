"""What ``retain show`` prints of a task's rows: counts, labels, lengths, examples, warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tabulate import tabulate

from benchmark.backbones import resolve_backbone
from benchmark.catalogue import find_task
from benchmark.errors import UserError
from benchmark.layout import WIDTH, fill
from benchmark.show import task_page
from benchmark.survey import QUANTILES, SPLITS, Measure, SplitSurvey, columns, examples, excerpt, survey, warnings
from tasks.sources.base import Row, SourceError
from tasks.sources.own import labels_of
from tasks.spec import TaskSpec

SHOWN_LABELS = 30
"""In the table of labels; a task may have thousands."""
SHOWN_EXAMPLES = 5
WINDOW = 128
"""Tokens in a window where nothing else is said, as in suites."""


def describe_data(
    name: str, say: Callable[[str], None], backbone: str | None = None, max_length: int | None = None
) -> str:
    """Everything about a task and its rows, which are fetched unless they are there.

    Args:
        name: Of a task, or of the file of one.
        say: Is told what goes on.
        backbone: Whose tokenizer counts tokens; None to count none.
        max_length: Tokens in a window; None for what suites have by default.

    Raises:
        UserError: there is no such task, or its rows can't be had or read.
    """
    entry = find_task(name)
    measure = None if backbone is None else _measure(backbone, say)
    from benchmark.needs import folder_of  # imported late, as is all that takes seconds

    source = entry.spec.source
    try:
        read = source.read(folder_of(source.archive, say))
    except SourceError as error:
        raise UserError(f"task {entry.spec.name}: {error}") from error
    splits: dict[str, Sequence[Row]] = {split: read[split] for split in SPLITS if read.get(split)}
    window = max_length or WINDOW
    found = {split: survey(rows, window, measure) for split, rows in splits.items()}
    spec = replace(entry.spec, counts={split: one.rows for split, one in found.items()})
    told = [*_cut(spec, found, window, backbone), *warnings(spec, splits)]
    parts = [
        task_page(replace(entry, spec=spec)),
        _labels(spec, found),
        _lengths(found),
        _examples(splits),
        "warnings\n" + "\n".join(fill(f"  * {line}", indent="    ") for line in told) if told else "no warnings",
    ]
    return "\n\n".join(part for part in parts if part)


def _measure(backbone: str, say: Callable[[str], None]) -> Measure:
    from benchmark.backbone import load_backbone
    from benchmark.needs import backbone_folder

    spec = resolve_backbone(backbone)
    tokenizer = load_backbone(spec, Path(backbone_folder(spec, say))).tokenizer

    def lengths(texts: Sequence[tuple[str, ...]]) -> list[int]:
        parts = [list(part) for part in zip(*texts, strict=True)]
        return [len(ids) for ids in tokenizer(*parts, verbose=False)["input_ids"]]

    return lengths


def _cut(spec: TaskSpec, found: Mapping[str, SplitSurvey], window: int, backbone: str | None) -> list[str]:
    """Which share does not fit, and what becomes of it."""
    what = "are cut" if spec.kind in ("sequence", "pair") else "are read in several windows, so nothing is lost"
    shares = [f"{one.cut:.1%} of {split}" for split, one in found.items() if one.cut]
    if any(one.cut is None for one in found.values()):
        return [f"the writing does not separate words: name --backbone to see how many texts exceed {window} tokens"]
    least = "" if backbone else "at least "
    told = f"{least}{', '.join(shares)} are longer than {window} tokens (max_length) and {what}"
    return [told if backbone else f"{told}; counted in words: name --backbone for tokens"] if shares else []


def _labels(spec: TaskSpec, found: Mapping[str, SplitSurvey]) -> str:
    if not spec.labels:
        return ""
    rows: list[list[str]] = []
    for label in spec.labels[:SHOWN_LABELS]:
        row = [excerpt(label, 40)]
        for one in found.values():
            count = one.labels[label]
            row += [f"{count:,}", f"{count / max(1, one.labels.total()):.1%}"]
        rows.append(row)
    header = ["label", *(title for split in found for title in (split, ""))]
    align = ["left", *(["right", "right"] * len(found))]
    more = len(spec.labels) - SHOWN_LABELS
    table = tabulate(rows, header, tablefmt="plain", colalign=align, disable_numparse=True)
    return table + (f"\nand {more} labels more" if more > 0 else "")


def _lengths(found: Mapping[str, SplitSurvey]) -> str:
    rows = [
        [f"{split}, {unit}", *(f"{value:,}" for value in quantiles.values())]
        for split, one in found.items()
        for unit, quantiles in one.lengths.items()
    ]
    align = ["left", *(["right"] * len(QUANTILES))]
    return tabulate(rows, ["length", *QUANTILES], tablefmt="plain", colalign=align, disable_numparse=True)


def _examples(splits: Mapping[str, Sequence[Row]]) -> str:
    lines = []
    for row in examples(splits["train"], SHOWN_EXAMPLES):
        parts = _told(row)
        width = (WIDTH - 4 - 3 * len(parts)) // len(parts)
        spare = sum(max(0, width - sum(map(columns, part))) for part in parts[:-1])
        shown = [excerpt(part, width) for part in parts[:-1]]
        lines.append("  * " + " | ".join([*shown, excerpt(parts[-1], width + spare)]))
    return "examples\n" + "\n".join(lines)


def _told(row: Row) -> list[str]:
    """The parts of an example, the label first, since texts are long."""
    if "words" in row:
        words = row["words"]
        assert isinstance(words, list)
        return [" ".join(f"{word}/{tag}" for word, tag in zip(words, labels_of(row), strict=True))]
    if "answers" in row:
        answers = row["answers"]
        assert isinstance(answers, dict)
        return [str(answers["text"][0]), str(row["question"]), str(row["context"])]
    return [*labels_of(row), *(str(row[name]) for name in ("text", "text_pair") if name in row)]

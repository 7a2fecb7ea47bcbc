"""Tiny streams of classes and of domains: three tasks that teach other labels, three that share theirs, and tags."""

from __future__ import annotations

from pathlib import Path

from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from tasks.sources.base import Row
from tasks.spec import TaskSpec
from tests.conftest import NAMES, PLACES, make_spec, publish, sequence_rows, token_rows

SUITE = """
description: other classes, or other domains
backbone: {backbone}
stream: {{tasks: [{tasks}], scenario: {scenario}, orders: [[{other}]]}}
max_length: 24
training: {{epochs: 1, batch_size: 4, learning_rate: 3e-3, head_learning_rate: 1e-2}}
strategies: {{naive: }}
"""
CLASSES = ("classes_b", "classes_a", "classes_c")
DOMAINS = ("domain_b", "domain_a", "domain_c")
TYPES = ("type_per", "type_loc")


def publish_tasks(cache: Path) -> list[TaskSpec]:
    """All of these tasks, in the cache."""
    found = []
    for number, name in enumerate((*CLASSES, *DOMAINS)):
        mark = f"{name[-1]}_" if name in CLASSES else ""
        splits = {
            split: [{**row, "label": f"{mark}{row['label']}"} for row in sequence_rows(count, 10 * number + part)]
            for part, (split, count) in enumerate({"train": 12, "test": 6}.items())
        }
        labels = (f"{mark}bad", f"{mark}good")
        found.append(make_spec(name, "sequence", publish(cache, name, splits), labels))
    for name, tag in zip(TYPES, ("B-PER", "B-LOC"), strict=True):
        splits = {split: [only(row, tag) for row in token_rows(12, 7)] for split in ("train", "test")}
        found.append(make_spec(name, "token", publish(cache, name, splits), ("O", tag)))
    return found


def only(row: Row, tag: str) -> Row:
    """A sentence with the words of other types outside."""
    words = {"B-PER": NAMES, "B-LOC": PLACES}[tag]
    tagged = row["words"]
    assert isinstance(tagged, list)
    return {"words": tagged, "tags": [tag if word in words else "O" for word in tagged]}


def open_classes_study(
    backbone: Path,
    folder: Path,
    strategies: list[str],
    scenario: str = "class-incremental",
    tasks: tuple[str, ...] = CLASSES,
    settings: list[str] | None = None,
    orders: list[int] | str | None = None,
    say: list[str] | None = None,
) -> Study:
    """The suite above; order 2 swaps the last two tasks."""
    other = (*tasks[:-2], *reversed(tasks[-2:]))
    text = SUITE.format(backbone=backbone, tasks=", ".join(tasks), scenario=scenario, other=", ".join(other))
    file = folder / "classes.yaml"
    file.write_text(text, encoding="utf-8")
    suite = load_suite(str(file), Overrides(strategies, None, settings or [], orders=orders))
    return open_study(suite, "cpu", ([] if say is None else say).append)

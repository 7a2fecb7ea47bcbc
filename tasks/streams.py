"""Ordered tasks, listed. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scenario = Literal["task-incremental", "domain-incremental", "class-incremental"]
"""What differs between tasks, and whether predicting is told the task: see `tasks.scenarios`."""


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned.

    Attributes:
        name: Its name in suites and records.
        description: What the order is about.
        tasks: Names in `tasks.catalogue.TASKS`.
        scenario: ``task-incremental``: every task has its own head and is told apart at test time;
            ``domain-incremental``: the same labels on other texts, one head, not told apart; ``class-incremental``:
            other labels, one head that grows, not told apart.
        orders: Further orders of the same tasks. Order 1 is `tasks`, order 2 the first of these.
    """

    name: str
    description: str
    tasks: tuple[str, ...]
    scenario: Scenario = "task-incremental"
    orders: tuple[tuple[str, ...], ...] = ()

    def head_of(self, task: str) -> str:
        """Name of the output weights that a task trains in this stream."""
        return task if self.scenario == "task-incremental" else self.name


STREAMS: tuple[Stream, ...] = (
    Stream(
        "sentiment-topic-ner",
        "three kinds of decision over short texts: about a sentence, about an article, about every word",
        ("rotten_tomatoes", "bbc_news", "conll2003_ner"),
    ),
    Stream(
        "applications",
        "four applications of fine-tuned language models: sentiment, topic, named entities, question answering",
        ("rotten_tomatoes", "newsgroups20", "conll2003_ner", "squad"),
    ),
)

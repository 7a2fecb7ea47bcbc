"""Ordered tasks, listed. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scenario = Literal["task-incremental", "domain-incremental", "class-incremental"]


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned.

    Attributes:
        name: Its name in suites and records.
        description: What the order is about.
        tasks: Names in `tasks.catalogue.TASKS`.
        scenario: ``task-incremental``: every task has its own head and is told apart at test time.
    """

    name: str
    description: str
    tasks: tuple[str, ...]
    scenario: Scenario = "task-incremental"


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
    Stream(
        "causal-lm",
        "a decoder goes on as a language model of two text domains, then sorts news by topic with its last token",
        ("film_reviews_text", "usenet_text", "bbc_news"),
    ),
)

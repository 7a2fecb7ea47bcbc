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
        orders: Further orders of the same tasks; `tasks` is the first.
    """

    name: str
    description: str
    tasks: tuple[str, ...]
    scenario: Scenario = "task-incremental"
    orders: tuple[tuple[str, ...], ...] = ()


NEWSGROUP_TASKS = tuple(f"newsgroups_{number:02}" for number in range(1, 11))

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
        "text6",
        "six classifications of texts, in three orders: topics between others, the same backwards, topics first",
        ("rotten_tomatoes", "bbc_news", "headline_sarcasm", "newsgroups20", "imdb", "reuters_r8"),
        orders=(
            ("reuters_r8", "imdb", "newsgroups20", "headline_sarcasm", "bbc_news", "rotten_tomatoes"),
            ("bbc_news", "newsgroups20", "reuters_r8", "rotten_tomatoes", "headline_sarcasm", "imdb"),
        ),
    ),
    Stream(
        "newsgroups10",
        "the 20 newsgroups in ten pairs, neighbours in the alphabet: which of the two is a post from?",
        NEWSGROUP_TASKS,
    ),
    Stream(
        "newsgroups10-class",
        "the 20 newsgroups, two more with every stage: which of all so far is a post from?",
        NEWSGROUP_TASKS,
        "class-incremental",
    ),
    Stream(
        "ner-incremental",
        "named entities, one more type with every stage: persons, organisations, locations, others",
        ("conll2003_per", "conll2003_org", "conll2003_loc", "conll2003_misc"),
        "class-incremental",
    ),
    Stream(
        "qa-domains",
        "questions about passages of four domains: Wikipedia, New York Times, Reddit, Amazon",
        ("squadshifts_wiki", "squadshifts_nyt", "squadshifts_reddit", "squadshifts_amazon"),
        "domain-incremental",
    ),
    Stream(
        "layers-of-language",
        "three layers of linguistic analysis of the same sentences: parts of speech, phrases, named entities",
        ("conll2003_pos", "conll2003_chunks", "conll2003_ner"),
    ),
)

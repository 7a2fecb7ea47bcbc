"""Probes of sentence retrieval and of linear separability, listed."""

from __future__ import annotations

from tasks.catalogue.classification import CLASSIFICATION
from tasks.sources.archives import NEWS_ARTICLES
from tasks.sources.documents import NewsArticles
from tasks.spec import LinearSpec, ProbeSpec, RetrievalSpec

RETRIEVAL: tuple[ProbeSpec, ...] = (
    RetrievalSpec(
        name="news_retrieval",
        description="two spans of one news article of 2017 find each other among 200 articles",
        source=NewsArticles(NEWS_ARTICLES),
        documents=200,
        span_words=24,
        licence="articles (c) their publishers (Harvard Dataverse, doi:10.7910/DVN/GMFCTR)",
    ),
)


def _linear(name: str, train_examples: int, test_examples: int, max_length: int) -> LinearSpec:
    """A linear probe of one of the classification tasks."""
    (task,) = [task for task in CLASSIFICATION if task.name == name]
    about = f"what a linear classifier reads off frozen features: {task.description}"
    sizes = train_examples, test_examples, max_length
    return LinearSpec(f"linear_{name}", about, task.source, task.licence, task, *sizes)


LINEAR: tuple[ProbeSpec, ...] = (
    _linear("rotten_tomatoes", 1000, 500, 64),
    _linear("bbc_news", 500, 400, 64),
    _linear("newsgroups20", 1000, 500, 64),
    _linear("boolq", 1000, 500, 128),
)

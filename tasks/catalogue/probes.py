"""Probes of sentence retrieval, listed."""

from __future__ import annotations

from tasks.sources.archives import NEWS_ARTICLES
from tasks.sources.documents import NewsArticles
from tasks.spec import ProbeSpec, RetrievalSpec

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

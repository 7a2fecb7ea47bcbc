"""BERT on the five text streams of MBPA++ and IDBR: averages over orders 4 to 6."""

from __future__ import annotations

from results.papers.base import Backbone, Figure, Ours, Paper, Protocol, Row, Source, Table
from results.papers.measures import Metric

_NONE = "no such strategy here"

TEXT_STREAMS = Paper(
    name="text-streams",
    title="BERT on five text streams (MBPA++, IDBR, Progressive Prompts), 115,000 training texts a task",
    url=None,
    tables=(
        Table(
            name="averages over orders 4 to 6",
            source=Source("not said"),
            protocol=Protocol(
                data="AG News, Yelp, Amazon, Yahoo, DBpedia",
                backbone=Backbone("BERT, which one is not said"),
                tasks=("ag_news", "yelp_full", "amazon_full", "yahoo_answers", "dbpedia14"),
                train_examples=115_000,
                test_examples=7_600,
                orders=(
                    ("ag_news", "yelp_full", "amazon_full", "yahoo_answers", "dbpedia14"),
                    ("yelp_full", "yahoo_answers", "amazon_full", "dbpedia14", "ag_news"),
                    ("dbpedia14", "yahoo_answers", "ag_news", "amazon_full", "yelp_full"),
                ),
            ),
            metrics=(Metric("average accuracy", "final average", "accuracy"),),
            rows=(
                Row("A-GEM", (Figure(66.9),), Ours("agem")),
                Row("MBPA++", (Figure(70.6),), why=_NONE),
                Row("IDBR", (Figure(76.3),), why=_NONE),
                Row("Progressive Prompts", (Figure(77.9),), why=_NONE),
            ),
            suite="standard-cl-merged",
        ),
    ),
    notes=("The figures were collected from several papers.",),
)

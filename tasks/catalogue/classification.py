"""Tasks of one decision a text, or a pair of texts."""

from __future__ import annotations

from tasks.sources.archives import BBC_NEWS, BOOLQ, HEADLINES, MOVIE_REVIEWS, TEXT_TOPICS
from tasks.sources.bbc_news import BBCNews
from tasks.sources.boolq import BoolQ
from tasks.sources.headlines import SarcasticHeadlines
from tasks.sources.movie_reviews import MovieReviews
from tasks.sources.orange_tab import OrangeTab
from tasks.spec import TaskSpec

OWN_SPLIT = "own split, 80/20, by hash of the text, stratified, after removing duplicates; not a published test set"

NEWSGROUPS = (
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
)
"""In alphabetical order."""

REUTERS_52 = (
    "acq",
    "alum",
    "bop",
    "carcass",
    "cocoa",
    "coffee",
    "copper",
    "cotton",
    "cpi",
    "cpu",
    "crude",
    "dlr",
    "earn",
    "fuel",
    "gas",
    "gnp",
    "gold",
    "grain",
    "heat",
    "housing",
    "income",
    "instal-debt",
    "interest",
    "ipi",
    "iron-steel",
    "jet",
    "jobs",
    "lead",
    "lei",
    "livestock",
    "lumber",
    "meal-feed",
    "money-fx",
    "money-supply",
    "nat-gas",
    "nickel",
    "orange",
    "pet-chem",
    "platinum",
    "potato",
    "reserves",
    "retail",
    "rubber",
    "ship",
    "strategic-metal",
    "sugar",
    "tea",
    "tin",
    "trade",
    "veg-oil",
    "wpi",
    "zinc",
)


def _topics(name: str, only: tuple[str, ...] = ()) -> OrangeTab:
    folder = "orangecontrib/text/datasets"
    return OrangeTab(TEXT_TOPICS, f"{folder}/{name}-train.tab", f"{folder}/{name}-test.tab", only)


def _pair(number: int, train: int, test: int) -> TaskSpec:
    """Two newsgroups that follow each other in the alphabet; pairs count from 1."""
    groups = NEWSGROUPS[2 * number - 2 : 2 * number]
    return TaskSpec(
        name=f"newsgroups_{number:02}",
        kind="sequence",
        description=f"which of two newsgroups a Usenet post is from: {groups[0]} or {groups[1]}",
        source=_topics("20newsgroups", groups),
        counts={"train": train, "test": test},
        split="official (by date)",
        licence="not stated; public posts collected by Ken Lang",
        citation="Lang 1995, http://qwone.com/~jason/20Newsgroups/",
        metrics=("accuracy", "macro_f1"),
        main="accuracy",
        labels=groups,
    )


CLASSIFICATION: tuple[TaskSpec, ...] = (
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
        name="imdb",
        kind="sequence",
        description="sentiment of a whole film review, several paragraphs long",
        source=MovieReviews(MOVIE_REVIEWS, "imdb"),
        counts={"train": 19922, "test": 4980},
        split=f"{OWN_SPLIT} (the archive has the published train split only)",
        licence="not stated by the authors; released for research",
        citation="Maas et al. 2011, https://aclanthology.org/P11-1015",
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
        source=_topics("20newsgroups"),
        counts={"train": 11293, "test": 7528},
        split="official (by date); 7 texts stand in both",
        licence="not stated; public posts collected by Ken Lang",
        citation="Lang 1995, http://qwone.com/~jason/20Newsgroups/",
        metrics=("accuracy", "macro_f1"),
        main="accuracy",
        labels=NEWSGROUPS,
    ),
    TaskSpec(
        name="reuters_r8",
        kind="sequence",
        description="topic of a Reuters newswire of 1987, one of 8, very unevenly frequent; lower-cased letters only",
        source=_topics("reuters-r8"),
        counts={"train": 5485, "test": 2189},
        split="official (ModApte, newswires with one topic); 4 texts stand in both",
        licence="(c) Reuters; for research only",
        citation="Lewis 1997; Cardoso-Cachopo 2007, https://ana.cachopo.org/datasets-for-single-label-text-categorization",
        metrics=("macro_f1", "accuracy"),
        main="macro_f1",
        labels=("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade"),
    ),
    TaskSpec(
        name="reuters_r52",
        kind="sequence",
        description="topic of a Reuters newswire of 1987, one of 52, very unevenly frequent; lower-cased letters only",
        source=_topics("reuters-r52"),
        counts={"train": 6532, "test": 2568},
        split="official (ModApte, newswires with one topic); 6 texts stand in both",
        licence="(c) Reuters; for research only",
        citation="Lewis 1997; Cardoso-Cachopo 2007, https://ana.cachopo.org/datasets-for-single-label-text-categorization",
        metrics=("macro_f1", "accuracy"),
        main="macro_f1",
        labels=REUTERS_52,
    ),
    TaskSpec(
        name="headline_sarcasm",
        kind="sequence",
        description="whether a headline is serious (HuffPost) or sarcastic (The Onion); in lower case",
        source=SarcasticHeadlines(HEADLINES),
        counts={"train": 22798, "test": 5700},
        split=OWN_SPLIT,
        licence="not stated in the archive; headlines (c) their publishers",
        citation="Misra and Arora 2023, https://doi.org/10.1016/j.aiopen.2023.01.001; Misra 2022, arXiv:2212.06035",
        metrics=("accuracy", "macro_f1"),
        main="accuracy",
        labels=("serious", "sarcastic"),
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
)

NEWSGROUP_PAIRS: tuple[TaskSpec, ...] = (
    _pair(1, train=1064, test=708),
    _pair(2, train=1162, test=786),
    _pair(3, train=1171, test=777),
    _pair(4, train=1179, test=785),
    _pair(5, train=1195, test=795),
    _pair(6, train=1195, test=795),
    _pair(7, train=1185, test=789),
    _pair(8, train=1191, test=792),
    _pair(9, train=1109, test=740),
    _pair(10, train=842, test=561),
)

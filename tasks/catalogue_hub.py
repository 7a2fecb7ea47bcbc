"""Tasks whose data is on the model hub, for those who can reach it, listed. Imports nothing heavy.

Revisions are commits that others used in public and wrote down. Counts and names of labels are those that were
published; nobody here could fetch the files, so both are compared when they are read: a difference is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks import hub_labels
from tasks.hub_repositories import (
    AG,
    AMAZON,
    BANKING,
    CLINC,
    DBPEDIA,
    FEW_NERD,
    GLUE,
    SUPER_GLUE,
    WNUT,
    YAHOO,
    YELP,
    Repository,
)
from tasks.sources.hub_rows import HubTags, HubTexts
from tasks.spec import Kind, TaskSpec

OFFICIAL = "official train and test"
DEV = "official train and development set; that is the test split here, as the test set's labels are not public"


def _splits(folder: str, test: str = "test", validation: str = "") -> dict[str, str]:
    """Split -> the files of it, as the hub names them; `test` names what is the test split here."""
    splits = {"train": f"{folder}/train-*.parquet", "test": f"{folder}/{test}-*.parquet"}
    return splits | ({"validation": f"{folder}/{validation}-*.parquet"} if validation else {})


@dataclass(frozen=True)
class _Texts:
    """A task of texts or pairs of texts; the attributes are those of `HubTexts` and `TaskSpec`."""

    name: str
    description: str
    at: Repository
    splits: Mapping[str, str]
    counts: Mapping[str, int]
    text: tuple[str, ...]
    published: tuple[str, ...]
    label: str = "label"
    labels: tuple[str, ...] = ()
    pair: tuple[str, ...] = ()
    joiner: str = " "
    first: int = 0
    only: tuple[str, ...] = ()
    split: str = OFFICIAL
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    main: str = "accuracy"
    citation: str = field(default="")

    def spec(self) -> TaskSpec:
        """The catalogue's entry."""
        source = HubTexts(
            archive=self.at.files(self.splits),
            splits=self.splits,
            text=self.text,
            label=self.label,
            published=self.published,
            labels=self.labels,
            counts=self.counts,
            pair=self.pair,
            joiner=self.joiner,
            first=self.first,
            only=self.only,
        )
        kind: Kind = "pair" if self.pair else "sequence"
        return TaskSpec(
            name=self.name,
            kind=kind,
            description=self.description,
            source=source,
            counts=dict(self.counts),
            split=self.split,
            licence=self.at.licence,
            citation=self.citation or self.at.citation,
            metrics=self.metrics,
            main=self.main,
            labels=self.only or self.labels or self.published,
            validation="validation" if "validation" in self.splits else None,
        )


CLINC_SPLITS = _splits("plus", validation="validation")
BANKING_PARTS = tuple(hub_labels.BANKING[begin : begin + 11] for begin in range(0, 77, 11))

_TEXTS: tuple[_Texts, ...] = (
    _Texts(
        "ag_news",
        "topic of a news article, from its title and description",
        AG,
        _splits("data"),
        {"train": 120000, "test": 7600},
        ("text",),
        hub_labels.AG_NEWS,
    ),
    _Texts(
        "amazon_full",
        "stars of a product review, from its title and text",
        AMAZON,
        {"train": "default/train/*.parquet", "test": "default/test/*.parquet"},
        {"train": 3000000, "test": 650000},
        ("review_title", "review_text"),
        hub_labels.STARS,
        label="class_index",
        first=1,
    ),
    _Texts(
        "yelp_full",
        "stars of a review of a business",
        YELP,
        _splits("yelp_review_full"),
        {"train": 650000, "test": 50000},
        ("text",),
        hub_labels.YELP,
        labels=hub_labels.STARS,
    ),
    _Texts(
        "dbpedia14",
        "class of what a Wikipedia article is about, from its title and abstract",
        DBPEDIA,
        _splits("dbpedia_14"),
        {"train": 560000, "test": 70000},
        ("title", "content"),
        hub_labels.DBPEDIA,
    ),
    _Texts(
        "yahoo_answers",
        "topic of a question and its best answer",
        YAHOO,
        _splits("yahoo_answers_topics"),
        {"train": 1400000, "test": 60000},
        ("question_title", "question_content", "best_answer"),
        hub_labels.YAHOO,
        label="topic",
        labels=tuple(f"{name} (Yahoo)" if name == "Sports" else name for name in hub_labels.YAHOO),
    ),
    _Texts(
        "rte",
        "whether a sentence follows from another",
        GLUE,
        _splits("rte", "validation"),
        {"train": 2490, "test": 277},
        ("sentence1",),
        ("entailment", "not_entailment"),
        pair=("sentence2",),
        split=DEV,
    ),
    _Texts(
        "mrpc",
        "whether two sentences of news say the same",
        GLUE,
        _splits("mrpc", "validation"),
        {"train": 3668, "test": 408},
        ("sentence1",),
        ("not_equivalent", "equivalent"),
        pair=("sentence2",),
        split=f"{DEV} in GLUE",
        metrics=("binary_f1", "accuracy"),
        main="binary_f1",
        citation="Dolan and Brockett 2005, https://aclanthology.org/I05-5002; Wang et al. 2019, arXiv:1804.07461",
    ),
    _Texts(
        "cola",
        "whether a sentence is acceptable English",
        GLUE,
        _splits("cola", "validation"),
        {"train": 8551, "test": 1043},
        ("sentence",),
        ("unacceptable", "acceptable"),
        split=DEV,
        metrics=("matthews_correlation", "accuracy"),
        main="matthews_scaled",
        citation="Warstadt et al. 2019, arXiv:1805.12471; Wang et al. 2019, arXiv:1804.07461",
    ),
    _Texts(
        "sst2",
        "sentiment of a phrase from a film review",
        GLUE,
        _splits("sst2", "validation"),
        {"train": 67349, "test": 872},
        ("sentence",),
        ("negative", "positive"),
        split=DEV,
        citation="Socher et al. 2013, https://aclanthology.org/D13-1170; Wang et al. 2019, arXiv:1804.07461",
    ),
    _Texts(
        "superglue_boolq",
        "yes or no question about a Wikipedia passage",
        SUPER_GLUE,
        _splits("boolq", "validation"),
        {"train": 9427, "test": 3270},
        ("question",),
        ("False", "True"),
        labels=("no", "yes"),
        pair=("passage",),
        split=DEV,
        citation="Clark et al. 2019, https://aclanthology.org/N19-1300",
    ),
    _Texts(
        "superglue_cb",
        "whether a clause follows from a discourse, contradicts it, or neither",
        SUPER_GLUE,
        _splits("cb", "validation"),
        {"train": 250, "test": 56},
        ("premise",),
        ("entailment", "contradiction", "neutral"),
        pair=("hypothesis",),
        split=DEV,
        citation="de Marneffe et al. 2019, doi:10.18148/sub/2019.v23i2.601",
    ),
    _Texts(
        "superglue_rte",
        "whether a sentence follows from another; the same data as GLUE's",
        SUPER_GLUE,
        _splits("rte", "validation"),
        {"train": 2490, "test": 277},
        ("premise",),
        ("entailment", "not_entailment"),
        pair=("hypothesis",),
        split=DEV,
    ),
    _Texts(
        "superglue_wic",
        "whether a word means the same in two sentences; it is put before the first",
        SUPER_GLUE,
        _splits("wic", "validation"),
        {"train": 5428, "test": 638},
        ("word", "sentence1"),
        ("False", "True"),
        labels=("different", "same"),
        pair=("sentence2",),
        joiner=": ",
        split=DEV,
        citation="Pilehvar and Camacho-Collados 2019, arXiv:1808.09121",
    ),
    _Texts(
        "superglue_wsc",
        "whether a pronoun of a text stands for a noun of it; the second text names both",
        SUPER_GLUE,
        _splits("wsc.fixed", "validation"),
        {"train": 554, "test": 104},
        ("text",),
        ("False", "True"),
        labels=("no", "yes"),
        pair=("span2_text", "span1_text"),
        joiner=": ",
        split=DEV,
        citation="Levesque et al. 2012, https://cdn.aaai.org/ocs/4492/4492-21843-1-PB.pdf",
    ),
    _Texts(
        "clinc150",
        "what a user wants of an assistant: 150 intents of ten domains, without what is out of scope",
        CLINC,
        CLINC_SPLITS,
        {"train": 15000, "validation": 3000, "test": 4500},
        ("text",),
        hub_labels.CLINC,
        label="intent",
        only=tuple(name for name in hub_labels.CLINC if name != "oos"),
    ),
    *(
        _Texts(
            f"clinc_{domain}",
            f"what a user wants of an assistant: the 15 intents of CLINC150's domain {domain}",
            CLINC,
            CLINC_SPLITS,
            {"train": 1500, "validation": 300, "test": 450},
            ("text",),
            hub_labels.CLINC,
            label="intent",
            only=tuple(intents.split()),
        )
        for domain, intents in hub_labels.CLINC_DOMAINS.items()
    ),
    _Texts(
        "banking77",
        "what a customer wants of a bank: 77 intents",
        BANKING,
        _splits("data"),
        {"train": 10003, "test": 3080},
        ("text",),
        hub_labels.BANKING,
    ),
    *(
        _Texts(
            f"banking77_{number}",
            f"what a customer wants of a bank: 11 of 77 intents, part {number} of 7 in the order of their names",
            BANKING,
            _splits("data"),
            {"test": 440},  # 40 an intent; how many there are to train on differs
            ("text",),
            hub_labels.BANKING,
            only=intents,
        )
        for number, intents in enumerate(BANKING_PARTS, start=1)
    ),
)


def _tags(name: str, description: str, source: HubTags, at: Repository) -> TaskSpec:
    kinds = source.only or tuple(dict.fromkeys(tag.partition("-")[2] or tag for tag in source.published if tag != "O"))
    return TaskSpec(
        name=name,
        kind="token",
        description=description,
        source=source,
        counts=dict(source.counts),
        split="official train, validation and test",
        licence=at.licence,
        citation=at.citation,
        metrics=("entity_f1",),
        main="f1",
        labels=("O", *(f"{place}-{kind}" for kind in kinds for place in "BI")),
        validation="validation",
    )


def _wnut(*types: str) -> HubTags:
    splits = {split: f"wnut_17/{split}/*.parquet" for split in ("train", "validation", "test")}
    counts = {"train": 3394, "validation": 1009, "test": 1287}
    return HubTags(WNUT.files(splits), splits, "tokens", "ner_tags", hub_labels.WNUT, counts=counts, only=types)


def _few_nerd(*types: str) -> HubTags:
    splits = _splits("supervised", validation="validation")
    counts = {"train": 131767, "validation": 18824, "test": 37648}
    files = FEW_NERD.files(splits)
    return HubTags(files, splits, "tokens", "ner_tags", hub_labels.FEW_NERD, "io", counts, types)


WNUT_PARTS = (("person", "location"), ("corporation", "group"), ("product", "creative-work"))
FEW_NERD_PARTS = (("person", "location"), ("organization", "other"), ("art", "building"), ("event", "product"))


def _part(name: str, types: tuple[str, ...]) -> str:
    return f"{name}_{'_'.join(kind.replace('-', '') for kind in types)}"


HUB_TASKS: tuple[TaskSpec, ...] = (
    *(task.spec() for task in _TEXTS),
    _tags("wnut17", "new and rare named entities of six types in posts on the web", _wnut(), WNUT),
    *(
        _tags(
            _part("wnut17", types), f"new and rare named entities in posts: {' and '.join(types)}", _wnut(*types), WNUT
        )
        for types in WNUT_PARTS
    ),
    _tags("few_nerd", "named entities of eight coarse types in Wikipedia's sentences", _few_nerd(), FEW_NERD),
    *(
        _tags(
            _part("few_nerd", types),
            f"named entities in Wikipedia's sentences: {' and '.join(types)}",
            _few_nerd(*types),
            FEW_NERD,
        )
        for types in FEW_NERD_PARTS
    ),
)
"""Every task with data on the hub."""

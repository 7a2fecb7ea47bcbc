"""A tiny random backbone and tiny tasks: everything real except the size, and no network anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.sources.archive import Archive, Member
from tasks.sources.base import Row, Splits
from tasks.spec import Kind, RetrievalSpec, TaskSpec

# Ray reads these when it is imported: nothing of a test's cluster goes to the home folder, the network or the terminal.
os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}

# One thread in every process, since tests run in several and their models are too small for more; numbers are then the
# same on every machine.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

WORDS = [
    f"{first}{second}" for first in ("ba", "co", "di", "fu", "ge", "ha") for second in ("lo", "mi", "nu", "ra", "se")
]
GOOD, BAD = WORDS[:5], WORDS[5:10]
NAMES, PLACES = WORDS[10:15], WORDS[15:20]
PLAIN = WORDS[20:]


@dataclass(frozen=True)
class JsonSource:
    """Splits as one JSON file in an archive."""

    archive: Archive

    def read(self, folder: Path) -> Splits:
        splits: Splits = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        return splits


def sentence(random_: random.Random, special: list[str], length: int) -> list[str]:
    words = random_.choices(PLAIN, k=length)
    words[random_.randrange(length)] = random_.choice(special)
    return words


def sequence_rows(count: int, seed: int, pair: bool = False) -> list[Row]:
    random_ = random.Random(seed)
    rows: list[Row] = []
    for number in range(count):
        label = number % 2
        words = sentence(random_, BAD if label == 0 else GOOD, random_.randint(3, 12))
        row: Row = {"text": " ".join(words), "label": "good" if label else "bad"}
        if pair:
            row["text_pair"] = " ".join(random_.choices(PLAIN, k=random_.randint(3, 30)))
        rows.append(row)
    return rows


def token_rows(count: int, seed: int) -> list[Row]:
    random_ = random.Random(seed)
    rows: list[Row] = []
    for _ in range(count):
        words = random_.choices([*PLAIN, *NAMES, *PLACES], k=random_.randint(2, 10))
        tags = ["B-PER" if word in NAMES else "B-LOC" if word in PLACES else "O" for word in words]
        rows.append({"words": words, "tags": tags})
    return rows


def span_rows(count: int, seed: int) -> list[Row]:
    random_ = random.Random(seed)
    rows: list[Row] = []
    for number in range(count):
        words = random_.choices(PLAIN, k=random_.randint(8, 40))
        place = random_.randrange(len(words))
        words[place] = random_.choice(NAMES)
        start = len(" ".join(words[:place])) + (1 if place else 0)
        rows.append(
            {
                "id": str(number),
                "question": "balo comi dinu",
                "context": " ".join(words),
                "answers": {"text": [words[place]], "answer_start": [start]},
            }
        )
    return rows


def document_rows(count: int, seed: int) -> list[Row]:
    random_ = random.Random(seed)
    return [{"text": " ".join(random_.choices(WORDS, k=30))} for _ in range(count)]


def publish(cache: Path, name: str, splits: dict[str, list[Row]]) -> JsonSource:
    """Puts a one-file archive into the cache, as if it had been fetched."""
    content = json.dumps(splits).encode()
    member = Member("rows.json", hashlib.sha256(content).hexdigest())
    archive = Archive(name, f"{name}-1-py3-none-any.whl", hashlib.sha256(name.encode()).hexdigest(), 1, (member,))
    folder = cache / "archives" / f"{archive.filename}-{archive.sha256[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").write_bytes(content)
    return JsonSource(archive)


def make_spec(name: str, kind: Kind, source: JsonSource, labels: tuple[str, ...], head: str = "") -> TaskSpec:
    metrics = {
        "sequence": ("accuracy", "macro_f1"),
        "pair": ("accuracy",),
        "token": ("entity_f1",),
        "span": ("squad_v1",),
    }
    return TaskSpec(
        name=name,
        kind=kind,
        description=f"made-up {kind} task",
        source=source,
        counts={},
        split="made up",
        licence="none",
        citation="none",
        metrics=metrics[kind],
        main="accuracy" if kind in ("sequence", "pair") else "f1",
        labels=labels,
        head=head,
    )


TAGS = ("O", "B-PER", "B-LOC")


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers with a word-piece tokenizer that knows every word of the tests."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("backbone") / "tiny-bert"
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TaskSpec]:
    """One task of each kind; `cache_of` tells where they are cached."""
    cache = tmp_path_factory.mktemp("cache")
    CACHES.append(cache)

    def source(name: str, train: list[Row], test: list[Row]) -> JsonSource:
        return publish(cache, name, {"train": train, "test": test})

    return {
        "tiny_sentiment": make_spec(
            "tiny_sentiment",
            "sequence",
            source("tiny-sentiment", sequence_rows(48, 1), sequence_rows(20, 2)),
            ("bad", "good"),
        ),
        "tiny_pair": make_spec(
            "tiny_pair",
            "pair",
            source("tiny-pair", sequence_rows(40, 3, pair=True), sequence_rows(20, 4, pair=True)),
            ("bad", "good"),
        ),
        "tiny_tags": make_spec("tiny_tags", "token", source("tiny-tags", token_rows(40, 5), token_rows(20, 6)), TAGS),
        "tiny_spans": make_spec("tiny_spans", "span", source("tiny-spans", span_rows(40, 7), span_rows(20, 8)), ()),
    }


CACHES: list[Path] = []


@pytest.fixture
def offline_catalogue(specs: dict[str, TaskSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The tiny tasks and a tiny probe as the whole catalogue, all cached, and the network switched off."""
    cache = CACHES[0]
    news = publish(cache, "tiny-news", {"test": document_rows(20, 9)})
    probe = RetrievalSpec("tiny_retrieval", "made up", news, "none", 12, 8)
    monkeypatch.setenv("RETAIN_CACHE", str(cache))
    monkeypatch.setenv("RETAIN_OFFLINE", "1")
    monkeypatch.setattr("benchmark.suite.TASKS", tuple(specs.values()))
    monkeypatch.setattr("benchmark.suite.PROBES", (probe,))
    yield cache


@pytest.fixture
def open_tiny(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Any:
    """Opens a stream of all four kinds of task: see `tests.lab`."""
    from tests.lab import opener

    return opener(backbone_folder, tmp_path)


@pytest.fixture(scope="session")
def family_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny random backbone of each family in `tests.tiny_models.FAMILIES`."""
    from tests.tiny_models import FAMILIES

    root = tmp_path_factory.mktemp("families")
    torch.manual_seed(0)
    for name, save in FAMILIES.items():
        (root / name).mkdir()
        save(root / name)
    return {name: root / name for name in FAMILIES}


@pytest.fixture(scope="session")
def tokenizers(family_folders: dict[str, Path]) -> dict[str, Any]:
    """The tokenizer of each family, as loaded with its backbone."""
    from benchmark.backbone import load_backbone
    from benchmark.backbones import resolve_backbone

    return {
        name: load_backbone(resolve_backbone(str(folder)), folder).tokenizer for name, folder in family_folders.items()
    }

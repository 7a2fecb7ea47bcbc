"""The thorough problem: a tiny random BERT and a tiny task of every kind, nothing of it downloaded."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, BertTokenizer

from benchmark.backbone import Model
from benchmark.conformance.problem import Problem
from strategies.base import Training
from tasks.base import Task
from tasks.prepare import Sizes, prepare
from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits
from tasks.spec import Kind, TaskSpec

WORDS = [first + second for first in ("ba", "co", "di", "fu", "ge", "ha") for second in ("lo", "mi", "nu", "ra", "se")]
GOOD, BAD, NAMES, PLACES, PLAIN = WORDS[:5], WORDS[5:10], WORDS[10:15], WORDS[15:20], WORDS[20:]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LONGEST = 20
"""Tokens in a window."""


class Nowhere:
    """A source that nobody reads: the examples are made here."""

    archive = Archive("made-up", "made-up.whl", "0" * 64, 0, ())

    def read(self, folder: Path) -> Splits:
        """Nothing."""
        return {}


def _sequences(draw: random.Random, number: int) -> Row:
    good = number % 2 == 1
    words = [*draw.choices(PLAIN, k=draw.randint(2, 7)), draw.choice(GOOD if good else BAD)]
    draw.shuffle(words)
    return {"text": " ".join(words), "label": "good" if good else "bad"}


def _pairs(draw: random.Random, number: int) -> Row:
    return _sequences(draw, number) | {"text_pair": " ".join(draw.choices(PLAIN, k=draw.randint(2, 6)))}


def _tags(draw: random.Random, number: int) -> Row:
    words = draw.choices([*PLAIN, *NAMES, *PLACES], k=draw.randint(2, 8))
    return {"words": words, "tags": ["B-PER" if w in NAMES else "B-LOC" if w in PLACES else "O" for w in words]}


def _answers(draw: random.Random, number: int) -> Row:
    words = draw.choices(PLAIN, k=draw.randint(5, 14))
    place = draw.randrange(len(words))
    words[place] = draw.choice(NAMES)
    start = sum(len(word) + 1 for word in words[:place])
    answers = {"text": [words[place]], "answer_start": [start]}
    return {"id": str(number), "question": " ".join(WORDS[20:22]), "context": " ".join(words), "answers": answers}


SENTIMENT = ("bad", "good")
TASKS: tuple[tuple[str, Kind, tuple[str, ...], tuple[str, ...], Callable[[random.Random, int], Row]], ...] = (
    ("ratings", "sequence", SENTIMENT, ("accuracy",), _sequences),
    ("tags", "token", ("O", "B-PER", "B-LOC"), ("entity_f1",), _tags),
    ("answers", "span", (), ("squad_v1",), _answers),
    ("pairs", "pair", SENTIMENT, ("accuracy",), _pairs),
)
"""Name, kind, labels, metrics, and what makes an example."""


def texts() -> Problem:
    """Four tasks of nine examples and a model of two layers with dropout."""
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(SPECIAL + WORDS)}, model_max_length=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = BertModel(_config(len(SPECIAL + WORDS)), add_pooling_layer=False).eval()
    body.config.use_cache = False
    model = Model(body, "mean")
    tasks: list[Task] = []
    for name, kind, labels, metrics, example in TASKS:
        task = _task(name, kind, labels, metrics, example, tokenizer)
        model.add_head(task.head, task.outputs, 0)
        tasks.append(task)
    return Problem(
        name="texts",
        tasks=tuple(tasks),
        kinds={task.name: task.spec.kind for task in tasks},
        model=model,
        layers=model.layers(),
        heads=model.head_names(),
        training=Training(epochs=1, batch_size=4, learning_rate=3e-3, head_learning_rate=1e-2),
    )


def _config(vocabulary: int) -> Any:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.2,  # a random body as small as this would say nearly the same of every text
    )


def _task(
    name: str,
    kind: Kind,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    example: Callable[[random.Random, int], Row],
    tokenizer: Any,
) -> Task:
    spec = TaskSpec(
        name=name,
        kind=kind,
        description="made up",
        source=Nowhere(),
        counts={},
        split="made up",
        licence="none",
        citation="none",
        metrics=metrics,
        main="accuracy" if kind in ("sequence", "pair") else "f1",
        labels=labels,
    )
    draw = random.Random(name)
    splits = {part: [example(draw, number) for number in range(count)] for part, count in (("train", 9), ("test", 4))}
    return prepare(spec, splits, tokenizer, Sizes(None, None, LONGEST))

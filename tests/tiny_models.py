"""Tiny random backbones of five families, tasks made of a few rows, and a head that knows every answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from tasks.base import IGNORED, Batch, Rows, Task
from tasks.prepare import Sizes, prepare
from tasks.sources.archive import Archive
from tasks.sources.base import Row
from tasks.spec import Kind
from tests.conftest import TAGS, WORDS, JsonSource, make_spec

NOWHERE = JsonSource(Archive("nowhere", "nowhere-1-py3-none-any.whl", "0" * 64, 1, ()))
LABELS: dict[Kind, tuple[str, ...]] = {"sequence": ("bad", "good"), "pair": ("bad", "good"), "token": TAGS, "span": ()}
MARGIN = 10.0


def build(
    kind: Kind,
    test: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int = 64,
    train: Sequence[Row] | None = None,
) -> Task:
    """A task whose test split has these rows, and its train split too unless others are given."""
    spec = make_spec("made_up", kind, NOWHERE, LABELS[kind])
    return prepare(spec, {"train": train or test, "test": test}, tokenizer, Sizes(None, None, max_length))


def oracle_rows(task: Task, batch: Batch) -> Rows:
    """Rows as of a body and head that put `MARGIN` on every right answer and 0 elsewhere."""
    width = max(task.outputs, 2)
    size, length = batch.inputs["input_ids"].shape
    hidden, pooled = torch.zeros(size, length, width), torch.zeros(size, width)
    for example, labels in enumerate(batch.labels):
        if task.spec.kind in ("sequence", "pair"):
            pooled[example, labels] = MARGIN
        elif task.spec.kind == "token":
            for position in (labels != IGNORED).nonzero()[:, 0]:
                hidden[example, position, labels[position]] = MARGIN
        else:
            hidden[example, labels[0], 0] = hidden[example, labels[1], 1] = MARGIN
    return task.rows(hidden, pooled, nn.Identity(), batch)


def oracle_scores(task: Task, batch_size: int = 3) -> dict[str, float]:
    """The task's scores when every row is answered right, in batches in a mixed-up order."""
    count = len(task.test.features)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    decisions: list[Any] = [None] * count
    for start in range(0, count, batch_size):
        indices = order[start : start + batch_size]
        batch = task.collate(task.test, indices)
        for place, decision in zip(indices, task.decide(oracle_rows(task, batch), batch), strict=True):
            decisions[place] = decision
    return task.score(decisions)


def save_bert(folder: Path) -> None:
    from transformers import BertConfig, BertModel

    size = _word_pieces(folder)
    config = BertConfig(vocab_size=size, max_position_embeddings=64, **_shape())
    BertModel(config).save_pretrained(folder)


def save_distilbert(folder: Path) -> None:
    """With BERT's tokenizer, as many published DistilBERTs have: it makes token types, the body takes none."""
    from transformers import DistilBertConfig, DistilBertModel

    size = _word_pieces(folder)
    config = DistilBertConfig(vocab_size=size, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64)
    DistilBertModel(config).save_pretrained(folder)


def save_roberta(folder: Path) -> None:
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    vocabulary, merges = _byte_pairs(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer = RobertaTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=66, pad_token_id=tokenizer.pad_token_id, **_shape()
    )
    RobertaModel(config).save_pretrained(folder)


def save_gpt2(folder: Path) -> None:
    """Without a padding token, as published."""
    from transformers import GPT2Config, GPT2Model, GPT2Tokenizer

    vocabulary, merges = _byte_pairs(folder, ["<|endoftext|>"])
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=merges)
    tokenizer.save_pretrained(folder)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    GPT2Model(config).save_pretrained(folder)


def save_llama(folder: Path) -> None:
    """With a tokenizer that pads and cuts on the left, as decoders' tokenizers often do."""
    from transformers import GPT2Tokenizer, LlamaConfig, LlamaModel

    vocabulary, merges = _byte_pairs(folder, ["<|endoftext|>"])
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=merges, padding_side="left", truncation_side="left")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        **_shape(),
    )
    LlamaModel(config).save_pretrained(folder)


FAMILIES: dict[str, Callable[[Path], None]] = {
    "bert": save_bert,
    "distilbert": save_distilbert,
    "roberta": save_roberta,
    "gpt2": save_gpt2,
    "llama": save_llama,
}


def _shape() -> dict[str, int]:
    return {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def _word_pieces(folder: Path) -> int:
    from transformers import BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return len(vocabulary)


def _byte_pairs(folder: Path, special: list[str]) -> tuple[str, str]:
    """Vocabulary and merges of a byte-level tokenizer that has learned the tests' words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join([*WORDS, *WORDS])] * 3, trainer)
    vocabulary, merges = tokenizer.model.save(str(folder))
    return vocabulary, merges

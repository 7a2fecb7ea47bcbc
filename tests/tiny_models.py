"""Tiny random backbones of every family, tasks made of a few rows, and a head that knows every answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from tasks.base import IGNORED, Batch, Rows, Task
from tasks.prepare import Sizes, prepare
from tasks.sources.archive import Archive
from tasks.sources.base import Row
from tasks.spec import Kind
from tests.conftest import TAGS, WORDS, JsonSource, make_spec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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


def save_tinybert(folder: Path) -> None:
    """BERT with heads of a width of their own: 36 is divided by no power of two above 4, as TinyBERT's 312 by 16."""
    from transformers import BertConfig, BertModel

    size = _word_pieces(folder)
    config = BertConfig(
        vocab_size=size,
        hidden_size=36,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)


def save_electra(folder: Path) -> None:
    """With embeddings narrower than its layers and a map between them, as the small one."""
    from transformers import ElectraConfig, ElectraModel

    size = _word_pieces(folder)
    config = ElectraConfig(vocab_size=size, embedding_size=16, max_position_embeddings=64, **_shape())
    ElectraModel(config).save_pretrained(folder)


def save_deberta(folder: Path) -> None:
    """As version 3: attention over content and relative places, no embeddings of places; a unigram tokenizer."""
    from transformers import DebertaV2Config, DebertaV2Model, DebertaV2Tokenizer

    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    pieces = [(piece, 0.0) for piece in special] + [(f"▁{word}", -2.0) for word in WORDS]
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces += [(f"▁{letter}", -8.0) for letter in letters] + [(letter, -9.0) for letter in letters] + [("▁", -10.0)]
    tokenizer = DebertaV2Tokenizer(vocab=pieces, do_lower_case=False)
    tokenizer.save_pretrained(folder)
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        **_shape(),
    )
    DebertaV2Model(config).save_pretrained(folder)


def save_modernbert(folder: Path) -> None:
    """With rotary places and every other layer looking at near neighbours only."""
    from tokenizers import processors
    from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

    special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    core = _byte_pair_core(special)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        cls_token="[CLS]",
        pad_token="[PAD]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(folder)
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        pad_token_id=1,
        cls_token_id=0,
        bos_token_id=0,
        sep_token_id=2,
        eos_token_id=2,
        local_attention=8,
        global_attn_every_n_layers=2,
        **_shape(),
    )
    ModernBertModel(config).save_pretrained(folder)


def save_neox(folder: Path) -> None:
    """As Pythia: no padding token, one matrix for query, key and value."""
    from transformers import GPTNeoXConfig, GPTNeoXModel, PreTrainedTokenizerFast

    core = _byte_pair_core(["<|endoftext|>", "<|padding|>"])
    names = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **names)
    tokenizer.save_pretrained(folder)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer) + 8,  # Pythia's is rounded up, too
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        **_shape(),
    )
    GPTNeoXModel(config).save_pretrained(folder)


def albert() -> nn.Module:
    """Four layers, of which the first two share their weights, and the last two."""
    from transformers import AlbertConfig, AlbertModel

    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=400,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=4,
        num_hidden_groups=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    body: nn.Module = AlbertModel(config, add_pooling_layer=False).eval()
    return body


ENCODERS: dict[str, Callable[[Path], None]] = {
    "bert": save_bert,
    "tinybert": save_tinybert,
    "distilbert": save_distilbert,
    "roberta": save_roberta,
    "electra": save_electra,
    "deberta": save_deberta,
    "modernbert": save_modernbert,
}
DECODERS: dict[str, Callable[[Path], None]] = {
    "gpt2": save_gpt2,
    "neox": save_neox,
    "llama": save_llama,
}
FAMILIES: dict[str, Callable[[Path], None]] = ENCODERS | DECODERS


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
    vocabulary, merges = _byte_pair_core(special).model.save(str(folder))
    return vocabulary, merges


def _byte_pair_core(special: list[str]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join([*WORDS, *WORDS])] * 3, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer

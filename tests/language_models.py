"""Tiny random backbones with the head that they were pretrained with, and one trained to say a known thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.tiny_models import save_bert, save_gpt2, save_llama, save_roberta

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def _bert(size: int) -> Any:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(vocab_size=size, max_position_embeddings=64, **SHAPE))


def _distilbert(size: int) -> Any:
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    shape = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    return DistilBertForMaskedLM(DistilBertConfig(vocab_size=size, max_position_embeddings=64, **shape))


def _roberta(size: int) -> Any:
    from transformers import RobertaConfig, RobertaForMaskedLM

    return RobertaForMaskedLM(RobertaConfig(vocab_size=size, max_position_embeddings=66, pad_token_id=1, **SHAPE))


def _electra(size: int) -> Any:
    from transformers import ElectraConfig, ElectraForMaskedLM

    return ElectraForMaskedLM(ElectraConfig(vocab_size=size, embedding_size=16, max_position_embeddings=64, **SHAPE))


def electra_discriminator(size: int) -> Any:
    from transformers import ElectraConfig, ElectraForPreTraining

    return ElectraForPreTraining(ElectraConfig(vocab_size=size, embedding_size=16, max_position_embeddings=64, **SHAPE))


def _deberta(size: int) -> Any:
    from transformers import DebertaV2Config, DebertaV2ForMaskedLM

    return DebertaV2ForMaskedLM(DebertaV2Config(vocab_size=size, max_position_embeddings=64, **SHAPE))


def _modernbert(size: int) -> Any:
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    config = ModernBertConfig(vocab_size=size, max_position_embeddings=64, **special, **SHAPE)
    return ModernBertForMaskedLM(config)


def _gpt2(size: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=size, **shape))


def _pythia(size: int) -> Any:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    special = {"bos_token_id": 0, "eos_token_id": 0}
    return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=size, max_position_embeddings=64, **special, **SHAPE))


def _llama(size: int, tied: bool) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    special = {"bos_token_id": 0, "eos_token_id": 0, "num_key_value_heads": 2, "tie_word_embeddings": tied}
    return LlamaForCausalLM(LlamaConfig(vocab_size=size, max_position_embeddings=64, **special, **SHAPE))


HEADS: dict[str, tuple[Callable[[Path], None], Callable[[int], Any]]] = {
    "bert": (save_bert, _bert),
    "distilbert": (save_bert, _distilbert),
    "roberta": (save_roberta, _roberta),
    "electra": (save_bert, _electra),
    "deberta": (save_bert, _deberta),
    "modernbert": (save_bert, _modernbert),
    "gpt2": (save_gpt2, _gpt2),
    "pythia": (save_gpt2, _pythia),
    "llama": (save_llama, lambda size: _llama(size, tied=False)),
    "llama-tied": (save_llama, lambda size: _llama(size, tied=True)),
}
"""Family -> what saves its tokenizer (and a body, which is replaced), and what makes the whole model."""

DECODERS = ["gpt2", "pythia", "llama", "llama-tied"]
ENCODERS = [family for family in HEADS if family not in DECODERS]


def save_language_model(
    family: str, folder: Path, change: Callable[[Any], None] | None = None, make: Callable[[int], Any] | None = None
) -> Any:
    """Saves a random model of a family with its head and tokenizer; returns the model of transformers.

    Every weight is moved a little first: biases and norms that are as they are initialised would hide that they are
    lost.
    """
    tokenizer, family_model = HEADS[family]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer(folder)
    size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    torch.manual_seed(3)
    whole = (make or family_model)(size).eval()
    with torch.no_grad():
        for weight in whole.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    if change is not None:
        change(whole)
    whole.save_pretrained(folder)
    return whole

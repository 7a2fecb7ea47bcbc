"""Known models of the hub, each pinned to a commit where one is known. Imports nothing heavy.

Commits were taken from public material that names them with their model. Several of the older repositories held only a
pickle of the weights at theirs; pickles are never read, and their entries say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmark.backbone_facts import Facts

MASKED = "masked language model"
CAUSAL = "causal language model"
REPLACED = "replaced-token detection (ELECTRA)"
PICKLE = (
    "at this commit the repository holds pytorch_model.bin and no safetensors: pickles are never read, so convert it "
    "once, see docs/backbones.md, and name the folder"
)


@dataclass(frozen=True)
class HubModel:
    """A model of the hub.

    Attributes:
        name: In suites and records.
        repository: Its id.
        revision: The commit; empty if none is known.
        licence: Of the weights.
        pooling: How a text becomes one vector.
        objective: What it was pretrained to do, and on what.
        facts: Its size, by its published configuration.
        note: What a user must know before it can be used.
    """

    name: str
    repository: str
    revision: str
    licence: str
    pooling: Literal["cls", "mean", "last"]
    objective: str
    facts: Facts
    note: str = ""


HUB_MODELS: tuple[HubModel, ...] = (
    HubModel(
        "bert-base-uncased",
        "google-bert/bert-base-uncased",
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        "Apache-2.0",
        "cls",
        f"{MASKED} and next sentence; Wikipedia, BookCorpus",
        Facts("bert", 108_891_648, 12, 768, 30522, 512, head="masked"),
    ),
    HubModel(
        "distilbert-base-uncased",
        "distilbert/distilbert-base-uncased",
        "12040accade4e8a0f71eabdb258fecc2e7e948be",
        "Apache-2.0",
        "cls",
        f"{MASKED}, distilled from bert-base-uncased; Wikipedia, BookCorpus",
        Facts("distilbert", 66_362_880, 6, 768, 30522, 512, head="masked"),
    ),
    HubModel(
        "TinyBERT-4L-312D",
        "huawei-noah/TinyBERT_General_4L_312D",
        "34707a33cd59a94ecde241ac209bf35103691b43",
        "Apache-2.0 by the authors' code; the model's page states none",
        "cls",
        "attention and hidden states distilled from BERT base; Wikipedia",
        Facts("bert", 14_252_592, 4, 312, 30522, 512),
        PICKLE,
    ),
    HubModel(
        "MiniLM-L12-H384-uncased",
        "microsoft/MiniLM-L12-H384-uncased",
        "44acabbec0ef496f6dbc93adadea57f376b7c0ec",
        "MIT",
        "cls",
        "attention of the last layer distilled from a BERT; Wikipedia, BookCorpus",
        Facts("bert", 33_212_160, 12, 384, 30522, 512),
        PICKLE,
    ),
    HubModel(
        "roberta-base",
        "FacebookAI/roberta-base",
        "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        "MIT",
        "cls",
        f"{MASKED}; 160 GB of books, Wikipedia, news and web pages",
        Facts("roberta", 124_055_040, 12, 768, 50265, 514, head="masked"),
    ),
    HubModel(
        "deberta-v3-base",
        "microsoft/deberta-v3-base",
        "8ccc9b6f36199bec6961081d44eb72fb3f7353f3",
        "MIT",
        "cls",
        f"{REPLACED}; 160 GB of books, Wikipedia, news and web pages",
        Facts("deberta-v2", 183_831_552, 12, 768, 128100, 512),
        PICKLE,
    ),
    HubModel(
        "deberta-v3-small",
        "microsoft/deberta-v3-small",
        "a36c739020e01763fe789b4b85e2df55d6180012",
        "MIT",
        "cls",
        f"{REPLACED}; 160 GB of books, Wikipedia, news and web pages",
        Facts("deberta-v2", 141_304_320, 6, 768, 128100, 512),
        PICKLE,
    ),
    HubModel(
        "electra-base-discriminator",
        "google/electra-base-discriminator",
        "",
        "Apache-2.0",
        "cls",
        f"{REPLACED}; Wikipedia, BookCorpus",
        Facts("electra", 108_891_648, 12, 768, 30522, 512),
        "not pinned, since no commit of it is known here: what is fetched may change; give a commit as NAME@COMMIT of "
        "its hub id. It may hold no safetensors: pickles are never read, see docs/backbones.md",
    ),
    HubModel(
        "electra-small-discriminator",
        "google/electra-small-discriminator",
        "fa8239aadc095e9164941d05878b98afe9b953c3",
        "Apache-2.0",
        "cls",
        f"{REPLACED}; Wikipedia, BookCorpus",
        Facts("electra", 13_483_008, 12, 256, 30522, 512),
        "it may hold no safetensors at this commit: pickles are never read, see docs/backbones.md",
    ),
    HubModel(
        "ModernBERT-base",
        "answerdotai/ModernBERT-base",
        "8949b909ec900327062f0ebf497f51aef5e6f0c8",
        "Apache-2.0",
        "cls",
        f"{MASKED}; 2 trillion tokens of English and code",
        Facts("modernbert", 149_014_272, 22, 768, 50368, 8192, head="masked"),
    ),
    HubModel(
        "gpt2",
        "openai-community/gpt2",
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        "MIT",
        "last",
        f"{CAUSAL}; 40 GB of web pages",
        Facts("gpt2", 124_439_808, 12, 768, 50257, 1024, head="causal"),
    ),
    HubModel(
        "distilgpt2",
        "distilbert/distilgpt2",
        "2290a62682d06624634c1f46a6ad5be0f47f38aa",
        "Apache-2.0",
        "last",
        f"{CAUSAL}, distilled from gpt2; OpenWebText",
        Facts("gpt2", 81_912_576, 6, 768, 50257, 1024, head="causal"),
    ),
    HubModel(
        "pythia-160m",
        "EleutherAI/pythia-160m",
        "50f5173d932e8e61f858120bcb800b97af589f46",
        "Apache-2.0",
        "last",
        f"{CAUSAL}; the Pile, 300 billion tokens",
        Facts("gpt_neox", 123_689_472, 12, 768, 50304, 2048, head="causal"),
    ),
    HubModel(
        "SmolLM2-135M",
        "HuggingFaceTB/SmolLM2-135M",
        "93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
        "Apache-2.0",
        "last",
        f"{CAUSAL}; 2 trillion tokens of web pages, code and mathematics",
        Facts("llama", 134_515_008, 30, 576, 49152, 8192, head="causal"),
    ),
    HubModel(
        "TinyLlama-1B",
        "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T",
        "036fa4651240b9a1487f709833b9e4b96b4c1574",
        "Apache-2.0",
        "last",
        f"{CAUSAL}; 3 trillion tokens of SlimPajama and StarCoder",
        Facts("llama", 1_034_512_384, 22, 2048, 32000, 2048, head="causal"),
    ),
)

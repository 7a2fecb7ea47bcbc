"""How much BERT and RoBERTa forget over four tasks of GLUE (arXiv:2603.27707)."""

from __future__ import annotations

from dataclasses import replace

from results.papers.base import Backbone, Figure, Nearest, Ours, Paper, Protocol, Row, Source, Spread, Table
from results.papers.measures import Metric

_URL = "https://arxiv.org/abs/2603.27707"
_ABSTRACT = Source("abstract", _URL)
_FORGETTING = Metric("average forgetting", "forgetting", better="↓")
_BERT = Protocol(
    data="RTE, MRPC, CoLA, SST-2, one after another",
    backbone=Backbone("BERT-base", ("google-bert/bert-base-uncased", "google-bert/bert-base-cased")),
    tasks=("rte", "mrpc", "cola", "sst2"),
    orders=(("rte", "mrpc", "cola", "sst2"),),
    unsaid=("lambda of EWC", "alpha of LoRA", "the formula of forgetting"),
)
_TEXT6 = Nearest(
    "text6",
    "text classification in a row with a head a task and an all-MiniLM-L6-v2: another stream and backbone",
)

BERT_FORGETTING = Paper(
    name="bert-forgetting",
    title="arXiv:2603.27707: what full fine-tuning and LoRA forget over four tasks of GLUE",
    url=_URL,
    tables=(
        Table(
            name="BERT-base",
            source=_ABSTRACT,
            protocol=_BERT,
            metrics=(_FORGETTING,),
            rows=(
                Row("full fine-tuning", (Figure(19.9, Spread(4.8)),), Ours("naive")),
                Row(
                    "LoRA, r = 8 on q and v",
                    (Figure(0.6, Spread(1.4)),),
                    Ours("lora", {"rank": 8, "target": "attention"}),
                ),
            ),
            runs=5,
            suite="glue-forgetting",
            nearest=(_TEXT6,),
        ),
        Table(
            name="RoBERTa-base",
            source=_ABSTRACT,
            protocol=replace(_BERT, backbone=Backbone("RoBERTa-base", ("FacebookAI/roberta-base",))),
            metrics=(_FORGETTING,),
            rows=(Row("EWC, the strongest", (Figure(15.5, Spread(1.4)),), Ours("ewc")),),
            runs=5,
            suite="glue-forgetting",
            nearest=(_TEXT6,),
        ),
    ),
    notes=("Learning rate, epochs and lambda are not known, nor whether BERT-base is cased.",),
)

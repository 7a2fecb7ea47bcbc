"""The standard benchmark of continual text classification with T5-large: a table and logs that contradict it."""

from __future__ import annotations

from dataclasses import replace

from results.papers.base import Backbone, Figure, Nearest, Ours, Paper, Protocol, Row, Source, Table
from results.papers.measures import Metric

_PAPER = "https://arxiv.org/abs/2310.14152"
_ORDERS = (
    ("dbpedia14", "amazon_full", "yahoo_answers", "ag_news"),
    ("dbpedia14", "amazon_full", "ag_news", "yahoo_answers"),
    ("yahoo_answers", "amazon_full", "ag_news", "dbpedia14"),
)
_PROTOCOL = Protocol(
    data="DBpedia, Amazon, Yahoo, AG News",
    backbone=Backbone("T5-large", ("google-t5/t5-large", "t5-large")),
    tasks=_ORDERS[0],
    shots=1000,
    train_examples=(14_000, 5_000, 10_000, 4_000),
    orders=_ORDERS,
    output="text",
    epochs=1,
    learning_rate=1e-3,
    batch_size=64,
    unsaid=("rank of LoRA", "memory of Replay", "lambda of EWC"),
)
_ACCURACY = (Metric("average accuracy", "final average", "accuracy"),)
_SEQ_LORA = Ours("lora", {"mode": "continue"})
_NEAREST = (
    Nearest(
        "text6",
        "text classification in a row too, but other tasks, in one order, with a head a task and an all-MiniLM-L6-v2",
    ),
)

STANDARD_CL_T5 = Paper(
    name="standard-cl-t5",
    title="Standard CL benchmark with T5-large: O-LoRA's table, and O-LoRA's own logs of order 1",
    url=_PAPER,
    tables=(
        Table(
            name="O-LoRA's table (means of three orders)",
            source=Source("its table of the standard CL benchmark", _PAPER),
            protocol=_PROTOCOL,
            metrics=_ACCURACY,
            rows=(
                Row("SeqLoRA", (Figure(43.7),), _SEQ_LORA),
                Row("EWC", (Figure(50.3),), Ours("ewc")),
                Row("LwF", (Figure(52.3),), Ours("lwf")),
                Row("Replay", (Figure(57.8),), Ours("replay")),
                Row("O-LoRA", (Figure(75.8),), Ours("o_lora")),
            ),
            suite="standard-cl",
            nearest=_NEAREST,
            note="The table mixes protocols, so its rows may not be comparable with each other.",
        ),
        Table(
            name="O-LoRA's logs (order 1)",
            source=Source("logs_and_outputs, order 1", "https://github.com/cmnfriend/O-LoRA"),
            protocol=replace(_PROTOCOL, orders=_ORDERS[:1]),
            metrics=_ACCURACY,
            rows=(
                Row("sequential full fine-tuning", (Figure(67.77),), Ours("naive")),
                Row("SeqLoRA", (Figure(62.88),), _SEQ_LORA),
                Row("O-LoRA", (Figure(78.37),), Ours("o_lora")),
            ),
            suite="standard-cl",
            nearest=_NEAREST,
        ),
    ),
    notes=(
        "The two contradict each other: SeqLoRA is 43.7 in the table, as the mean of three orders, and 62.88 in the "
        "authors' logs of order 1.",
        "T5 generates the labels as text and is told no task; here every task has a head of its own. So nothing here "
        "can reproduce either; only the order of rows can be looked at.",
    ),
)

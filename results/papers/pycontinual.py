"""PyContinual's picture of its own benchmarks: ten pairs of newsgroups, and two streams of reviews."""

from __future__ import annotations

from dataclasses import replace

from results.papers.base import Backbone, Figure, Ours, Paper, Protocol, Row, Source, Table
from results.papers.measures import Metric

_URL = "https://github.com/ZixuanKe/PyContinual"
_PICTURE = Source("docs/benchmarks.png", _URL)
_METRICS = (
    Metric("accuracy", "final average", "accuracy"),
    Metric("macro-F1", "final average", "macro_f1"),
)
_NO_SHARED_PART = (
    "freeze trains a linear head a task and nothing that tasks share; PyContinual's two frozen rows differ from each "
    "other, so with a frozen BERT something shared trains there"
)
_FROZEN_EWC = "no such strategy here: freezing and EWC are two, and can't be combined"
_ADAPTER = "no such strategy here: adapters train freely here, without a penalty, memory or mask upon them"
_FROZEN = Ours("freeze", {"part": "backbone"}, differs=_NO_SHARED_PART)
_NEWSGROUPS = Protocol(
    data="20News: 10 tasks of two classes, task ids given",
    backbone=Backbone("bert-base-uncased", ("google-bert/bert-base-uncased",)),
    tasks=tuple(f"newsgroups_{number:02}" for number in range(1, 11)),
    scenario="task-incremental",
    epochs=10,
    learning_rate=5e-5,
    batch_size=32,
    max_length=128,
    warmup=0.1,
    unsaid=("which groups are a pair",),
)
_REVIEWS = replace(_NEWSGROUPS, tasks=(), epochs=None, scenario=None, unsaid=())


def _row(label: str, accuracy: float, macro_f1: float, ours: Ours | None = None, why: str = "") -> Row:
    return Row(label, (Figure(accuracy), Figure(macro_f1)), ours, why)


PYCONTINUAL = Paper(
    name="pycontinual",
    title="PyContinual: 20 Newsgroups in ten pairs, and the reviews of DSC and ASC",
    url=_URL,
    tables=(
        Table(
            name="20News",
            source=_PICTURE,
            protocol=_NEWSGROUPS,
            metrics=_METRICS,
            rows=(
                _row("joint (MTL)", 96.77, 96.77, Ours("joint")),
                _row("one model per task (ONE)", 96.49, 96.48, Ours("independent")),
                _row("naive (NCL)", 52.50, 39.22, Ours("naive")),
                _row("frozen BERT, naive", 83.28, 81.81, _FROZEN),
                _row("frozen BERT, EWC", 80.26, 78.60, why=_FROZEN_EWC),
                _row("adapter L2", 69.56, 65.50, why=_ADAPTER),
                _row("adapter EWC", 61.86, 53.94, why=_ADAPTER),
                _row("adapter DER++", 58.95, 49.58, why=_ADAPTER),
                _row("adapter HAT", 95.22, 95.21, why=_ADAPTER),
                _row("CTR", 95.25, 95.23, why="no such strategy here"),
            ),
            suite="newsgroups10",
            note="Pairs of groups are neighbours in the alphabet here.",
        ),
        Table(
            name="DSC",
            source=_PICTURE,
            protocol=replace(_REVIEWS, data="DSC: 10 tasks of document sentiment"),
            metrics=_METRICS,
            rows=(
                _row("naive (NCL)", 73.08, 71.81, Ours("naive")),
                _row("joint (MTL)", 89.77, 89.28, Ours("joint")),
                _row("frozen BERT, naive", 61.88, 45.79, _FROZEN),
                _row("frozen BERT, EWC", 72.77, 65.76, why=_FROZEN_EWC),
            ),
            missing="its reviews are not among the tasks here",
        ),
        Table(
            name="ASC",
            source=_PICTURE,
            protocol=replace(_REVIEWS, data="ASC: 19 tasks of aspect sentiment"),
            metrics=_METRICS,
            rows=(
                _row("naive (NCL)", 49.60, 43.08, Ours("naive")),
                _row("joint (MTL)", 91.91, 88.11, Ours("joint")),
                _row("frozen BERT, naive", 85.51, 76.64, _FROZEN),
                _row("frozen BERT, EWC", 86.37, 74.52, why=_FROZEN_EWC),
            ),
            missing="its reviews are not among the tasks here",
        ),
    ),
    notes=("How many runs a figure is the mean of, and their spread, is not said.",),
)

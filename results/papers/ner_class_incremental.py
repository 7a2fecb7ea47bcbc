"""Named entities, more types with every stage, without replay: sequential training and what does better."""

from __future__ import annotations

from dataclasses import replace

from results.papers.base import Backbone, Figure, Nearest, Ours, Paper, Protocol, Row, Source, Table
from results.papers.measures import Metric

_URL = "https://github.com/zzz47zzz/codebase-for-incremental-learning-with-llm"
_SOURCE = Source("its results; which table is not noted", _URL)
_TASKS = "ours is the mean over tasks of a task's entity F1, theirs the mean over entity types"
_METRICS = (
    Metric("final macro-F1", "final average", differs=_TASKS),
    Metric("average macro-F1", "average incremental", differs=_TASKS),
)
_FEW_NERD = Protocol(
    data="Few-NERD, class-incremental, no replay",
    backbone=Backbone("bert-base-cased", ("google-bert/bert-base-cased",)),
    scenario="class-incremental",
    epochs=5,
    learning_rate=1e-5,
    head_learning_rate=1e-3,
    batch_size=4,
)
_CONLL = Nearest(
    "ner-incremental",
    "class-incremental named entities too, but CoNLL-2003 with four types in four stages, and an all-MiniLM-L6-v2",
)


def _row(label: str, final: float, average: float, ours: Ours | None = None) -> Row:
    return Row(label, (Figure(final), Figure(average)), ours, "" if ours else "no such strategy here")


NER_CLASS_INCREMENTAL = Paper(
    name="ner-class-incremental",
    title="Class-incremental named entities with bert-base-cased and no replay: SEQ, SEQ*, ExtendNER, CFNER",
    url=_URL,
    tables=(
        Table(
            name="Few-NERD",
            source=_SOURCE,
            protocol=_FEW_NERD,
            metrics=_METRICS,
            rows=(_row("SEQ", 2.97, 16.21, Ours("naive")), _row("SEQ*", 28.21, 43.06)),
            runs=3,
            missing="which types a task teaches is not said, so no stream here is known to be it",
            nearest=(
                Nearest(
                    "few-nerd", "the same data, with four tasks of two coarse types that are this project's choice"
                ),
                _CONLL,
            ),
        ),
        Table(
            name="OntoNotes5",
            source=_SOURCE,
            protocol=replace(_FEW_NERD, data="OntoNotes5, class-incremental, no replay"),
            metrics=_METRICS,
            rows=(
                _row("SEQ", 4.38, 21.20, Ours("naive")),
                _row("ExtendNER", 48.08, 57.02),
                _row("CFNER", 58.07, 63.76),
                _row("SEQ*", 67.39, 72.27),
            ),
            runs=3,
            missing="OntoNotes5 is not among the data here",
            nearest=(_CONLL,),
        ),
    ),
    notes=("Of the rows only SEQ, which is naive training, has its strategy here.",),
)

"""The texts of all comparisons: those of the quickstart's three tasks together, in its proportions.

Reviews of one sentence (two parts), news articles (one) and sentences of news wire (two), shuffled, each to be told
where it comes from. So lengths are spread as over the quickstart's own texts; longer ones are cut at 128 tokens, the
default of suites. How much of a batch is padding where it is drawn at random depends on this spread.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmark.loop import make_stage
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, Suite, load_suite
from strategies.base import Learner, Stage, Training
from tasks.base import Task
from tests.bench.job import RATE, Contender, Job, spent
from tests.bench.ratios import Numbers

PARTS = {"rotten_tomatoes": 2, "bbc_news": 1, "conll2003_ner": 2}
"""Of the quickstart's training examples."""
TASK = """
description: which collection a text comes from
kind: sequence
data: {{train: train.csv, test: test.csv}}
columns: {{text: text, label: collection}}
labels: [{labels}]
metrics: [accuracy]
licence: those of the collections
citation: those of the collections
"""
SUITE = """
description: the texts of the quickstart together
backbone: {backbone}
stream: [texts.yaml]
max_length: 128
training: {{epochs: 1, learning_rate: {rate}, head_learning_rate: {head_rate}}}
strategies: {{naive: }}
"""

Texts = Sequence[tuple[str, str]]
"""Text and the collection that it comes from."""


def write(folder: Path, backbone: str, train: Texts, test: Texts) -> None:
    """Puts texts into a folder as a task, and a suite of it."""
    for name, texts in (("train", train), ("test", test)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "collection"), *texts])
    labels = ", ".join(sorted({label for _, label in train}))
    (folder / "texts.yaml").write_text(TASK.format(labels=labels), encoding="utf-8")
    suite = SUITE.format(backbone=backbone, rate=RATE, head_rate=10 * RATE)
    (folder / "bench.yaml").write_text(suite, encoding="utf-8")


def quickstart(job: Job) -> Contender:
    """Fetches the quickstart's texts where they are not cached, and writes as many as the job wants."""
    share = 1 / sum(PARTS.values())
    counts = {"train": max(job.sizes.train, job.sizes.fisher), "test": job.sizes.test}

    def read() -> Numbers:
        settings = ["probes=[]", *(f"{split}_examples={2 * count}" for split, count in counts.items())]
        settings += [f"tasks.bbc_news.train_examples={counts['train']}"]
        study = open_study(load_suite("quickstart", Overrides(["naive"], settings=settings)), "cpu", lambda _: None, 1)
        found: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
        for task in study.tasks:
            for split, rows in (("train", task.train.examples), ("test", task.test.examples)):
                wanted = round(counts[split] * PARTS[task.name] * share)
                texts = [_text(row) for row in rows.select(range(min(wanted, len(rows))))]
                found[split] += [(text, task.name) for text in texts]
        for split in found:
            random.Random(split).shuffle(found[split])
        write(Path(job.folder), study.suite.backbone.name, found["train"], found["test"])
        return {split: float(len(texts)) for split, texts in found.items()}

    return Contender(read)


def _text(row: dict[str, object]) -> str:
    """Of a sentence that is tagged, its words."""
    words = row.get("words")
    return " ".join(words) if isinstance(words, list) else str(row["text"])


def suite_of(job: Job) -> Suite:
    """The suite of the job's folder, as the job wants it."""
    settings = [f"training.batch_size={job.batch}"]
    settings += [f"precision={job.precision}"] if job.precision != "no" else []
    return load_suite(str(Path(job.folder) / "bench.yaml"), Overrides(settings=settings))


def opened(job: Job) -> Study:
    """The study of the job's folder."""
    return open_study(suite_of(job), job.device, lambda _: None, job.threads)


def timed(job: Job, work: Callable[[], object]) -> Contender:
    """A contender whose rounds are this, to the end of what it has the device do."""
    return Contender(lambda: spent(work, lambda: finish(job)))


def finish(job: Job) -> None:
    """Waits until the device has done all that it was told to."""
    if job.device == "cuda":
        torch.cuda.synchronize()


def as_for_others(job: Job) -> Study:
    """The same for those who are not us: without the deterministic algorithms that opening a study switches on."""
    study = opened(job)
    torch.use_deterministic_algorithms(False)
    return study


def stage_of(learner: Learner, task: Task, training: Training | None = None, index: int = 0, count: int = 1) -> Stage:
    """A stage of the task."""
    return make_stage(learner.seed, index, count, [task], training or learner.training, learner.device)

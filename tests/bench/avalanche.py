"""Avalanche 0.6: its plain fine-tuning, and the pass in which its EWC measures importance.

Its own code is run as it comes. What that imports of packages which have no part in this (pictures, loggers, solvers of
quadratic programs) is replaced by names without content where the package is not installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import BatchEncoding, DataCollatorWithPadding

from benchmark.study import Study
from benchmark.worker import new_learner
from strategies.base import Learner
from tasks.base import Task
from tests.bench.fisher import Diagonal, chosen, compared, ready
from tests.bench.job import RATE, Contender, Job
from tests.bench.material import as_for_others, timed
from tests.bench.wanted import FOLDER, UNUSED


class _Empty(type):
    """A class that does nothing, and so is whatever is taken from it."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _empty(name)


def _empty(name: str) -> _Empty:
    return _Empty(name, (), {"__init__": lambda self, *given, **named: None})


class _Module(types.ModuleType):
    """A module of which every name is such a class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _empty(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what nothing else has found."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in UNUSED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """As long as it lasts, packages that are not installed are found without content."""
    finder = _Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Module)]:
            del sys.modules[name]


@cache
def _modules() -> tuple[Any, Any, Any, Any]:
    """Benchmarks, data sets, strategies and plugins of Avalanche."""
    sys.path.append(str(Path(FOLDER).resolve()))
    names = ("benchmarks", "benchmarks.utils", "training.supervised", "training.plugins")
    with _stand_ins():
        benchmarks, utils, supervised, plugins = [importlib.import_module(f"avalanche.{name}") for name in names]
    return benchmarks, utils, supervised, plugins


class Items(Dataset[tuple[Mapping[str, Any], int]]):
    """Encoded texts with their labels, in memory."""

    def __init__(self, task: Task, places: Sequence[int]) -> None:
        columns = task.train.features[list(places)]
        self.targets = columns["labels"]
        self.texts = [
            dict(zip(task.pad, row, strict=True)) for row in zip(*(columns[name] for name in task.pad), strict=True)
        ]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, place: int) -> tuple[Mapping[str, Any], int]:
        return self.texts[place], self.targets[place]


class Wrapped(nn.Module):
    """Our own body and head, called with padded texts, giving logits; in mixed precision, which it has not itself."""

    def __init__(self, learner: Learner, task: Task, precision: str = "no") -> None:
        super().__init__()
        self.model: Any = learner.model
        self.task = task
        self.mixed = precision == "bf16"

    def forward(self, texts: BatchEncoding) -> Tensor:
        with torch.autocast(texts["input_ids"].device.type, torch.bfloat16, enabled=self.mixed):
            logits: Tensor = self.model.heads[self.task.head](self.model.embed(dict(texts)))
        return logits.float()


def training(job: Job) -> Contender:
    """One epoch of its plain fine-tuning, batches padded to their longest text; it measures and logs nothing."""
    _, _, supervised, _ = _modules()
    study = as_for_others(job)
    (task,) = study.tasks
    model, device = Wrapped(new_learner(study, 0), task, job.precision), study.device
    (experience,) = _stream(study, range(len(task.train.features)))

    def epoch() -> None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
        chosen = {"train_mb_size": job.batch, "evaluator": None, "device": device}
        naive = supervised.Naive(model=model, optimizer=optimizer, **chosen)
        naive.train(experience)

    return timed(job, epoch)


def importances(job: Job, batch_size: int = 1) -> Contender:
    """What its EWC computes after a stage, one example a batch: its squares of batches are wrong."""
    _, _, _, plugins = _modules()
    study = as_for_others(job)
    (task,) = study.tasks
    learner = ready(study)
    model = Wrapped(learner, task)
    places = [int(batch.index) for batch in chosen(learner, task, max(job.sizes.fisher, job.sizes.checked))]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    plugin = plugins.EWCPlugin(ewc_lambda=1.0)

    def measured(examples: int) -> Diagonal:
        (experience,) = _stream(study, places[:examples])
        found = plugin.compute_importances(
            model, nn.CrossEntropyLoss(), optimizer, experience.dataset, learner.device, batch_size
        )
        learner.model.eval()
        return {name.removeprefix("model."): value.data for name, value in found.items()}

    return compared(job, learner, task, measured)


def importances_of_batches(job: Job) -> Contender:
    """The same with the batches that it trains with, as it is by default."""
    return importances(job, job.batch)


def _stream(study: Study, places: Sequence[int]) -> Any:
    """A stream of one experience of these training examples."""
    benchmarks, utils, _, _ = _modules()
    (task,) = study.tasks
    pad = DataCollatorWithPadding(study.backbone.tokenizer)

    def collate(items: Sequence[tuple[Mapping[str, Any], int, int]]) -> tuple[BatchEncoding, Tensor, Tensor]:
        texts, targets, labels = zip(*items, strict=True)
        return pad([dict(text) for text in texts]), torch.tensor(targets), torch.tensor(labels)

    made = utils._make_taskaware_classification_dataset(Items(task, places), task_labels=0, collate_fn=collate)
    return benchmarks.with_task_labels(benchmarks.benchmark_from_datasets(train=[made])).train_stream

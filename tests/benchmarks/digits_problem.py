"""Streams of small tasks over scikit-learn's digits, as the real loop wants them: no text and no language model.

The 1,797 images of 8 x 8 pixels are cut once, the same share of each digit, into training (60 %), validation (20 %) and
test (20 %): neither a run's seed nor the stream changes what is in which. Every task has its own head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from time import process_time
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from benchmark.loop import evaluate, finish_stage, make_stage, train_stage
from benchmark.seeding import derive, generator
from benchmark.team import Team
from strategies.base import Example, Learner, Strategy, Training, snapshot
from tasks.base import Rows

Problem = Literal["split", "permuted"]
Part = Literal["validation", "test"]

TASKS = 5
PIXELS = 64
WIDTH = 100


@dataclass(frozen=True)
class Images:
    """A batch: images as rows of pixels, their labels, which ones they are."""

    x: Tensor
    y: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.y)

    @property
    def choices(self) -> int:
        return len(self.y)

    def to(self, device: torch.device) -> Images:
        return Images(self.x.to(device), self.y.to(device), self.index)


@dataclass(frozen=True)
class Split:
    """All examples of one part; each counts as one token."""

    features: Tensor
    labels: Tensor
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class DigitTask:
    """Tells some digits apart. ``test`` is what it is evaluated on."""

    name: str
    classes: int
    train: Split
    test: Split
    validation: Split

    @property
    def head(self) -> str:
        return self.name

    @property
    def outputs(self) -> int:
        return self.classes

    @property
    def own(self) -> None:
        return None

    @property
    def own_head(self) -> bool:
        return True

    @property
    def rows_each(self) -> int:
        return 1

    def question(self) -> DigitTask:
        return self

    def collate(self, split: Split, indices: Sequence[int]) -> Images:
        chosen = torch.tensor(list(indices))
        return Images(split.features[chosen], split.labels[chosen], chosen)

    def unlabelled(self, batch: Images) -> Images:
        return Images(batch.x, torch.zeros_like(batch.y), batch.index)

    def take_apart(self, batch: Images) -> list[Example]:
        parts = zip(batch.x.cpu(), batch.y.cpu(), batch.index, strict=True)
        return [{"x": x.clone(), "y": y.clone(), "index": index.clone()} for x, y, index in parts]

    def put_together(self, examples: Sequence[Example]) -> Images:
        return Images(*(torch.stack([example[name] for example in examples]) for name in ("x", "y", "index")))

    def decide(self, rows: Rows, batch: Images) -> list[bool]:
        right: list[bool] = (rows.logits.argmax(dim=1) == rows.targets).tolist()
        return right

    def score(self, decisions: Sequence[bool]) -> dict[str, float]:
        return {"accuracy": sum(decisions) / len(decisions)}


class Perceptron(nn.Module):
    """A body of two hidden layers, 64-100-100, and one linear head a task. No dropout."""

    def __init__(self, tasks: Sequence[DigitTask]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(PIXELS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.heads = nn.ModuleDict({task.head: nn.Linear(WIDTH, task.classes) for task in tasks})

    def forward(self, *questions: tuple[DigitTask, Images]) -> list[Rows]:
        hidden = self.body(questions[0][1].x)
        return [Rows(self.heads[task.head](hidden), batch.y, torch.arange(len(batch))) for task, batch in questions]


LAYERS = {"embeddings": ["0.weight", "0.bias"], "layer 1": ["2.weight", "2.bias"]}
"""The body's parameters. The first layer is called as what reads the input is called in a language model."""


def make_split(images: NDArray[np.float64], labels: NDArray[np.int64]) -> Split:
    x, y = torch.tensor(images, dtype=torch.float32), torch.tensor(labels, dtype=torch.long)
    return Split(x, y, np.ones(len(y), dtype=np.int64))


@cache
def parts() -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Pixels in [0, 1] and digits of each part."""
    pixels, digits = load_digits(return_X_y=True)
    indices = np.arange(len(digits))
    train, others = train_test_split(indices, test_size=0.4, stratify=digits, random_state=0)
    validation, test = train_test_split(others, test_size=0.5, stratify=digits[others], random_state=0)
    chosen = {"train": train, "validation": validation, "test": test}
    return {name: (pixels[where] / 16, digits[where].astype(np.int64)) for name, where in chosen.items()}


@cache
def stream(problem: Problem) -> tuple[DigitTask, ...]:
    """The tasks: two digits each, or all ten with the pixels in another order each."""
    return tuple(_split(number) if problem == "split" else _permuted(number) for number in range(TASKS))


def _split(number: int) -> DigitTask:
    first = 2 * number

    def two(name: str) -> Split:
        pixels, digits = parts()[name]
        kept = digits // 2 == number
        return make_split(pixels[kept], digits[kept] - first)

    return DigitTask(f"{first} or {first + 1}", 2, two("train"), two("test"), two("validation"))


def _permuted(number: int) -> DigitTask:
    order = torch.randperm(PIXELS, generator=generator("pixels", number)).numpy()
    splits = [make_split(pixels[:, order], digits) for pixels, digits in parts().values()]
    train, validation, test = splits
    return DigitTask(f"order {number + 1}", 10, train, test, validation)


def new_learner(tasks: Sequence[DigitTask], training: Training, seed: int) -> Learner:
    """An untrained model, drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive("digits", seed))
        model = Perceptron(tasks)
    layers = {layer: [f"body.{name}" for name in names] for layer, names in LAYERS.items()}
    heads = {task.head: [f"heads.{task.head}.{part}" for part in ("weight", "bias")] for task in tasks}
    named: dict[str, Any] = {task.name: task for task in tasks}
    return Learner(model, layers, heads, named, training, seed, snapshot(dict(model.named_parameters())))


@dataclass(frozen=True)
class Watched:
    """Nobody looks on."""

    def step(self, loss: float, examples: int) -> None: ...

    def skip(self, examples: int) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    Attributes:
        scores: Accuracy of each task (columns) before any training and after each stage (rows).
        learned_at: The row after the stage that trained each task.
        memory: The most bytes that the strategy kept between stages.
        seconds: Of the processor, in training and in what follows stages; measuring is not counted.
    """

    scores: list[list[float]]
    learned_at: list[int | None]
    memory: int
    seconds: float


def run(problem: Problem, strategy: Strategy, seed: int, training: Training, part: Part = "test") -> Outcome:
    """Trains on the stream and measures one part after each stage.

    Raises:
        ValueError: the strategy can't work on these tasks or this model.
        Diverged: training came to a loss that is not finite.
    """
    tasks: list[Any] = [
        replace(task, test=task.validation) if part == "validation" else task for task in stream(problem)
    ]
    team, watch = Team(Accelerator(cpu=True)), Watched()
    learner = new_learner(tasks, training, seed)
    strategy.check(learner.model.body, LAYERS, tasks)  # type: ignore[arg-type]  # a module, not a tensor

    def measured() -> list[float]:
        return [evaluate(learner, strategy, task, team)["accuracy"] for task in tasks]

    groups: list[Any] = strategy.stages(tasks)
    learned = {task.name: number for number, group in enumerate(groups, start=1) for task in group}
    scores, memory, seconds = [measured()], 0, 0.0
    for number, group in enumerate(groups):
        begun = process_time()
        stage = make_stage(seed, number, len(groups), group, training, team.device)
        train_stage(learner, strategy, stage, group, team, watch)
        if strategy.fingerprint_after(stage):
            finish_stage(learner, strategy, stage)
        seconds += process_time() - begun
        memory = max(memory, learner.state_bytes())
        scores.append(measured())
    return Outcome(scores, [learned.get(task.name) for task in tasks], memory, seconds)

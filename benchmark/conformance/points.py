"""The fast problem: classify feature vectors with a small network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmark.conformance.problem import Problem
from benchmark.growing import GrowingHead
from benchmark.seeding import generator
from strategies.base import Example, Training
from tasks.base import IGNORED, Rows, Task

INPUTS, WIDTH, CLASSES = 6, 8, 3
NAMES = ("first", "second", "third")


@dataclass(frozen=True)
class Points:
    """A batch of feature vectors (B, D), their labels (B,) and their positions among the examples (B,)."""

    x: Tensor
    labels: Tensor
    index: Tensor

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.index)

    @property
    def choices(self) -> int:
        """Number of rows that the batch gives."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> Points:
        """The same batch on another device."""
        return Points(self.x.to(device), self.labels.to(device), self.index)


@dataclass(frozen=True)
class PointSplit:
    """The examples of a split."""

    features: list[tuple[Tensor, int]]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class PointTask:
    """Says which class a feature vector is of."""

    name: str
    train: PointSplit
    test: PointSplit
    classes: int = CLASSES
    head: str = field(default="")
    own: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """A head of its own, unless it is said which."""
        object.__setattr__(self, "head", self.head or self.name)

    @property
    def outputs(self) -> int:
        """One a class."""
        return self.classes

    @property
    def own_head(self) -> bool:
        """Whether it has output weights beside the body's: it has."""
        return True

    @property
    def rows_each(self) -> int:
        """Rows that come of one example."""
        return 1

    def question(self) -> PointTask:
        """Itself: these tasks are told apart."""
        return self

    def collate(self, split: PointSplit, indices: Sequence[int]) -> Points:
        """The examples at these positions as a batch."""
        chosen = [split.features[index] for index in indices]
        return Points(
            torch.stack([x for x, _ in chosen]), torch.tensor([y for _, y in chosen]), torch.tensor(list(indices))
        )

    def unlabelled(self, batch: Points) -> Points:
        """The same points with made-up labels."""
        return Points(batch.x, torch.zeros_like(batch.labels), batch.index)

    def take_apart(self, batch: Points) -> list[Example]:
        """The examples of a batch, each by itself."""
        parts = zip(batch.x, batch.labels, batch.index, strict=True)
        named = [{"x": x, "labels": label, "index": index} for x, label, index in parts]
        return [{name: value.detach().cpu().clone() for name, value in part.items()} for part in named]

    def put_together(self, examples: Sequence[Example]) -> Points:
        """A batch of examples that were taken apart."""
        return Points(*(torch.stack([example[name] for example in examples]) for name in ("x", "labels", "index")))

    def decide(self, rows: Rows, batch: Points) -> list[Any]:
        """The likeliest class."""
        return [rows.logits[rows.owner == place].argmax(dim=-1).tolist() for place in range(len(batch))]

    def score(self, decisions: Sequence[Any]) -> dict[str, float]:
        """Share of right answers."""
        right = [[label] == decision for (_, label), decision in zip(self.test.features, decisions, strict=True)]
        return {"accuracy": sum(right) / len(right)}


class Network(nn.Module):
    """Three layers with dropout, and a head for each task."""

    def __init__(self, heads: Mapping[str, int], growing: Collection[str] = ()) -> None:
        """Weights depend on nothing but the heads.

        Args:
            heads: Head -> its classes.
            growing: Heads whose classes come with the stages.
        """
        super().__init__()
        layers: list[tuple[str, nn.Module]] = [("embeddings", nn.Linear(INPUTS, WIDTH)), ("act", nn.Tanh())]
        for number in (1, 2):
            layers += [(f"layer{number}", nn.Linear(WIDTH, WIDTH)), (f"act{number}", nn.Tanh())]
            layers += [(f"dropout{number}", nn.Dropout(0.2))]
        self.body = nn.Sequential(OrderedDict(layers))
        self.heads = nn.ModuleDict(
            {name: (GrowingHead if name in growing else nn.Linear)(WIDTH, many) for name, many in heads.items()}
        )
        with torch.no_grad():
            for name, value in self.named_parameters():
                value.copy_(torch.randn(value.shape, generator=generator("points", name)) * 0.4)

    def forward(self, *questions: tuple[PointTask, Points]) -> list[Rows]:
        """One row an example; none of one whose label is ignored."""
        states = self.body(questions[0][1].x)
        return [self._rows(task, batch, states) for task, batch in questions]

    def _rows(self, task: PointTask, batch: Points, states: Tensor) -> Rows:
        labelled = batch.labels != IGNORED
        logits = self.heads[task.head](states)
        return Rows(logits[labelled], batch.labels[labelled], labelled.nonzero()[:, 0])


def point_task(
    name: str,
    examples: int,
    classes: int = CLASSES,
    ignored: Sequence[int] = (),
    head: str = "",
    own: tuple[int, ...] | None = None,
) -> Task:
    """A task that can be learned in part: the class is that of the nearest of some random directions.

    Args:
        name: Of the task; all else follows from it.
        examples: For training.
        classes: Number of them.
        ignored: Positions of training examples that have no label.
        head: Default: the task's name.
        own: Which of the classes are the task's, where others teach the rest of the head; default: all.
    """
    named = own or tuple(range(classes))

    def split(part: str, count: int, unlabelled: Sequence[int]) -> PointSplit:
        x = torch.randn(count, INPUTS, generator=generator("points", name, part))
        directions = torch.randn(INPUTS, len(named), generator=generator("directions", name))
        labels = [named[place] for place in (x @ directions).argmax(dim=1).tolist()]
        rows = [(x[place], IGNORED if place in unlabelled else label) for place, label in enumerate(labels)]
        return PointSplit(rows, np.ones(count, dtype=np.int64))

    return cast(Task, PointTask(name, split("train", examples, ignored), split("test", 6, ()), classes, head, own))


def point_problem(tasks: Sequence[Task], training: Training | None = None, name: str = "points") -> Problem:
    """Tasks on points and a network for them."""
    growing = {task.head for task in tasks if task.own}
    model = Network({task.head: cast(PointTask, task).classes for task in tasks}, growing)
    layers = {"embeddings": "embeddings", "layer 1": "layer1", "layer 2": "layer2"}
    return Problem(
        name=name,
        tasks=tuple(tasks),
        kinds={task.name: "point" for task in tasks},
        model=model,
        layers={layer: [f"body.{part}.weight", f"body.{part}.bias"] for layer, part in layers.items()},
        heads={head: [f"heads.{head}.weight", f"heads.{head}.bias"] for head in model.heads},
        training=training or Training(epochs=2, batch_size=4, learning_rate=0.01, head_learning_rate=0.03),
    )


def points() -> Problem:
    """Three tasks of fourteen examples: a stage takes eight steps, and batches are not all of one size."""
    return point_problem([point_task(name, 14) for name in NAMES])

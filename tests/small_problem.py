"""The contract without a language model: small linear tasks whose answers can be written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from strategies.base import Batch, Example, Learner, Stage, Strategy, Task, Training, snapshot
from tasks.base import Rows

STEPS = 5
"""Of a stage."""


@dataclass(frozen=True)
class Points:
    """A batch of feature vectors."""

    x: Tensor
    y: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device) -> Points:
        return Points(self.x.to(device), self.y.to(device), self.index)


@dataclass(frozen=True)
class PointTask:
    """Classify feature vectors; each example owns ``rows_each`` rows, which differ by a shift of its features."""

    name: str
    x: Tensor
    y: Tensor
    rows_each: int = 1

    @property
    def head(self) -> str:
        return self.name

    @property
    def classes(self) -> int:
        return 3

    @property
    def own(self) -> Sequence[int] | None:
        return None

    @property
    def own_head(self) -> bool:
        return True

    def unlabelled(self, batch: Points) -> Points:
        return Points(batch.x, torch.zeros_like(batch.y), batch.index)

    def take_apart(self, batch: Points) -> list[Example]:
        parts = zip(batch.x, batch.y, batch.index, strict=True)
        return [{"x": x.clone(), "y": y.clone(), "index": index.clone()} for x, y, index in parts]

    def put_together(self, examples: Sequence[Example]) -> Points:
        return Points(*(torch.stack([example[name] for example in examples]) for name in ("x", "y", "index")))

    def batch(self, indices: Sequence[int]) -> Points:
        chosen = torch.tensor(list(indices))
        return Points(self.x[chosen], self.y[chosen], chosen)


class TwoLayers(nn.Module):
    """A body of one layer and one head a task; every call counts itself."""

    def __init__(self, inputs: int, width: int, heads: Sequence[str], classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, width)
        self.dropout = nn.Dropout(0.5)
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name in heads})

    def forward(self, *questions: tuple[PointTask, Points]) -> list[Rows]:
        hidden = self.dropout(torch.tanh(self.body(questions[0][1].x)))
        return [self.rows(task, batch, hidden) for task, batch in questions]

    def rows(self, task: PointTask, batch: Points, hidden: Tensor) -> Rows:
        logits = self.heads[task.head](hidden)
        copies = [logits * (1 + extra) for extra in range(task.rows_each)]
        owner = torch.arange(len(batch)).repeat(task.rows_each)
        return Rows(torch.cat(copies), batch.y.repeat(task.rows_each), owner)


@dataclass
class Problem:
    """A learner over small tasks, and the means to run stages by hand."""

    tasks: list[PointTask]
    learner: Learner
    gradients: list[dict[str, Tensor]] = field(default_factory=list)

    def stage(self, index: int) -> Stage:
        task = self.tasks[index]

        def examples(_: Task, count: int, batch_size: int) -> Iterator[Batch]:
            for start in range(0, min(count, len(task.y)), batch_size):
                yield task.batch(range(start, min(start + batch_size, count, len(task.y))))

        return Stage(index, index == len(self.tasks) - 1, [task], STEPS, examples)

    def train(self, strategy: Strategy, index: int, steps: int = STEPS) -> None:
        """Full-batch steps through every hook, in the order of the loop."""
        stage, task, learner = self.stage(index), self.tasks[index], self.learner
        active = set(learner.body()) | set(learner.heads[task.head])
        for name, parameter in learner.model.named_parameters():
            parameter.requires_grad_(name in active)
        strategy.before_stage(learner, stage)
        optimizer = strategy.optimizer(learner)
        learner.model.train()
        torch.manual_seed(index)
        for _ in range(steps):
            optimizer.zero_grad()
            strategy.loss(learner, task, task.batch(range(len(task.y)))).backward()  # type: ignore[no-untyped-call]
            strategy.before_step(learner)
            optimizer.step()
            strategy.after_step(learner)
        learner.model.eval()
        strategy.after_training(learner, stage)
        if strategy.fingerprint_after(stage):
            strategy.after_stage(learner, stage)


def problem(count: int = 2, examples: int = 12, rows_each: int = 1, training: Training | None = None) -> Problem:
    """Random small tasks and an untrained model; always the same."""
    generator = torch.Generator().manual_seed(0)
    tasks = [
        PointTask(
            f"task{number}",
            torch.randn(examples, 3, generator=generator),
            torch.randint(3, (examples,), generator=generator),
            rows_each,
        )
        for number in range(count)
    ]
    torch.manual_seed(1)
    model = TwoLayers(3, 4, [task.name for task in tasks], 3)
    names = [f"body.{name}" for name, _ in model.body.named_parameters()]
    heads = {task.name: [f"heads.{task.name}.weight", f"heads.{task.name}.bias"] for task in tasks}
    chosen = training or Training(learning_rate=0.05, head_learning_rate=0.05)
    named = {task.name: task for task in tasks}
    untrained = snapshot(dict(model.named_parameters()))
    return Problem(tasks, Learner(model, {"layer 1": names}, heads, named, chosen, 0, untrained))

"""Memories and teachers with the bugs that others published, and their right twins."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Batch, Example, Learner, Neutral, Rows, Stage, Strategy, Task, snapshot


def cross_entropy(rows: Rows) -> Tensor:
    summed = nn.functional.cross_entropy(rows.logits.float(), rows.targets, reduction="sum")
    return summed / max(1, len(rows.targets))


def drawn(seed: int, purpose: str, number: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def train_heads(learner: Learner, names: Mapping[str, object]) -> None:
    for task in names:
        for parameter in learner.heads[learner.tasks[task].head]:
            learner.model.get_parameter(parameter).requires_grad_(True)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


@dataclass(frozen=True)
class Rehearsal(Strategy):
    """Replay as it should be: ``loss + loss of some examples of one earlier task``.

    Keeps: some examples of each task. Costs: a second pass in each step.
    """

    name: ClassVar[str] = "rehearsal"
    neutral: ClassVar[Neutral | None] = Neutral({"memory": 0})

    memory: Annotated[int, Ge(0)] = 6
    """Examples of each task; ours."""
    batch: Annotated[int, Ge(1)] = 3
    """Examples in a step; ours."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "batch": self.batch} if stage.index and self.memory else {}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "memory": self.memory} if self.memory and not stage.last else {}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        if memory := learner.state.get("memory"):
            learner.state["step"] = 0
            train_heads(learner, memory)

    def chosen(self, learner: Learner, task: str, count: int) -> list[int]:
        generator = drawn(learner.seed, f"replay {task}", learner.state["step"])
        return torch.randperm(count, generator=generator).tolist()[: self.batch]

    def examples(self, learner: Learner, task: str) -> Sequence[Example]:
        examples: list[Example] = learner.state["memory"][task]
        return examples

    def replayed(self, learner: Learner) -> Tensor:
        names = sorted(learner.state["memory"])
        name = names[learner.state["step"] % len(names)]
        examples = self.examples(learner, name)
        task = learner.tasks[name]
        batch = task.put_together([examples[place] for place in self.chosen(learner, name, len(examples))])
        return cross_entropy(learner.rows(task, batch.to(learner.device)))

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        loss = super().loss(learner, task, batch)
        return loss + self.replayed(learner) if learner.state.get("memory") else loss

    def after_step(self, learner: Learner) -> None:
        if "step" in learner.state:
            learner.state["step"] += 1

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        for task in stage.tasks:
            kept = [part for batch in stage.examples(task, self.memory, 4) for part in task.take_apart(batch)]
            learner.state.setdefault("memory", {})[task.name] = kept


class PerCall(Rehearsal):
    """Counts calls, not steps, so the parts of a step draw differently. Keeps: as replay. Costs: as replay."""

    name: ClassVar[str] = "per_call"

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        loss = super().loss(learner, task, batch)
        if "step" in learner.state:
            learner.state["step"] += 1
        return loss

    def after_step(self, learner: Learner) -> None:
        pass


class GlobalDraws(Rehearsal):
    """Draws from the global generator, before the task's own pass. Keeps: as replay. Costs: as replay."""

    name: ClassVar[str] = "global_draws"

    def chosen(self, learner: Learner, task: str, count: int) -> list[int]:
        return torch.randperm(count).tolist()[: self.batch]

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        if not learner.state.get("memory"):
            return super().loss(learner, task, batch)
        return self.replayed(learner) + Strategy.loss(self, learner, task, batch)


class ZerosForOldHeads(Rehearsal):
    """Gives old heads that a step does not replay zeros as gradients. Keeps: as replay. Costs: as replay."""

    name: ClassVar[str] = "zeros_for_old_heads"

    def before_step(self, learner: Learner) -> None:
        for value in learner.trainable().values():
            value.grad = torch.zeros_like(value) if value.grad is None else value.grad


class Unbilled(Rehearsal):
    """Keeps its examples as lists of numbers, which no bill counts. Keeps: nothing, it says. Costs: as replay."""

    name: ClassVar[str] = "unbilled"

    def examples(self, learner: Learner, task: str) -> Sequence[Example]:
        return [
            {name: torch.tensor(value) for name, value in example.items()} for example in learner.state["memory"][task]
        ]

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        super().after_stage(learner, stage)
        for task in stage.tasks:
            kept = self.examples_of(learner.state["memory"][task.name])
            learner.state["memory"][task.name] = kept

    def examples_of(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        return [{name: value.tolist() for name, value in example.items()} for example in examples]


class Peeking(Rehearsal):
    """Keeps indices, and reads earlier tasks' training data again. Keeps: nothing, it says. Costs: as replay."""

    name: ClassVar[str] = "peeking"

    def examples(self, learner: Learner, task: str) -> Sequence[Example]:
        source: Any = learner.tasks[task]
        batch = source.collate(source.train, learner.state["memory"][task])
        return learner.tasks[task].take_apart(batch)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        for task in stage.tasks:
            indices = [index for batch in stage.examples(task, self.memory, 4) for index in batch.index.tolist()]
            learner.state.setdefault("memory", {})[task.name] = indices


class LastOfBatches(Rehearsal):
    """A reservoir that counts batches where it should count examples. Keeps: as replay. Costs: as replay."""

    name: ClassVar[str] = "last_of_batches"

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        for task in stage.tasks:
            kept: list[Example] = []
            for number, batch in enumerate(stage.examples(task, 10**6, 4)):
                place = int(torch.randint(number + 1, (1,), generator=drawn(learner.seed, "reservoir", number)))
                example = task.take_apart(batch)[-1]
                if len(kept) < self.memory:
                    kept.append(example)
                elif place < self.memory:
                    kept[place] = example
            learner.state.setdefault("memory", {})[task.name] = kept


@dataclass(frozen=True)
class Projection(Strategy):
    """A-GEM as it should be: ``g - (g.r / r.r) r`` where ``g.r < 0``, over the body's weights; r of one task a step.

    Keeps: some examples of each task. Costs: a second pass in each step.
    """

    name: ClassVar[str] = "projection"
    neutral: ClassVar[Neutral | None] = Neutral({"memory": 0})

    memory: Annotated[int, Ge(0)] = 8
    """Examples of each task; ours."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name} if stage.index and self.memory else {}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "memory": self.memory} if self.memory and not stage.last else {}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        if learner.state.get("memory"):
            learner.state["step"] = 0

    def after_step(self, learner: Learner) -> None:
        if "step" in learner.state:
            learner.state["step"] += 1

    def shared(self, learner: Learner) -> dict[str, nn.Parameter]:
        return learner.body()

    def before_step(self, learner: Learner) -> None:
        if not learner.state.get("memory"):
            return
        shared = [value for value in self.shared(learner).values() if value.requires_grad]
        names = sorted(learner.state["memory"])
        name = names[learner.state["step"] % len(names)]
        task = learner.tasks[name]
        with evaluating(learner.model):
            rows = learner.rows(task, task.put_together(learner.state["memory"][name]).to(learner.device))
            found = torch.autograd.grad(cross_entropy(rows), shared, materialize_grads=True)
        here = [torch.zeros_like(value) if value.grad is None else value.grad for value in shared]
        along = sum(float((g * r).sum()) for g, r in zip(here, found, strict=True))
        if along < 0:
            length = sum(float(r.square().sum()) for r in found)
            for value, g, r in zip(shared, here, found, strict=True):
                self.put(value, g - along / length * r)

    def put(self, value: nn.Parameter, gradient: Tensor) -> None:
        if value.grad is not None:
            value.grad.copy_(gradient)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        for task in stage.tasks:
            kept = [part for batch in stage.examples(task, self.memory, 4) for part in task.take_apart(batch)]
            learner.state.setdefault("memory", {})[task.name] = kept


class ProjectionOfHeads(Projection):
    """Lets old heads train, with zeros where a step does not use them. Keeps: as A-GEM. Costs: as A-GEM."""

    name: ClassVar[str] = "projection_of_heads"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        train_heads(learner, learner.state.get("memory", {}))

    def shared(self, learner: Learner) -> dict[str, nn.Parameter]:
        return learner.trainable()

    def before_step(self, learner: Learner) -> None:
        for value in learner.trainable().values():
            value.grad = torch.zeros_like(value) if value.grad is None else value.grad
        super().before_step(learner)


@dataclass(frozen=True)
class Distillation(Strategy):
    """Learning without forgetting as it should be: ``loss + lam * T^2 * sum of KL(teacher || student)`` over old heads.

    Keeps: a copy of the weights while a stage trains. Costs: two passes for each earlier task.
    """

    name: ClassVar[str] = "distillation"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})
    temperature: ClassVar[float] = 2.0

    lam: Annotated[float, Ge(0)] = 1.0
    """Strength; ours."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "lam": self.lam} if stage.index and self.lam else {}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {} if stage.last or not self.lam else {"strategy": self.name}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        if old := learner.state.get("old"):
            train_heads(learner, dict.fromkeys(old))
            learner.state["teacher"] = snapshot(dict(learner.model.named_parameters()))

    def taught(self, learner: Learner, old: Task, batch: Batch) -> Tensor:
        with evaluating(learner.model), torch.no_grad():
            return learner.rows(old, old.unlabelled(batch), weights=learner.state["teacher"]).logits.float()

    def apart(self, teacher: Tensor, student: Tensor) -> Tensor:
        """In nats a row."""
        log_p, log_q = ((logits / self.temperature).log_softmax(dim=-1) for logits in (teacher, student))
        return (log_p.exp() * (log_p - log_q)).sum() / max(1, len(teacher))

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        loss = super().loss(learner, task, batch)
        for name in learner.state.get("old", []) if "teacher" in learner.state else []:
            old = learner.tasks[name]
            teacher = self.taught(learner, old, batch)
            student = learner.rows(old, old.unlabelled(batch)).logits.float()
            loss = loss + self.lam * self.temperature**2 * self.apart(teacher, student)
        return loss

    def after_training(self, learner: Learner, stage: Stage) -> None:
        learner.state.pop("teacher", None)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        learner.state.setdefault("old", []).extend(task.name for task in stage.tasks)


class NoisyTeacher(Distillation):
    """Its teacher has dropout on. Keeps: as LwF. Costs: as LwF."""

    name: ClassVar[str] = "noisy_teacher"

    def taught(self, learner: Learner, old: Task, batch: Batch) -> Tensor:
        with torch.no_grad():
            return learner.rows(old, old.unlabelled(batch), weights=learner.state["teacher"]).logits.float()


class TeacherByStep(Distillation):
    """Asks its teacher before the stage, in an order that training does not have. Keeps: as LwF. Costs: as LwF."""

    name: ClassVar[str] = "teacher_by_step"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        if "teacher" not in learner.state:
            return
        size = learner.training.batch_size
        learner.state["step"] = 0
        with evaluating(learner.model):
            learner.state["taught"] = {
                name: [
                    super(TeacherByStep, self).taught(learner, learner.tasks[name], batch)
                    for batch in stage.examples(stage.tasks[0], 10**6, size)
                ]
                for name in learner.state["old"]
            }

    def taught(self, learner: Learner, old: Task, batch: Batch) -> Tensor:
        kept: list[Tensor] = learner.state["taught"][old.name]
        taught = kept[learner.state["step"] % len(kept)]
        count = len(old.take_apart(batch))
        repeated: Tensor = taught.repeat(math.ceil(count / len(taught)), 1)
        return repeated[:count]

    def after_step(self, learner: Learner) -> None:
        if "step" in learner.state:
            learner.state["step"] += 1

    def after_training(self, learner: Learner, stage: Stage) -> None:
        super().after_training(learner, stage)
        for name in ("taught", "step"):
            learner.state.pop(name, None)


class Reversed(Distillation):
    """Has the arguments of the divergence in the other order. Keeps: as LwF. Costs: as LwF."""

    name: ClassVar[str] = "reversed"

    def apart(self, teacher: Tensor, student: Tensor) -> Tensor:
        return super().apart(student, teacher)

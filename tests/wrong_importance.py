"""EWC and the L2 anchor with the bugs that others published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Batch, Learner, Rows, Stage, Task, snapshot
from strategies.ewc import EWC
from strategies.importance import Fisher
from strategies.l2_anchor import L2Anchor
from strategies.quadratic import add_penalty_gradient, merge, quadratic


def log_likelihood(rows: Rows) -> Tensor:
    return -nn.functional.cross_entropy(rows.logits.float(), rows.targets, reduction="sum")


def of_examples(
    learner: Learner, task: Task, batches: Iterator[Batch], value: Callable[[Rows], Tensor]
) -> Iterator[dict[str, Tensor]]:
    """The gradient of a value of each example's rows, example by example."""
    parameters = learner.trainable()
    for batch in batches:
        for part in task.take_apart(batch):
            rows = learner.rows(task, task.put_together([part]).to(learner.device))
            found = torch.autograd.grad(value(rows), list(parameters.values()), materialize_grads=True)
            yield dict(zip(parameters, found, strict=True))


def add_up(gradients: Iterator[dict[str, Tensor]], change: Callable[[Tensor], Tensor]) -> tuple[dict[str, Tensor], int]:
    total: dict[str, Tensor] = {}
    count = 0
    for gradient in gradients:
        count += 1
        for name, value in gradient.items():
            total[name] = total[name] + change(value) if name in total else change(value)
    return total, count


def divided(total: Mapping[str, Tensor], by: float) -> dict[str, Tensor]:
    return {name: value / by for name, value in total.items()}


@dataclass(frozen=True)
class Measuring(EWC):
    """EWC that leaves the measuring to its subclasses. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "measuring"
    size: ClassVar[int] = 5
    """Examples in a batch while it measures."""

    lam: Annotated[float, Ge(0)] = 10000.0
    """As EWC's."""
    fisher: Fisher = "sampled"
    """Not used: the labels are those of the data."""
    examples: Annotated[int, Ge(1)] = 256
    """As EWC's."""

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {} if stage.last else {"strategy": self.name, "examples": self.examples}

    def measured(self, learner: Learner, stage: Stage, task: Task) -> dict[str, Tensor]:
        total, count = self.squares(learner, stage, task)
        return divided(total, count)

    def squares(self, learner: Learner, stage: Stage, task: Task) -> tuple[dict[str, Tensor], int]:
        batches = stage.examples(task, self.examples, self.size)
        return add_up(of_examples(learner, task, batches, log_likelihood), torch.square)

    def batches(self, stage: Stage, task: Task) -> list[int]:
        return [len(batch) for batch in stage.examples(task, self.examples, self.size)]

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        for task in stage.tasks:
            merge(
                learner.state.setdefault("anchor", {}),
                learner.state.setdefault("importance", {}),
                learner.trainable(),
                self.measured(learner, stage, task),
            )


class BatchSquared(Measuring):
    """Squares the gradient of a batch's mean. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "batch_squared"

    def measured(self, learner: Learner, stage: Stage, task: Task) -> dict[str, Tensor]:
        parameters = learner.trainable()

        def gradients() -> Iterator[dict[str, Tensor]]:
            for batch in stage.examples(task, self.examples, self.size):
                value = log_likelihood(learner.rows(task, batch)) / len(batch)
                found = torch.autograd.grad(value, list(parameters.values()), materialize_grads=True)
                yield dict(zip(parameters, found, strict=True))

        total, batches = add_up(gradients(), torch.square)
        return divided(total, batches)


class ByBatches(Measuring):
    """Divides by the number of batches. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "by_batches"

    def measured(self, learner: Learner, stage: Stage, task: Task) -> dict[str, Tensor]:
        return divided(self.squares(learner, stage, task)[0], len(self.batches(stage, task)))


class ByFullBatches(Measuring):
    """Divides by batches times batch size, as if the last were full. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "by_full_batches"

    def measured(self, learner: Learner, stage: Stage, task: Task) -> dict[str, Tensor]:
        sizes = self.batches(stage, task)
        return divided(self.squares(learner, stage, task)[0], len(sizes) * sizes[0])


class ByAsked(Measuring):
    """Divides by how many examples it asked for, not by how many there were. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "by_asked"

    def measured(self, learner: Learner, stage: Stage, task: Task) -> dict[str, Tensor]:
        return divided(self.squares(learner, stage, task)[0], self.examples)


class ByOneLess(Measuring):
    """Divides by one less than there were. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "by_one_less"

    def measured(self, learner: Learner, stage: Stage, task: Task) -> dict[str, Tensor]:
        total, count = self.squares(learner, stage, task)
        return divided(total, max(1, count - 1))


class WithDropout(Measuring):
    """Measures in train mode. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "with_dropout"

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        learner.model.train()
        super().after_stage(learner, stage)
        learner.model.eval()


class LeftInTrainMode(Measuring):
    """Measures as it should and leaves the model in train mode. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "left_in_train_mode"

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        super().after_stage(learner, stage)
        learner.model.train()


class Gathered(EWC):
    """Squares the gradients of training, penalty included. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "gathered"

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "last": stage.last} | ({"lam": self.lam} if stage.index else {})

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {} if stage.last else {"strategy": self.name}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        if not stage.last:
            learner.state["gathered"] = {name: torch.zeros_like(value) for name, value in learner.trainable().items()}
            learner.state["steps"] = 0

    def after_step(self, learner: Learner) -> None:
        if "gathered" in learner.state:
            learner.state["steps"] += 1
            for name, value in learner.trainable().items():
                if value.grad is not None:
                    learner.state["gathered"][name] += value.grad.square()

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        measured = divided(learner.state.pop("gathered"), learner.state.pop("steps"))
        anchor, importance = learner.state.setdefault("anchor", {}), learner.state.setdefault("importance", {})
        merge(anchor, importance, learner.trainable(), measured)


class TwiceThePull(EWC):
    """Writes lam/2 and pulls as lam does. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "twice_the_pull"

    def before_step(self, learner: Learner) -> None:
        if "anchor" in learner.state:
            state = learner.state
            add_penalty_gradient(learner.trainable(), state["anchor"], 2 * self.lam, weight=state["importance"])


class Misnamed(EWC):
    """Looks its importance up by names that it was not stored under. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "misnamed"

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        super().after_stage(learner, stage)
        for kept in ("anchor", "importance"):
            tensors = learner.state[kept]
            learner.state[kept] = {f"module.{name.removeprefix('module.')}": value for name, value in tensors.items()}


class Relative(EWC):
    """Divides each tensor's importance by its largest, which may be 0. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "relative"

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        super().after_stage(learner, stage)
        learner.state["importance"] = {n: value / value.max() for n, value in learner.state["importance"].items()}


class NegativeImportance(EWC):
    """Standardises the importance, so that half the weights are pushed away. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "negative_importance"

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        super().after_stage(learner, stage)
        learner.state["importance"] = {n: value - value.mean() for n, value in learner.state["importance"].items()}


class Alias(L2Anchor):
    """Its anchor is the live weights, no copy of them. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "alias"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        learner.state["anchor"] = {name: value.detach() for name, value in learner.body().items()}


class EveryHeadPulled(L2Anchor):
    """Pulls the stage's new head to its random start. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "every_head_pulled"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        if stage.index == 0:
            learner.state["anchor"] = snapshot(dict(learner.model.named_parameters()))

    def penalty(self, learner: Learner) -> Tensor | None:
        return quadratic(learner.trainable(), learner.state["anchor"], 2 * self.lam)

    def before_step(self, learner: Learner) -> None:
        add_penalty_gradient(learner.trainable(), learner.state["anchor"], 2 * self.lam)


class EveryHeadDecays(L2Anchor):
    """Lets all heads train, so that those of tasks to come decay. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "every_head_decays"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        for names in learner.heads.values():
            for name in names:
                learner.model.get_parameter(name).requires_grad_(True)

    def before_step(self, learner: Learner) -> None:
        super().before_step(learner)
        for names in learner.heads.values():
            for name in names:
                value = learner.model.get_parameter(name)
                value.grad = value.detach() * 0.01 if value.grad is None else value.grad


class Decaying(L2Anchor):
    """Pulls to the anchor, and by weight decay to zero. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "decaying"

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        made = super().optimizer(learner)
        for group in made.param_groups:
            group["weight_decay"] = 0.01
        return made

"""Strategies that each break one rule of `benchmark.conformance`: of what is done and learned."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from strategies.base import Batch, Learner, Stage, Strategy, Task, snapshot
from strategies.ewc import EWC
from strategies.freeze import Freeze
from strategies.l2_anchor import L2Anchor
from tests.rule_breakers_kept import (
    BetweenStages,
    ChangesItself,
    Clock,
    CountsInBeforeStage,
    Dice,
    ForgetsATask,
    ForNobody,
    Grows,
    Hoarder,
    MovesAlong,
    NeverOff,
    NoBounds,
    NoEffect,
    NoHelp,
    Shared,
    Tuples,
    View,
)
from tests.wrong_importance import EveryHeadPulled
from tests.wrong_manners import LeavesAHook
from tests.wrong_memory import NoisyTeacher, Peeking, TeacherByStep, Unbilled


@dataclass(frozen=True)
class OwnOrder(L2Anchor):
    """Trains on the first examples only. Keeps: as L2. Costs: as L2."""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        own: Any = task
        return super().loss(learner, task, own.collate(own.train, range(len(batch))))


@dataclass(frozen=True)
class ShiftsDropout(L2Anchor):
    """Draws before the pass. Keeps: as L2. Costs: as L2."""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        torch.rand(1)
        return super().loss(learner, task, batch)


@dataclass(frozen=True)
class MovesUnseen(L2Anchor):
    """Shrinks every head. Keeps: as L2. Costs: as L2."""

    def after_training(self, learner: Learner, stage: Stage) -> None:
        named = dict(learner.model.named_parameters())
        for names in learner.heads.values():
            for name in names:
                named[name].data.mul_(0.9)


@dataclass(frozen=True)
class ZeroGradients(L2Anchor):
    """Gives old heads zeros for gradients. Keeps: as L2. Costs: as L2."""

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        seen = learner.state.setdefault("seen", [])
        seen += [task.head for task in stage.tasks]
        for name, value in learner.model.named_parameters():
            if name in {own for head in seen for own in learner.heads[head]}:
                value.requires_grad_(True)

    def before_step(self, learner: Learner) -> None:
        super().before_step(learner)
        for value in learner.trainable().values():
            value.grad = torch.zeros_like(value) if value.grad is None else value.grad


@dataclass(frozen=True)
class ThawsFrozen(Freeze):
    """Freezes, and moves it all the same. Keeps: nothing. Costs: nothing."""

    def after_step(self, learner: Learner) -> None:
        for value in learner.body().values():
            value.data.mul_(0.999)


@dataclass(frozen=True)
class SpoilsStart(L2Anchor):
    """Changes the untrained weights. Keeps: as L2. Costs: as L2."""

    def after_training(self, learner: Learner, stage: Stage) -> None:
        next(iter(learner.untrained.values())).add_(1)


@dataclass(frozen=True)
class LeavesAWeight(L2Anchor):
    """Adds a weight and leaves it. Keeps: as L2. Costs: as L2."""

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        learner.model.register_parameter("left", nn.Parameter(torch.zeros(2)))


@dataclass(frozen=True)
class KeepsPrediction(L2Anchor):
    """Predicts with halved weights and leaves them. Keeps: as L2. Costs: as L2."""

    @contextlib.contextmanager
    def predicting(self, learner: Learner, task: Task) -> Iterator[None]:
        for value in learner.body().values():
            value.data.mul_(0.5)
        yield


@dataclass(frozen=True)
class CountsCalls(L2Anchor):
    """Weighs the loss by the number of its calls. Keeps: as L2. Costs: as L2."""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        learner.state["calls"] = learner.state.get("calls", 0) + 1
        return super().loss(learner, task, batch)


@dataclass(frozen=True)
class BadNote(L2Anchor):
    """Notes what is no number. Keeps: as L2. Costs: as L2."""

    def after_training(self, learner: Learner, stage: Stage) -> None:
        learner.notes["mean"] = float("nan")


@dataclass(frozen=True)
class Overflows(L2Anchor):
    """Has no room in 16 bits. Keeps: as L2. Costs: as L2."""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            learner.state["large"] = torch.tensor(float("inf"))
        return super().loss(learner, task, batch)


@dataclass(frozen=True)
class Squares(L2Anchor):
    """Squares large numbers in 16 bits. Keeps: as L2. Costs: as L2 and a pass."""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        logits = learner.rows(task, batch).logits
        if torch.is_autocast_enabled("cpu"):
            logits = logits.to(torch.get_autocast_dtype("cpu"))
        return super().loss(learner, task, batch) + 1e-9 * (logits + 300).square().float().mean()


@dataclass(frozen=True)
class Negative(EWC):
    """Turns the sign of importance. Keeps: as EWC. Costs: as EWC."""

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        super().after_stage(learner, stage)
        learner.state["importance"] = {name: -value for name, value in learner.state["importance"].items()}


@dataclass(frozen=True)
class BatchMean(EWC):
    """Squares the gradient of a batch's mean. Keeps: as EWC. Costs: as EWC."""

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        parameters = learner.trainable()
        total = {name: torch.zeros_like(value) for name, value in parameters.items()}
        for batch in stage.examples(stage.tasks[0], self.examples, 8):
            loss = self.loss(learner, stage.tasks[0], batch)
            for name, found in zip(total, torch.autograd.grad(loss, list(parameters.values())), strict=True):
                total[name] += found**2 * len(batch)
        learner.state["anchor"], learner.state["importance"] = snapshot(parameters), total


@dataclass(frozen=True)
class WithDropout(EWC):
    """Measures in training mode. Keeps: as EWC. Costs: as EWC."""

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        learner.model.train()
        super().after_stage(learner, stage)
        learner.model.eval()


@dataclass(frozen=True)
class HalfThePenalty(L2Anchor):
    """States half of what it does. Keeps: as L2. Costs: as L2."""

    def penalty(self, learner: Learner) -> Tensor | None:
        stated = super().penalty(learner)
        return None if stated is None else stated / 2


@dataclass(frozen=True)
class GathersThePenalty(L2Anchor):
    """Sums gradients up, the penalty's among them. Keeps: more than L2. Costs: as L2."""

    def before_step(self, learner: Learner) -> None:
        super().before_step(learner)
        total = learner.state.setdefault("total", {n: torch.zeros_like(v) for n, v in learner.body().items()})
        for name, value in learner.body().items():
            total[name] += value.grad if value.grad is not None else 0


@dataclass(frozen=True)
class SharesWhatDiffers(L2Anchor):
    """Says that its first stage is that of naive. Keeps: as L2. Costs: as L2."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {} if stage.index == 0 else super().fingerprint(stage)


@dataclass(frozen=True)
class HidesItsStrength(L2Anchor):
    """Leaves its strength out of the key. Keeps: as L2. Costs: as L2."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": "hides", "anchor": self.anchor}


@dataclass(frozen=True)
class NoOne(L2Anchor):
    """Takes the deviation of a batch. Keeps: as L2. Costs: as L2."""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        if len(batch) == 1 and learner.training.batch_size == 1:
            raise ValueError("no variance of 1 example")
        return super().loss(learner, task, batch)


@dataclass(frozen=True)
class NoFew(EWC):
    """Takes it that it gets what it asks for. Keeps: as EWC. Costs: as EWC."""

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        found = sum(len(batch) for batch in stage.examples(stage.tasks[0], 6, 3))
        if found < 6 and stage.tasks[0].classes != 1 and learner.training.batch_size > 1:
            raise ValueError(f"{found} examples, not 6")
        super().after_stage(learner, stage)


@dataclass(frozen=True)
class NoClass(L2Anchor):
    """Takes it that there are two classes. Keeps: as L2. Costs: as L2."""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        rows = learner.rows(task, batch)
        return super().loss(learner, task, batch) + 0 * rows.logits[:, 1].sum()


@dataclass(frozen=True)
class NoGaps(L2Anchor):
    """Takes it that every example has a row. Keeps: as L2. Costs: as L2."""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        rows = learner.rows(task, batch)
        if len(rows.targets) < len(batch):
            raise ValueError(f"{len(rows.targets)} rows of {len(batch)} examples")
        return nn.functional.cross_entropy(rows.logits.float(), rows.targets)


@dataclass(frozen=True)
class NoSharing(L2Anchor):
    """Takes it that every stage has a head of its own. Keeps: as L2. Costs: as L2."""

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        if stage.index and len(learner.heads) == 1 and stage.tasks[0].own is None:
            raise ValueError(f"the head of stage {stage.index + 1} is trained already")


@dataclass(frozen=True)
class Shrinks(L2Anchor):
    """Pulls whole heads to 0 after each step. Keeps: as L2. Costs: as L2."""

    def after_step(self, learner: Learner) -> None:
        with torch.no_grad():
            for name in learner.heads.get("growing", ()):
                learner.model.get_parameter(name).mul_(0.99)


BREAKERS: Mapping[str, Strategy] = {
    "settings_are_held_to_their_bounds": NoBounds(),
    "settings_are_documented": NoHelp(),
    "only_settings_are_stored": Hoarder(),
    "every_task_has_its_stage": ForgetsATask(),
    "fingerprints_are_plain": Clock(),
    "neutral_changes_nothing": NeverOff(),
    "defaults_have_an_effect": NoEffect(),
    "runs_repeat": Dice(),
    "runs_do_not_mix": Shared(),
    "attributes_stay": ChangesItself(),
    "resumes_within_a_stage": CountsInBeforeStage(),
    "resumes_between_stages": BetweenStages(),
    "state_survives_the_disk": Tuples(),
    "memory_is_billed": View(),
    "memory_does_not_grow_with_steps": Grows(),
    "nothing_is_kept_for_nobody": ForNobody(),
    "state_is_cut_off": MovesAlong(),
    "batches_are_the_loops": OwnOrder(),
    "dropout_is_the_loops": ShiftsDropout(),
    "unseen_heads_keep_their_bits": MovesUnseen(),
    "unused_heads_keep_their_bits": ZeroGradients(),
    "frozen_weights_keep_their_bits": ThawsFrozen(),
    "untrained_weights_stay": SpoilsStart(),
    "structure_is_restored": LeavesAWeight(),
    "prediction_puts_weights_back": KeepsPrediction(),
    "parts_of_a_batch_add_up": CountsCalls(),
    "numbers_are_finite": BadNote(),
    "bf16_is_finite": Overflows(),
    "fp16_is_finite": Squares(),
    "importance_is_valid": Negative(),
    "batching_does_not_matter": BatchMean(),
    "looks_back_without_dropout": WithDropout(),
    "penalty_is_its_gradient": HalfThePenalty(),
    "learns_from_the_task_alone": GathersThePenalty(),
    "new_heads_are_free": EveryHeadPulled(),
    "memory_lies_in_tensors": Unbilled(),
    "only_a_stages_data_is_read": Peeking(),
    "teachers_have_no_dropout": NoisyTeacher(),
    "order_within_a_batch_does_not_matter": TeacherByStep(),
    "nothing_is_left_on_the_model": LeavesAHook(),
    "plain_stages_are_naive": SharesWhatDiffers(),
    "equal_fingerprints_equal_bits": HidesItsStrength(),
    "survives_single_examples": NoOne(),
    "survives_few_examples": NoFew(),
    "survives_one_class": NoClass(),
    "survives_examples_without_rows": NoGaps(),
    "survives_a_shared_head": NoSharing(),
    "survives_a_growing_head": Shrinks(),
}
"""Check -> a strategy that fails it."""


class KindsRefused(Strategy):
    """Works on tasks that have classes. Keeps: nothing. Costs: nothing."""

    name: ClassVar[str] = "kinds_refused"

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        if any(task.classes is None for task in tasks):
            raise ValueError("it needs classes")

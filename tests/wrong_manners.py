"""Strategies that break the contract with the loop: what is kept, drawn, shared, declared and left behind."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge
from pydantic import BeforeValidator
from torch import Tensor, nn

from strategies.base import Batch, Learner, Stage, Task
from strategies.ewc import EWC
from strategies.freeze import Freeze
from strategies.l2_anchor import L2Anchor
from strategies.naive import Naive
from strategies.quadratic import add_penalty_gradient

EVERYWHERE: dict[str, Any] = {}
TICKS = count()


class InAttributes(EWC):
    """Keeps its importance in attributes of its own. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "in_attributes"

    def kept(self, learner: Learner) -> dict[str, Any]:
        if "_kept" not in vars(self):
            object.__setattr__(self, "_kept", {})
        kept: dict[str, Any] = vars(self)["_kept"]
        return kept

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {} if stage.index == 0 else {"strategy": self.name, "lam": self.lam}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        if stage.index == 0:
            self.kept(learner).clear()

    def penalty(self, learner: Learner) -> Tensor | None:
        return None

    def before_step(self, learner: Learner) -> None:
        kept = self.kept(learner)
        if "anchor" in kept:
            add_penalty_gradient(learner.trainable(), kept["anchor"], self.lam, weight=kept["importance"])

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        super().after_stage(learner, stage)
        self.kept(learner).update(learner.state)
        learner.state.clear()


class InTheModule(InAttributes):
    """Keeps its importance in a variable of its module. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "in_the_module"

    def kept(self, learner: Learner) -> dict[str, Any]:
        return EVERYWHERE


class OnTheModel(InAttributes):
    """Keeps its importance in an attribute of the model. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "on_the_model"

    def kept(self, learner: Learner) -> dict[str, Any]:
        kept: dict[str, Any] = vars(learner.model).setdefault("_kept", {})
        return kept


class Velocities(torch.optim.Optimizer):
    """Descent with momentum, kept where no state_dict has it."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.01})
        self.velocity: dict[nn.Parameter, Tensor] = {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is not None:
                    velocity = self.velocity.setdefault(value, torch.zeros_like(value))
                    velocity.mul_(0.9).add_(value.grad)
                    value.sub_(velocity, alpha=group["lr"])


class LostMomentum(Naive):
    """Its optimizer has momentum that no checkpoint has. Keeps: nothing. Costs: nothing."""

    name: ClassVar[str] = "lost_momentum"

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name}

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        return Velocities(list(learner.trainable().values()))


class Annealed(L2Anchor):
    """Lowers a setting of its own after each stage. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "annealed"

    def after_training(self, learner: Learner, stage: Stage) -> None:
        object.__setattr__(self, "lam", self.lam / 2)


class GlobalNoise(L2Anchor):
    """Draws its anchor from the global generator. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "global_noise"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        learner.state["anchor"] = {
            name: value + 0.1 * torch.randn_like(value) for name, value in learner.state["anchor"].items()
        }


class PythonNoise(L2Anchor):
    """Draws from Python's generator. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "python_noise"

    def before_step(self, learner: Learner) -> None:
        add_penalty_gradient(learner.body(), learner.state["anchor"], self.lam * 2 * random.random())

    def penalty(self, learner: Learner) -> Tensor | None:
        return None


class ShiftedDropout(L2Anchor):
    """Draws from the global generator before the task's pass, and uses none of it. Keeps: as L2. Costs: as L2."""

    name: ClassVar[str] = "shifted_dropout"

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        torch.rand(7)
        return super().loss(learner, task, batch)


class SpoilsTheStart(L2Anchor):
    """Moves its anchor where it lies: in the untrained weights. Keeps: nothing, it says. Costs: as L2Anchor."""

    name: ClassVar[str] = "spoils_the_start"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        learner.state["anchor"] = {name: learner.untrained[name] for name in learner.body()}

    def after_step(self, learner: Learner) -> None:
        for name, value in learner.body().items():
            learner.state["anchor"][name].lerp_(value.detach(), 0.1)


class MovesTheFrozen(Freeze):
    """Freezes the backbone, and lets it decay. Keeps: nothing. Costs: as Freeze."""

    name: ClassVar[str] = "moves_the_frozen"

    def after_step(self, learner: Learner) -> None:
        for value in learner.body().values():
            value.data.mul_(1 - 1e-3)


class LeavesAHook(L2Anchor):
    """Leaves a hook on the model. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "leaves_a_hook"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        learner.model.register_forward_hook(lambda module, inputs, output: None)


class SharesWhatDiffers(L2Anchor):
    """Says that nothing of it acts in the first stage. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "shares_what_differs"

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {} if stage.index == 0 else super().fingerprint(stage)


class HidesItsStrength(L2Anchor):
    """Leaves its strength out of its fingerprint. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "hides_its_strength"

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "anchor": self.anchor}


class HidesItsMeasuring(EWC):
    """Leaves out of its fingerprint how it measured. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "hides_its_measuring"

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {} if stage.last else {"strategy": self.name}


class NeverTheSameKey(L2Anchor):
    """Has a time in its fingerprint. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "never_the_same_key"

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {**super().fingerprint(stage), "time": next(TICKS)}


class MeasuresForNobody(EWC):
    """Measures after the last stage too. Keeps: as EWC. Costs: as EWC."""

    name: ClassVar[str] = "measures_for_nobody"

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "fisher": self.fisher, "examples": self.examples}


class Arrays(L2Anchor):
    """Keeps an array, which is neither saved nor billed. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "arrays"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        learner.state["array"] = np.zeros(3)


class Diary(L2Anchor):
    """Keeps a tensor of every step. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "diary"

    def after_step(self, learner: Learner) -> None:
        learner.state.setdefault("norms", []).append(torch.stack([v.detach().norm() for v in learner.body().values()]))


class NotANumber(L2Anchor):
    """Notes the mean of nothing. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "not_a_number"

    def after_training(self, learner: Learner, stage: Stage) -> None:
        learner.notes["drift"] = float(torch.zeros(0).mean())


class SummedLoss(L2Anchor):
    """Sums the loss where the others average it. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "summed_loss"

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        rows = learner.rows(task, batch)
        return nn.functional.cross_entropy(rows.logits.float(), rows.targets, reduction="sum")


class LosesATask(L2Anchor):
    """Trains on all tasks but the last. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "loses_a_task"

    def stages(self, tasks: Sequence[Task]) -> list[list[Task]]:
        return [[task] for task in tasks[:-1]]


class KeepsThePrediction(L2Anchor):
    """Predicts with other weights, and leaves them there. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "keeps_the_prediction"

    @contextmanager
    def predicting(self, learner: Learner, task: Task) -> Iterator[None]:
        for value in learner.body().values():
            value.data.mul_(0.5)
        yield


class Hashed(L2Anchor):
    """Draws from a generator that Python's hash seeds: other draws in every process. Keeps: as L2. Costs: as L2."""

    name: ClassVar[str] = "hashed"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        generator = torch.Generator().manual_seed(hash(f"{learner.seed} {stage.index}") & 0xFFFF)
        for value in learner.state["anchor"].values():
            value += 0.1 * torch.randn(value.shape, generator=generator)


@dataclass(frozen=True)
class Unbounded(L2Anchor):
    """Takes any strength. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "unbounded"

    lam: float = 1.0  # type: ignore[assignment,unused-ignore]
    """Strength, below 0 too; ours."""


def number(value: object) -> object:
    return float(value) if isinstance(value, bool) else value


@dataclass(frozen=True)
class TakesBools(L2Anchor):
    """Makes a number of true and false. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "takes_bools"

    lam: Annotated[float, BeforeValidator(number), Ge(0)] = 1.0
    """Strength; ours."""


@dataclass(frozen=True)
class Undocumented(L2Anchor):
    """Does not say what a setting is. Keeps: as L2Anchor. Costs: as L2Anchor."""

    name: ClassVar[str] = "undocumented"

    sharpness: Annotated[float, Ge(0)] = 1.0


class UntoldCosts(L2Anchor):
    """Says nothing of what it takes."""

    name: ClassVar[str] = "untold_costs"

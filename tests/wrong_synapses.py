"""Synaptic intelligence and memory aware synapses with the bugs that others published, and as they should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Learner, Neutral, Rows, Stage, Strategy, Task, snapshot
from strategies.quadratic import add_penalty_gradient, merge, quadratic
from tests.wrong_importance import add_up, divided, of_examples


def squared_output(rows: Rows) -> Tensor:
    """Of the probabilities: a span's logits hold the lowest number there is at the places that are shut."""
    return rows.logits.float().softmax(dim=-1).square().sum()


@dataclass(frozen=True)
class PathIntegral(Strategy):
    """Synaptic intelligence as it should be: ``loss + lam * sum_i Omega_i (theta_i - theta*_i)^2``.

    Keeps: two copies of the trained weights, three more while a stage trains. Costs: a few operations a weight.
    """

    name: ClassVar[str] = "path_integral"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0)] = 100.0
    """Strength; ours."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        if stage.last and stage.index == 0:
            return {}
        return {"strategy": self.name, "last": stage.last} | ({"lam": self.lam} if stage.index else {})

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {} if stage.last else {"strategy": self.name}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        if not stage.last:
            learner.state["start"] = snapshot(learner.trainable())
            learner.state["path"] = {name: torch.zeros_like(value) for name, value in learner.trainable().items()}

    def capture(self, learner: Learner) -> None:
        if "path" in learner.state:
            with_gradient = {name: value for name, value in learner.trainable().items() if value.grad is not None}
            learner.state["before"] = snapshot(with_gradient)
            learner.state["gradient"] = {n: v.grad.clone() for n, v in with_gradient.items() if v.grad is not None}

    def pull(self, learner: Learner) -> None:
        if "anchor" in learner.state:
            state = learner.state
            add_penalty_gradient(learner.trainable(), state["anchor"], 2 * self.lam, weight=state["importance"])

    def penalty(self, learner: Learner) -> Tensor | None:
        if "anchor" not in learner.state:
            return None
        return quadratic(learner.trainable(), learner.state["anchor"], 2 * self.lam, learner.state["importance"])

    def before_step(self, learner: Learner) -> None:
        self.capture(learner)
        self.pull(learner)

    def after_step(self, learner: Learner) -> None:
        if "path" in learner.state:
            before, gradient = learner.state.pop("before"), learner.state.pop("gradient")
            trainable = learner.trainable()
            for name, value in gradient.items():
                learner.state["path"][name] -= value * (trainable[name].detach() - before[name])

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        path, start = learner.state.pop("path"), learner.state.pop("start")
        trainable = learner.trainable()
        measured = {
            name: path[name].clamp(min=0) / ((trainable[name].detach() - start[name]).square() + 1e-3) for name in path
        }
        anchor, importance = learner.state.setdefault("anchor", {}), learner.state.setdefault("importance", {})
        merge(anchor, importance, trainable, measured)


class PathOfPenalty(PathIntegral):
    """Adds the penalty's gradient before it captures the task's. Keeps: as SI. Costs: as SI."""

    name: ClassVar[str] = "path_of_penalty"

    def before_step(self, learner: Learner) -> None:
        self.pull(learner)
        self.capture(learner)


class PathWithoutPull(PathIntegral):
    """Pulls copies of the weights, so that nothing of it is trained on. Keeps: as SI. Costs: as SI."""

    name: ClassVar[str] = "path_without_pull"

    def pull(self, learner: Learner) -> None:
        if "anchor" in learner.state:
            copies = {name: nn.Parameter(value.detach().clone()) for name, value in learner.trainable().items()}
            quadratic(copies, learner.state["anchor"], 2 * self.lam, learner.state["importance"]).backward()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Synapses(Strategy):
    """Memory aware synapses as they should be: importance is the mean of ``|d ||p(x)||^2 / d theta|`` over examples.

    Keeps: two copies of the trained weights. Costs: a backward pass of each of the examples after a stage.
    """

    name: ClassVar[str] = "synapses"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0)] = 1000.0
    """Strength; ours."""
    examples: Annotated[int, Ge(1)] = 32
    """Of each task that it is measured on; ours."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {} if stage.index == 0 else {"strategy": self.name, "lam": self.lam}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {} if stage.last else {"strategy": self.name, "examples": self.examples}

    def penalty(self, learner: Learner) -> Tensor | None:
        if "anchor" not in learner.state:
            return None
        return quadratic(learner.trainable(), learner.state["anchor"], 2 * self.lam, learner.state["importance"])

    def before_step(self, learner: Learner) -> None:
        if "anchor" in learner.state:
            state = learner.state
            add_penalty_gradient(learner.trainable(), state["anchor"], 2 * self.lam, weight=state["importance"])

    def measured(self, learner: Learner, stage: Stage, task: Task) -> dict[str, Tensor]:
        batches = stage.examples(task, self.examples, 4)
        total, count = add_up(of_examples(learner, task, batches, self.output), torch.abs)
        return divided(total, count)

    def output(self, rows: Rows) -> Tensor:
        return squared_output(rows)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        anchor, importance = learner.state.setdefault("anchor", {}), learner.state.setdefault("importance", {})
        for task in stage.tasks:
            merge(anchor, importance, learner.trainable(), self.measured(learner, stage, task))


class SynapsesOfBatches(Synapses):
    """Takes the absolute value of a batch's mean. Keeps: as MAS. Costs: as MAS."""

    name: ClassVar[str] = "synapses_of_batches"

    def measured(self, learner: Learner, stage: Stage, task: Task) -> dict[str, Tensor]:
        parameters = learner.trainable()

        def gradients() -> Iterator[dict[str, Tensor]]:
            for batch in stage.examples(task, self.examples, 4):
                value = squared_output(learner.rows(task, batch)) / len(batch)
                found = torch.autograd.grad(value, list(parameters.values()), materialize_grads=True)
                yield dict(zip(parameters, found, strict=True))

        total, batches = add_up(gradients(), torch.abs)
        return divided(total, batches)


class SynapsesOfShutPlaces(Synapses):
    """Takes the norm of logits, some of which are the lowest number there is. Keeps: as MAS. Costs: as MAS."""

    name: ClassVar[str] = "synapses_of_shut_places"

    def output(self, rows: Rows) -> Tensor:
        squared: Tensor = torch.linalg.vector_norm(rows.logits.float()).square()
        return squared

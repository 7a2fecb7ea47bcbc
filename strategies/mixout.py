"""Mixout: dropout towards the pretrained weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from strategies.base import Batch, Learner, Neutral, Stage, Strategy, Task, snapshot
from strategies.search import Search


@dataclass(frozen=True)
class Mixout(Strategy):
    """Trains with random weights put back to the pretrained: ``(m theta* + (1 - m) theta - p theta*) / (1 - p)``.

    Lee, Cho & Kang 2020 (arXiv:1909.11299). Every step draws masks m, 1 with probability p, for the matrices of the
    body's linear layers; the expectation is theta, which is what is evaluated. As in the paper a mask takes all
    weights of an input neuron together; ``unit=weight`` draws each by itself (the paper's mixconnect). Biases, norms
    and embeddings are not mixed, as in the authors' code; heads have no pretrained weights. Gradients are those of
    the formula, ``(1 - m) / (1 - p)``; the authors' code leaves the divisor out.

    Deviation: the body's dropout stays on, where the authors replace it, so that p = 0 is naive.

    Keeps: a copy of the mixed matrices. Costs: a few operations a weight in each step and a second set of mixed
    matrices while it lasts.
    """

    name: ClassVar[str] = "mixout"
    neutral: ClassVar[Neutral | None] = Neutral({"p": 0.0})

    p: Annotated[float, Ge(0), Lt(1), Search(0.1, 0.9)] = 0.7
    """Probability of being put back, 0 to below 1; 0 is naive. The default is the least of the paper's 0.7, 0.8, 0.9
    for BERT-large."""
    unit: Literal["neuron", "weight"] = "neuron"
    """What is put back together: all weights of an ``neuron`` (paper and code), or each ``weight`` by itself."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses a backbone without linear layers.

        Raises:
            ValueError: it has none.
        """
        if not _linear(body):
            raise ValueError("mixout mixes the matrices of linear layers, but the backbone has none")

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """All settings; nothing acts if nothing is put back."""
        return {"strategy": self.name, **vars(self)} if self.p else {}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Copies what weights are put back to. Steps are counted over the whole run."""
        if self.p and stage.index == 0:
            body = learner.body()
            pretrained = {name: learner.untrained[name] for name in _linear(learner.model) if name in body}
            learner.state |= {"step": 0, "pretrained": snapshot(pretrained)}

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        """Cross-entropy as ever, of the mixed model."""
        if not self.p:
            return super().loss(learner, task, batch)
        rows = learner.rows(task, batch, weights=self.mixed(learner))
        return nn.functional.cross_entropy(rows.logits.float(), rows.targets)

    def after_step(self, learner: Learner) -> None:
        """Counts: all parts of a step's batch have the same masks."""
        if self.p:
            learner.state["step"] += 1

    def mixed(self, learner: Learner) -> dict[str, Tensor]:
        """Name -> mixed matrix in this step; gradients flow to the weights."""
        body, inputs, mixed = learner.body(), _linear(learner.model), {}
        for name, pretrained in learner.state["pretrained"].items():
            shape = list(pretrained.shape)
            if self.unit == "neuron":
                shape[1 - inputs[name]] = 1
            text = f"mixout {learner.seed} {learner.state['step']} {name}"
            generator = torch.Generator(pretrained.device).manual_seed(_seed(text))
            back = torch.rand(shape, generator=generator, device=pretrained.device) < self.p
            mixed[name] = (torch.where(back, pretrained, body[name]) - self.p * pretrained) / (1 - self.p)
        return mixed


def _linear(model: nn.Module) -> dict[str, int]:
    """Name of a linear layer's matrix -> which of its dimensions are the inputs."""
    # Conv1D is the linear layer of GPT-2 in transformers, with its matrix the other way round.
    kinds = {module: 1 if isinstance(module, nn.Linear) else 0 for module in model.modules() if _is_linear(module)}
    return {f"{name}.weight" if name else "weight": kinds[m] for name, m in model.named_modules() if m in kinds}


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

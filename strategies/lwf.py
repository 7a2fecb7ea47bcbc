"""Learning without forgetting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Batch, Learner, Neutral, Rows, Stage, Strategy, Task, snapshot
from strategies.search import Search


@dataclass(frozen=True)
class LwF(Strategy):
    """Keeps the answers of earlier heads to the new texts: ``loss + lam T^2 sum_t KL(teacher_t || student_t)``.

    Li & Hoiem 2016 (arXiv:1606.09282). Before each later stage the model is copied: the teacher. In every step the
    teacher and the model, as the student, answer the current batch through the head of each earlier task t. KL is
    between their softmaxes at temperature T, averaged over the rows that the batch has for that head, and summed
    over the earlier heads (section 3 of the paper sums over old tasks). The teacher runs in eval mode. Earlier heads
    train too, on this term alone.

    Tasks that share a head are one: the sum is over earlier heads, and a shared head also trains on its task. Where it
    grows (class-incremental), KL is between the softmaxes over the classes that the teacher knew. How many rows a head
    has differs between tasks, so the loss of a batch is not that of its parts: it trains on whole batches.

    Deviations: the paper has the cross-entropy in place of KL, which has the same gradient, and no T^2, which keeps
    the term's size independent of T (Hinton et al. 2015, arXiv:1503.02531). Its warm-up, in which only the new head
    trains, is left out: all strategies have the same schedule. A head of tags is asked about every token, one of
    answers about every place: texts of other tasks mark neither words nor passages.

    Keeps: a copy of body and earlier heads, taken anew for each stage. Costs: one forward pass of the teacher a step,
    and the earlier heads; their number hardly matters, as the bodies read a batch once for all heads.
    """

    name: ClassVar[str] = "lwf"
    divisible: ClassVar[bool] = False
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0), Search(0.01, 100, log=True)] = 1.0
    """Strength, >= 0; 0 is naive. The default is the paper's (section 4)."""
    temperature: Annotated[float, Ge(1), Search(1, 8, log=True)] = 2.0
    """T, >= 1: the higher, the more the unlikely answers count. The default is the paper's (section 3)."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """All settings, once there is an earlier task."""
        return {"strategy": self.name, **vars(self)} if stage.index and self.lam else {}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Copies the teacher and lets earlier heads train."""
        if not self.fingerprint(stage):
            return
        earlier = _earlier(learner, stage.tasks[0])
        own = {name for head in earlier for name in learner.heads[head]}
        for name, parameter in learner.model.named_parameters():
            if name in own:
                parameter.requires_grad_(True)
        named = dict(learner.model.named_parameters())
        learner.state["teacher"] = snapshot(learner.body() | {name: named[name] for name in sorted(own)})

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        """The task's loss, and the distance to the teacher's answers once there is one."""
        if "teacher" not in learner.state:
            return super().loss(learner, task, batch)
        teacher: Mapping[str, Tensor] = learner.state["teacher"]
        asked = [
            old
            for head, old in _earlier(learner, task).items()
            if set(learner.heads[head]) <= teacher.keys()  # else of a task that trains in the same stage
        ]
        if not asked:
            return super().loss(learner, task, batch)
        questions = [(old, old.unlabelled(batch)) for old in asked]
        rows, *answers = learner.answers([(task, batch), *questions])
        loss = nn.functional.cross_entropy(rows.logits.float(), rows.targets)
        for old, given, wanted in zip(asked, answers, _answers(learner, questions, teacher), strict=True):
            known = learner.known_classes(old)
            kept = slice(None) if known is None else known
            loss = loss + self.lam * self._distance(wanted.logits.float()[:, kept], given.logits.float()[:, kept])
        return loss

    def _distance(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``T^2 KL(teacher || student)`` at temperature T, the mean over rows of (N, C) logits."""
        wanted, given = (nn.functional.log_softmax(logits / self.temperature, dim=-1) for logits in (teacher, student))
        return self.temperature**2 * nn.functional.kl_div(given, wanted, reduction="batchmean", log_target=True)


def _earlier(learner: Learner, task: Task) -> dict[str, Task]:
    """Head -> a task that asks it, of the tasks that came before."""
    before = takewhile(lambda other: other.name != task.name, learner.tasks.values())
    return {other.head: other for other in before}


@torch.no_grad()
def _answers(
    learner: Learner, questions: Sequence[tuple[Task, Batch]], teacher: Mapping[str, Tensor]
) -> Sequence[Rows]:
    """The teacher's rows, with dropout off."""
    training = learner.model.training
    learner.model.eval()
    rows = learner.answers(questions, weights=teacher)
    learner.model.train(training)
    return rows

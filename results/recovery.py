"""Recoverable or lost: how much of forgetting is the head's, which a fresh one makes good, and how much the body's.

``R[s, t]`` is the main score of task ``t`` after ``s`` stages, ``F[s, t]`` the same with a fresh head fitted on frozen
features of the task's training examples, ``L[t]`` the row right after learning, ``S`` the end. A task that was learned
before the last stage, and does not use the head that the backbone was pretrained with, has

    lost      = R[L, t] - R[S, t]                  what its score lost: backward transfer with its sign turned
    body lost = F[L, t] - F[S, t]                  what not even a fresh head gets back
    head lost = lost - body lost                   what a fresh head gets back

each in score, positive where something was lost, negative where something was gained. Fresh heads are compared with
fresh heads, so it does not matter whether they are better than trained ones: ``head lost = (F[S] - R[S]) - (F[L] -
R[L])``, by how much more a fresh head is worth at the end than it was right after learning.

That a score can fall while the model keeps what it knows of the task is called spurious forgetting (Zheng et al. 2025,
arXiv:2501.13453); that the accuracy of linear probes falls less than the observed one was shown by Davari et al. 2022
(arXiv:2203.13381). The split into two terms that sum to what was lost is this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.record import FinishedRun


@dataclass(frozen=True)
class Loss:
    """What the score of one task lost, positive where it fell; the two sum to it."""

    head: float
    body: float


def losses(run: FinishedRun) -> dict[str, Loss]:
    """What each task lost that was learned before the last stage and of which fresh heads were fitted.

    A task that uses the head that the backbone was pretrained with gets none.
    """
    found: dict[str, Loss] = {}
    for number, (task, row) in enumerate(zip(run.tasks, run.learned_at, strict=True)):
        if not run.refits or row is None or row == len(run.stages) or task.name not in run.refits[row]:
            continue
        lost = run.scores[row][number] - run.scores[-1][number]
        body = run.refits[row][task.name] - run.refits[-1][task.name]
        found[task.name] = Loss(lost - body, body)
    return found


def head_lost(run: FinishedRun) -> float | None:
    """Mean of what heads lost over the tasks of `losses`.

    Range [-2, 2], smaller is better; negative means that a fresh head is worth less at the end than it was right after
    learning. None where there is no such task, or no fresh heads were fitted.
    """
    return _mean([loss.head for loss in losses(run).values()])


def body_lost(run: FinishedRun) -> float | None:
    """Mean of what the body lost over the tasks of `losses`.

    Range [-1, 1], smaller is better; negative means that the features tell more of earlier tasks than they did. None
    where there is no such task, or no fresh heads were fitted.
    """
    return _mean([loss.body for loss in losses(run).values()])


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None

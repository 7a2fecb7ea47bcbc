"""What a score matrix says: pure functions, each with its formula, range and sign.

``R[s, t]`` is the main score of task ``t`` after ``s`` stages, in [0, 1], larger is better. Row 0 is the
pretrained backbone with untrained heads, row ``S`` the end. ``L[t]`` (``learned_at``) is the row right after
the stage that trained task ``t``, or None if no stage did.

What is undefined is None, never 0, NaN or a placeholder. A run of one stage (``joint``) has no sequence, so
every measure of a sequence is None for it; only the final average, the worst task and retention remain.
No function modifies its input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

LearnedAt = Sequence[int | None]
ProbeRows = Sequence[Mapping[str, Mapping[str, float]]]


def final_average(scores: ArrayLike) -> float:
    """Mean over all tasks of the last row: mean_t R[S, t].

    Range [0, 1], larger is better. Also called average accuracy (Lopez-Paz and Ranzato 2017, "Gradient
    Episodic Memory"). Always defined; a task that no stage trained counts too.
    """
    return float(_matrix(scores)[-1].mean())


def worst_task(scores: ArrayLike) -> float:
    """Smallest score of the last row: min_t R[S, t].

    Range [0, 1], larger is better: what an average can hide. Always defined.
    """
    return float(_matrix(scores)[-1].min())


def average_incremental(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over rows s >= 1 of the mean of R[s, t] over the tasks learned so far (L[t] <= s).

    Range [0, 1], larger is better. Average incremental accuracy (Rebuffi et al. 2017, "iCaRL").
    None for a run of fewer than two stages, or when no stage trained any task.
    """
    matrix = _matrix(scores)
    if not _is_sequence(matrix):
        return None
    known = [[t for t, row in _learned(matrix, learned_at) if row <= s] for s in range(len(matrix))]
    return _mean(float(matrix[s, tasks].mean()) for s, tasks in enumerate(known) if tasks)


def learning_accuracy(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over learned tasks of the score right after learning: mean_t R[L[t], t].

    Range [0, 1], larger is better: plasticity (Riemer et al. 2019, "Learning to Learn without Forgetting by
    Maximizing Transfer and Minimizing Interference"). None for a run of fewer than two stages, where it would
    only repeat the final average, or when no stage trained any task.
    """
    matrix = _matrix(scores)
    if not _is_sequence(matrix):
        return None
    return _mean(matrix[row, t] for t, row in _learned(matrix, learned_at))


def backward_transfer(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks learned before the last stage of R[S, t] - R[L[t], t].

    Range [-1, 1], larger is better; negative means that later stages cost score. Lopez-Paz and Ranzato
    (2017). None when no task was learned before the last stage.
    """
    matrix = _matrix(scores)
    return _mean(matrix[-1, t] - matrix[row, t] for t, row in _learned_before_last(matrix, learned_at))


def forgetting(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks learned before the last stage of max_{L[t] <= s < S} R[s, t] - R[S, t].

    Range [-1, 1], smaller is better; negative means that a task ended better than it ever was. Chaudhry et
    al. (2018), "Riemannian Walk for Incremental Learning". Never below ``forgetting_first``.
    None when no task was learned before the last stage.
    """
    matrix = _matrix(scores)
    return _mean(matrix[row:-1, t].max() - matrix[-1, t] for t, row in _learned_before_last(matrix, learned_at))


def forgetting_first(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks learned before the last stage of R[L[t], t] - R[S, t].

    Backward transfer with its sign turned. Range [-1, 1], smaller is better.
    What some frameworks (Avalanche) print as forgetting. None when no task was learned before the last stage.
    """
    transfer = backward_transfer(scores, learned_at)
    return None if transfer is None else 0.0 - transfer  # 0.0 - 0.0 is 0.0 where -(0.0) would be -0.0


def forward_transfer(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks first trained after the first stage of R[L[t] - 1, t] - R[0, t].

    Range [-1, 1], larger is better: what earlier stages gave a task before its own training, against the
    untrained head of row 0 (Lopez-Paz and Ranzato 2017, whose baseline is the randomly initialised model).
    None when no task was learned after the first stage.
    """
    matrix = _matrix(scores)
    return _mean(matrix[row - 1, t] - matrix[0, t] for t, row in _learned(matrix, learned_at) if row > 1)


def retention(probes: ProbeRows, probe: str, measure: str) -> float | None:
    """Last row of a probe's measure divided by its row 0, the pretrained backbone.

    Range [0, inf) for measures that are not negative, larger is better; 1 means that nothing was lost. A
    ratio of this project, no published metric. None when a row lacks the measure or row 0 is 0.
    """
    before, after = (rows.get(probe, {}).get(measure) for rows in (probes[0], probes[-1]))
    if before is None or after is None or before == 0:
        return None
    return after / before


def _matrix(scores: ArrayLike) -> NDArray[np.float64]:
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"a score matrix has shape (S + 1, T), not {matrix.shape}")
    return matrix


def _is_sequence(matrix: NDArray[np.float64]) -> bool:
    return len(matrix) > 2


def _learned(matrix: NDArray[np.float64], learned_at: LearnedAt) -> Iterator[tuple[int, int]]:
    """The index of every learned task with the row right after its stage.

    A matrix that ends before that row is a failed run's, and its last row is not the end: it has no measures.
    """
    if len(learned_at) != matrix.shape[1]:
        raise ValueError(f"learned_at has {len(learned_at)} entries for {matrix.shape[1]} tasks")
    if any(row is not None and row >= len(matrix) for row in learned_at):
        raise ValueError("the matrix ends before a stage that learned_at names: the run failed")
    return ((t, row) for t, row in enumerate(learned_at) if row is not None)


def _learned_before_last(matrix: NDArray[np.float64], learned_at: LearnedAt) -> Iterator[tuple[int, int]]:
    return ((t, row) for t, row in _learned(matrix, learned_at) if row < len(matrix) - 1)


def _mean(values: Iterable[float]) -> float | None:
    collected = list(values)
    return float(np.mean(collected)) if collected else None

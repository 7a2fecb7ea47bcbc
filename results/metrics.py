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


def average_of_triangle(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over all pairs of a task and a row from its learning on, s >= L[t], of R[s, t].

    Range [0, 1], larger is better. The accuracy of Diaz-Rodriguez et al. (2018); every entry weighs the same, where
    ``average_incremental`` gives every row the same weight. None for a run of fewer than two stages, or when no stage
    trained any task.
    """
    matrix = _matrix(scores)
    if not _is_sequence(matrix):
        return None
    return _mean(matrix[s, t] for t, row in _learned(matrix, learned_at) for s in range(row, len(matrix)))


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
    return _mean(_carried_back(scores, learned_at))


def backward_transfer_over_all(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """``backward_transfer`` with the tasks of the last stage in the mean, each counting 0.

    What the code of Lopez-Paz and Ranzato (2017) prints, other than their paper, and what TRACE (Wang et al. 2023)
    defines. None when no task was learned before the last stage.
    """
    return _over_all(_carried_back(scores, learned_at), learned_at)


def backward_transfer_all_rows(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over all pairs of a task and a later row, s > L[t], of R[s, t] - R[L[t], t].

    Range [-1, 1], larger is better. Diaz-Rodriguez et al. (2018), "Don't forget, there is more than forgetting: new
    metrics for Continual Learning". None when no task was learned before the last stage.
    """
    matrix = _matrix(scores)
    return _mean(
        matrix[s, t] - matrix[row, t] for t, row in _learned(matrix, learned_at) for s in range(row + 1, len(matrix))
    )


def backward_transfer_plus(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """``max(backward_transfer_all_rows, 0)``: Diaz-Rodriguez et al. (2018). Range [0, 1], larger is better."""
    transfer = backward_transfer_all_rows(scores, learned_at)
    return None if transfer is None else max(transfer, 0.0)


def remembering(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """``1 - |min(backward_transfer_all_rows, 0)|``: Diaz-Rodriguez et al. (2018). Range [0, 1], larger is better."""
    transfer = backward_transfer_all_rows(scores, learned_at)
    return None if transfer is None else 1.0 + min(transfer, 0.0)


def forgetting(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks learned before the last stage of max_{L[t] <= s < S} R[s, t] - R[S, t].

    Range [-1, 1], smaller is better; negative means that a task ended better than it ever was. Chaudhry et
    al. (2018), "Riemannian Walk for Incremental Learning", but looking no earlier than learning: see
    ``forgetting_ever``. Never below ``forgetting_first``. None when no task was learned before the last stage.
    """
    return _mean(_forgotten(scores, learned_at))


def forgetting_over_all(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """``forgetting`` with the tasks of the last stage in the mean, where nothing can be forgotten yet: each counts 0.

    So it is smaller by the share of tasks learned before the last stage. None when there is none of them.
    """
    return _over_all(_forgotten(scores, learned_at), learned_at)


def forgetting_ever(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks learned before the last stage of max_{1 <= s < S} R[s, t] - R[S, t].

    As Chaudhry et al. (2018) write it: the maximum is over all earlier stages, those before the task was learned too.
    Range [-1, 1], smaller is better; never below ``forgetting``. None when no task was learned before the last stage.
    """
    matrix = _matrix(scores)
    return _mean(matrix[1:-1, t].max() - matrix[-1, t] for t, _ in _learned_before_last(matrix, learned_at))


def forgetting_floored(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks learned before the last stage of max_{L[t] <= s <= S} R[s, t] - R[S, t].

    The last row is among those that the maximum is over, as Mammoth computes it: what a task gained is 0, not
    negative. Range [0, 1], smaller is better. None when no task was learned before the last stage.
    """
    matrix = _matrix(scores)
    return _mean(matrix[row:, t].max() - matrix[-1, t] for t, row in _learned_before_last(matrix, learned_at))


def forgetting_first(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks learned before the last stage of R[L[t], t] - R[S, t].

    Backward transfer with its sign turned. Range [-1, 1], smaller is better.
    What some frameworks (Avalanche) print as forgetting. None when no task was learned before the last stage.
    """
    transfer = backward_transfer(scores, learned_at)
    return None if transfer is None else 0.0 - transfer  # 0.0 - 0.0 is 0.0 where -(0.0) would be -0.0


def forgetting_first_over_all(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """``forgetting_first`` with the tasks of the last stage in the mean, each counting 0.

    The mean of the last row that Avalanche's ``functional.forgetting`` gives. None when no task was learned before the
    last stage.
    """
    transfer = backward_transfer_over_all(scores, learned_at)
    return None if transfer is None else 0.0 - transfer


def forward_transfer(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over tasks first trained after the first stage of R[L[t] - 1, t] - R[0, t].

    Range [-1, 1], larger is better: what earlier stages gave a task before its own training, against the
    untrained head of row 0 (Lopez-Paz and Ranzato 2017, whose baseline is the randomly initialised model).
    None when no task was learned after the first stage.
    """
    return _mean(_carried_forward(scores, learned_at))


def forward_transfer_over_all(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """``forward_transfer`` with the tasks of the first stage in the mean, each counting 0.

    What the code of Lopez-Paz and Ranzato (2017) prints, other than their paper. None when no task was learned after
    the first stage.
    """
    return _over_all(_carried_forward(scores, learned_at), learned_at)


def zero_shot(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over all pairs of a task and an earlier row, 1 <= s < L[t], of R[s, t].

    Range [0, 1], larger is better. Diaz-Rodriguez et al. (2018) call it forward transfer; it has no baseline. None
    when no task was learned after the first stage.
    """
    matrix = _matrix(scores)
    return _mean(matrix[s, t] for t, row in _learned(matrix, learned_at) for s in range(1, row))


def forward_transfer_independent(scores: ArrayLike, learned_at: LearnedAt, alone: Sequence[float]) -> float | None:
    """Mean over tasks learned after the first stage of R[L[t], t] - I[t], I being what a model of its own reaches.

    Range [-1, 1], larger is better: what earlier stages gave to learning a task (Wang et al. 2024, "A Comprehensive
    Survey of Continual Learning"). None when no task was learned after the first stage.
    """
    matrix = _matrix(scores)
    return _mean(matrix[row, t] - alone[t] for t, row in _learned(matrix, learned_at) if row > 1)


def intransigence(scores: ArrayLike, learned_at: LearnedAt, joint: Sequence[float]) -> float | None:
    """Mean over learned tasks of J[t] - R[L[t], t], J being the last row of a run trained on all tasks together.

    Range [-1, 1], smaller is better: what the sequence cannot learn. After Chaudhry et al. (2018), whose reference for
    task t has seen the tasks up to t alone: see ``intransigence_last``. None for a run of fewer than two stages.
    """
    matrix = _matrix(scores)
    if not _is_sequence(matrix):
        return None
    return _mean(joint[t] - matrix[row, t] for t, row in _learned(matrix, learned_at))


def intransigence_last(scores: ArrayLike, learned_at: LearnedAt, joint: Sequence[float]) -> float | None:
    """Mean over the tasks of the last stage of J[t] - R[S, t]: intransigence exactly as Chaudhry et al. (2018).

    At the last stage their reference and the joint run have seen the same tasks. Range [-1, 1], smaller is better.
    None for a run of fewer than two stages, or when the last stage trained no task.
    """
    matrix = _matrix(scores)
    if not _is_sequence(matrix):
        return None
    return _mean(joint[t] - matrix[-1, t] for t, row in _learned(matrix, learned_at) if row == len(matrix) - 1)


def omega_base(scores: ArrayLike, learned_at: LearnedAt, joint: Sequence[float]) -> float | None:
    """Mean over rows s >= 2 of the first stage's tasks' mean score, divided by theirs in the joint run.

    Range [0, inf), larger is better, 1 as good as joint training: Kemker et al. (2018), "Measuring Catastrophic
    Forgetting in Neural Networks". None for a run of fewer than two stages, or where the joint run has 0 there.
    """
    matrix = _matrix(scores)
    base = [t for t, row in _learned(matrix, learned_at) if row == 1]
    return _share(_mean(matrix[s, base].mean() for s in range(2, len(matrix)) if base), [joint[t] for t in base])


def omega_new(scores: ArrayLike, learned_at: LearnedAt) -> float | None:
    """Mean over rows s >= 2 of the score of the tasks that stage s trained, right after it: Kemker et al. (2018).

    Range [0, 1], larger is better. None for a run of fewer than two stages.
    """
    matrix = _matrix(scores)
    tasks = [[t for t, row in _learned(matrix, learned_at) if row == s] for s in range(len(matrix))]
    return _mean(matrix[s, tasks[s]].mean() for s in range(2, len(matrix)) if tasks[s])


def omega_all(scores: ArrayLike, learned_at: LearnedAt, joint: Sequence[float]) -> float | None:
    """Mean over rows s >= 2 of the mean score of the tasks learned so far, divided by the joint run's on the first.

    Kemker et al. (2018) divide by the accuracy of the joint model on the first stage's data here too. Range [0, inf),
    larger is better. None for a run of fewer than two stages, or where the joint run has 0 there.
    """
    matrix = _matrix(scores)
    known = [[t for t, row in _learned(matrix, learned_at) if row <= s] for s in range(len(matrix))]
    base = [joint[t] for t, row in _learned(matrix, learned_at) if row == 1]
    return _share(_mean(matrix[s, known[s]].mean() for s in range(2, len(matrix)) if known[s]), base)


def retention(probes: ProbeRows, probe: str, measure: str) -> float | None:
    """Last row of a probe's measure divided by its row 0, the pretrained backbone.

    Range [0, inf) for measures that are not negative, larger is better; 1 means that nothing was lost. A
    ratio of this project, no published metric. None when a row lacks the measure or row 0 is 0.
    """
    before, after = (rows.get(probe, {}).get(measure) for rows in (probes[0], probes[-1]))
    if before is None or after is None or before == 0:
        return None
    return after / before


def probe_change(probes: ProbeRows, probe: str, measure: str) -> float | None:
    """Last row of a probe's measure minus its row 0, in the measure's unit, larger is better.

    The general ability delta of TRACE (Wang et al. 2023) for one ability. None when a row lacks the measure.
    """
    before, after = (rows.get(probe, {}).get(measure) for rows in (probes[0], probes[-1]))
    return None if before is None or after is None else after - before


def probe_loss(probes: ProbeRows, probe: str, measure: str) -> float | None:
    """Mean over rows s >= 1 of (P[0] - P[s]) / P[0], P being a probe's measure: a share, smaller is better.

    FG of Luo et al. (2023), "An Empirical Study of Catastrophic Forgetting in Large Language Models During Continual
    Fine-tuning", for one ability. None when a row lacks the measure, there is but one row, or row 0 is 0.
    """
    values = [rows.get(probe, {}).get(measure) for rows in probes]
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len(known) < 2 or known[0] == 0:
        return None
    return 1.0 - float(np.mean(known[1:])) / known[0]


def _forgotten(scores: ArrayLike, learned_at: LearnedAt) -> list[float]:
    matrix = _matrix(scores)
    return [matrix[row:-1, t].max() - matrix[-1, t] for t, row in _learned_before_last(matrix, learned_at)]


def _carried_back(scores: ArrayLike, learned_at: LearnedAt) -> list[float]:
    matrix = _matrix(scores)
    return [matrix[-1, t] - matrix[row, t] for t, row in _learned_before_last(matrix, learned_at)]


def _carried_forward(scores: ArrayLike, learned_at: LearnedAt) -> list[float]:
    matrix = _matrix(scores)
    return [matrix[row - 1, t] - matrix[0, t] for t, row in _learned(matrix, learned_at) if row > 1]


def _over_all(values: Sequence[float], learned_at: LearnedAt) -> float | None:
    """Mean over all learned tasks where those without a value count 0; None where none has one."""
    learned = sum(row is not None for row in learned_at)
    return float(sum(values)) / learned if values else None


def _share(value: float | None, of: Sequence[float]) -> float | None:
    whole = _mean(of)
    return None if value is None or not whole else value / whole


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

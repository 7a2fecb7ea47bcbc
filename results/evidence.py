"""When a difference is shown where many are looked at: a p-value that few runs and coarse scores do not make too small.

`results.statistics` makes 95 % intervals that hold. Where many measures are tested at once, what counts is far out in
the tails, and there the resamples of few runs end: two or three values have no resample beyond the most extreme one.
So the p-value here is the larger one of the bootstrap's and Student's. A bootstrap that has reached its finest, one
over the number of draws, knows no more than that, so it is left out.

Scores are counts of right answers divided by a number. By chance all runs may move by the same one answer, and their
spread is zero then. Such a spread is no sign of certainty: values are taken to have been rounded to steps as wide as
the move, whose variance is a twelfth of the step's square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from results.statistics import POWER, Bootstrap, Difference

ALPHA = 0.05
"""Share of comparisons of equal code that may show a difference, whatever their number of measures."""
_NOTHING = 1e-9
"""Relative spread below which values are the same but for rounding of floating-point numbers."""


@dataclass(frozen=True)
class Evidence:
    """How sure a difference is.

    Attributes:
        p: Two-sided, of the difference against zero; 1 where it is zero.
        error: Standard error of the difference, the steps of scores respected.
        freedom: Its degrees of freedom.
    """

    p: float
    error: float
    freedom: float

    def smallest_shown(self, tests: int, power: float = POWER) -> float:
        """The smallest true difference that would have been shown with this power as one of so many tests.

        ``(t_level + t_power) * error`` as `Difference.smallest_shown`, with the level of Holm's first step.
        """
        level, reached = special.stdtrit(self.freedom, [1 - ALPHA / (2 * tests), power])
        return float((level + reached) * self.error)


def weigh(difference: Difference, bootstrap: Bootstrap, exact: bool = False) -> Evidence | None:
    """What a difference of means shows; None where there are too few runs for an interval.

    Args:
        difference: The difference.
        bootstrap: How its interval was made.
        exact: Whether values differ only by what was computed, so that a spread of zero means certainty.
    """
    if difference.error is None or difference.p is None:
        return None
    mean, error = difference.mean, difference.error
    same = error <= _NOTHING * abs(mean)
    if same and not exact:
        # Both sides are rounded; of pairs, `runs` counts each once.
        sides = 2 / difference.runs if difference.paired else 4 / difference.runs
        error = max(error, abs(mean) * math.sqrt(sides / 12))
    student = two_sided(mean, error, difference.freedom)
    finest = 1 / bootstrap.draws
    return Evidence(student if difference.p <= finest else max(difference.p, student), error, difference.freedom)


def two_sided(mean: float, error: float, freedom: float) -> float:
    """Student's p-value; 1 for no difference, 0 for one without error."""
    if mean == 0:
        return 1.0
    return float(2 * special.stdtr(freedom, -abs(mean) / error)) if error else 0.0

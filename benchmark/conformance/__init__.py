"""The checks that every strategy must pass, shipped or not: ``retain check``, or from a test of your own.

    from benchmark.conformance import conformance_checks

    @conformance_checks(MyStrategy())
    def test_conforms(check):
        check()

or, for all verdicts at once, ``examine(MyStrategy())``. Each rule is a `Check` in `CHECKS`: its name, its meaning in a
line, the published bug that breaks it. A strategy is tried on two problems that are made on the spot and need no
network: ``points`` (feature vectors and a small network, all of it in about a second) and ``texts`` (a tiny random
BERT and a tiny task of every kind). Training goes through the loop that runs go through.
"""

from __future__ import annotations

from benchmark.conformance.core import PROBLEMS, Check, NotApplicable, Verdict, Violation
from benchmark.conformance.suite import CHECKS, conformance_checks, examine

__all__ = [
    "CHECKS",
    "PROBLEMS",
    "Check",
    "NotApplicable",
    "Verdict",
    "Violation",
    "conformance_checks",
    "examine",
]

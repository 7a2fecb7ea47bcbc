"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmark.conformance.bench import Bench

PROBLEMS = ("points", "texts")
"""What strategies are checked on, the fast one first."""


class Violation(AssertionError):
    """A strategy breaks a rule; the message says by how much."""


class NotApplicable(Exception):
    """A rule says nothing about this strategy; the message says why."""


@dataclass(frozen=True)
class Check:
    """One rule that every strategy keeps.

    Attributes:
        name: Of the check, as the table prints it.
        meaning: The rule, in one line.
        trap: A published bug, or a kind of bug, that breaks it.
        body: Raises `Violation` or `NotApplicable`; anything else that it raises is a failure too.
        problems: On which problems it is tried.
        trains: Whether the strategy must be able to work on the problem.
    """

    name: str
    meaning: str
    trap: str
    body: Callable[[Bench], None]
    problems: tuple[str, ...] = PROBLEMS
    trains: bool = True


@dataclass(frozen=True)
class Verdict:
    """What one check says of one strategy on one problem.

    Attributes:
        check: Name of the check.
        problem: ``points`` or ``texts``.
        outcome: Whether the rule is kept, broken, or says nothing about the strategy.
        message: What is broken, with numbers, or why the rule says nothing; empty where it is kept.
    """

    check: str
    problem: str
    outcome: Literal["passed", "failed", "not applicable"]
    message: str = ""


def rule(trap: str, *problems: str, trains: bool = True) -> Callable[[Callable[[Bench], None]], Check]:
    """Makes a check of a function: its name is the check's, the first line of its docstring the meaning."""

    def make(body: Callable[[Bench], None]) -> Check:
        meaning = (body.__doc__ or "").partition("\n")[0]
        return Check(body.__name__, meaning, trap, body, problems or PROBLEMS, trains)

    return make

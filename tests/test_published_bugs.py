"""`retain check` catches the bugs that others published, and lets their right twins pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.conformance import CHECKS, examine
from strategies.base import Strategy
from tests.wrong_strategies import BUGS, UNSEEN, Bug

TABLE = Path(__file__).parents[1] / "docs" / "published_bugs.md"
RIGHT = list(dict.fromkeys(bug.right for bug in BUGS if bug.right.__module__.startswith("tests.")))
"""The twins that are made for it; `tests.test_conformance` holds the shipped ones to every check."""
WORDS_ALONE = {"settings_are_held_to_their_bounds"}
"""Checks whose message may hold no number: it says which setting took which value, such as true."""


def name_of(case: Bug | type[Strategy]) -> str:
    return case.wrong.name if isinstance(case, Bug) else case.name


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_the_bug_is_caught_by_the_check_for_it(bug: Bug) -> None:
    (verdict,) = examine(bug.wrong(), [bug.problem], [bug.check])
    assert verdict.outcome == "failed", verdict
    assert bug.check in WORDS_ALONE or re.search(r"\d", verdict.message), verdict.message


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.problem != "points"], ids=name_of)
def test_the_right_twin_passes_the_check_on_texts(bug: Bug) -> None:
    (verdict,) = examine(bug.right(), [bug.problem], [bug.check])
    assert verdict.outcome == "passed", verdict


@pytest.mark.parametrize("right", RIGHT, ids=name_of)
def test_the_right_twin_passes_every_check(right: type[Strategy]) -> None:
    assert not [verdict for verdict in examine(right(), ["points"]) if verdict.outcome == "failed"]


@pytest.mark.parametrize("unseen", UNSEEN, ids=name_of)
def test_what_is_said_to_pass_unseen_does(unseen: type[Strategy]) -> None:
    """So that the table is honest, and is mended when a check learns to see it."""
    assert not [verdict for verdict in examine(unseen(), ["points"]) if verdict.outcome == "failed"]


def test_the_table_says_what_the_ledger_says() -> None:
    rows = [line.split("|") for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    told = {re.sub(r"\W", "", row[1]): row[3].strip(" `") for row in rows if len(row) == 6}
    told.pop("Strategy", None)
    assert told == {bug.wrong.__name__: bug.check for bug in BUGS} | dict.fromkeys(
        [unseen.__name__ for unseen in UNSEEN], "none"
    )


def test_every_check_that_is_named_exists() -> None:
    assert {bug.check for bug in BUGS} <= {check.name for check in CHECKS}

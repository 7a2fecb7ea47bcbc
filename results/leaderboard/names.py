"""File names of pages: safe on every file system for any name, and the same whenever the same is written again."""

from __future__ import annotations

import hashlib

from results.groups import slug
from results.record import Run

_DIGITS = 10
_LETTERS = 40


def page_name(text: str, content: str) -> str:
    """Lower-case letters, digits and hyphens, never empty, never a name that a system reserves.

    Args:
        text: What a reader should recognise.
        content: What tells pages apart: two of equal text and other content have other names.
    """
    digest = hashlib.sha256(content.encode(errors="backslashreplace")).hexdigest()[:_DIGITS]
    readable = slug(text)[:_LETTERS].strip("-")
    return f"{readable}-{digest}" if readable else digest


def suite_page(suite: str) -> str:
    """Name of a suite's page, without a suffix."""
    return page_name(suite, suite)


def run_page(run: Run) -> str:
    """Name of a run's page and of its record, without a suffix."""
    return page_name(f"{run.strategy} seed{run.seed}", run.model_dump_json())

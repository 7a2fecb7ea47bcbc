"""Text on a terminal: lines of one width, sections, quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import TextWrapper, indent

WIDTH = 110
"""Characters in a line."""
STEP = "    "
"""How far what belongs to a title stands in."""


def fill(text: str, width: int = WIDTH, indent: str = "") -> str:
    """Text in lines; names are never cut, since they are there to be copied."""
    return TextWrapper(width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False).fill(text)


def unquoted(text: str) -> str:
    """Docstrings mark code with backquotes; on a terminal plain quotes do."""
    return re.sub("`+", "'", text)


def flowing(text: str, width: int = WIDTH) -> str:
    """A paragraph of a docstring in lines. What is set out in it, by bullets or by standing in, stays so."""
    if re.search(r"^\s", text, re.MULTILINE) or text.startswith(">>>"):
        return "\n".join(fill(line, width, " " * (len(line) - len(line.lstrip()) + 2)) for line in text.splitlines())
    items = re.split(r"\n(?=(?:[-*]|\d+\.) )", text)
    return "\n".join(fill(" ".join(item.split()), width, "  " if len(items) > 1 else "") for item in items)


def section(title: str, paragraphs: Iterable[str]) -> str:
    """A title over paragraphs that stand in."""
    width = WIDTH - len(STEP)
    return "\n".join([title, indent("\n\n".join(flowing(text, width) for text in paragraphs), STEP)])

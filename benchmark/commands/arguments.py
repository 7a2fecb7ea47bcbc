"""Values on the command line: each function parses one, or says in one line what it should be."""

from __future__ import annotations

import argparse

JOBS = "train N stages at once, each in a process, or auto; default: auto, several for a small backbone on a CPU"
"""Help of ``--jobs``."""


def names(text: str) -> list[str]:
    """Names, each once: ``naive,ewc``."""
    found = [name.strip() for name in text.split(",")]
    if "" in found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"'{text}' should be names, each once, such as naive,ewc")
    return found


def seeds(text: str) -> list[int]:
    """Whole numbers from 0 on, each once: ``0,1,2``."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise argparse.ArgumentTypeError(f"'{text}' should be whole numbers from 0 on, each once, such as 0,1,2")
    return [int(part) for part in parts]


def orders(text: str) -> str | list[int]:
    """Numbers of orders, or ``all``."""
    return text if text == "all" else seeds(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' should be a whole number of at least 1")
    return int(text)


def processes(text: str) -> int | None:
    """A whole number of at least 1, or ``auto``, which is None."""
    return None if text == "auto" else positive(text)


def whole(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' should be a whole number from 0 on")
    return int(text)


def amount(text: str) -> float:
    """A finite number of at least 0."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' should be a number of at least 0")
    return found

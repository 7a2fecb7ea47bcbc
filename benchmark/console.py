"""What the command says: results on standard output, all else on standard error, once where several processes train."""

from __future__ import annotations

import contextlib
import os
import sys
import time

RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
"""Where launchers tell a process which of several it is; accelerate looks there too."""
GRACE_SECONDS = 10.0
"""For which a process lets the main one say what is wrong."""


def print_result(text: str) -> None:
    """Prints what was asked for."""
    if not follows():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def say(text: str) -> None:
    """Says how it goes."""
    if not follows():
        with contextlib.suppress(OSError):  # nobody may listen any more
            sys.stderr.write(f"{text}\n")


def complain(text: str) -> None:
    """Says why the command ends.

    Of processes that train one model, all find most mistakes. The main one says it, so the others let it: its end ends
    them. One that is still there found what the main one did not, and says it itself.
    """
    if follows():
        time.sleep(GRACE_SECONDS)
    with contextlib.suppress(OSError):  # nobody may listen any more
        sys.stderr.write(f"{text}\n")


def follows() -> bool:
    """Whether this is one of several processes that train one model, and not the main one: that speaks and writes."""
    return next((os.environ[name] for name in RANKS if name in os.environ), "0") != "0"


def launched() -> bool:
    """Whether a launcher has started this process, perhaps as one of several that train one model."""
    return any(name in os.environ for name in RANKS)

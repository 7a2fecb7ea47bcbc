"""The one exception that means: the user can mend this."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake or a condition the user can mend. The message is one line: what is wrong, where, what to do."""


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest that do; capitals make no difference."""
    names = {found.lower(): found for found in sorted(known)}
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    if near:
        return UserError(f"unknown {what} '{name}': did you mean {' or '.join(names[found] for found in near)}?")
    return UserError(f"unknown {what} '{name}': known are {', '.join(names.values()) or 'none'}.")

"""Memory that a step frees stays with the process, so that the next step need not ask the system for it again."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of glibc's ``mallopt`` (its malloc.h)."""
NEVER = 2**31 - 1
"""Free bytes at the top of the heap from which on it is trimmed: the largest value that ``mallopt`` takes."""


def keep_freed_memory() -> bool:
    """Tells glibc's allocator to hand nothing back to the system before the process ends.

    By default a tensor of more than 32 MB is mapped when it is made and unmapped when it is freed, so the gradient of a
    vocabulary's embeddings (47 MB for all-MiniLM-L6-v2) costs 11,000 page faults in every step, ten times as much as
    filling it with zeros does. The environment's own settings of the allocator (``MALLOC_...``, ``GLIBC_TUNABLES``)
    are left alone. Nothing is done where the C library is another one.

    Returns:
        Whether it was told.
    """
    told = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if told or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # a C library without it
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))

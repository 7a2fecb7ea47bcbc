"""The first moments of a process that works for another one. Light, so that it listens before it has imported torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from benchmark.interrupts import SIGNALS


def begin(
    pipe: Connection, environment: Mapping[str, str], luggage: Path, folder: Path, checkpoint_seconds: float
) -> None:
    """What a process does from its beginning to its end, with the environment of the main one."""
    os.environ.clear()
    os.environ |= environment
    threading.Thread(target=_die_with_parent, args=(luggage,), daemon=True).start()
    for number in SIGNALS:  # the main process asks
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the main process has ended
        from benchmark.serving import work

        work(pipe, luggage, folder, checkpoint_seconds)


def _die_with_parent(luggage: Path) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(luggage.parent, ignore_errors=True)  # it had no time to
    os._exit(1)

"""A process that imports everything once, and from which those that do jobs are forked in milliseconds.

A fork of the main process would copy torch's threads in the middle of what they do; a process that starts anew imports
for many seconds. This one has a single thread from its beginning to its end and computes nothing. It ends when the main
process does, as one of `multiprocessing`'s always does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

from benchmark.interrupts import SIGNALS

PRELOADED = "benchmark.preloaded"
"""The module that imports all that workers need."""
DRIVERS = ("/dev/nvidiactl", "/dev/kfd")
"""There if a GPU is: its driver does not survive a fork, once something has asked it anything."""


def begin_early(device: str) -> None:
    """Starts that process, so that it imports while this one imports too and opens the study.

    Does nothing where workers will not be forked; what goes wrong here goes wrong again, and is met, in `workers`.

    Args:
        device: As the user asks for it: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """
    if device == "cpu" or (device == "auto" and not any(Path(driver).exists() for driver in DRIVERS)):
        workers("cpu")


def workers(device: str) -> ForkServerContext | SpawnContext:
    """How processes are begun that train on this type of device: forked where that is safe, else started anew.

    On macOS, libraries of the system are not safe in a fork; a GPU's driver is not anywhere.
    """
    if device == "cpu" and sys.platform == "linux" and sys.version_info >= (3, 11, 1):  # before, others could use it
        try:
            _begin()
        except OSError:  # such as a temporary folder whose name is too long for a socket
            return multiprocessing.get_context("spawn")
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


@contextmanager
def deaf() -> Iterator[None]:
    """What is started meanwhile hears no signal from its first moment: a Ctrl-C reaches all processes of a terminal."""
    resource_tracker.ensure_running()  # which multiprocessing does otherwise, and then lets all signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Starts the process unless it runs.

    It finds modules where this one does, and nowhere else: without that, a folder ``tasks`` in the current one would be
    taken for ours. Workers get this process's environment back (`benchmark.beginning`).
    """
    forkserver.set_forkserver_preload([PRELOADED])
    own = dict(os.environ)
    os.environ |= {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path), "PYTHONSAFEPATH": "1"}
    try:
        with deaf():
            forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ |= own

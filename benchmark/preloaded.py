"""Imported by the process that workers are forked from (`benchmark.forking`): all that they need, with one thread."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

MODULES = ("benchmark.serving", "transformers.models.auto.modeling_auto")
"""What a worker imports before its first job, but for the module of the backbone's own family."""
SINGLE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Keeps libraries from starting threads when they are loaded, since no thread survives a fork. How many threads a
worker computes with is set there."""


class _DieWithParent:
    """Looks, whenever something is imported, whether there is still somebody to do it for. Finds nothing itself."""

    def __init__(self) -> None:
        self.parent = os.getppid()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if os.getppid() != self.parent:
            os._exit(1)


def _import_all() -> None:
    os.environ |= SINGLE
    guard = _DieWithParent()
    sys.meta_path.insert(0, guard)
    try:
        for module in MODULES:
            importlib.import_module(module)
    finally:
        sys.meta_path.remove(guard)


_import_all()
atexit.register(os._exit, 0)  # tidying all that up would take as long as it took to import; workers end otherwise

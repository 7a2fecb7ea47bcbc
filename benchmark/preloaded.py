"""Imported by the process that workers are forked from (`benchmark.forking`): all that they need, with one thread."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

MODULES = ("benchmark.serving", "transformers.models.auto.modeling_auto")
"""What a worker imports before its first job, but for the module of the backbone's own family."""


class _DieWithParent:
    """Looks, whenever something is imported, whether there is still somebody to do it for. Finds nothing itself."""

    def __init__(self) -> None:
        self.parent = os.getppid()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if os.getppid() != self.parent:
            os._exit(1)


def _import_all() -> None:
    # Numerical libraries start their threads when they are loaded, and no thread survives a fork. How many each worker
    # computes with is set there.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    guard = _DieWithParent()
    sys.meta_path.insert(0, guard)
    try:
        for module in MODULES:
            importlib.import_module(module)
    finally:
        sys.meta_path.remove(guard)


_import_all()

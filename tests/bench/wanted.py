"""Where Avalanche is looked for, and how to get it. Light: the main process asks."""

from __future__ import annotations

import importlib.util
from pathlib import Path

VERSION = "0.6.0"
FOLDER = Path(__file__).parents[2] / "build" / "bench"
"""Where ``make bench`` puts it, without what it depends on."""
UNUSED = ("torchvision", "pytorchcv", "GPUtil", "wandb", "torchmetrics", "gdown", "qpsolvers")
"""Packages that it imports and that have no part in training on texts."""
HOW = f"python -m pip install --no-deps --target build/bench avalanche-lib=={VERSION}"


def has_avalanche() -> bool:
    """Whether it can be imported."""
    return (FOLDER / "avalanche").is_dir() or importlib.util.find_spec("avalanche") is not None

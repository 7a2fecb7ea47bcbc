"""Packages with plugins, laid out in a folder as pip leaves them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmark.sources import source_sha256

STRATEGY = '''\
"""A strategy of another package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from strategies.base import Learner, Stage, Strategy


@dataclass(frozen=True)
class Gentle(Strategy):
    """Scales gradients from the second stage on: ``scale * g``.

    Keeps: nothing. Costs: a product a weight in each step.
    """

    name: ClassVar[str] = "gentle"

    scale: Annotated[float, Ge(0)] = 0.5
    """By what; ours."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "scale": self.scale} if stage.index else {}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        learner.state["scale"] = self.scale if stage.index else 1.0

    def before_step(self, learner: Learner) -> None:
        for weight in learner.trainable().values():
            if weight.grad is not None:
                weight.grad.mul_(learner.state["scale"])
'''

TASK = """\
from dataclasses import dataclass
from pathlib import Path

from tasks.sources.archive import Archive
from tasks.spec import TaskSpec


@dataclass(frozen=True)
class Made:
    archive: Archive = Archive("none", "", "", 0, ())

    def read(self, folder: Path):
        rows = [{"text": f"balo {word}", "label": label} for word in ("comi", "dinu") for label in ("bad", "good")]
        return {"train": rows * 4, "test": rows}


def made(name, kind="sequence"):
    described = {"description": "made up", "split": "made", "licence": "none", "citation": "none"}
    scored = {"metrics": ("accuracy",), "main": "accuracy", "labels": ("bad", "good")}
    return TaskSpec(name, kind, source=Made(), counts={}, **described, **scored)


ONE = made("one")
SEVERAL = (made("two"), made("three"))
SHIPPED = (made("four"), made("boolq"))
PROBE = [made("news_retrieval")]
SPACED = [made("fi ve")]
ODD = [made("six", "audio")]
MIXED = (made("seven"), "eight")
"""


GENTLE = {"gentle": "gentle_plugin.code:Gentle"}
FILES = {"gentle_plugin/__init__.py": "", "gentle_plugin/code.py": STRATEGY, "gentle_plugin/other.py": "x = 1\n"}
PREFIXES = ("gentle_", "made_", "broken_", "retain_lp_ft")
"""Of the modules that such packages have."""


@contextmanager
def forgetting() -> Iterator[None]:
    """Forgets the modules that are imported, and their hashes: the next test has others of the same names."""
    source_sha256.cache_clear()
    yield
    source_sha256.cache_clear()
    for name in [name for name in sys.modules if name.startswith(PREFIXES)]:
        del sys.modules[name]


def lay(
    folder: Path,
    package: str,
    files: Mapping[str, str],
    strategies: Mapping[str, str] | None = None,
    tasks: Mapping[str, str] | None = None,
    version: str = "1.0",
) -> Path:
    """A package with these files and entry points; returns the folder that belongs on the path."""
    information = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    information.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    (information / "METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, entries in (("retain.strategies", strategies), ("retain.tasks", tasks)):
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in (entries or {}).items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder

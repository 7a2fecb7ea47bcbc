"""The command called in this process, and a suite that is small enough to run in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.cli import main

TASKS = ["tiny_sentiment", "tiny_tags", "tiny_spans"]

Retain = Callable[..., tuple[int, str, str]]
"""Takes the arguments, gives exit code, standard output and standard error."""


def caller(capsys: pytest.CaptureFixture[str]) -> Retain:
    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        done = capsys.readouterr()
        return code, done.out, done.err

    return call


def write_suite(folder: Path, backbone: Path) -> Path:
    """Every strategy over three of the tiny tasks, in a file ``tiny.yaml``."""
    path = folder / "tiny.yaml"
    path.write_text(
        f"description: tiny\nbackbone: {backbone}\nstream: [{', '.join(TASKS)}]\nprobes: [tiny_retrieval]\n"
        "train_examples: 24\nmax_length: 32\ntraining: {batch_size: 8}\n"
        "strategies: {naive: , l2_anchor: , ewc: {examples: 8}, freeze: , joint: }\n",
        encoding="utf-8",
    )
    return path


def is_one_line(message: str) -> bool:
    return message.startswith("retain: ") and message.endswith("\n") and message.count("\n") == 1

"""Memory that was freed is used again instead of being asked for anew, and the user's own settings are respected."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from benchmark.allocator import keep_freed_memory

FAULTS = """
import resource, sys
import torch
from benchmark.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(12_000_000)  # 48 MB, more than glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
plain = faults()
told = keep_freed_memory()
for _ in range(10):  # until there is room beside what small things have taken of what was free
    faults()
sys.stdout.write(f"{told} {plain} {faults()}")
"""


def measured(**environment: str) -> tuple[str, int, int]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=inherited | environment, capture_output=True, text=True, check=True
    )
    told, plain, kept = done.stdout.split()
    return told, int(plain), int(kept)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_large_tensors_cost_no_page_faults_any_more() -> None:
    told, plain, kept = measured()
    assert told == "True"
    assert kept < plain / 20


def test_settings_of_the_environment_are_left_alone() -> None:
    told, _, _ = measured(MALLOC_ARENA_MAX="4")
    assert told == "False"


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()

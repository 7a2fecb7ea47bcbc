"""The process that workers are forked from: what it is, what it leaves to them, and where it is not used."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from benchmark import forking
from benchmark.forking import deaf, workers

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


def look(pipe: Connection, environment: Mapping[str, str]) -> None:
    """Tells what a worker finds."""
    already = sorted({"torch", "transformers", "benchmark.worker"} & set(sys.modules))
    os.environ.clear()
    os.environ |= environment
    pipe.send((already, os.getppid(), psutil.Process(os.getppid()).num_threads(), dict(os.environ), sys.path))


def compute(pipe: Connection, threads: int) -> None:
    """Tells the bits of a few steps that use several threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 3))
    optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        layers(torch.randn(300, 256)).logsumexp(dim=1).mean().backward()
        optimizer.step()
    spread = torch.tensor([float(weight.double().sum()) for weight in layers.parameters()]).tolist()
    pipe.send((torch.get_num_threads(), spread, torch.rand(400_000).sum().item(), psutil.Process().num_threads()))


def told(context: Any, target: Any, *arguments: object) -> Any:
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments))
    with deaf():
        process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join(30)


@LINUX
def test_a_worker_has_all_modules_at_once_its_parent_one_thread_and_our_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = workers("cpu")
    assert context.get_start_method() == "forkserver"
    monkeypatch.setenv("SET_LATER", "here")
    already, parent, threads, environment, path = told(context, look, dict(os.environ))
    assert already == ["benchmark.worker", "torch", "transformers"]
    assert parent != os.getpid()
    assert threads == 1  # or a fork would copy them in the middle of what they do
    assert environment == dict(os.environ)
    assert path == sys.path


@LINUX
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_worker_computes_the_bits_of_one_that_starts_anew_with_as_many_threads(threads: int) -> None:
    forked = told(workers("cpu"), compute, threads)
    anew = told(multiprocessing.get_context("spawn"), compute, threads)
    assert forked[:3] == anew[:3]
    assert forked[0] == threads
    assert forked[3] >= threads


def test_where_a_fork_is_not_safe_processes_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise OSError("AF_UNIX path too long")

    for device in ("cuda", "mps"):
        assert workers(device).get_start_method() == "spawn"
    monkeypatch.setattr(forking, "_begin", refused)
    assert workers("cpu").get_start_method() == "spawn"
    monkeypatch.setattr("benchmark.forking.sys.platform", "darwin")
    monkeypatch.setattr(forking, "_begin", lambda: pytest.fail("it was begun"))
    assert workers("cpu").get_start_method() == "spawn"


@pytest.mark.parametrize(("device", "driver", "begun"), [("auto", True, 0), ("auto", False, 1), ("cpu", True, 1)])
def test_nothing_is_begun_early_where_a_gpu_may_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, driver: bool, begun: int
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(forking, "workers", asked.append)
    monkeypatch.setattr(forking, "DRIVERS", (str(tmp_path) if driver else str(tmp_path / "none"),))
    forking.begin_early(device)
    forking.begin_early("cuda")
    assert len(asked) == begun


def test_the_environment_of_this_process_is_left_alone() -> None:
    before = json.dumps(dict(os.environ))
    workers("cpu")
    assert json.dumps(dict(os.environ)) == before

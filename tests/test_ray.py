"""A study on a real Ray cluster of two nodes on this machine, with a process killed and a node lost on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import torch

from benchmark.engine import Engine
from benchmark.errors import UserError
from benchmark.progress import Progress
from benchmark.ray_executor import RayTasks, Resources
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from results.record import Run
from strategies.base import Learner
from strategies.naive import Naive
from tests.command import write_suite
from tests.lab import Ran, numbers

pytestmark = pytest.mark.slow

PAUSE = 0.2
"""Seconds in every step of a slow run: long enough to be met in the middle."""


@dataclass(frozen=True)
class Slow(Naive):
    """Naive, with time for accidents."""

    name: ClassVar[str] = "naive"

    def before_step(self, learner: Learner) -> None:
        time.sleep(PAUSE)


@dataclass(frozen=True)
class Raising(Naive):
    """Fails in its first step."""

    name: ClassVar[str] = "raising"

    def fingerprint(self, stage: Any) -> dict[str, object]:
        return {"strategy": self.name}

    def before_step(self, learner: Learner) -> None:
        raise RuntimeError("broken on purpose")


@pytest.fixture
def study(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Iterator[Study]:
    """Naive with two seeds, and EWC: two runs can be under way at once."""
    threads = torch.get_num_threads()
    file = write_suite(tmp_path, backbone_folder)
    overrides = Overrides(["naive", "ewc"], seeds=[0, 1], settings=["training.batch_size=2"])
    opened = open_study(load_suite(str(file), overrides), "cpu", lambda _: None, threads=1)
    cells = [replace(cell, strategy=Slow()) if cell.strategy.name == "naive" else cell for cell in opened.suite.cells]
    yield replace(opened, suite=replace(opened.suite, cells=tuple(cells)))
    torch.set_num_threads(threads)


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": soon}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


def on_ray(study: Study, folder: Path, address: str, **settings: Any) -> tuple[list[Run], str]:
    said = StringIO()
    with Progress(stream=said) as progress:
        engine = Engine(study, folder, progress)
        runs = engine.run(RayTasks(study, folder, progress, Resources(address), **settings))
    return runs, said.getvalue()


def workers() -> list[psutil.Process]:
    """Ray's processes that do a task of ours now: Ray names a process after what it does."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[:1] == ["ray::_do"]:
                found.append(process)
        except psutil.Error:
            continue
    return found


class Accidents(threading.Thread):
    """Lets things happen to a study, one after the other, each while two tasks are under way."""

    def __init__(self, *accidents: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.accidents = accidents
        self.happened = 0

    def run(self) -> None:
        for accident in self.accidents:
            while len(workers()) < 2:
                time.sleep(0.05)
            time.sleep(3 * PAUSE)
            accident()
            self.happened += 1


def test_a_study_survives_a_killed_process_and_a_lost_node(study: Study, cluster: Any, tmp_path: Path) -> None:
    serial = Ran(study, tmp_path / "serial")
    node = cluster.add_node(num_cpus=1)
    accidents = Accidents(lambda: workers()[0].kill(), lambda: cluster.remove_node(node, allow_graceful=False))
    accidents.start()
    runs, _ = on_ray(study, tmp_path / "ray", cluster.address, checkpoint_seconds=0.0)
    assert accidents.happened == 2
    assert [run.failure for run in runs] == [None] * 4
    assert [numbers(run) for run in runs] == [numbers(run) for run in serial.runs]
    assert {path.suffix for path in (tmp_path / "ray" / "stages" / "tensors").iterdir()} == set()


def test_a_strategy_that_raises_fails_its_run_alone(study: Study, cluster: Any, tmp_path: Path) -> None:
    cells = [replace(cell, strategy=Raising()) if cell.name == "naive-seed1" else cell for cell in study.suite.cells]
    runs, said = on_ray(
        replace(study, suite=replace(study.suite, cells=tuple(cells))), tmp_path / "ray", cluster.address
    )
    failures = [run.failure for run in runs]
    assert [failure is not None for failure in failures] == [False, True, False, False]
    assert failures[1] is not None
    assert failures[1].reason == "RuntimeError: broken on purpose"
    assert "before_step" in failures[1].trace
    assert "naive-seed1: failed at tiny_sentiment: RuntimeError: broken on purpose; the other runs go on" in said


def test_an_interrupt_lets_the_steps_end_and_keeps_them(study: Study, cluster: Any, tmp_path: Path) -> None:
    rows = tmp_path / "ray" / "stages" / "rows"

    def interrupt() -> None:
        while len(list(rows.glob("*.json"))) < 2:  # both untrained models are measured: training begins
            time.sleep(0.05)
        time.sleep(3 * PAUSE)
        os.kill(os.getpid(), signal.SIGINT)

    cluster.add_node(num_cpus=1)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        on_ray(study, tmp_path / "ray", cluster.address)
    assert list((tmp_path / "ray" / "stages" / "checkpoints").glob("*.json"))
    assert not workers()
    assert [numbers(run) for run in Ran(study, tmp_path / "ray").runs] == [
        numbers(run) for run in Ran(study, tmp_path / "serial").runs
    ]


def test_a_machine_with_other_code_is_refused(study: Study, cluster: Any, tmp_path: Path) -> None:
    other = replace(study, provenance=study.provenance.model_copy(update={"code_sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"^machine .*: code_sha256 is .*, but where the command runs it is 000"):
        on_ray(other, tmp_path / "ray", cluster.address)


def test_a_cluster_that_is_not_there_is_one_line(study: Study, tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"^--address 127\.0\.0\.1:1: ") as caught,
        Progress(stream=StringIO()) as progress,
    ):
        RayTasks(study, tmp_path, progress, Resources("127.0.0.1:1"))
    assert "\n" not in str(caught.value)

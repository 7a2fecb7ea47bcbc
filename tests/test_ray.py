"""A study on a real Ray cluster of two nodes on this machine, with a process killed and a node lost on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from benchmark.engine import Engine
from benchmark.progress import Progress
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from results.record import Run
from tests.command import write_suite
from tests.lab import Ran, numbers

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def study(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Iterator[Study]:
    threads = torch.get_num_threads()
    file = write_suite(tmp_path, backbone_folder)
    yield open_study(load_suite(str(file), Overrides()), "cpu", lambda _: None, threads=1)
    torch.set_num_threads(threads)


def test_x(study: Study, tmp_path: Path) -> None:
    import time
    from ray.cluster_utils import Cluster
    from benchmark.ray_executor import RayTasks, Resources

    serial = Ran(study, tmp_path / "serial")
    t = time.time()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    print("cluster", time.time() - t)
    said = StringIO()
    with Progress(stream=said) as progress:
        engine = Engine(study, tmp_path / "ray", progress)
        runs = engine.run(RayTasks(study, tmp_path / "ray", progress, Resources(cluster.address)))
    print(said.getvalue(), time.time() - t)
    cluster.shutdown()
    print("cluster", time.time() - t)
    assert [numbers(run) for run in runs] == [numbers(run) for run in serial.runs]

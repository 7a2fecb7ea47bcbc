"""What catalogue, streams and suites promise each other. Nothing is read or downloaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmark.suite import load_suites
from benchmark.suite_files import suite_names
from tasks.catalogue import TASKS
from tasks.metrics import METRICS
from tasks.scenarios import arrange
from tasks.sources.archive import HubFiles
from tasks.spec import PRETRAINING, TaskSpec
from tasks.streams import STREAMS, Stream

KNOWN = {task.name: task for task in TASKS}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_is_complete(task: TaskSpec) -> None:
    assert "test" in task.counts and ("train" in task.counts or isinstance(task.source.archive, HubFiles))
    assert min(task.counts.values()) > 0
    assert (task.validation is None) == ("validation" not in task.counts)
    assert set(task.metrics) <= METRICS.keys()
    assert len(set(task.labels)) == len(task.labels)
    assert bool(task.labels) == (task.kind not in ("span", "causal"))
    assert all((task.description, task.split, task.licence, task.citation))


@pytest.mark.parametrize("task", [task for task in TASKS if task.kind == "token"], ids=lambda task: task.name)
def test_entity_tags_are_bio_and_begin_with_outside(task: TaskSpec) -> None:
    if "entity_f1" in task.metrics:
        assert task.labels[0] == "O"
        assert {label[:2] for label in task.labels[1:]} == {"B-", "I-"}
        assert {label[2:] for label in task.labels if label.startswith("I-")} <= {
            label[2:] for label in task.labels if label.startswith("B-")
        }


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_stream_orders_the_same_tasks_in_different_ways(stream: Stream) -> None:
    assert all(sorted(order) == sorted(stream.tasks) for order in stream.orders)
    assert len({stream.tasks, *stream.orders}) == 1 + len(stream.orders)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_streams_tasks_fit_its_scenario(stream: Stream) -> None:
    arranged = arrange(stream, [KNOWN[name] for name in stream.tasks])
    shared = {task.head_name for task in arranged if task.head_name != PRETRAINING}
    modelled = sum(task.head_name == PRETRAINING for task in arranged)
    assert len(shared) == (len(stream.tasks) - modelled if stream.scenario == "task-incremental" else 1)


@pytest.mark.parametrize("name", suite_names())
def test_a_shipped_suite_loads(name: str) -> None:
    for suite in load_suites(name):
        assert suite.cells and suite.probes
        for plan in suite.tasks:
            assert plan.test_examples is None or plan.test_examples <= plan.spec.counts["test"]
            assert plan.train_examples is None or plan.train_examples <= plan.spec.counts.get("train", 10**9)


def test_the_catalogue_is_light() -> None:
    heavy = ("torch", "transformers", "datasets", "pandas", "sklearn", "matplotlib")
    code = f"import sys, tasks.catalogue, tasks.streams; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

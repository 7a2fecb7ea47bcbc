"""Runs that fail, weights that stay or go, and commands that share a folder."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from benchmark.engine import Engine, Keep
from benchmark.executors import InProcess
from benchmark.jobs import Graph, Job
from benchmark.loop import evaluate, train_stage
from benchmark.progress import Progress
from benchmark.shelf import Command, Shelf
from benchmark.store import Store
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import Outcome, Worker
from results.record import Run, load
from tests.command import TASKS, Retain, caller, write_suite
from tests.faulty import Faulty, Hook, with_strategies
from tests.lab import Ran, numbers

Open = Callable[..., Study]
Alone = Callable[..., dict[str, Run]]
ALL = ["naive", "l2_anchor", "ewc", "freeze", "joint"]


@pytest.fixture
def suite(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Path:
    return write_suite(tmp_path, backbone_folder)


@pytest.fixture
def opened(suite: Path) -> Open:
    def open_(*strategies: str, settings: list[str] | None = None) -> Study:
        return open_study(load_suite(str(suite), Overrides(list(strategies), None, settings or [])), "cpu", print)

    return open_


ALONE: dict[tuple[str, ...], dict[str, Run]] = {}


@pytest.fixture
def alone(opened: Open, tmp_path: Path) -> Alone:
    """Runs computed in a folder of their own, once for all tests: the data are always the same."""

    def alone_(*settings: str) -> dict[str, Run]:
        if settings not in ALONE:
            study = opened("naive", "ewc", "joint", "freeze", settings=list(settings))
            ALONE[settings] = Ran(study, tmp_path / "alone").by_strategy
        return ALONE[settings]

    return alone_


def examples(study: Study) -> list[int]:
    """Training examples of each task."""
    return [len(task.train.features) for task in study.tasks]


def tensors(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "stages" / "tensors").glob("*")}


def digests(folder: Path, keys: Collection[str]) -> set[str]:
    """What these steps name."""
    return Shelf(folder / "stages", print).digests(keys)


def counted(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]) -> list[tuple[Any, ...]]:
    """The arguments of every call of a function, from now on."""
    calls: list[tuple[Any, ...]] = []

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(name, call)
    return calls


@pytest.mark.parametrize("hook", ["before_stage", "loss", "after_stage"])
def test_a_run_that_raises_fails_alone_and_is_taken_up_at_the_step_before(
    opened: Open, alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: Hook
) -> None:
    study, naive = with_strategies(opened("naive"), [Faulty(hook)]), alone()["naive"]
    ran = Ran(study, tmp_path / "runs")
    assert numbers(ran.by_strategy["naive"]) == numbers(naive)

    failed = ran.by_strategy["faulty"]
    assert failed == load(tmp_path / "runs" / study.suite.cells[1].filename)
    assert failed.failure is not None
    assert (failed.failure.stage, failed.failure.reason) == (1, f"RuntimeError: told to fail in {hook}")
    assert f"in {hook}\n" in failed.failure.trace and 'faulty.py", line' in failed.failure.trace
    assert (failed.scores, failed.drift, failed.losses) == (naive.scores[:2], naive.drift[:2], naive.losses[:1])
    assert len(failed.costs) == 1
    (line,) = [line for line in ran.said.splitlines() if "failed at" in line]
    assert line == f"faulty-seed0: failed at tiny_tags: RuntimeError: told to fail in {hook}; the other runs go on"

    _, second, third = examples(study)
    again = Ran(study, tmp_path / "runs")
    assert again.by_strategy["faulty"].failure == failed.failure
    assert again.trained == 0
    monkeypatch.setattr(Faulty, "broken", False)
    mended = Ran(study, tmp_path / "runs")
    assert mended.trained == third + (0 if hook == "after_stage" else second)
    assert mended.by_strategy["faulty"].metrics == naive.metrics
    assert mended.by_strategy["faulty"].drift == naive.drift
    assert mended.said.count("done before") == again.said.count("done before") == 1
    assert not tensors(tmp_path / "runs")


def test_only_the_step_before_the_failed_one_is_spared(opened: Open, tmp_path: Path) -> None:
    study = with_strategies(opened("naive"), [Faulty("loss", 1)])
    ran = Ran(study, tmp_path / "runs")
    after_the_first_stage = ran.engine.graph.paths[1][2]
    assert (after_the_first_stage.step, after_the_first_stage.stage) == ("after", 0)
    assert tensors(tmp_path / "runs") == digests(tmp_path / "runs", [after_the_first_stage.key]) != set()


def test_weights_that_are_no_numbers_fail_when_they_are_measured(opened: Open, tmp_path: Path) -> None:
    failed = Ran(with_strategies(opened("naive"), [Faulty("measuring", 0)]), tmp_path / "runs").by_strategy["faulty"]
    assert failed.failure is not None
    assert (failed.failure.stage, failed.failure.trace) == (0, "")
    assert failed.failure.reason.endswith("is nan when measured")
    assert len(failed.scores) == 1 and not failed.costs


def test_runs_that_share_a_step_that_diverges_fail_together_and_it_is_computed_once(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch, "benchmark.worker.train_stage", train_stage)
    study = opened(*ALL, settings=["training.learning_rate=1e30"])
    ran = Ran(study, tmp_path / "runs")
    failures = {name: run.failure for name, run in ran.by_strategy.items()}
    assert failures.pop("freeze") is None  # its body never moves
    assert len(failures) == 4
    for failure in failures.values():
        assert failure is not None
        assert (failure.stage, failure.trace) == (0, "")
        assert failure.reason.startswith("loss ") and "lower the learning rate" in failure.reason
    assert failures["naive"] == failures["ewc"]
    assert ran.progress.position == ran.progress.total == sum(examples(study))  # nobody waits for the others any more
    begun = Counter((arguments[1].name, arguments[2].index) for arguments in calls)
    assert begun == {("naive", 0): 1, ("l2_anchor", 0): 1, ("joint", 0): 1} | {
        ("freeze", stage): 1 for stage in range(3)
    }
    assert ran.said.count("failed at tiny_sentiment") == 4  # joint's stage has all three names
    calls.clear()
    again = Ran(study, tmp_path / "runs")
    assert [arguments[1].name for arguments in calls] == ["naive", "l2_anchor", "joint"]
    assert [run.failure for run in again.runs] == [run.failure for run in ran.runs]


def test_a_fisher_that_raises_ends_all_strengths_that_share_it(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def raises(*arguments: Any) -> None:
        tried.append("fisher")
        raise ValueError("no importance today")

    monkeypatch.setattr("strategies.importance.PerExample.add", raises)
    ran = Ran(opened("naive", "ewc", settings=["ewc.lam=[1,10]"]), tmp_path / "runs")
    assert [run.failure and run.failure.stage for run in ran.runs] == [None, 0, 0]
    assert [len(run.scores) for run in ran.runs] == [4, 1, 1]
    assert tried == ["fisher"]


def test_an_untrained_model_that_can_not_be_measured_fails_all_runs_of_its_seed_at_once(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*arguments: Any) -> Any:
        raise OSError("a metric\x07is broken")

    monkeypatch.setattr("benchmark.measuring.evaluate", raises)
    ran = Ran(opened("naive", "ewc"), tmp_path / "runs")
    for run in ran.runs:
        assert run.failure is not None
        assert (run.failure.stage, run.failure.reason) == (-1, "OSError: a metric is broken")
        assert not run.scores
    assert ran.said.count("failed at the untrained model: OSError") == 2
    assert ran.trained == 0
    monkeypatch.setattr("benchmark.measuring.evaluate", evaluate)
    assert not any(run.failure for run in Ran(opened("naive", "ewc"), tmp_path / "runs").runs)


def test_a_measurement_that_raises_fails_at_its_stage_and_needs_no_training_again(
    opened: Open, alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[str] = []

    def raises_in_the_third_row(learner: Any, strategy: Any, task: Any, team: Any) -> Any:
        rows.append(task.name)
        if len(rows) > 2 * len(TASKS):
            raise MemoryError
        return evaluate(learner, strategy, task, team)

    monkeypatch.setattr("benchmark.measuring.evaluate", raises_in_the_third_row)
    (failed,) = Ran(opened("naive"), tmp_path / "runs").runs
    assert failed.failure is not None
    assert (failed.failure.stage, failed.failure.reason) == (1, "MemoryError:")
    monkeypatch.setattr("benchmark.measuring.evaluate", evaluate)
    study = opened("naive")
    mended = Ran(study, tmp_path / "runs")
    assert mended.trained == examples(study)[2]
    assert numbers(mended.runs[0]) == numbers(alone()["naive"])


def test_a_failed_run_makes_the_exit_code_1_and_is_tried_again(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.commands.run.report", lambda runs, folder: f"{len(runs)} runs")
    retain: Retain = caller(capsys)
    command = ("run", suite, "--strategies", "naive,freeze", "--device", "cpu", "--out", tmp_path / "out")
    for time_ in ("first", "second"):
        code, printed, said = retain(*command, "--set", "training.learning_rate=1e30")
        assert (code, printed) == (1, "2 runs\n")
        assert said.count("naive-seed0: failed at tiny_sentiment: loss ") == 1
        assert said.count("freeze-seed0: done before") == (time_ == "second")
        assert "Traceback" not in said
    assert retain(*command)[0] == 0


@pytest.mark.parametrize("keep", ["none", "last", "all"])
def test_at_no_time_are_there_more_tensors_than_are_needed_or_should_be_kept(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: Keep
) -> None:
    drop, most = Command.drop, [0]

    def watched(self: Command, keys: Collection[str], needed: Collection[str]) -> None:
        drop(self, keys, needed)
        assert tensors(tmp_path / "runs") == digests(tmp_path / "runs", needed)
        most[0] = max(most[0], len(tensors(tmp_path / "runs")))

    monkeypatch.setattr(Command, "drop", watched)
    paths = Ran(opened(*ALL), tmp_path / "runs", keep).engine.graph.paths
    stay: set[str] = {"none": set(), "last": {nodes[-1].key for nodes in paths}}.get(
        keep, {node.key for nodes in paths for node in nodes}
    )
    assert len(stay) == {"none": 0, "last": 5, "all": 1 + 14}[keep]
    assert tensors(tmp_path / "runs") == digests(tmp_path / "runs", stay)
    # Weights of five runs, two of which share the first stage; states: an empty one, EWC's two and the L2 anchor's one.
    assert len(tensors(tmp_path / "runs")) == {"none": 0, "last": 5 + 3, "all": (3 + 3 + 2 + 3 + 1) + 4}[keep]
    if keep == "none":
        assert 0 < most[0] <= 4  # where naive goes on and where EWC begins: weights, an empty state and EWC's


def test_kept_weights_are_measured_by_other_probes_without_training(opened: Open, alone: Alone, tmp_path: Path) -> None:
    Ran(opened("naive", "ewc"), tmp_path / "all", "all")
    Ran(opened("naive", "joint"), tmp_path / "last", "last")
    study = opened("naive", "ewc", settings=["probes=[]"])
    ran = Ran(study, tmp_path / "all")
    assert ran.trained == 0
    assert [numbers(run) for run in ran.runs] == [numbers(alone("probes=[]")[name]) for name in ("naive", "ewc")]
    study = opened("joint", "naive", settings=["probes=[]"])
    ran = Ran(study, tmp_path / "last", "last")
    assert ran.trained == sum(examples(study)[:2])  # the rows between naive's stages need the weights there
    assert [numbers(run) for run in ran.runs] == [numbers(alone("probes=[]")[name]) for name in ("joint", "naive")]


def test_a_later_run_goes_on_from_a_kept_stage_of_another_strategy(opened: Open, alone: Alone, tmp_path: Path) -> None:
    Ran(opened("naive"), tmp_path / "runs", "all")
    study = opened("ewc")
    ran = Ran(study, tmp_path / "runs")
    assert ran.trained == sum(examples(study)[1:])
    assert numbers(ran.runs[0]) == numbers(alone()["ewc"])


def test_what_another_command_needs_stays_until_it_has_ended(opened: Open, tmp_path: Path) -> None:
    study = opened("naive")
    store = Store(tmp_path / "runs" / "stages", print)
    (nodes,) = Graph(study, store).paths
    with store.shelf.command() as other:
        other.needs([nodes[1].key])
        Ran(study, tmp_path / "runs")
        assert tensors(tmp_path / "runs") == digests(tmp_path / "runs", [nodes[1].key]) != set()
    Ran(study, tmp_path / "runs")
    assert not tensors(tmp_path / "runs")


def test_a_command_says_what_it_needs_before_it_looks_what_is_there(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ran(opened("naive"), tmp_path / "runs", "all")
    look = Graph.to_do

    def another_drops_just_then(graph: Graph, cells: Collection[int]) -> dict[str, Job]:
        found = look(graph, cells)
        with Shelf(tmp_path / "runs" / "stages", print).command() as other:
            other.drop(graph.jobs, [])
        return found

    monkeypatch.setattr(Graph, "to_do", another_drops_just_then)
    assert Ran(opened("naive", settings=["probes=[]"]), tmp_path / "runs").trained == 0


def test_a_step_that_another_command_is_at_is_waited_for_and_the_others_are_done(opened: Open, tmp_path: Path) -> None:
    study = opened("naive", "freeze")
    shelf = Shelf(tmp_path / "runs" / "stages", print)
    (first, _) = Graph(study, Store(shelf.folder, print)).paths
    said = StringIO()
    with Progress(stream=said) as progress:
        engine = Engine(study, tmp_path / "runs", progress)
        worker = Worker(study, engine.store, progress.lane())
        with shelf.lock(first[1].key):
            thread = threading.Thread(target=lambda: engine.run(InProcess(worker)))
            thread.start()
            waited_until(lambda: "freeze-seed0: done" in said.getvalue())
            assert "naive-seed0, stage" not in said.getvalue()
            assert said.getvalue().count("naive-seed0: another command is at it") == 1
        thread.join(30)
    assert "naive-seed0: done" in said.getvalue()
    assert progress.position == progress.total == 2 * sum(examples(study))


def waited_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


class Flipping(InProcess):
    """After every job that is done for the first time, a bit of what it left is flipped."""

    def __init__(self, worker: Worker, kind: str) -> None:
        super().__init__(worker)
        self.kind = kind
        self.flipped: set[str] = set()

    def wait(self) -> list[tuple[Job, Outcome]]:
        outcomes = super().wait()
        ((job, _),) = outcomes
        if job.key not in self.flipped:
            self.flipped.add(job.key)
            for path in (self.worker.store.shelf.folder / self.kind).glob("[!.]*"):
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 1
                path.write_bytes(content)
        return outcomes


@pytest.mark.parametrize("kind", ["nodes", "rows", "tensors"])
def test_what_is_damaged_as_soon_as_it_is_written_is_computed_again(
    opened: Open, alone: Alone, tmp_path: Path, kind: str
) -> None:
    # A single run has its learner at hand and reads no tensors; of two that part ways, the second one does.
    study = opened("ewc", settings=["ewc.lam=[1, 1e4]"] if kind == "tensors" else [])
    said = StringIO()
    with Progress(stream=said) as progress:
        engine = Engine(study, tmp_path / "runs", progress)
        *_, run = engine.run(Flipping(Worker(study, engine.store, progress.lane()), kind))
    assert numbers(run) == numbers(alone()["ewc"])
    assert "damaged; it is computed again" in said.getvalue()
    assert not tensors(tmp_path / "runs")
    assert progress.position == progress.total

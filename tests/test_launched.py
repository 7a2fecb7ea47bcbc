"""One model on two real processes, started by accelerate's launcher. Each start takes seconds."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from benchmark.engine import Engine
from benchmark.executors import InProcess
from benchmark.progress import Progress
from benchmark.study import open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import Worker
from results.record import Run
from tests.launched import Notes, watch
from tests.launching import LAUNCH, ROOT, TIMEOUT, Finished, Place, family, make_place, records, until

EVERY = "{naive: , l2_anchor: , ewc: {examples: 8}, freeze: {part: layers, layers: 1}, joint: , stumble: }"
DIVERGES = "stumble.how=[not at all, diverges]"
CLOSE = 1e-5

Runs = dict[tuple[str, str], Run]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Place:
    return make_place(tmp_path_factory.mktemp("launched"), backbone_folder)


@dataclass(frozen=True)
class Both:
    """One suite on one process and on two."""

    one: Runs
    two: Runs
    alone: Notes
    main: Notes
    other: Notes
    finished: Finished
    folder: Path


@pytest.fixture(scope="module")
def both(place: Place) -> Both:
    suite, out = place.suite("every", EVERY), place.folder / "two"
    finished = place.run(2, "run", suite, "--set", DIVERGES, "--out", out)
    main, other, alone = place.notes(0), place.notes(1), Notes()
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RETAIN_CACHE", str(place.folder / "cache"))
        watch(place.scene, alone, patched.setattr)
        study = open_study(load_suite(str(suite), Overrides(settings=[DIVERGES])), "cpu", lambda _: None, threads=1)
        with Progress() as progress:
            engine = Engine(study, place.folder / "one", progress)
            engine.run(InProcess(Worker(study, engine.store, progress.lane())))
    torch.set_num_threads(threads)
    return Both(records(place.folder / "one"), records(out), alone, main, other, finished, out)


def difference(one: Tensor, other: Tensor, least: float = 0.0) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / one.abs().max().clamp(min=least))


def test_two_processes_score_as_one(both: Both) -> None:
    assert len(both.one) == 7
    assert list(both.one) == list(both.two)
    for name, one in both.one.items():
        two = both.two[name]
        assert two.scores == one.scores
        assert two.metrics == one.metrics
        assert [cost.steps for cost in two.costs] == [cost.steps for cost in one.costs]
        assert [cost.trained_tokens for cost in two.costs] == [cost.trained_tokens for cost in one.costs]
        assert [cost.strategy_bytes for cost in two.costs] == [cost.strategy_bytes for cost in one.costs]
        for before, after in zip(one.losses, two.losses, strict=True):
            assert after == pytest.approx(before, rel=CLOSE)
        for probed, again in zip(one.probes, two.probes, strict=True):
            assert again["tiny_retrieval"] == pytest.approx(probed["tiny_retrieval"], rel=CLOSE)


def test_what_two_processes_train_answers_as_what_one_does_before_any_metric_rounds_it(both: Both) -> None:
    assert len(both.alone.answers) == len(both.main.answers) == 17 + 4
    for one, two in zip(both.alone.answers, both.main.answers, strict=True):
        assert len(one) == 4
        assert max(difference(one[task], two[task]) for task in one) < CLOSE
    for before, after in zip(both.alone.losses, both.main.losses, strict=True):
        assert after == pytest.approx(before, rel=CLOSE)


def test_two_processes_move_every_weight_as_one_does(both: Both) -> None:
    start, *_, one = both.alone.weights[-5:]
    two = both.main.weights[-1]
    moved = [name for name in one if difference(start[name], one[name], least=1e-3) > 100 * CLOSE]
    assert len(moved) > 30
    assert max(difference(one[name], two[name], least=1e-3) for name in one) < CLOSE


def test_both_processes_hold_the_same_bits(both: Both) -> None:
    assert len(both.main.weights) == len(both.other.weights)
    for main, other in zip(both.main.weights, both.other.weights, strict=True):
        assert all(main[name].equal(other[name]) for name in main)
    assert both.main.losses == both.other.losses


def test_records_say_how_many_processes_trained_and_no_step_is_shared_with_one(both: Both) -> None:
    assert {run.provenance.processes for run in both.one.values()} == {1}
    assert {run.provenance.processes for run in both.two.values()} == {2}
    keys = [{path.name for path in (both.folder.parent / name / "stages/nodes").iterdir()} for name in ("one", "two")]
    assert len(keys[0]) == len(keys[1]) > 20
    assert not keys[0] & keys[1]


def test_a_loss_that_is_not_finite_fails_one_run_on_all_processes_and_the_others_go_on(both: Both) -> None:
    assert both.finished.code == 1
    assert both.finished.printed == "7 runs\n"
    failed = {name: run.failure for name, run in both.two.items() if run.failure is not None}
    assert list(failed) == [("stumble", "diverges")]
    assert failed["stumble", "diverges"].stage == 0
    assert failed["stumble", "diverges"].reason.startswith("loss nan, gradient norm nan at step 3 of 6;")


def test_only_the_main_process_writes_downloads_and_speaks(both: Both) -> None:
    ours = str(both.folder.parent)
    assert [path for path in both.other.written if path.startswith(ours)] == []
    assert len([path for path in both.main.written if path.startswith(ours)]) > 30
    assert both.main.downloaded == ["absent-pair-1-py3-none-any.whl"]
    assert both.other.downloaded == []
    said = [line for line in both.finished.said.splitlines() if re.match(r"\S+-seed0\b", line)]
    assert len(said) == len(set(said)) > 30
    assert sum("failed at tiny_sentiment" in line for line in said) == 1


def test_a_mistake_of_the_user_is_one_line_and_leaves_nothing(place: Place) -> None:
    out = place.folder / "mistaken"
    command = [*LAUNCH, "--num_processes", "2", "-m", "benchmark.cli", "run", "quickstart", "--strategies", "naiv"]
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=ROOT, env=place.environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "retain" in line]
    assert said == ["retain: unknown strategy 'naiv': did you mean naive?"]
    assert not out.exists()


def test_an_error_in_one_process_ends_all(place: Place) -> None:
    suite, changes = place.suite("raising", "{stumble: }"), ["--set", "stumble.how=raises", "--set", "stumble.rank=1"]
    with place.started(2, "run", suite, *changes, "--out", place.folder / "raising") as launcher:
        until(launcher, lambda: len(family(launcher)) == 3)
        processes = family(launcher)
        _, said = launcher.communicate(timeout=TIMEOUT)
        assert psutil.wait_procs(processes, timeout=10)[1] == []
    assert len(processes) == 3
    assert launcher.returncode == 1
    assert len(re.findall("ZeroDivisionError: a strategy's mistake", said)) == 1
    assert not records(place.folder / "raising")


def position(out: Path) -> int:
    """Steps of a stage on its way that are kept."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (out / "stages/checkpoints").glob("[!.]*.json")]
    return max((checkpoint["value"]["position"] for checkpoint in kept), default=0)


@pytest.mark.parametrize(
    "ended_by",
    [signal.SIGINT, *(pytest.param(end, marks=pytest.mark.slow) for end in (signal.SIGTERM, signal.SIGKILL))],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(place: Place, both: Both, ended_by: signal.Signals) -> None:
    name, killed = f"stopped-{ended_by.name}", ended_by == signal.SIGKILL
    suite, out, mark = place.suite(name, "{stumble: {pause: 0.5}}"), place.folder / name, place.folder / f"{name}.mark"
    command = ["run", suite, "--set", f"stumble.mark={mark}", "--out", out]
    command += ["--checkpoint-minutes", "0.0001" if killed else "10"]
    with place.started(2, *command) as launcher:
        until(launcher, lambda: position(out) > 2 if killed else mark.exists())
        processes = family(launcher)
        assert len(processes) == 3
        for process in processes if killed else processes[:1]:  # the launcher passes on what it can
            process.send_signal(ended_by)
        _, said = launcher.communicate(timeout=TIMEOUT)
        assert psutil.wait_procs(processes, timeout=10)[1] == []
    assert launcher.returncode != 0
    assert said.count("retain: interrupted; what was done is kept") == (not killed)
    assert 2 < position(out) < 6
    assert not records(out)

    mark.unlink()
    assert place.run(2, *command).code == 0
    assert not mark.exists()  # the step that makes it was not done again
    (resumed,) = records(out).values()
    compared = {"scores", "metrics", "probes", "drift", "losses"}
    assert resumed.model_dump(include=compared) == both.two["stumble", "not at all"].model_dump(include=compared)
    assert all(value.equal(place.notes(1).weights[-1][name]) for name, value in both.main.weights[-1].items())


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_all_and_the_main_one_says_so_in_one_line(place: Place, rank: int) -> None:
    suite, changes = place.suite("dying", "{stumble: }"), ["--set", "stumble.how=dies", "--set", f"stumble.rank={rank}"]
    finished = place.run(2, "run", suite, *changes, "--out", place.folder / f"dying-{rank}")
    assert finished.code == 1
    # The launcher, which ends the others, may come before the news that a connection broke.
    assert len(re.findall("retain: (another of the processes|interrupted)", finished.said)) == rank


@pytest.mark.slow
def test_two_processes_train_in_half_precision_and_in_several_turns(place: Place) -> None:
    suite = place.suite("half", "{naive: }", more="precision: bf16\n")
    assert place.run(2, "run", suite, "--accumulate", "2", "--out", place.folder / "half").code == 0
    (run,) = records(place.folder / "half").values()
    assert (run.provenance.precision, run.provenance.processes, run.provenance.accumulation) == ("bf16", 2, 2)
    assert all(run.losses)


@pytest.mark.slow
def test_a_plan_is_printed_once(place: Place) -> None:
    finished = place.run(2, "run", place.suite("plan", EVERY), "--dry-run", "--out", place.folder / "plan")
    assert (finished.code, finished.printed.count("training stages")) == (0, 1)
    assert not (place.folder / "plan").exists()

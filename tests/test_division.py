"""How many processes and threads a suite gets when nobody says, and that the same machine always says the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import benchmark.division
from benchmark.backbones import resolve_backbone
from benchmark.division import PROCESS_BYTES, SHARE, SMALL, WORTHWHILE, Division, Wish, divide, forks
from benchmark.suite import Overrides, Suite, load_suite
from tests.command import Retain, caller, write_suite

NOBODY = Wish(None, None, True, "cpu", cores=4)
PLENTY = 2**40


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def memory(size: int) -> None:
        monkeypatch.setattr("benchmark.division._memory", lambda: size)

    memory(PLENTY)
    for name in benchmark.console.RANKS:
        monkeypatch.delenv(name, raising=False)
    return memory


@pytest.fixture
def quickstart() -> Suite:
    return load_suite("quickstart", Overrides())


def with_weights(suite: Suite, weights: int | None) -> Suite:
    facts = replace(suite.backbone.facts, parameters=weights)
    return replace(suite, backbone=replace(suite.backbone, facts=facts))


def test_a_small_backbone_with_much_to_do_gets_a_process_a_core(quickstart: Suite) -> None:
    assert divide(quickstart, NOBODY) == Division(4, 1)
    assert divide(quickstart, replace(NOBODY, cores=2)) == Division(2, 1)
    assert str(Division(4, 1)) == "4 processes with one thread each (--jobs 1 trains in one process)"
    assert str(Division(2, 3)).startswith("2 processes with 3 threads each")


def test_no_more_processes_than_runs_and_the_cores_are_shared_among_them(quickstart: Suite) -> None:
    assert len(quickstart.cells) == 5
    assert divide(quickstart, replace(NOBODY, cores=16)) == Division(5, 3)
    one = replace(quickstart, cells=quickstart.cells[:1])
    assert divide(one, NOBODY) == Division(1, 4)
    assert divide(one, NOBODY, repeated=5) == Division(4, 1)


def test_what_the_user_names_is_left_as_it_is(quickstart: Suite) -> None:
    assert divide(quickstart, replace(NOBODY, jobs=1)) == Division(1, 4)
    assert divide(quickstart, replace(NOBODY, jobs=3)) == Division(3, 1)
    assert divide(quickstart, replace(NOBODY, jobs=9)) == Division(9, 1)
    assert divide(quickstart, replace(NOBODY, jobs=2, threads=5)) == Division(2, 5)
    assert divide(quickstart, replace(NOBODY, threads=2)) == Division(2, 2)
    assert divide(quickstart, replace(NOBODY, threads=3)) == Division(1, 3)


@pytest.mark.parametrize(("weights", "several"), [(SMALL, True), (SMALL + 1, False), (None, False)])
def test_a_large_backbone_or_one_of_unknown_size_gets_one_process(
    quickstart: Suite, weights: int | None, several: bool
) -> None:
    assert (divide(with_weights(quickstart, weights), NOBODY).jobs > 1) == several


def test_little_to_do_is_done_by_one_process(quickstart: Suite) -> None:
    few = load_suite("quickstart", Overrides(limit=20))
    assert divide(few, NOBODY) == Division(1, 4)
    tokens = 5 * 2 * 64 * (500 + 250 + 500)
    enough = -int(-WORTHWHILE // tokens)
    assert divide(with_weights(quickstart, enough), NOBODY).jobs == 4
    assert divide(with_weights(quickstart, enough - 1), NOBODY).jobs == 1


def test_as_many_processes_as_the_memory_holds(quickstart: Suite, machine: Callable[[int], None]) -> None:
    weights = quickstart.backbone.facts.parameters
    assert weights is not None
    each = PROCESS_BYTES + benchmark.division.COPIES * 4 * weights
    machine(int(3 * each / SHARE) + 1)
    assert divide(quickstart, NOBODY) == Division(3, 1)
    machine(int(2 * each / SHARE) - 1)
    assert divide(quickstart, NOBODY) == Division(1, 4)


def test_a_gpu_a_cluster_and_processes_of_a_launcher_are_no_cores(
    quickstart: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert divide(quickstart, replace(NOBODY, device="cuda")) == Division(1, 4)
    assert divide(quickstart, replace(NOBODY, local=False)) == Division(1, 4)
    assert not forks([quickstart], replace(NOBODY, local=False, jobs=2))
    monkeypatch.setattr("benchmark.division.torch.cuda.is_available", lambda: True)
    assert divide(quickstart, replace(NOBODY, device="auto")) == Division(1, 4)
    monkeypatch.setenv("RANK", "0")
    assert divide(quickstart, NOBODY) == Division(1, None)


def test_the_size_of_a_local_folder_is_that_of_its_files(quickstart: Suite, backbone_folder: Path) -> None:
    tiny = replace(quickstart, backbone=resolve_backbone(str(backbone_folder)))
    assert divide(tiny, NOBODY) == Division(1, 4)
    huge = replace(tiny, training=replace(tiny.training, epochs=10**6))
    assert divide(huge, NOBODY) == Division(4, 1)


def test_the_choice_of_several_is_said_and_the_plan_says_it_too(
    offline_catalogue: Path,
    backbone_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retain: Retain = caller(capsys)
    command = ("run", write_suite(tmp_path, backbone_folder), "--device", "cpu", "--dry-run", "--out", tmp_path / "out")
    assert "processes" not in retain(*command)[1]
    monkeypatch.setattr("benchmark.division.WORTHWHILE", 1)
    before = torch.get_num_threads()

    def planned(*more: object) -> str:
        torch.set_num_threads(2)
        return retain(*command, *more)[1].splitlines()[-1]

    line = "2 processes with one thread each (--jobs 1 trains in one process)"
    try:
        assert planned() == planned("--jobs", "auto") == line
        assert planned("--jobs", 2) != line
    finally:
        torch.set_num_threads(before)
    code, _, said = retain(*command, "--jobs", "many")
    assert code == 2 and "'many' should be a whole number of at least 1" in said

"""A stage that was left on its way goes on from there, to the same bits."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from benchmark.checkpoints import Keeper, Stopped
from benchmark.errors import UserError
from benchmark.stages import stages
from benchmark.store import Checkpoint, Store
from benchmark.study import Study
from benchmark.team import Team
from strategies.base import Learner, Training
from tests.kill_harness import Records, records
from tests.lab import Ran
from tests.nursery import EVERYWHERE, study_of, write_suite

STEPS = (6, 6, 13)
"""Of the suite's stages, of 4 examples each. Long texts are cut into windows, so the third has more."""


class After:
    """Asks to stop when it is asked for the so-manieth time: after every step of training and at the end of a stage."""

    def __init__(self, times: int) -> None:
        self.left = times

    def asked(self) -> bool:
        self.left -= 1
        return self.left <= 0

    @contextlib.contextmanager
    def patiently(self) -> Iterator[None]:
        yield


Whole = Callable[[Study], Records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The records of a study to which nothing happens, made once."""
    known: dict[int, Records] = {}

    def whole_of(study: Study) -> Records:
        if id(study) not in known:
            ran = Ran(study, tmp_path_factory.mktemp("whole"))
            assert ran.trained == 4 * sum(STEPS)
            known[id(study)] = records(ran.engine.folder)
        return known[id(study)]

    return whole_of


@pytest.fixture
def backbone(offline_catalogue: Path, backbone_folder: Path) -> Iterator[Path]:
    """The tiny backbone, and one thread: it is too small for more."""
    write_suite(backbone_folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield backbone_folder
    torch.set_num_threads(threads)


def stop(study: Study, folder: Path, times: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        Ran(study, folder, stop=After(times))


def position(folder: Path) -> int:
    """Steps that the one checkpoint in a folder of runs holds."""
    store = Store(folder / "stages", lambda _: None)
    (key,) = store.shelf.keys("checkpoints")
    found = store.checkpoint(key)
    assert found is not None
    return found.position


@pytest.mark.parametrize("strategy", [*EVERYWHERE, "momentum", "drifting"])
def test_a_run_that_is_stopped_on_its_way_equals_one_that_is_not(
    backbone: Path, whole: Whole, tmp_path: Path, strategy: str
) -> None:
    study, folder = study_of(backbone, strategy), tmp_path / "stopped"
    positions = []
    for times in (4, 6):
        stop(study, folder, times)
        positions.append(position(folder))
    # It asks at the end of stages as well, and after what follows them; joint has one stage.
    (cell,) = study.suite.cells
    follows = bool(cell.strategy.fingerprint_after(stages(study, cell)[0]))
    assert positions == ([4, 10] if strategy == "joint" else [4, 2] if follows else [4, 3])
    rest = Ran(study, folder)
    assert rest.progress.skipped == 4 * positions[-1]
    assert rest.progress.done == rest.progress.total == 4 * sum(STEPS[0 if strategy == "joint" else 1 :])
    assert records(folder) == whole(study)


def test_checkpoints_after_every_step_change_nothing_and_none_is_left(
    backbone: Path, whole: Whole, tmp_path: Path
) -> None:
    study = study_of(backbone, "ewc")
    ran = Ran(study, tmp_path / "kept", checkpoint_seconds=0)
    assert records(tmp_path / "kept") == whole(study)
    assert ran.progress.skipped == 0
    assert [list((tmp_path / "kept" / "stages" / kind).iterdir()) for kind in ("checkpoints", "tensors")] == [[], []]


def test_a_stage_that_stops_after_its_last_step_is_not_trained_again(
    backbone: Path, whole: Whole, tmp_path: Path
) -> None:
    study = study_of(backbone, "naive")
    stop(study, tmp_path / "at the end", STEPS[0])
    assert position(tmp_path / "at the end") == STEPS[0]
    stop(study, tmp_path / "after it", STEPS[0] + 1)
    assert not list((tmp_path / "after it" / "stages" / "checkpoints").glob("*"))
    for name in ("at the end", "after it"):
        rest = Ran(study, tmp_path / name)
        assert rest.trained == 4 * sum(STEPS[1:])
        assert records(tmp_path / name) == whole(study)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def cut(content: bytes) -> bytes:
    return content[:-7]


@pytest.mark.parametrize(
    ("kind", "damage"),
    [("checkpoints", flipped), ("checkpoints", cut), ("tensors", flipped), ("tensors", cut), ("tensors", None)],
)
def test_a_damaged_checkpoint_is_said_and_its_stage_begins_anew(
    backbone: Path, whole: Whole, tmp_path: Path, kind: str, damage: Callable[[bytes], bytes] | None
) -> None:
    study, folder = study_of(backbone, "drifting"), tmp_path / "damaged"
    stop(study, folder, 4)
    assert position(folder) == 4
    for path in (folder / "stages" / kind).iterdir():
        path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))
    rest = Ran(study, folder)
    assert ("damaged; it is computed again" in rest.said) is (damage is not None)
    assert rest.progress.skipped == 0 and rest.trained == 4 * sum(STEPS)
    assert records(folder) == whole(study)


def test_a_disk_that_is_full_at_a_checkpoint_leaves_the_one_before(
    backbone: Path, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folder = study_of(backbone, "ewc"), tmp_path / "full"
    save = Store.save_checkpoint

    def full_at_the_fourth(self: Store, key: str, checkpoint: Checkpoint) -> None:
        with monkeypatch.context() as disk:
            if checkpoint.position == 4:
                disk.setattr("results.record.os.fsync", raise_full)
            save(self, key, checkpoint)

    with monkeypatch.context() as filling:
        filling.setattr(Store, "save_checkpoint", full_at_the_fourth)
        with pytest.raises(UserError, match="No space left on device"):
            Ran(study, folder, checkpoint_seconds=0)
    assert position(folder) == 3
    Ran(study, folder)
    assert records(folder) == whole(study)


def raise_full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.1, fused=True),
    "adam with amsgrad": lambda weights: torch.optim.Adam(weights, lr=0.1, amsgrad=True),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
    "two groups": lambda weights: torch.optim.SGD([{"params": [weight], "lr": 0.1} for weight in weights]),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, lr=0.1),
}


def take(learner: Learner, optimizer: torch.optim.Optimizer, keeper: Keeper, losses: list[float], steps: int) -> None:
    """Some steps; strangely, the state has a say in them."""
    for _ in range(steps):
        number = len(losses)
        torch.manual_seed(number)
        loss = (learner.model(torch.randn(5, 3)) - learner.state["goal"]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.state["goal"] += number
        losses.append(loss.item())
        keeper.keep(learner, optimizer, losses)


def beginning() -> Learner:
    torch.manual_seed(0)
    state = {"goal": torch.zeros(2), "plain": [1, None, {"x": 0.1}]}
    return Learner(nn.Linear(3, 2), {}, {}, {}, Training(), 0, {}, state)


def keeper_of(folder: Path, learner: Learner, every: float, stopping: Callable[[], bool] = lambda: False) -> Keeper:
    untrained = {name: value.detach().clone() for name, value in learner.model.named_parameters()}
    team = Team(Accelerator(cpu=True))
    return Keeper(Store(folder, lambda _: None), "key", untrained, team, every, stopping)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_goes_on_where_it_stood(tmp_path: Path, name: str) -> None:
    one = beginning()
    optimizer = OPTIMIZERS[name](list(one.model.parameters()))
    keeper = keeper_of(tmp_path / "one", one, math.inf)
    expected = keeper.resume(one, optimizer)
    assert expected == []
    take(one, optimizer, keeper, expected, 7)
    for steps in (3, 2, 2):
        other = beginning()
        optimizer = OPTIMIZERS[name](list(other.model.parameters()))
        keeper = keeper_of(tmp_path / "other", other, 0)
        losses = keeper.resume(other, optimizer)
        take(other, optimizer, keeper, losses, steps)
    assert losses == expected
    assert other.state["plain"] == one.state["plain"] and torch.equal(other.state["goal"], one.state["goal"])
    for ours, theirs in zip(other.model.parameters(), one.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_checkpoint_is_made_when_it_is_due_and_when_training_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, learner, stopping = [100.0], beginning(), [False]
    monkeypatch.setattr("benchmark.checkpoints.time.monotonic", lambda: now[0])
    optimizer = OPTIMIZERS["momentum"](list(learner.model.parameters()))
    keeper = keeper_of(tmp_path, learner, 10.0, lambda: stopping[0])
    keeper.started = keeper.kept = now[0]
    kept, losses = [], list[float]()
    for seconds in (0.0, 109.9, 110.0, 119.9, 120.0, 131.0):
        now[0] = max(now[0], seconds)
        take(learner, optimizer, keeper, losses, 1)
        found = keeper.store.checkpoint("key")
        kept.append((found.position, found.seconds) if found is not None else None)
    assert kept == [None, None, (3, 10.0), (3, 10.0), (5, 20.0), (6, 31.0)]
    stopping[0] = True
    with pytest.raises(Stopped):
        take(learner, optimizer, keeper, losses, 1)
    found = keeper.store.checkpoint("key")
    assert found is not None and found.position == 7
    again = keeper_of(tmp_path, beginning(), 10.0)
    again.started = now[0] = 500.0
    assert again.resume(beginning(), optimizer) == losses
    now[0] += 5
    assert again.seconds == 31.0 + 5  # as long as it took, not as long as it lay


def test_what_is_read_lies_where_torch_would_put_it(tmp_path: Path) -> None:
    store = Store(tmp_path, lambda _: None)
    state = {str(size): torch.randn(size) for size in range(1, 9)}
    found = store.load(store.save_node("key", state, state, [], {}))
    assert found is not None
    assert {value.data_ptr() % 64 for kind in found for value in kind.values()} == {0}

"""What the processes of a team do, each by itself; `test_launched` starts real ones."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from benchmark import console
from benchmark.errors import UserError
from benchmark.interrupts import Interrupts
from benchmark.loop import run_batch, select_trainable
from benchmark.progress import Progress
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.team import Gone, Team
from benchmark.together import Leader, TeamStore
from benchmark.worker import Worker, new_learner
from strategies.base import Strategy, snapshot
from strategies.naive import Naive
from tests.command import Retain, caller, write_suite
from tests.lab import Ran

T = TypeVar("T")

SUITE = """
description: all kinds of task
backbone: {backbone}
stream: [tiny_sentiment, tiny_pair, tiny_tags, tiny_spans]
probes: [tiny_retrieval]
max_length: 24
training: {{batch_size: 8}}
strategies: {{naive: , ewc: {{examples: 8}}, joint: }}
"""

Open = Callable[..., Study]


@pytest.fixture
def open_calm(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Open:
    """Opens a suite on a backbone without dropout, whose masks would differ between parts."""
    calm, suite = tmp_path / "calm-bert", tmp_path / "calm.yaml"
    shutil.copytree(backbone_folder, calm)
    config = json.loads((calm / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (calm / "config.json").write_text(json.dumps(config), encoding="utf-8")
    suite.write_text(SUITE.format(backbone=calm), encoding="utf-8")

    def opened(strategies: list[str] | None = None, accumulation: int = 1) -> Study:
        return open_study(
            load_suite(str(suite), Overrides(strategies)), "cpu", lambda _: None, accumulation=accumulation
        )

    return opened


def member(team: Team, rank: int, count: int, accumulation: int = 1) -> Team:
    """One process of a larger team, as far as it asks no others."""
    other = copy.copy(team)
    other.rank, other.count, other.accumulation = rank, count, accumulation
    return other


def gradients(
    study: Study, place: int, indices: list[int], count: int, accumulation: int
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of a batch of which every process of a team runs its share, one after another."""
    learner, task = new_learner(study, 0), study.tasks[place]
    select_trainable(learner, {task.head})
    learner.model.train()
    shares = [
        run_batch(learner, Naive(), task, indices, member(study.team, rank, count, accumulation), ("dropout",))
        for rank in range(count)
    ]
    found = {name: value.grad for name, value in learner.model.named_parameters() if value.grad is not None}
    return float(torch.stack(shares).sum()), found


@pytest.mark.parametrize("place", range(4), ids=["sequence", "pair", "token", "span"])
@pytest.mark.parametrize(
    ("size", "count", "accumulation"), [(8, 2, 1), (7, 2, 1), (7, 1, 3), (7, 2, 2), (1, 2, 1), (3, 1, 9), (3, 2, 2)]
)
def test_shares_of_a_batch_add_up_to_the_batch(
    open_calm: Open, place: int, size: int, count: int, accumulation: int
) -> None:
    study = open_calm(["naive"])
    lengths = study.tasks[place].train.lengths
    indices = sorted(range(20), key=lambda index: lengths[index])[:: 20 // size][:size]  # short and long texts
    loss, whole = gradients(study, place, indices, 1, 1)
    shared_loss, shared = gradients(study, place, indices, count, accumulation)
    assert shared_loss == pytest.approx(loss, rel=1e-6)
    assert list(shared) == list(whole)
    size_of_all = float(torch.cat([gradient.flatten() for gradient in whole.values()]).norm())
    for name, gradient in whole.items():
        assert float((shared[name] - gradient).norm()) < 1e-6 * size_of_all


def test_words_weigh_alike_whichever_part_they_are_in(open_calm: Open) -> None:
    study = open_calm(["naive"])
    task = study.tasks[2]
    words = [task.collate(task.train, [index]).choices for index in range(20)]
    fewest, most = words.index(min(words)), words.index(max(words))
    alone = [gradients(study, 2, [index], 1, 1)[0] for index in (fewest, most)]
    together = (alone[0] * words[fewest] + alone[1] * words[most]) / (words[fewest] + words[most])
    assert gradients(study, 2, [fewest, most], 2, 1)[0] == pytest.approx(together, rel=1e-6)
    assert abs(together - sum(alone) / 2) > 1e-4  # as it would be if every part weighed the same


def test_heads_of_other_tasks_get_no_gradient_from_any_share(open_calm: Open) -> None:
    study = open_calm(["naive"])
    _, found = gradients(study, 1, list(range(7)), 2, 2)
    assert {name for name in found if name.startswith("heads.")} == {
        "heads.tiny_pair.weight",
        "heads.tiny_pair.bias",
    }


def test_every_part_of_a_batch_draws_dropout_of_its_own(
    offline_catalogue: Path, backbone_folder: Path, tmp_path: Path
) -> None:
    study = open_study(load_suite(str(write_suite(tmp_path, backbone_folder))), "cpu", lambda _: None)
    same = [5, 5]  # one example twice: only the masks of the parts can tell them apart
    halves = []
    for rank in (0, 1):
        learner = new_learner(study, 0)
        learner.model.train()
        halves.append(run_batch(learner, Naive(), study.tasks[0], same, member(study.team, rank, 2), ("dropout", 0)))
    assert halves[0] != halves[1]


def test_accumulation_trains_what_one_batch_does_and_is_said(open_calm: Open, tmp_path: Path) -> None:
    whole, parts = (Ran(open_calm(accumulation=turns), tmp_path / str(turns)).by_strategy for turns in (1, 3))
    for name, run in whole.items():
        assert parts[name].scores == run.scores
        for before, after in zip(run.losses, parts[name].losses, strict=True):
            assert after == pytest.approx(before, rel=1e-5)
        assert (run.provenance.accumulation, parts[name].provenance.accumulation) == (1, 3)
    keys = [{path.name for path in (tmp_path / turns / "stages" / "nodes").iterdir()} for turns in ("1", "3")]
    assert len(keys[0]) == len(keys[1]) > 5
    assert not keys[0] & keys[1]


@pytest.mark.parametrize("divisible", [True, False])
def test_long_batches_are_trained_in_parts_where_a_strategy_allows_it(
    open_calm: Open, monkeypatch: pytest.MonkeyPatch, divisible: bool
) -> None:
    study = open_calm(["naive"])
    expected, whole = gradients(study, 0, list(range(7)), 1, 1)
    ran: list[int] = []

    def counting(*asked: Any) -> Tensor:
        ran.append(len(asked[3]))
        return Strategy.loss(*asked)

    monkeypatch.setattr("benchmark.loop.TRAINING_TOKENS", {"cpu": 30})
    monkeypatch.setattr(Naive, "divisible", divisible)
    monkeypatch.setattr(Naive, "loss", counting)
    found, parts = gradients(study, 0, list(range(7)), 1, 1)
    assert sum(ran) == 7 and (len(ran) > 1) == divisible
    assert found == pytest.approx(expected, rel=1e-5)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("said", "asked", "used"), [("3", 1, 3), ("3", 2, 2), ("1", 2, 2), ("0", 1, 1)])
def test_the_launcher_may_ask_for_accumulation_and_the_command_line_comes_first(
    open_calm: Open, monkeypatch: pytest.MonkeyPatch, said: str, asked: int, used: int
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", said)
    study = open_calm(["naive"], asked)
    assert study.team.parts == study.provenance.accumulation == used


class Wire:
    """Stands in for the connection of one process: says what the other one would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, other: Callable[[Tensor], Tensor]) -> None:
        self.messages = 0

        def all_reduce(tensor: Tensor) -> None:
            self.messages += 1
            tensor += other(tensor)

        monkeypatch.setattr("torch.distributed.all_reduce", all_reduce)


def parameter(size: int, gradient: float | None, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    made = nn.Parameter(torch.zeros(size, dtype=dtype))
    made.grad = None if gradient is None else torch.full((size,), gradient, dtype=dtype)
    return made


def test_gradients_are_added_up_and_what_nobody_has_stays_away(
    open_calm: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other process has a loss of 10, a gradient of 5 for the second weights, and none for the others.
    def other(tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.float64:
            return torch.tensor([10, 0, 1, 0], dtype=torch.float64)
        return torch.tensor([0.0, 0.0, 5.0, 5.0, 5.0])

    wire = Wire(monkeypatch, other)
    mine = [parameter(2, 1.5), parameter(3, None), parameter(4, None)]
    assert member(open_calm(["naive"]).team, 0, 2).add_up(torch.tensor(0.25), mine) == 10.25
    assert [None if value.grad is None else value.grad.tolist() for value in mine] == [[1.5] * 2, [5.0] * 3, None]
    assert wire.messages == 2


def test_gradients_travel_in_few_messages_of_one_type_and_bounded_size(
    open_calm: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(monkeypatch, torch.clone)
    monkeypatch.setattr("benchmark.team.BUCKET_BYTES", 40)
    mine = [parameter(size, 1.0) for size in (4, 6, 1, 30, 2)] + [parameter(1, 1.0, torch.bfloat16)]
    member(open_calm(["naive"]).team, 0, 2).add_up(torch.tensor(0.0), mine)
    assert all(value.grad is not None and set(value.grad.tolist()) == {2.0} for value in mine)
    assert wire.messages == 1 + len(["4+6", "1", "30", "2", "bfloat16"])


def test_one_yes_is_everybodys_in_one_message(open_calm: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch, lambda tensor: torch.tensor([1.0, 0.0, 1.0, 0.0]))
    team = member(open_calm(["naive"]).team, 1, 2)
    assert team.any_says(False, False, True, True) == [True, False, True, True]
    assert wire.messages == 1


def test_a_lost_connection_is_one_line(open_calm: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(tensor: Tensor) -> Tensor:
        raise RuntimeError("Connection closed by peer\n" * 100)

    Wire(monkeypatch, broken)
    with pytest.raises(Gone, match="another of the processes .* has ended") as error:
        member(open_calm(["naive"]).team, 0, 2).any_says(True)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


class Follower(Team):
    """Hears from the main process what the test says."""

    def __init__(self, team: Team, heard: list[Any]) -> None:
        self.__dict__ |= vars(member(team, 1, 2))
        self.heard = heard

    def agree(self, value: T) -> T:
        heard: T = self.heard.pop(0)
        return heard


def test_a_follower_that_sees_another_folder_says_so(open_calm: Open, tmp_path: Path) -> None:
    follower = Follower(open_calm(["naive"]).team, [False, True])
    store = TeamStore(tmp_path / "elsewhere", lambda _: None, follower)
    assert store.checkpoint("key") is None  # since the main process has none
    with pytest.raises(UserError, match=r"process 1 on .* does not find in .*elsewhere .*--out must be a folder"):
        store.checkpoint("key")
    assert not (tmp_path / "elsewhere").exists()


def test_a_follower_keeps_and_locks_nothing(open_calm: Open, tmp_path: Path) -> None:
    store = TeamStore(tmp_path / "stages", lambda _: None, Follower(open_calm(["naive"]).team, [None, {"a": 1}, None]))
    store.save_row("key", {"a": 1})
    assert store.row("key") == {"a": 1}
    assert store.node("key") is None
    with store.shelf.lock("key") as mine, store.shelf.lock("key") as again:
        assert mine
        assert again
    assert not (tmp_path / "stages").exists()


def test_processes_with_other_data_or_versions_do_not_train_together(
    open_calm: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gathered(team: Team, items: list[Any]) -> list[Any]:
        ((_, made_by),) = items
        return [*items, ("elsewhere", made_by.model_copy(update={"weights_sha256": "0" * 64}))]

    monkeypatch.setattr(Team, "gather", gathered)
    with pytest.raises(UserError, match=r"machine elsewhere: weights_sha256 is 0{64}, but where the command runs"):
        open_calm(["naive"])


def test_processes_that_can_not_join_are_a_mistake(open_calm: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # what accelerate found before stays, so it joins nobody
    with pytest.raises(UserError, match="--device cpu: several processes can't train together on it"):
        open_calm(["naive"])


def test_a_launcher_that_was_told_to_start_several_and_did_not_is_noticed(
    offline_catalogue: Path, backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load_suite(str(write_suite(tmp_path, backbone_folder)), Overrides(["naive"]))
    said: list[str] = []
    open_study(suite, "cpu", said.append)
    assert not [line for line in said if "--multi_gpu" in line]
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")  # this and no more is what --cpu --num_processes 2 sets
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    open_study(suite, "cpu", said.append)
    assert len([line for line in said if "--multi_gpu" in line]) == 1


def test_one_process_of_several_trains_no_jobs_beside_each_other(
    open_calm: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_calm(["naive"])
    several = copy.copy(study)
    object.__setattr__(several, "team", member(study.team, 0, 2))
    monkeypatch.setattr("benchmark.forking.workers", lambda device: None)
    monkeypatch.setattr("benchmark.launch.open_launched", lambda *_: several)
    out = tmp_path / "out"
    code, _, said = caller(capsys)("run", tmp_path / "calm.yaml", "--jobs", 2, "--out", out, "--device", "cpu")
    assert code == 2
    assert "--jobs and --executor train several models at once" in said
    assert not out.exists()


def test_the_main_process_lets_the_others_go_only_when_they_listen(open_calm: Open, tmp_path: Path) -> None:
    study = open_calm(["naive"])
    told: list[object] = []

    class Main(Team):
        def agree(self, value: T) -> T:
            told.append(value)
            return value

    main = Main(study.team.accelerator)
    object.__setattr__(study, "team", main)
    leader = Leader(Worker(study, TeamStore(tmp_path, lambda _: None, main), Progress(stream=StringIO()).lane()))
    leader.close()
    assert told == [None]

    def broken_off(job: object) -> None:
        raise KeyboardInterrupt

    leader.worker.do = broken_off  # type: ignore[method-assign,assignment]
    leader.job = "a job"  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        leader.wait()
    leader.close()
    assert told == [None, "a job"]


@pytest.mark.parametrize("arguments", [["run", "quickstart", "--strategies", "nave"], ["run"], ["walk"]])
def test_a_follower_lets_the_main_process_say_what_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("benchmark.console.time.sleep", waited.append)
    retain: Retain = caller(capsys)
    by_main = retain(*arguments)
    assert (by_main[0], waited) == (2, [])
    monkeypatch.setenv("RANK", "1")
    assert retain(*arguments) == by_main  # if it is still there by then
    assert waited == [console.GRACE_SECONDS]


def test_a_follower_prints_nothing_and_asks_no_folder(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    offline_catalogue: Path,
    backbone_folder: Path,
    tmp_path: Path,
) -> None:
    suite = write_suite(tmp_path, backbone_folder)
    plan = ("run", suite, "--dry-run", "--device", "cpu", "--out", "/proc/nowhere")
    retain = caller(capsys)
    assert retain(*plan)[0] == 2
    monkeypatch.setenv("RANK", "1")
    assert retain(*plan) == (0, "", "")


def test_patience_within_patience_lasts_until_the_outer_one_ends() -> None:
    interrupts = Interrupts(lambda _: None)
    with interrupts.patiently():
        with interrupts.patiently():
            assert interrupts.patient
        assert interrupts.patient
    assert not interrupts.patient


def test_a_team_of_one_changes_nothing(open_calm: Open) -> None:
    team = open_calm(["naive"]).team
    mine = [parameter(2, 1.5), parameter(3, None)]
    before = snapshot({str(place): value for place, value in enumerate(mine)})
    assert (team.main, team.count, team.parts, list(team.mine(3))) == (True, 1, 1, [0, 1, 2])
    assert team.add_up(torch.tensor(0.5), mine) == 0.5
    assert [value.grad is None for value in mine] == [False, True]
    assert all(value.equal(before[str(place)]) for place, value in enumerate(mine))
    assert (team.agree("a"), team.gather(["b"]), team.any_says(True, False)) == ("a", ["b"], [True, False])
    with team.main_first():
        pass
    team.leave()

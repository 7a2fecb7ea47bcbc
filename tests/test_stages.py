"""Runs that share stages equal runs computed alone; whatever is lost is computed again to the same bits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from benchmark.engine import Engine
from benchmark.loop import Trained, make_stage, train_stage
from benchmark.plan import plan_study
from benchmark.progress import Progress
from benchmark.registry import hyperparameters, shipped_names
from benchmark.stages import path, plan
from benchmark.store import Store
from benchmark.study import Study, open_study
from benchmark.suite import Cell, Overrides, load_suite
from results.record import Run
from strategies.base import Learner, Stage, Strategy
from tests.lab import Ran, numbers
from tests.other_values import FIRST, OTHER_VALUES

SUITE = """
description: three short tasks
backbone: {backbone}
stream: {stream}
probes: [tiny_retrieval]
max_length: 24
train_examples: 24
test_examples: 10
training: {{epochs: 1, batch_size: 8, learning_rate: 3e-3, head_learning_rate: 1e-2}}
strategies:
  naive: {{}}
  ewc: {{lam: 10, examples: 8}}
  l2_anchor: {{lam: 0.5}}
  freeze: {{part: embeddings}}
  joint: {{}}
"""
STRATEGIES = ["naive", "ewc", "l2_anchor", "freeze", "joint"]
STREAM = ["tiny_sentiment", "tiny_tags", "tiny_spans"]
WITHOUT_SPANS = ["tiny_sentiment", "tiny_tags", "tiny_pair"]
"""For strategies that refuse spans."""


class Lab:
    """Opens and runs the suite above."""

    def __init__(self, backbone: Path, folder: Path) -> None:
        self.backbone = backbone
        self.folder = folder

    def open(self, strategies: list[str], settings: list[str] | None = None, stream: list[str] | None = None) -> Study:
        file = self.folder / "tiny.yaml"
        file.write_text(SUITE.format(backbone=self.backbone, stream=stream or STREAM), encoding="utf-8")
        return open_study(load_suite(str(file), Overrides(strategies, None, settings or [])), "cpu", lambda _: None)

    def run(self, study: Study, name: str) -> tuple[dict[str, Run], int, str]:
        """Runs a study in a folder; returns its runs, the examples it trained on, and what was said."""
        ran = Ran(study, self.folder / name)
        return ran.by_strategy, ran.trained, ran.said


@pytest.fixture
def lab(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Lab:
    return Lab(backbone_folder, tmp_path)


def test_runs_of_all_strategies_that_share_stages_equal_those_computed_alone(lab: Lab) -> None:
    refusing = [name for name in shipped_names() if stream_for(name) != STREAM]
    for stream, names in (STREAM, shipped_names()), (WITHOUT_SPANS, ["naive", "replay", *refusing]):
        chosen = [name for name in names if stream != STREAM or name not in refusing]
        study = lab.open(chosen, stream=stream)
        together, trained, _ = lab.run(study, f"together on {stream}")
        alone = [lab.run(only(study, name), f"{name} alone on {stream}") for name in chosen]
        for name, (runs, _, _) in zip(chosen, alone, strict=True):
            assert numbers(together[name]) == numbers(runs[name]), name
        assert trained < sum(examples for _, examples, _ in alone)


def only(study: Study, strategy: str) -> Study:
    """The study with one strategy's runs alone."""
    cells = tuple(cell for cell in study.suite.cells if cell.strategy.name == strategy)
    assert cells
    return replace(study, suite=replace(study.suite, cells=cells))


def stream_for(strategy: str) -> list[str]:
    return WITHOUT_SPANS if strategy == "er_ace" else STREAM


def test_naive_and_ewc_share_the_first_stage_and_strengths_the_first_fisher(lab: Lab) -> None:
    naive, ewc = (path(study, study.suite.cells[0]) for study in (lab.open(["naive"]), lab.open(["ewc"])))
    stronger = path(*one(lab.open(["ewc"], ["ewc.lam=99"])))
    assert [node.step for node in naive] == ["start", "train", "train", "train"]
    assert [node.step for node in ewc] == ["start", "train", "after", "train", "after", "train"]
    assert naive[:2] == ewc[:2]
    assert ewc[:3] == stronger[:3]
    assert not {node.key for node in ewc[3:]} & {node.key for node in stronger[3:]}


def one(study: Study) -> tuple[Study, Cell]:
    return study, study.suite.cells[0]


def test_orders_with_a_common_beginning_share_it(lab: Lab) -> None:
    first = path(*one(lab.open(["ewc"])))
    second = path(*one(lab.open(["ewc"], stream=["tiny_sentiment", "tiny_spans", "tiny_tags"])))
    assert first[:3] == second[:3]
    assert first[3] != second[3]


@pytest.mark.parametrize(
    "change",
    ["training.epochs=2", "training.learning_rate=1e-3", "max_length=20", "train_examples=23"],
)
def test_what_changes_the_training_changes_the_key(lab: Lab, change: str) -> None:
    assert path(*one(lab.open(["naive"])))[1].key != path(*one(lab.open(["naive"], [change])))[1].key


def test_the_precision_changes_the_key(lab: Lab) -> None:
    study = lab.open(["naive"])
    suite = load_suite(str(lab.folder / "tiny.yaml"), Overrides(["naive"], None, ["precision=bf16"]))
    # accelerate allows one precision a process, so only the suite is exchanged
    assert path(*one(study))[1].key != path(*one(replace(study, suite=suite)))[1].key


def test_what_does_not_change_the_training_does_not_change_the_key(lab: Lab) -> None:
    study, fewer_tests = lab.open(["naive"]), lab.open(["naive"], ["test_examples=5", "probes=[]"])
    assert path(*one(study)) == path(*one(fewer_tests))


def test_seeds_share_nothing(lab: Lab) -> None:
    file = lab.folder / "tiny.yaml"
    lab.open(["naive"])
    study = open_study(load_suite(str(file), Overrides(["naive"], [0, 1])), "cpu", lambda _: None)
    first, second = (path(study, cell) for cell in study.suite.cells)
    assert not {node.key for node in first} & {node.key for node in second}


def test_changed_code_shares_nothing_with_what_it_was(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path(*one(lab.open(["naive"])))
    monkeypatch.setattr("benchmark.provenance.code_sha256", lambda: "0" * 64)
    assert not {node.key for node in before} & {node.key for node in path(*one(lab.open(["naive"])))}


def test_another_backbone_shares_nothing(lab: Lab) -> None:
    study = lab.open(["naive"])
    for backbone in (
        replace(study.backbone, weights_sha256="0" * 64),
        replace(study.backbone, settings_sha256="0" * 64),
    ):
        other = replace(study, backbone=backbone)
        assert not {node.key for node in path(*one(study))} & {node.key for node in path(*one(other))}


def test_every_hyperparameter_of_every_strategy_has_another_value_to_test_with() -> None:
    declared = {f"{name}.{parameter.name}" for name in shipped_names() for parameter in hyperparameters(name)}
    assert declared == set(OTHER_VALUES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FIRST.values() else pytest.mark.slow) for name in OTHER_VALUES]
)
def test_runs_that_differ_in_one_setting_equal_those_computed_alone(lab: Lab, name: str) -> None:
    strategy, field = name.split(".")
    change = [f"{strategy}.{field}={OTHER_VALUES[name]}"]
    if name == "freeze.layers":
        change.append("freeze.part=layers")
    plain, changed = (lab.open([strategy], more, stream_for(strategy)) for more in ([], change))
    lab.run(plain, "shared")
    after_the_other, _, _ = lab.run(changed, "shared")
    alone, _, _ = lab.run(changed, "alone")
    assert numbers(after_the_other[strategy]) == numbers(alone[strategy])
    keys = [[node.key for node in path(*one(study))] for study in (plain, changed)]
    assert keys[0] != keys[1]


def test_other_tests_or_probes_are_not_answered_with_old_results(lab: Lab) -> None:
    lab.run(lab.open(["naive"]), "shared")
    for change in (["test_examples=5"], ["probes=[]"], ["test_examples=7", "probes=[]"]):
        shared, trained, _ = lab.run(lab.open(["naive"], change), "shared")
        alone, _, _ = lab.run(lab.open(["naive"], change), "-".join(change))
        assert numbers(shared["naive"]) == numbers(alone["naive"])
        assert trained > 0  # the weights had been dropped, and the dry run says so


def test_a_strategy_that_heeds_the_last_stage_does_not_share_it(lab: Lab) -> None:
    study = lab.open(["naive"])
    last, not_last = (make_stage(0, 1, count, study.tasks[1:2], study.suite.training, study.device) for count in (2, 3))
    assert Heeding().fingerprint(last) != Heeding().fingerprint(not_last)
    assert Heeding().fingerprint_after(last) != Heeding().fingerprint_after(not_last)


@dataclass(frozen=True)
class Heeding(Strategy):
    """Does something after every stage, and says nothing of fingerprints."""

    name: ClassVar[str] = "heeding"

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        learner.state["seen"] = stage.index


def test_a_state_with_keys_that_json_can_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="keys of dicts must be text"):
        Store(tmp_path, lambda _: None).save_node("key", {}, {1: torch.zeros(1)}, [], {})  # type: ignore[dict-item]


def test_a_tensor_kept_twice_is_one_tensor_again_and_order_survives(tmp_path: Path) -> None:
    store, twice = Store(tmp_path, lambda _: None), torch.arange(3.0)
    saved = store.save_node("key", {}, {"z": twice, "a": {"again": twice}}, [], {})
    assert store.node("key") == saved
    found = store.load(saved)
    assert found is not None
    assert list(found[1]) == ["z", "a"]
    assert found[1]["z"] is found[1]["a"]["again"]


def test_every_distinct_stage_is_trained_once(lab: Lab) -> None:
    study = lab.open(["naive", "ewc"])
    paths = [path(study, cell) for cell in study.suite.cells]
    planned = plan(paths, {node.key for nodes in paths for node in nodes[3:] if node.step == "train"})
    assert (planned.runs, planned.from_scratch, planned.trained, planned.done) == (2, 6, 5, 2)
    _, trained, _ = lab.run(study, "runs")
    features = [len(task.train.features) for task in study.tasks]
    assert trained == features[0] + 2 * (features[1] + features[2])


def said_of(study: Study, folder: Path) -> str:
    with Progress(stream=StringIO()) as progress:
        counts, estimated = plan_study(study, Engine(study, folder, progress)).splitlines()
    assert re.fullmatch(
        r"about \d+ (s|min) one stage at a time .* up to \d+ MiB of weights on the disk with --keep none; .*", estimated
    )
    return counts


def test_a_dry_run_counts_and_trains_nothing(lab: Lab) -> None:
    study = lab.open(["naive", "ewc"], ["ewc.lam=[1,10,100]"])
    assert [cell.name for cell in study.suite.cells] == [
        "naive-seed0",
        "ewc-lam1-seed0",
        "ewc-lam10-seed0",
        "ewc-lam100-seed0",
    ]
    said = said_of(study, lab.folder / "runs")
    features = [len(task.train.features) for task in study.tasks]
    assert said == (
        "tiny: 4 runs, 12 training stages in all; 9 to train since 3 are shared, 0 of them done; "
        f"{features[0] + 4 * (features[1] + features[2])} examples to train on"
    )
    assert not (lab.folder / "runs").exists()
    lab.run(lab.open(["naive"]), "runs")
    said = said_of(study, lab.folder / "runs")
    # The record of naive is there, but the weights after its first stage were dropped, and EWC needs them.
    assert "9 to train since 3 are shared, 2 of them done" in said
    _, trained, _ = lab.run(study, "runs")
    assert said.endswith(f"; {trained} examples to train on")


def test_a_run_goes_on_from_the_stages_that_are_finished(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, all_examples, _ = lab.run(lab.open(["ewc"]), "whole")
    study = lab.open(["ewc"])
    last = study.tasks[2].name

    def dies_in_the_last_stage(learner: Learner, strategy: Strategy, stage: Stage, *others: Any) -> Trained:
        if stage.tasks[0].name == last:
            raise KeyboardInterrupt
        return train_stage(learner, strategy, stage, *others)

    monkeypatch.setattr("benchmark.worker.train_stage", dies_in_the_last_stage)
    with pytest.raises(KeyboardInterrupt):
        lab.run(study, "broken")
    monkeypatch.setattr("benchmark.worker.train_stage", train_stage)
    runs, trained, _ = lab.run(lab.open(["ewc"]), "broken")
    assert trained == len(study.tasks[2].train.features) < all_examples
    assert numbers(runs["ewc"]) == numbers(whole["ewc"])


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_damaged_tensors_are_noticed_and_computed_again(lab: Lab, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    whole, _, _ = lab.run(lab.open(["ewc"]), "whole")
    monkeypatch.setattr("benchmark.shelf.Command.drop", lambda *_: None)
    lab.run(lab.open(["ewc"], ["ewc.lam=3"]), "runs")
    for file in (lab.folder / "runs" / "stages" / "tensors").iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(content if damage == "flipped" else content[:-7])
    runs, _, said = lab.run(lab.open(["ewc"]), "runs")
    assert numbers(runs["ewc"]) == numbers(whole["ewc"])
    assert ("damaged; it is computed again" in said) is (damage != "gone")


def test_damaged_results_are_noticed_and_computed_again(lab: Lab) -> None:
    whole, _, _ = lab.run(lab.open(["naive"]), "whole")
    for file in (lab.folder / "whole" / "stages" / "rows").iterdir():
        file.write_text(file.read_text(encoding="utf-8").replace("0.", "1.", 1), encoding="utf-8")
    for file in (lab.folder / "whole").glob("*.json"):
        file.unlink()
    runs, _, said = lab.run(lab.open(["naive"]), "whole")
    assert numbers(runs["naive"]) == numbers(whole["naive"])
    assert said.count("damaged; it is computed again") == 4


def test_weights_are_kept_only_while_somebody_may_go_on_from_them(lab: Lab) -> None:
    lab.run(lab.open(STRATEGIES), "runs")
    assert not list((lab.folder / "runs" / "stages" / "tensors").iterdir())
    assert len(list((lab.folder / "runs" / "stages" / "nodes").iterdir())) == 3 + 4 + 3 + 3 + 1


def test_a_state_of_tensors_and_plain_values_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path, lambda _: None)
    state = {"a": {"w": torch.arange(6.0).reshape(2, 3)}, "list": [1, "two", None, torch.tensor([True])], "n": 0.1}
    weights = {"body.w": torch.randn(4), "empty": torch.zeros(0, 3)}
    saved = store.save_node("key", weights, state, ["body.w"], {"seconds": 1.5})
    assert store.node("key") == saved
    found = store.load(saved)
    assert found is not None
    assert all(torch.equal(found[0][name], value) for name, value in weights.items())
    assert torch.equal(found[1]["a"]["w"], state["a"]["w"])  # type: ignore[index]
    assert found[1]["list"][:3] == [1, "two", None] and found[1]["list"][3].dtype == torch.bool
    assert found[1]["n"] == 0.1
    assert store.node("other") is None and store.row("key") is None

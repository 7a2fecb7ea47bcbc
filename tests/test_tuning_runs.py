"""The whole command: what the search may see, that it resumes, what it costs, and what is run with what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.loop import train_stage
from benchmark.suite import load_suite
from results.groups import protocol_groups, variants
from results.record import Run, load
from tasks.sources.archive import DataFiles
from tasks.sources.base import Row, SourceError
from tasks.spec import TaskSpec
from tests.command import TASKS, Retain, caller, is_one_line, write_suite
from tests.conftest import JsonSource

SEEN = TASKS[:2]


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Retain:
    """The command without report and figure, which take seconds and are not the point."""
    monkeypatch.setattr("benchmark.commands.tune.report", lambda runs, folder: f"{len(runs)} runs")
    monkeypatch.setattr("benchmark.tuning.tune.sensitivity", lambda *_: None)
    monkeypatch.setattr("benchmark.tuning.tune.save", lambda *_: [])
    return caller(capsys)


@pytest.fixture
def suite(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Path:
    path = write_suite(tmp_path, backbone_folder)
    path.write_text(path.read_text(encoding="utf-8").replace("probes: [tiny_retrieval]\n", ""), encoding="utf-8")
    return path


@pytest.fixture
def search_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the whole stream's runs out."""
    monkeypatch.setattr("benchmark.tuning.tune._run_whole", lambda *_: ([], []))


def command(suite: Path, out: Path, *more: object, strategies: str = "l2_anchor", trials: int = 3) -> list[object]:
    return ["tune", suite, "--strategies", strategies, "--trials", trials, "--out", out, "--device", "cpu", *more]


def records(folder: Path) -> dict[str, Run]:
    return {path.name: load(path) for path in sorted(folder.glob("*.json"))}


def found(out: Path) -> tuple[list[dict[str, Any]], str]:
    """The trials and the file of what was found, without seconds."""
    trials = pd.read_csv(out / "trials.csv").drop(columns="seconds").to_dict("records")
    lines = (out / "tuned.yaml").read_text(encoding="utf-8").splitlines()
    return [{str(key): repr(value) for key, value in trial.items()} for trial in trials], "\n".join(
        line for line in lines if "seconds:" not in line
    )


def test_every_strategy_gets_as_many_trials_and_both_settings_are_run(
    retain: Retain, suite: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, printed, said = retain(*command(suite, out, strategies="naive,l2_anchor,ewc"))
    assert code == 0, said
    trials = pd.read_csv(out / "trials.csv")
    assert trials.groupby("strategy").size().to_dict() == {"l2_anchor": 3, "ewc": 3}
    assert "naive: nothing to search for; it is run once as it is" in said
    assert f"trials see 2 of 3 tasks ({', '.join(SEEN)}), trained with seed 0" in said
    for strategy, same in trials.groupby("strategy"):
        assert same["given"].tolist() == [True, False, False]
        assert same["best"].sum() == 1
        assert same[same["best"]]["score"].item() == same["score"].max()
        assert same[f"{strategy}.lam"].iloc[0] == {"l2_anchor": 1, "ewc": 10000}[str(strategy)]

    searched = records(out / "trials")
    assert len(searched) == 6
    for run in searched.values():
        assert [task.name for task in run.tasks] == SEEN
        assert all(set(hashes) == {"train", "validation"} for hashes in run.provenance.data_sha256.values())
        assert all(task.split.startswith("validation: 20% of the training rows") for task in run.tasks)
        assert run.tuning is None
    assert len({str(run.provenance.data_sha256) for run in searched.values()}) == 1  # the same rows for all

    runs = records(out)
    given = {run.strategy: run for run in runs.values() if run.tuning is None}
    tuned = {run.strategy: run for run in runs.values() if run.tuning is not None}
    assert sorted(given) == sorted(tuned) == ["ewc", "l2_anchor", "naive"]
    for strategy, run in tuned.items():
        assert run.tuning is not None
        assert (run.tuning.trials, run.tuning.tasks) == (3, SEEN)
        spent = [one.seconds for one in searched.values() if one.strategy == strategy]
        assert run.tuning.seconds == pytest.approx(sum(spent), abs=1e-3)
        assert [task.name for task in run.tasks] == TASKS
        assert all(set(hashes) == {"train", "test"} for hashes in run.provenance.data_sha256.values())
        assert run.provenance.data_sha256 == given[strategy].provenance.data_sha256
    assert tuned["naive"].scores == given["naive"].scores
    lam = trials[trials["best"]].set_index("strategy")["ewc.lam"]["ewc"]
    assert tuned["ewc"].settings["strategy"]["settings"]["lam"] == lam

    groups = protocol_groups(list(runs.values()))
    assert [sorted(variant.label for variant in variants(group.runs)) for group in groups] == 2 * [
        ["ewc", "l2_anchor", "naive"]
    ]
    assert {run.tuning is None for group in groups[:1] for run in group.runs} != {
        run.tuning is None for group in groups[1:] for run in group.runs
    }
    assert not {group.title for group in groups} & {group.title for group in protocol_groups([*searched.values()])}
    assert "Given and tuned, tiny" in printed

    again = load_suite(str(out / "tuned.yaml"))
    for cell in again.cells:
        assert cell.settings | {"suite": "tiny"} == tuned[cell.strategy.name].settings
        assert cell.tuning == tuned[cell.strategy.name].tuning
    assert retain("run", out / "tuned.yaml", "--set", "ewc.lam=5", "--out", tmp_path / "other")[::2] == (
        2,
        f"retain: suite tuned: lam is not what tuning.ewc found ({lam:g}): set that, or take tuning.ewc out\n",
    )


def test_a_rate_is_searched_for_every_strategy_and_belongs_to_it(retain: Retain, suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rate = "training.learning_rate=1e-3..1e-1:log"
    assert retain(*command(suite, out, "--search", rate, "--tasks", 1, strategies="naive,l2_anchor"))[0] == 0
    trials = pd.read_csv(out / "trials.csv")
    rates = {name: same["training.learning_rate"].tolist() for name, same in trials.groupby("strategy")}
    assert rates["naive"] == rates["l2_anchor"] and len(set(rates["naive"])) == 3
    best = trials[trials["best"]].set_index("strategy")["training.learning_rate"]
    tuned = {run.strategy: run for run in records(out).values() if run.tuning}
    assert {name: run.settings["training"]["learning_rate"] for name, run in tuned.items()} == best.to_dict()
    assert len(protocol_groups([*tuned.values()])) == 1
    files = sorted(path.name for path in out.glob("tuned*.yaml"))
    assert files == (["tuned.yaml"] if len(set(best)) == 1 else ["tuned-l2_anchor.yaml", "tuned-naive.yaml"])


@dataclass(frozen=True)
class Locked:
    """A source that hands out some splits only."""

    source: JsonSource
    allowed: tuple[str, ...]

    @property
    def archive(self) -> DataFiles:
        return self.source.archive

    def read(self, folder: Path) -> Mapping[str, list[Row]]:
        if not self.allowed:
            raise SourceError("this task is none of the search's business")
        return Doors(self.source.read(folder), self.allowed)


class Doors(Mapping[str, list[Row]]):
    def __init__(self, splits: Mapping[str, list[Row]], allowed: tuple[str, ...]) -> None:
        self.splits, self.allowed = splits, allowed

    def __getitem__(self, name: str) -> list[Row]:
        if name not in self.allowed:
            raise SourceError(f"the {name} split is none of the search's business")
        return self.splits[name]

    def __iter__(self) -> Iterator[str]:
        raise SourceError("not all splits are the search's business")

    def __len__(self) -> int:
        return len(self.splits)


Catalogue = Callable[[Callable[[TaskSpec], Any]], None]


@pytest.fixture
def change_sources(specs: dict[str, TaskSpec], monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    def change(source_of: Callable[[TaskSpec], Any]) -> None:
        changed = tuple(replace(spec, source=source_of(spec)) for spec in specs.values())
        monkeypatch.setattr("benchmark.suite.TASKS", changed)

    return change


def test_the_search_reads_no_test_row_and_no_later_task(
    retain: Retain, suite: Path, tmp_path: Path, search_only: None, change_sources: Catalogue
) -> None:
    assert retain(*command(suite, tmp_path / "free"))[0] == 0
    change_sources(lambda spec: Locked(spec.source, ("train",) if spec.name in SEEN else ()))  # type: ignore[arg-type]
    code, _, said = retain(*command(suite, tmp_path / "locked"))
    assert code == 0, said
    assert found(tmp_path / "locked") == found(tmp_path / "free")
    # The locks do lock: a search that sees the third task is stopped, and so is a run.
    assert "none of the search's business" in retain(*command(suite, tmp_path / "more", "--tasks", 3))[2]
    assert "none of the search's business" in retain("run", suite, "--out", tmp_path / "run")[2]


@dataclass(frozen=True)
class Garbled:
    """A source whose test rows all say the opposite."""

    source: JsonSource

    @property
    def archive(self) -> DataFiles:
        return self.source.archive

    def read(self, folder: Path) -> Mapping[str, list[Row]]:
        splits = self.source.read(folder)
        opposite = {"good": "bad", "bad": "good", "B-PER": "O", "O": "B-LOC", "B-LOC": "B-PER"}
        for row in splits["test"]:
            if "label" in row:
                row["label"] = opposite[str(row["label"])]
            if isinstance(tags := row.get("tags"), list):
                row["tags"] = [opposite[tag] for tag in tags]
        return splits


def test_other_test_rows_change_nothing_in_what_is_found(
    retain: Retain, suite: Path, tmp_path: Path, change_sources: Catalogue
) -> None:
    assert retain(*command(suite, tmp_path / "one"))[0] == 0
    change_sources(lambda spec: Garbled(spec.source))  # type: ignore[arg-type]
    assert retain(*command(suite, tmp_path / "other"))[0] == 0
    assert found(tmp_path / "one") == found(tmp_path / "other")
    scores = [[run.scores for run in records(tmp_path / name).values()] for name in ("one", "other")]
    assert scores[0] != scores[1]  # though the runs themselves were scored on other rows


def test_a_validation_split_of_the_source_is_taken_where_there_is_one(
    retain: Retain, suite: Path, tmp_path: Path, search_only: None, specs: dict[str, TaskSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    own = tuple(replace(spec, validation="test") for spec in specs.values())  # any split under another name does
    monkeypatch.setattr("benchmark.suite.TASKS", own)
    assert retain(*command(suite, tmp_path / "out", trials=1))[0] == 0
    (run,) = records(tmp_path / "out" / "trials").values()
    assert [task.train_examples for task in run.tasks] == [24, 24]
    assert [task.test_examples for task in run.tasks] == [20, 20]
    assert [task.split for task in run.tasks] == ["validation split of: made up"] * 2


@pytest.mark.parametrize("sampler", ["qmc", "tpe"])
def test_an_interrupted_search_goes_on_to_the_same_end(
    retain: Retain, suite: Path, tmp_path: Path, search_only: None, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    trained: list[int] = []

    def counted(*arguments: Any) -> Any:
        trained.append(1)
        if len(trained) == stop:
            raise KeyboardInterrupt
        return train_stage(*arguments)

    monkeypatch.setattr("benchmark.worker.train_stage", counted)
    stop = 0
    assert retain(*command(suite, tmp_path / "whole", "--sampler", sampler))[0] == 0
    whole = len(trained)
    for stop in (2, 4, 0):
        trained.clear()
        code, _, said = retain(*command(suite, tmp_path / "parts", "--sampler", sampler))
        assert code == (130 if stop else 0), said
    assert len(trained) < whole
    assert found(tmp_path / "parts") == found(tmp_path / "whole")
    trained.clear()
    assert retain(*command(suite, tmp_path / "parts", "--sampler", sampler))[0] == 0
    assert trained == []


def test_a_longer_search_goes_on_from_a_shorter_one(
    retain: Retain, suite: Path, tmp_path: Path, search_only: None
) -> None:
    assert retain(*command(suite, tmp_path / "out", trials=2))[0] == 0
    few = found(tmp_path / "out")[0]
    code, _, said = retain(*command(suite, tmp_path / "out", trials=3))
    assert code == 0 and said.count("done before") == 2
    many = found(tmp_path / "out")[0]
    assert [trial["l2_anchor.lam"] for trial in many][:2] == [trial["l2_anchor.lam"] for trial in few]


def test_a_failed_trial_counts_as_worst_and_a_strategy_that_always_fails_is_reported(
    retain: Retain, suite: Path, tmp_path: Path
) -> None:
    beyond = ["--set", "l2_anchor.lam=1e36", "--search", "l2_anchor.lam=1e35..1e37:log"]
    out = tmp_path / "out"
    code, _, said = retain(*command(suite, out, *beyond, strategies="naive,l2_anchor", trials=2))
    assert code == 1
    assert "l2_anchor: every trial failed, so nothing was found for it" in said
    trials = pd.read_csv(out / "trials.csv")
    assert trials["score"].tolist() == [0, 0] and trials["best"].tolist() == [False, False]
    assert trials["failure"].str.contains("gradient norm").all()
    runs = records(out).values()
    assert sorted((run.strategy, run.tuning is None, run.failed) for run in runs) == [
        ("l2_anchor", True, True), ("naive", False, False), ("naive", True, False),
    ]  # fmt: skip
    assert "l2_anchor" not in (out / "tuned.yaml").read_text(encoding="utf-8")


def test_a_failed_trial_is_not_the_best(retain: Retain, suite: Path, tmp_path: Path, search_only: None) -> None:
    beyond = ["--set", "l2_anchor.lam=1e36", "--search", "l2_anchor.lam=0.01..1:log"]
    code, _, said = retain(*command(suite, tmp_path / "out", *beyond, trials=2))
    assert code == 1 and "l2_anchor, trial 1/2, lam=1e+36: failed: " in said
    trials = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert trials["best"].tolist() == [False, True]
    assert trials["score"].iloc[0] == 0 < trials["score"].iloc[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trials", "0"], "argument --trials: '0' should be a whole number of at least 1"),
        (["--strategies", "ewcc"], "unknown strategy 'ewcc': did you mean ewc?"),
        (["--search", "ewc.lam=5..1"], "5 is not below 1"),
        (["--tasks", "4"], "--tasks 4: stream tiny_sentiment-tiny_tags-tiny_spans has 3 tasks"),
        (["--tasks", "0"], "argument --tasks: '0' should be"),
        (["--seed", "-1"], "--seed"),
        (["--sampler", "grid"], "unknown sampler 'grid'"),
        (["--set", "ewc.lam=[1,2]"], "strategies.ewc.lam is [1, 2]: a search starts from one value"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    retain: Retain, suite: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    out = tmp_path / "out"
    code, printed, said = retain(*command(suite, out, *more, strategies="ewc"))
    assert (code, printed) == (2, "")
    assert is_one_line(said) and message in said
    assert not out.exists()


def test_without_optuna_it_says_how_to_get_it(
    retain: Retain, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.commands.tune.find_spec", lambda name: None)
    code, _, said = retain(*command(suite, tmp_path / "out"))
    assert (code, said) == (2, "retain: retain tune needs Optuna: pip install 'retain[tune]'\n")

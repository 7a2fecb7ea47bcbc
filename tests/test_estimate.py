"""Estimates of time and disk, against sums worked out by hand and against what a study then takes."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from benchmark.engine import Engine, Keep
from benchmark.estimate import FORWARD, TRIED_EXAMPLES, Cost, Prices, estimate, try_out
from benchmark.plan import format_interval
from benchmark.progress import Progress
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from strategies.freeze import Freeze
from tests.command import write_suite
from tests.lab import Ran

PRICES = Prices(
    train={"tiny_sentiment": 1.0, "tiny_tags": 10.0, "tiny_spans": 100.0},
    tests={"tiny_sentiment": 100.0, "tiny_tags": 200.0, "tiny_spans": 300.0},
    probes=400.0,
    strategies={"naive": Cost(1.0, 0.0, 7, 0), "ewc": Cost(1.5, 5000.0, 7, 20)},
)


@pytest.fixture
def study(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Study:
    suite = load_suite(str(write_suite(tmp_path, backbone_folder)), Overrides(["naive", "ewc"]))
    return open_study(suite, "cpu", lambda _: None)


def engine(study: Study, folder: Path, keep: Keep = "none") -> Engine:
    with Progress(stream=StringIO()) as progress:
        return Engine(study, folder, progress, keep)


def test_time_is_the_sum_of_what_every_distinct_step_takes(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.estimate.try_out", lambda *_: PRICES)
    asked = engine(study, tmp_path / "runs")
    sentiment, tags, spans = (len(task.train.features) for task in study.tasks)
    naive = 1 * sentiment + 10 * tags + 100 * spans + 4 * 1000
    ewc = 5000 + 1000 + 1.5 * 10 * tags + 5000 + 1000 + 1.5 * 100 * spans + 1000  # its first stage is naive's
    assert estimate(asked, asked.graph.jobs).seconds == naive + ewc
    assert estimate(asked, {}).seconds == 0


def test_what_is_computed_once_for_each_example_does_not_grow_with_the_epochs(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = Cost(0.25, 0.0, 7, 0, once=0.5)
    monkeypatch.setattr("benchmark.estimate.try_out", lambda *_: replace(PRICES, strategies={"naive": cost}))
    study = study.running(study.suite.cells[:1], replace(study.suite.training, epochs=3))
    asked = engine(study, tmp_path / "runs")
    sentiment, tags, spans = (len(task.train.features) for task in study.tasks)
    steps = 3 * sentiment + 0.75 * (10 * tags + 100 * spans)
    assert estimate(asked, asked.graph.jobs).seconds == steps + 0.5 * (10 * tags + 100 * spans) + 4 * 1000


def test_frozen_layers_whose_outputs_are_kept_cost_a_forward_pass_once(study: Study) -> None:
    suite = replace(study.suite, cells=tuple(replace(cell, strategy=Freeze()) for cell in study.suite.cells[:1]))
    assert try_out(replace(study, suite=suite), {"freeze"}).strategies["freeze"].once == FORWARD
    assert try_out(study, {"naive"}).strategies["naive"].once == 0


@pytest.mark.parametrize(
    ("keep", "most"),
    [
        # The first stage, kept for EWC, with two stages of naive; or with two steps of EWC.
        ("none", max(7 + 7 + 7, 7 + 27, 27 + 27)),
        ("last", 7 + 27 + 27),
        ("all", 7 * 3 + 27 * 4),
    ],
)
def test_disk_is_the_most_that_lies_there_at_once(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: Keep, most: int
) -> None:
    monkeypatch.setattr("benchmark.estimate.try_out", lambda *_: PRICES)
    asked = engine(study, tmp_path / "runs", keep)
    assert estimate(asked, asked.graph.jobs).disk == most


def test_trying_out_gives_prices_and_trains_nothing_that_stays(study: Study, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in study.backbone.body.named_parameters()}
    prices = try_out(study, {"naive", "ewc"})
    assert set(prices.train) == {task.name for task in study.tasks}
    assert all(seconds > 0 for seconds in prices.train.values())
    assert prices.probes > 0
    assert min(prices.tests.values()) > 0
    naive, ewc = prices.strategies["naive"], prices.strategies["ewc"]
    assert (naive.after, naive.state) == (0, 0)
    assert naive.weights >= 4 * study.backbone.parameters
    assert ewc.state == 2 * ewc.weights
    assert ewc.after > 0
    assert all((value == before[name]).all() for name, value in study.backbone.body.named_parameters())
    first = Ran(study, tmp_path / "after").by_strategy
    assert first["naive"].scores[0] == Ran(study, tmp_path / "again").by_strategy["naive"].scores[0]


def test_what_strategies_do_after_a_stage_is_scaled_to_the_examples_they_ask_for(
    offline_catalogue: Path, backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load_suite(str(write_suite(tmp_path, backbone_folder)), Overrides(["ewc"], None, ["ewc.examples=20"]))
    study = open_study(suite, "cpu", lambda _: None)
    monkeypatch.setattr("benchmark.estimate.time", Ticking())
    assert try_out(study, {"ewc"}).strategies["ewc"].after == 1.0 * 20 / TRIED_EXAMPLES


class Ticking:
    """A clock on which everything takes a second."""

    now = 0.0

    def perf_counter(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (29, "29 s"), (90, "2 min"), (3540, "59 min"), (3600, "1 h 0 min"), (7900, "2 h 12 min")],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert format_interval(seconds) == said

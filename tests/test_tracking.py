"""Runs sent to a tracker: a real TensorBoard, and what happens when a tracker fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.tracking import TRACKERS, check_tracker, configuration, points, track
from results.record import Failure
from tests.command import caller, write_suite
from tests.results_fixtures import make_run


def test_points_are_in_order_of_steps_with_losses_before_scores() -> None:
    run = make_run().model_copy(update={"losses": [[3.0, 1.0], [2.0], [4.0]]})
    steps = [cost.steps for cost in run.costs]
    sent = list(points(run))
    assert [step for step, _ in sent] == sorted(step for step, _ in sent)
    assert [(step, values["stage"]) for step, values in sent if "stage" in values] == [
        (0, 0),
        (steps[0], 1),
        (steps[0] + steps[1], 2),
        (sum(steps), 3),
    ]
    assert [(step, values["loss/train"]) for step, values in sent if "loss/train" in values] == [
        (round(steps[0] / 2), 3.0),
        (steps[0], 1.0),
        (steps[0] + steps[1], 2.0),
        (sum(steps), 4.0),
    ]
    assert sent[-1][1][f"score/{run.tasks[0].name}"] == run.scores[-1][0]


def test_a_configuration_is_flat_and_names_a_failure() -> None:
    run = make_run().model_copy(update={"settings": {"a": {"b": 1, "c": [1, 2]}, "d": None}})
    assert configuration(run) | {"commit": "", "device": ""} == {
        "a.b": 1,
        "a.c": "[1, 2]",
        "d": None,
        "commit": "",
        "device": "",
    }
    failed = run.model_copy(update={"failure": Failure(stage=0, reason="loss nan")})
    assert configuration(failed)["failure"] == "loss nan"


def test_tensorboard_gets_what_the_record_says(
    offline_catalogue: Path, backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from results.record import load

    retain = caller(capsys)
    suite = write_suite(tmp_path, backbone_folder)
    code, _, said = retain(
        "run", suite, "--strategies", "naive", "--track", "tensorboard", "--out", tmp_path / "runs", "--device", "cpu"
    )
    assert code == 0, said
    (record,) = (tmp_path / "runs").glob("*.json")
    run = load(record)
    events = EventAccumulator(str(tmp_path / "runs" / "tensorboard" / record.stem))
    events.Reload()
    sent = [event.value for event in events.Scalars("score/tiny_tags")]
    assert sent == pytest.approx([row[1] for row in run.scores])
    losses = [event.value for event in events.Scalars("loss/train")]
    assert losses == pytest.approx([loss for stage in run.losses for loss in stage])
    assert [event.step for event in events.Scalars("stage")] == [0, 3, 6, 11]


def test_a_tracker_that_fails_is_said_and_ends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: Any) -> Any:
        raise ConnectionError("no route\nto host")

    monkeypatch.setitem(TRACKERS, "wandb", broken)
    said: list[str] = []
    track("wandb", "naive-seed0", make_run(), tmp_path, said.append)
    assert said == [
        "--track wandb: naive-seed0 could not be sent (ConnectionError: no route to host); its record is complete"
    ]


def test_a_tracker_that_is_not_installed_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.tracking.find_spec", lambda _: None)
    with pytest.raises(UserError, match="--track trackio: the package trackio is not installed: pip install trackio"):
        check_tracker("trackio")

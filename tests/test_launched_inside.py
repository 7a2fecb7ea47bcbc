"""Fresh heads and tests inside stages on two processes that train one model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.study import open_study
from benchmark.suite import Overrides, load_suite
from tests.lab import Ran
from tests.launched import Notes, watch
from tests.launching import make_place, records


@pytest.mark.slow
def test_two_processes_find_what_one_does(
    backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(tmp_path, backbone_folder)
    suite = place.suite("inside", "{naive: {}}", ["tiny_sentiment", "tiny_tags", "tiny_spans"], "refit: 20\n")
    arguments = ("run", suite, "--out", tmp_path / "two", "--device", "cpu", "--threads", "1", "--eval-every", "2")
    finished = place.run(2, *arguments)
    assert finished.code == 0, finished.said
    monkeypatch.setenv("RETAIN_CACHE", str(tmp_path / "cache"))
    watch(place.scene, Notes(), monkeypatch.setattr)
    threads = torch.get_num_threads()
    overrides = Overrides(settings=["eval_every=2"])
    alone = open_study(load_suite(str(suite), overrides), "cpu", lambda _: None, threads=1)
    (one,) = Ran(alone, tmp_path / "one").runs
    torch.set_num_threads(threads)
    (two,) = records(tmp_path / "two").values()
    assert [cost.steps for cost in two.costs] == [cost.steps for cost in one.costs]
    assert two.scores == one.scores
    assert two.curves == one.curves and len(one.curves[2]) > 1
    assert two.refits == one.refits and set(one.refits[3]) == {"tiny_sentiment", "tiny_tags"}
    for before, after in zip(one.similarity, two.similarity, strict=True):
        assert after == pytest.approx(before, rel=1e-4)

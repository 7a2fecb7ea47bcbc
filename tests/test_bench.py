"""The bench measures what it says: its arithmetic, its options, and that its contenders compute the same."""

from __future__ import annotations

import json
import random
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.study import Study
from benchmark.suite import load_suite
from benchmark.worker import new_learner
from strategies.base import snapshot
from tests.bench import bare, fisher, freezing, material, ours, steps, trainer, wanted, worker
from tests.bench.__main__ import main, parser
from tests.bench.commands import SWEPT
from tests.bench.field import Failed, Process, environment, run_rounds, started
from tests.bench.job import GPU, QUICK, Contender, Job, Sizes, spent
from tests.bench.parts import PARTS, priced
from tests.bench.ratios import Bound, Row, in_turns, ratios, shown, table
from tests.benchmarks.memory import Peak, line
from tests.conftest import BAD, GOOD, sentence

ROOT = Path(__file__).parents[1]
TINY = Sizes(train=36, test=10, steps=2, fisher=6, checked=4, head_epochs=2, limit=8, sweep=8)


@pytest.fixture
def job(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Job:
    """Texts of two collections on the tiny backbone, in a folder."""
    random_ = random.Random(0)
    texts = [
        (" ".join(sentence(random_, GOOD if number % 2 else BAD, random_.randint(2, 30))), "ab"[number % 2])
        for number in range(46)
    ]
    material.write(tmp_path, str(backbone_folder), texts[:36], texts[36:])
    return Job(str(tmp_path), 1, TINY)


def test_a_row_says_its_median_its_range_and_whether_it_keeps_its_bound() -> None:
    row = Row("steps", "wall time", (1.0, 3.0, 2.0), Bound(1.5), note="so")
    assert row.median == 2.0
    assert row.line() == "| steps | wall time | at least 1.50x | 2.00x | 1.00 to 3.00 | 3 | kept; so |"
    assert replace(row, bound=Bound(1.5, most=True)).line().endswith("| 3 | **missed**; so |")
    assert replace(row, bound=None).line() == "| steps | wall time |  | 2.00x | 1.00 to 3.00 | 3 | so |"
    assert replace(row, bound=None).kept is None
    assert list(table([row]))[1] == row.line()


@pytest.mark.parametrize("value", [1.5, 0.9])
def test_a_bound_includes_its_own_value(value: float) -> None:
    assert Bound(value).kept(value)
    assert Bound(value, most=True).kept(value)
    assert not Bound(value).kept(value - 0.01)
    assert not Bound(value, most=True).kept(value + 0.01)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (1.084, "1.08"), (12.34, "12.3"), (123.4, "123"), (0.0351, "0.0351"), (3.4e-7, "3.4e-07")],
)
def test_numbers_have_the_digits_that_mean_something(value: float, text: str) -> None:
    assert shown(value) == text


def test_ratios_are_of_the_same_round_and_rounds_change_their_order() -> None:
    rounds = [{"a": {"wall": 2.0}, "b": {"wall": 1.0}}, {"a": {"wall": 9.0}, "b": {"wall": 3.0}}]
    assert ratios(rounds, "a", "b", "wall") == (2.0, 3.0)
    assert [in_turns(["a", "b"], number) for number in range(3)] == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_a_row_can_be_written_as_json() -> None:
    plain = json.loads(json.dumps(Row("x", "wall time", (2.0,), Bound(1.0, most=True)).plain()))
    assert (plain["median"], plain["held_to"], plain["at_most"], plain["kept"]) == (2.0, 1.0, True, False)


def test_options_have_defaults_and_parts_can_be_chosen() -> None:
    options = parser().parse_args([])
    assert (options.rounds, options.only, options.quick, options.whole, options.json) == (5, [], False, False, None)
    assert parser().parse_args(["--only", "help", "--only", "sweep"]).only == ["help", "sweep"]
    with pytest.raises(SystemExit):
        parser().parse_args(["--only", "nothing"])


def test_every_contender_is_there() -> None:
    for place in worker.PLACES.values():
        module, _, name = place.partition(":")
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert f"def {name}(job: Job" in source
    assert set(worker.FOREIGN) < set(worker.PLACES)
    assert {"training", "sweep", "help"} < set(PARTS)


def test_the_sweeps_price_is_of_all_of_its_runs() -> None:
    suite = load_suite("sweep")
    names = [cell.strategy.name for cell in suite.cells]
    assert {name: names.count(name) for name in names} == dict(SWEPT)
    took = {name: 11.0 for name in SWEPT} | {"start": 1.0, "shared": 256.0}
    found = priced(took)
    assert found["scratch"] == 51 * 11
    assert found["ratio"] == pytest.approx(256 / 561)
    assert found["bare"] == pytest.approx(255 / 510)


def test_avalanche_has_one_version_everywhere() -> None:
    pinned = f"avalanche-lib=={wanted.VERSION}"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["bench"] == [pinned]
    assert pinned not in extras["dev"]
    assert pinned in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_a_job_travels_as_text() -> None:
    for job in (Job("somewhere", 2, QUICK), Job("there", 4, GPU, "cuda", "bf16", 64)):
        assert Job.read(job.text()) == job


def test_parts_of_a_processors_time_are_refused_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--device", "cuda", "--only", "help", "--only", "training", "--only", "steps"])
    assert ended.value.code == 2
    assert "help, steps: not on a GPU; there are training, " in capsys.readouterr().err


def test_only_others_have_an_allocator_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_PERTURB_", raising=False)
    assert "MALLOC_PERTURB_" not in environment(2)
    assert environment(2, foreign=True)["MALLOC_PERTURB_"] == "0"
    assert environment(2)["OMP_NUM_THREADS"] == "2"
    assert environment(None)["RETAIN_OFFLINE"] == "1"


def test_work_is_timed() -> None:
    done: list[int] = []
    found = spent(lambda: done.append(1))
    assert done == [1]
    assert set(found) == {"wall", "cpu"}
    assert found["wall"] >= 0


def test_the_loop_written_by_hand_trains_the_same_weights_as_ours(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    learners: list[Any] = []

    def kept(study: Study, seed: int) -> Any:
        learners.append(new_learner(study, seed))
        return learners[-1]

    for module in (ours, bare):
        monkeypatch.setattr(module, "new_learner", kept)
        contender: Contender = module.training(job)
        without_dropout(learners[-1].model)
        contender.round()
    trained, by_hand = (snapshot(dict(learner.model.named_parameters())) for learner in learners)
    for name, value in trained.items():
        torch.testing.assert_close(value, by_hand[name], rtol=1e-4, atol=1e-6)
        assert not torch.equal(value, learners[0].untrained[name]) or "embeddings" in name


def without_dropout(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


@pytest.mark.parametrize("make", [trainer.training, trainer.training_by_length])
def test_the_trainer_trains_our_model(job: Job, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[trainer.Wrapped] = []
    build = trainer.wrapped

    def kept(study: Study) -> trainer.Wrapped:
        models.append(build(study))
        return models[-1]

    monkeypatch.setattr(trainer, "wrapped", kept)
    contender = make(job)
    before = snapshot(dict(models[0].named_parameters()))
    assert contender.round()["wall"] > 0
    moved = [name for name, value in models[0].named_parameters() if not torch.equal(value, before[name])]
    assert len(moved) > 20


def test_training_tells_what_it_read_and_computed(job: Job) -> None:
    contender = ours.training(job)
    found = contender.round()
    (task,) = material.opened(job).tasks
    assert found["tokens"] == task.train.lengths.sum()
    assert contender.check()["rate"] > found["flops"] / found["wall"] > 0


def test_batch_size_and_precision_are_what_was_asked_for(job: Job) -> None:
    for asked in (job, replace(job, batch=4, precision="bf16")):
        suite = material.suite_of(asked)
        assert (suite.training.batch_size, suite.precision) == (asked.batch, asked.precision)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_compiled_body_trains_the_same(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    learners: list[Any] = []

    def kept(study: Study, seed: int) -> Any:
        learners.append(new_learner(study, seed))
        without_dropout(learners[-1].model)
        return learners[-1]

    monkeypatch.setattr(ours, "new_learner", kept)
    torch._dynamo.utils.counters.clear()
    found = [make(job).round() for make in (ours.training, ours.compiled_training)]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert found[0]["tokens"] == found[1]["tokens"]
    plain, compiled = (snapshot(dict(learner.model.named_parameters())) for learner in learners)
    for name, value in plain.items():
        torch.testing.assert_close(value, compiled[name], rtol=1e-3, atol=1e-5)


def test_both_predict(job: Job) -> None:
    assert ours.evaluation(job).round()["wall"] > 0
    assert trainer.prediction(job).round()["wall"] > 0


def test_fisher_of_single_examples_is_the_same_in_every_way(job: Job) -> None:
    for make in (fisher.ours, fisher.batches_of_one):
        contender = make(job)
        assert contender.round()["wall"] > 0
        assert contender.check()["error"] < 1e-4


def test_an_error_is_a_share_of_the_norm() -> None:
    exact = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    assert fisher.relative_error(exact, exact) == 0
    assert fisher.relative_error(exact | {"b": torch.tensor([4.5])}, exact) == pytest.approx(0.1)


def test_steps_are_timed_for_each_strategy(job: Job) -> None:
    found = steps.steps(job).round()
    assert set(found) == {"naive", "l2_anchor", "ewc 1", "ewc 8"}
    assert min(found.values()) > 0


def test_epochs_are_timed_without_the_first(job: Job) -> None:
    found = freezing.epochs(job).round()
    assert set(found) == {"full wall", "full cpu", "head wall", "head cpu"}
    assert min(found.values()) > 0


def test_contenders_answer_from_processes_of_their_own(job: Job) -> None:
    with started(["evaluate"], job) as field:
        rounds = run_rounds(field, 2)
        assert field["evaluate"].ask("check") == {}
    assert [set(found["evaluate"]) for found in rounds] == [{"wall", "cpu"}] * 2


def test_a_contender_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"(?s)nobody: ended; its last words: .*KeyError"):
        Process("nobody", Job(str(tmp_path), 1, TINY))


def test_memory_is_told_in_copies_over_naive() -> None:
    naive, other = Peak(1000 * 2**20, 0, 100), Peak(1000 * 2**20 + 250, 200, 100)
    assert line("ewc", [other], [naive]) == "| ewc | 1,000 | 2.50 | 2.00 | 2.50 to 2.50 |"

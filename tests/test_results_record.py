from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from results.record import Failure, RecordError, Run, finished_runs, load, load_all, write_atomically
from tests.results_fixtures import make_run


def test_a_saved_record_loads_equal(tmp_path: Path) -> None:
    run = make_run("ewc", hyperparameters={"lam": 0.1, "name": "Zürich 中文"})
    run.save(tmp_path / "new" / "run.json")
    assert load(tmp_path / "new" / "run.json") == run
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run.json"]


def test_load_all_reads_folders_and_files_in_order(tmp_path: Path) -> None:
    for seed in (1, 0):
        make_run(seed=seed).save(tmp_path / f"{seed}.json")
    assert [run.seed for run in load_all([tmp_path, tmp_path / "1.json"])] == [0, 1, 1]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"null", b'{"schema_version": 1}'],
    ids=["empty", "cut", "list", "no fields", "not UTF-8", "null", "one field"],
)
def test_what_is_no_record_gives_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_record_cut_short_or_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    make_run().save(tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    (tmp_path / "cut.json").write_text(text[: len(text) // 2], encoding="utf-8")
    (tmp_path / "extra.json").write_text(json.dumps(json.loads(text) | {"surprise": 1}), encoding="utf-8")
    for name in ("cut.json", "extra.json"):
        with pytest.raises(RecordError, match=name):
            load(tmp_path / name)


def test_missing_paths_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such file"):
        load_all([tmp_path / "nowhere"])
    with pytest.raises(RecordError, match="no run records"):
        load_all([tmp_path])


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ValidationError, match="scores has 1 rows, 4 expected"):
        make_run(scores=[[0.1, 0.2, 0.3]])


@pytest.mark.parametrize("stage", [-1, 0, 2])
def test_a_failed_run_ends_before_the_stage_that_failed(tmp_path: Path, stage: int) -> None:
    losses = [[0.7, 0.5]] * max(stage, 0)
    run = make_run(failed_stage=stage, losses=losses)
    assert run.failed and run.failure == Failure(stage=stage, reason="the training loss is NaN")
    assert [len(rows) for rows in (run.scores, run.metrics, run.probes, run.drift)] == [stage + 1] * 4
    assert len(run.costs) == max(stage, 0) and len(run.stages) == 3
    run.save(tmp_path / "run.json")
    assert load(tmp_path / "run.json") == run


_COST = make_run().costs[0]


@pytest.mark.parametrize(
    ("stage", "fields", "message"),
    [
        (1, {"failure": Failure(stage=-2, reason="?")}, "failure.stage is -2, there are 3 stages"),
        (None, {"failure": Failure(stage=3, reason="?")}, "failure.stage is 3, there are 3 stages"),
        (None, {"failure": Failure(stage=2, reason="?")}, "scores has 4 rows, 3 expected"),
        (2, {"failure": None}, "scores has 3 rows, 4 expected"),
        (1, {"scores": [[0.5] * 3]}, "scores has 1 rows, 2 expected"),
        (1, {"metrics": [{}] * 4}, "metrics has 4 rows, 2 expected"),
        (1, {"probes": [{}] * 3}, "probes has 3 rows, 2 expected"),
        (-1, {"drift": [{}]}, "drift has 1 rows, 0 expected"),
        (1, {"costs": [_COST] * 2}, "costs has 2 entries, 1 expected"),
        (-1, {"costs": [_COST]}, "costs has 1 entries, 0 expected"),
        (1, {"losses": [[0.5]] * 2}, "losses has 2 entries, 1 or none expected"),
        (None, {"losses": [[0.5]] * 2}, "losses has 2 entries, 3 or none expected"),
        (None, {"losses": [[0.5], [float("nan")], [0.5]]}, "finite number"),
    ],
)
def test_rows_that_do_not_fit_the_failure_are_refused(stage: int | None, fields: dict[str, Any], message: str) -> None:
    whole = make_run(failed_stage=stage).model_dump()
    with pytest.raises(ValidationError, match=message):
        Run.model_validate(whole | fields)


def test_records_from_before_failures_and_losses_were_noted_load() -> None:
    run = make_run()
    old = json.loads(run.model_dump_json())
    for field in ("failure", "losses"):
        del old[field]
    for field in ("processes", "accumulation"):
        del old["provenance"][field]
    assert Run.model_validate(old) == run
    assert (run.failure, run.losses, run.provenance.processes, run.provenance.accumulation) == (None, [], 1, 1)


_ANY_TEXT = st.text(st.characters())  # control characters and lone surrogates too


@settings(deadline=None)
@given(_ANY_TEXT, _ANY_TEXT)
@example("line\none\r\n\x1b[31mred\u2028\u202eright to left", "a\udc80\n")
@example(" \n\t", "")
def test_any_reason_becomes_one_line_that_is_not_empty_and_any_failure_can_be_written(reason: str, trace: str) -> None:
    failure = Failure(stage=0, reason=reason, trace=trace)
    assert failure.reason.isprintable() and failure.reason == failure.reason.strip() != ""
    assert Failure.model_validate_json(failure.model_dump_json()) == failure


def test_a_reason_and_a_trace_that_can_be_written_stay_as_they_are() -> None:
    failure = Failure(stage=0, reason="`x` | <b> Zürich 中文", trace='Traceback:\n  File "a.py"\n\tü\n')
    assert (failure.reason, failure.trace) == ("`x` | <b> Zürich 中文", 'Traceback:\n  File "a.py"\n\tü\n')


def test_finished_runs_are_those_without_a_failure() -> None:
    runs = [make_run(seed=seed, failed_stage=1 if seed == 1 else None) for seed in range(3)]
    assert [run.seed for run in finished_runs(runs)] == [0, 2]


def test_learned_at_is_the_row_after_the_stage() -> None:
    assert make_run().learned_at == [1, 2, 3]
    assert make_run(together=True).learned_at == [1, 1, 1]


@pytest.mark.parametrize("content", ["new ü\n", b"\x89PNG\x00"])
def test_writing_replaces_the_whole_file(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_text("old and much longer", encoding="utf-8")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError("disk full")

    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]

"""Tasks of one's own through the whole command, with a tiny backbone."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest

from benchmark.own_tasks import own_task
from benchmark.study import open_study
from benchmark.suite import Overrides, load_suite
from results.record import Run, load_all
from tasks.base import check_main_score
from tasks.prepare import Sizes, prepare
from tasks.spec import TaskError
from tests.command import Retain, caller, is_one_line
from tests.conftest import sequence_rows
from tests.tiny_models import build

EXAMPLE = Path(__file__).parents[1] / "examples" / "own-task"


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Retain:
    monkeypatch.setenv("RETAIN_OFFLINE", "1")
    monkeypatch.setenv("RETAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "benchmark.commands.run.report", lambda runs, folder: f"{len(runs)} runs"
    )  # figures take seconds
    return caller(capsys)


def test_the_example_runs_and_its_records_say_what_was_read(
    retain: Retain, backbone_folder: Path, tmp_path: Path
) -> None:
    copy, runs = tmp_path / "example", tmp_path / "runs"
    shutil.copytree(EXAMPLE, copy)
    command = ("run", copy / "suite.yaml", "--backbone", backbone_folder, "--out", runs)
    code, _, said = retain(*command)
    assert code == 0, said
    records = load_all([runs])
    assert [run.strategy for run in records] == ["freeze", "naive"]
    for run in records:
        assert [(task.name, task.kind, task.metric) for task in run.tasks] == [
            ("kitchen", "sequence", "accuracy"),
            ("places", "token", "f1"),
        ]
        assert (run.tasks[0].train_examples, run.tasks[0].test_examples) == (24, 8)
        assert set(run.metrics[-1]["kitchen"]) == {"accuracy", "macro_f1"}
        assert all(0 <= score <= 1 for row in run.scores for score in row)
        assert run.provenance.files_sha256 == {
            "kitchen": {"kitchen.csv": sha256(EXAMPLE / "kitchen.csv")},
            "places": {name: sha256(EXAMPLE / name) for name in ("places-train.jsonl", "places-test.jsonl")},
        }
        assert str(copy) not in run.model_dump_json()
    assert retain(*command)[0] == 0
    assert load_all([runs]) == records  # nothing was done again
    with (copy / "kitchen.csv").open("a", encoding="utf-8") as file:
        file.write("The jam set at once.,praises\n")
    assert retain(*command)[0] == 0
    assert len(load_all([runs])) == 4


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


TEXTS = {
    "chinese": (["这部电影很好看", "我很喜欢", "太棒了"], ["浪费时间", "太无聊了", "糟糕"]),
    "emoji": (["😀😀", "👩\u200d🔬 🎉", "♥️"], ["😡", "💔 💔", "👎🏽"]),
    "right_to_left": (["شكرا جزيلا", "יום טוב", "\u202eabc\u202c good"], ["سيئ جدا", "רע מאוד", "لا"]),
    "long": (["balo comi " * 5000], ["fulo gemi " * 5000]),
    "odd": (["", " ", "\x00\x07"], ["e\u0301", "\ufffd", "a\r\nb\u2028c"]),
}


def test_every_writing_and_long_documents_train_and_score(
    retain: Retain, backbone_folder: Path, tmp_path: Path
) -> None:
    for name, (good, bad) in TEXTS.items():
        rows = [{"text": text, "label": label} for label, texts in enumerate((bad, good)) for text in texts]
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8", newline="\n")
        shutil.copy(tmp_path / f"{name}.jsonl", tmp_path / f"{name}-test.jsonl")
        (tmp_path / f"{name}.yaml").write_text(
            f"description: {good[0][:10]!r}\nkind: sequence\ndata: {{train: {name}.jsonl, test: {name}-test.jsonl}}\n"
            "labels: {0: schlecht 👎, 1: 好}\n",
            encoding="utf-8",
        )
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        f"description: writings\nbackbone: {backbone_folder}\nstream: [{', '.join(f'{name}.yaml' for name in TEXTS)}]\n"
        "max_length: 16\nstrategies: {naive: }\n",
        encoding="utf-8",
    )
    code, _, said = retain("run", suite, "--out", tmp_path / "runs")
    assert code == 0, said
    (run,) = load_all([tmp_path / "runs"])
    counts = {task.name: task.test_examples for task in run.tasks}
    assert counts == {name: len(good) + len(bad) for name, (good, bad) in TEXTS.items()}
    assert {task.name: task.truncated_share for task in run.tasks}["long"] == 1
    assert Run.model_validate_json(run.model_dump_json()) == run


def test_rows_reach_the_model_as_they_stand_in_the_file(tmp_path: Path, backbone_folder: Path) -> None:
    rows = sequence_rows(12, 0)
    lines = "\n".join(["label\ttext", *(f"{row['label']}\t{row['text']}" for row in rows)])
    (tmp_path / "a.tsv").write_text(lines, encoding="utf-8")
    shutil.copy(tmp_path / "a.tsv", tmp_path / "b.tsv")
    path = tmp_path / "mine.yaml"
    path.write_text("description: x\nkind: sequence\ndata: {train: a.tsv, test: b.tsv}\n", encoding="utf-8")
    suite_file = tmp_path / "suite.yaml"
    suite_file.write_text(
        f"description: s\nbackbone: {backbone_folder}\nstream: [mine.yaml]\nmax_length: 64\nstrategies: {{naive: }}\n",
        encoding="utf-8",
    )
    study = open_study(load_suite(str(suite_file), Overrides()), "cpu", lambda line: None)
    (task,) = study.tasks
    by_hand = build("sequence", rows, study.backbone.tokenizer)
    assert task.train.sha256 == by_hand.train.sha256
    assert task.train.features["input_ids"][:] == by_hand.train.features["input_ids"][:]
    again = pickle.loads(pickle.dumps(study))
    assert again.provenance == study.provenance
    assert again.tasks[0].spec == task.spec
    with (tmp_path / "b.tsv").open("a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(Exception, match="b.tsv: has changed since this command began to read it"):
        open_study(study.suite, "cpu", lambda line: None)


def test_show_reads_the_rows_and_counts_tokens_with_a_backbone(
    retain: Retain, backbone_folder: Path, tmp_path: Path
) -> None:
    code, shown, said = retain("show", EXAMPLE / "kitchen.yaml", "--backbone", backbone_folder, "--max-length", 20)
    assert (code, said) == (0, "")
    assert shown.startswith("task kitchen\n")
    assert "train 24, test 8" in shown
    assert "train, tokens" in shown
    assert "longer than 20 tokens (max_length) and are cut" in shown
    assert f"sha256 {sha256(EXAMPLE / 'kitchen.csv')}" in shown
    assert shown.count("  * ") == 6
    code, shown, _ = retain("show", EXAMPLE / "places.yaml")
    assert code == 0
    assert "Mara/B-PER took/O" in shown
    assert shown.endswith("no warnings\n")


def test_what_cant_be_shown_is_one_line(retain: Retain, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx\n", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(
        "description: x\nkind: sequence\ndata: {train: a.csv, test_share: 0.5}\nlabels: [a, b]\n", encoding="utf-8"
    )
    for arguments in (
        ("show", tmp_path / "mine.yaml"),
        ("show", tmp_path / "none.yaml"),
        ("show", "bbc_news", "--backbone", "x"),
        ("show", "bbc_new", "--data"),
        ("show", EXAMPLE / "suite.yaml"),
    ):
        code, shown, said = retain(*arguments)
        assert (code, shown) == (2, "")
        assert is_one_line(said), said


def test_a_main_score_must_be_there_and_between_0_and_1(backbone_folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(backbone_folder)
    spec = own_task(EXAMPLE / "kitchen.yaml")
    splits = spec.source.read(EXAMPLE)
    task = prepare(spec, splits, tokenizer, Sizes(None, None, 64))
    check_main_score(task, {"accuracy": 1.0})
    with pytest.raises(TaskError, match="kitchen: its main score accuracy is 1.5, and must be in"):
        check_main_score(task, {"accuracy": 1.5})
    with pytest.raises(TaskError, match="is nan"):
        check_main_score(task, {"accuracy": float("nan")})
    with pytest.raises(TaskError, match="give no score 'accuracy', but f1"):
        check_main_score(task, {"f1": 0.5})

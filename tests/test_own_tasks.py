from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from benchmark.catalogue import find_task
from benchmark.errors import UserError
from benchmark.own_files import file_hashes
from benchmark.own_tasks import own_task
from benchmark.suite import Overrides, Suite, load_suite

CSV = "text,label\nfine weather,good\nbad roads,bad\nmild soup,good\n"
TASK = "description: made up\nkind: sequence\ndata: {train: a.csv, test: b.csv}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text(CSV, encoding="utf-8")
    (tmp_path / "b.csv").write_text(CSV, encoding="utf-8")
    return tmp_path


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        own_task(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_a_few_lines_are_a_task_with_every_default(folder: Path) -> None:
    spec = own_task(write(folder, TASK))
    assert (spec.name, spec.kind, spec.labels) == ("mine", "sequence", ("bad", "good"))
    assert (spec.metrics, spec.main, spec.head_name) == (("accuracy", "macro_f1"), "accuracy", "mine")
    assert spec.split == "own files: train a.csv, test b.csv"
    assert spec.licence == "not stated"


def test_everything_can_be_said(folder: Path) -> None:
    spec = own_task(
        write(
            folder,
            "description: made up\nname: other\nkind: pair\n"
            "data: {train: [a.csv, b.csv], test_share: 0.5, separator: ',', encoding: utf-8, format: csv}\n"
            "columns: {text: text, text_pair: label, label: label}\nlabels: [good, bad]\n"
            "metrics: [{name: f1, average: weighted}, matthews_correlation]\nmain: matthews_scaled\n"
            "licence: mine\ncitation: me\n",
        )
    )
    assert (spec.name, spec.labels, spec.licence, spec.citation) == ("other", ("good", "bad"), "mine", "me")
    assert (spec.metrics, spec.main) == (("weighted_f1", "matthews_correlation"), "matthews_scaled")
    assert "test share 0.5" in spec.split


@pytest.mark.parametrize(
    ("given", "metrics", "main"),
    [
        ("[accuracy]", ("accuracy",), "accuracy"),
        ("[{name: f1, average: macro}]", ("macro_f1",), "macro_f1"),
        ("[{name: f1, average: micro}]", ("micro_f1",), "micro_f1"),
        ("[{name: precision, average: macro}]", ("macro_precision",), "macro_precision"),
        ("[{name: recall, average: macro}]", ("macro_recall",), "macro_recall"),
        ("[matthews_correlation]", ("matthews_correlation",), "matthews_scaled"),
    ],
)
def test_metrics_go_by_the_names_that_evaluate_has(folder: Path, given: str, metrics: Any, main: str) -> None:
    spec = own_task(write(folder, f"{TASK}metrics: {given}\n"))
    assert (spec.metrics, spec.main) == (metrics, main)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TASK.replace("kind", "knd"), "unknown key 'knd': did you mean kind?"),
        (TASK.replace("test:", "tset:"), "unknown key in data 'tset': did you mean test?"),
        (TASK.replace("description: made up\n", ""), "description is missing"),
        (TASK.replace("sequence", "sentence"), 'kind is "sentence": '),
        (TASK.replace(", test: b.csv", ""), "neither test nor test_share is given in data"),
        (TASK.replace("test: b.csv", "test: b.csv, test_share: 0.2"), "both test and test_share are given"),
        (TASK.replace("test: b.csv", "test_share: 1.5"), "data.test_share is 1.5"),
        (TASK.replace("test: b.csv", "test_share: yes"), 'data.test_share is "yes"'),
        (TASK.replace("test: b.csv", "test_share: 0.1"), "no one is left for the test split at test_share 0.1"),
        (TASK.replace("b.csv", "c.csv"), "data.test: c.csv: cannot be read: No such file or directory; unknown file"),
        (TASK.replace("b.csv", "a.csv"), "data.test names a.csv, which data.train has already"),
        (TASK.replace("b.csv}", "b.csv, encoding: utf-9}"), "data.encoding is 'utf-9', which Python does not know"),
        (TASK + "columns: {txt: text}\n", "unknown column of a sequence task 'txt': did you mean text?"),
        (TASK + "columns: {text: txt}\n", "a.csv: has no column 'txt': did you mean text?"),
        (TASK + "labels: [good]\n", "has one label only"),
        (TASK + "labels: [good, bad, good]\n", "good is in it twice"),
        (TASK + "labels: {0: good, 1: good}\n", "two numbers have the same name"),
        (TASK + "metrics: [acuracy]\n", "unknown metric of a sequence task 'acuracy': did you mean accuracy?"),
        (TASK + "metrics: [rouge]\n", "the others of evaluate are programs on the hub"),
        (TASK + "metrics: [entity_f1]\n", "unknown metric of a sequence task 'entity_f1'"),
        (TASK + "metrics: [f1]\n", "f1 needs an average"),
        (TASK + "metrics: [{name: f1, average: binary}]\n", "f1 needs an average"),
        (TASK + "metrics: [{name: accuracy, average: macro}]\n", "accuracy has no average"),
        (TASK + "metrics: [{nam: accuracy}]\n", "unknown key in metrics 'nam': did you mean name?"),
        (TASK + "columns: {text: [1]}\n", "columns.text is [1]"),
        (TASK + "labels: 5\n", "labels is 5"),
        (TASK + "metrics: [accuracy, accuracy]\n", "one is in it twice"),
        (TASK + "main: macro_F2\n", "unknown main score 'macro_F2': did you mean macro_f1?"),
        (TASK + "metrics: [matthews_correlation]\nmain: matthews_correlation\n", "can be below 0"),
        (TASK + "name: bbc_news\n", "a shipped task or probe is named 'bbc_news'"),
        (TASK + "name: a b\n", "the name 'a b' can't name a task"),
        (TASK + "strategies: {naive: }\n", "is a suite, not a task"),
        (TASK + "kind: pair\n", "'kind' is given twice"),
        ("", "is empty; it needs keys: description, kind, data"),
        ("[1]", "holds a list"),
        ("a: *b\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("data: !!python/object:os.system {}\n", "not valid YAML"),
    ],
)
def test_a_file_that_says_something_wrong_is_refused_in_one_line(folder: Path, text: str, told: str) -> None:
    assert told in refusal(write(folder, text))


def test_tags_of_no_scheme_need_another_metric(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"words": ["a", "b"], "tags": ["NN", "DT"]}\n', encoding="utf-8")
    text = "description: x\nkind: token\ndata: {train: a.jsonl, test_share: 0.5}\nlabels: [NN, DT]\n"
    assert "entity_f1 needs tags of the BIO scheme (O, B-TYPE, I-TYPE), and 'NN' is none" in refusal(
        write(folder, text)
    )


def test_a_name_that_cant_be_typed_and_a_file_that_is_not_there(folder: Path) -> None:
    assert "the file 'my task' can't name a task" in refusal(write(folder, TASK, "my task.yaml"))
    assert "cannot be read: No such file or directory" in refusal(folder / "none.yaml")
    (folder / "latin.yaml").write_bytes("description: é".encode("latin-1"))
    assert "is not UTF-8" in refusal(folder / "latin.yaml")


SUITE = "description: s\nbackbone: all-MiniLM-L6-v2\nstream: [mine.yaml, bbc_news]\nstrategies: {naive: }\n"


def suite_in(folder: Path, text: str = SUITE, **overrides: Any) -> Suite:
    return load_suite(str(write(folder, text, "suite.yaml")), Overrides(**overrides))


def test_a_suite_names_a_task_by_its_file_wherever_the_command_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, TASK)
    monkeypatch.chdir("/")
    text = SUITE + "tasks: {mine: {max_length: 32}}\ntrain_examples: 2\n"
    suite = suite_in(folder, text)
    assert suite.stream.tasks == ("mine", "bbc_news")
    assert [(plan.spec.name, plan.max_length) for plan in suite.tasks] == [("mine", 32), ("bbc_news", 128)]
    (cell,) = suite.cells
    own = cell.settings["tasks"]["mine"]["definition"]
    assert own["labels"] == ["bad", "good"]
    assert own["files"] == file_hashes(suite.tasks[0].spec)
    assert "definition" not in cell.settings["tasks"]["bbc_news"]
    assert str(folder) not in str(cell.settings)


def test_whatever_changes_the_task_changes_the_name_of_its_records(folder: Path) -> None:
    names = set()
    for text, csv in [
        (TASK, CSV),
        (TASK, CSV + "new,bad\n"),
        (TASK + "labels: [good, bad]\n", CSV),
        (TASK + "metrics: [accuracy]\n", CSV),
        (TASK + "main: macro_f1\n", CSV),
    ]:
        (folder / "a.csv").write_text(csv, encoding="utf-8")
        write(folder, text)
        names.add(suite_in(folder).cells[0].filename)
    assert len(names) == 5


def test_what_the_same_files_are_read_as_changes_the_name_of_the_records(folder: Path) -> None:
    rows = [("text", "more", "label"), ("fine", "x", "0"), ("bad", "y", "1"), ("", "z", "0"), ("soup", "v", "1")]
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("\n".join(map(",".join, [*rows, (f"{name} too", "w", "0")])), encoding="utf-8")
    labels = "labels: {0: bad, 1: good}\n"
    texts = [
        TASK + labels,
        TASK + labels + "columns: {text: more}\n",
        TASK + "labels: {1: bad, 0: good}\n",
        TASK + labels + "columns: {text: text}\nmain: accuracy\n",
        TASK.replace("train: a.csv, test: b.csv", "train: b.csv, test: a.csv") + labels,
        TASK.replace("test: b.csv", "test: b.csv, quotes: false") + labels,
        TASK.replace("test: b.csv", "test: b.csv, missing: skip") + labels,
        TASK.replace("a.csv, test: b.csv", "[a.csv, b.csv], test_share: 0.4") + labels,
        TASK.replace("a.csv, test: b.csv", "[a.csv, b.csv], test_share: 0.5") + labels,
        TASK.replace("a.csv, test: b.csv", "[b.csv, a.csv], test_share: 0.5") + labels,
    ]
    names = {text: suite_in(write(folder, text).parent).cells[0].filename for text in texts}
    assert names[texts[0]] == names.pop(texts[3])  # the same in other words
    assert len(set(names.values())) == len(names)


def test_what_is_asked_of_the_hub_changes_the_name_of_the_records(folder: Path) -> None:
    on_hub = "description: x\nkind: sequence\ndata: {hub: org/name@abc, train: a.csv, test: b.csv}\nlabels: [a, b]\n"
    texts = [
        on_hub,
        on_hub.replace("abc", "abd"),
        on_hub.replace("org/name", "org/other"),
        on_hub.replace("a.csv", "c.csv"),
    ]
    names = {suite_in(write(folder, text).parent).cells[0].filename for text in texts}
    assert len(names) == len(texts)


def test_no_path_of_the_machine_goes_into_what_is_recorded(folder: Path) -> None:
    (folder / "inside").mkdir()
    (folder / "inside" / "c.csv").write_text(CSV, encoding="utf-8")
    text = TASK.replace("a.csv", str(folder / "a.csv")).replace("b.csv", "inside/c.csv")
    spec = own_task(write(folder, text))
    assert list(file_hashes(spec)) == ["a.csv", "inside/c.csv"]
    assert str(folder) not in spec.split


def test_files_that_would_have_one_name_in_a_record_get_numbers(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "a.csv").write_text(f"{CSV}{name},good\n", encoding="utf-8")
    paths = [folder / "one" / "a.csv", folder / "two" / "a.csv"]
    spec = own_task(write(folder, TASK.replace("a.csv", str(paths[0])).replace("b.csv", f"[{paths[1]}, a.csv]")))
    hashes = file_hashes(spec)
    contents = [*paths, folder / "a.csv"]
    assert list(hashes) == ["a.csv", "a.csv#2", "a.csv#3"]
    assert list(hashes.values()) == [hashlib.sha256(path.read_bytes()).hexdigest() for path in contents]
    assert spec.split == "own files: train a.csv, test a.csv#2 + a.csv#3"


@pytest.mark.parametrize("other", ["./a.csv", "inside/../a.csv", "link.csv", "[b.csv, inside/../../{name}/a.csv]"])
@pytest.mark.parametrize("split", ["test", "validation"])
def test_no_file_is_in_two_splits_whatever_it_is_called(folder: Path, other: str, split: str) -> None:
    (folder / "inside").mkdir()
    (folder / "link.csv").symlink_to("a.csv")
    (folder / "c.csv").write_text(CSV, encoding="utf-8")
    given = other.replace("{name}", folder.name)
    data = f"{{train: a.csv, test: {given}}}"
    if split == "validation":
        data = f"{{train: a.csv, test: c.csv, validation: {given}}}"
    told = refusal(write(folder, f"description: x\nkind: sequence\ndata: {data}\n"))
    assert f"data.{split} names " in told
    assert told.endswith("which data.train has already as a.csv")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("train: ~data.csv, test: b.csv", "data.train: ~data.csv: cannot be read: No such file"),
        (f"train: {'x' * 5000}.csv, test: b.csv", ".csv: cannot be read: File name too long"),
        ('train: "a\\0.csv", test: b.csv', r"data.train: 'a\x00.csv' can't be the name of a file"),
        ('train: a.csv, test: b.csv, encoding: "u\\0"', r"data.encoding is 'u\x00', which Python does not know"),
        ("train: a.csv/b.csv, test: b.csv", "data.train: a.csv/b.csv: cannot be read: Not a directory"),
        ("train: ., test: b.csv", "data.train: .: cannot be read: Is a directory"),
    ],
)
def test_what_no_file_is_called_is_refused_in_one_line(folder: Path, data: str, told: str) -> None:
    assert told in refusal(write(folder, f"description: x\nkind: sequence\ndata: {{{data}}}\n"))


def test_a_name_with_a_tilde_is_a_name(folder: Path) -> None:
    (folder / "a.csv").rename(folder / "~data.csv")
    spec = own_task(write(folder, TASK.replace("a.csv", "~data.csv")))
    assert list(file_hashes(spec)) == ["~data.csv", "b.csv"]
    write(folder, TASK.replace("a.csv", "~data.csv"), "~task.yaml")
    with pytest.raises(UserError, match="the file '~task' can't name a task"):
        suite_in(folder, SUITE.replace("mine.yaml", "~task.yaml"))
    with pytest.raises(UserError, match=r"task 'a\\x00.yaml': can't be the name of a file"):
        suite_in(folder, SUITE.replace("mine.yaml", '"a\\0.yaml"'))


def test_two_tasks_of_one_name_and_a_stream_that_is_a_file_are_refused(folder: Path) -> None:
    write(folder, TASK)
    (folder / "other").mkdir()
    write(folder, TASK.replace("a.csv", "../a.csv").replace("b.csv", "../b.csv"), "other/mine.yaml")
    with pytest.raises(UserError, match="are both named 'mine'"):
        suite_in(folder, SUITE.replace("bbc_news", "other/mine.yaml"))
    with pytest.raises(UserError, match=r"write a list, as in stream: \[mine.yaml, bbc_news\]"):
        suite_in(folder, SUITE.replace("[mine.yaml, bbc_news]", "mine.yaml"))
    with pytest.raises(UserError, match="task none.yaml: cannot be read"):
        suite_in(folder, SUITE.replace("mine.yaml", "none.yaml"))


def test_a_task_is_found_by_its_file(folder: Path) -> None:
    entry = find_task(str(write(folder, TASK)))
    assert (entry.spec.name, entry.plugin) == ("mine", None)

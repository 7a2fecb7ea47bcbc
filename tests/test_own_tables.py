from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from benchmark.errors import UserError
from benchmark.own_tasks import own_task
from tasks.sources.archive import HubFiles, LocalFiles
from tasks.sources.base import LazySplits, SourceError
from tasks.spec import TaskSpec


def write_task(folder: Path, kind: str = "sequence", data: str = "", more: str = "") -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"description: made up\nkind: {kind}\ndata: {{{data}}}\n{more}", encoding="utf-8")
    return path


def rows_of(spec: TaskSpec) -> LazySplits:
    assert isinstance(spec.source.archive, LocalFiles)
    return spec.source.read(Path(spec.source.archive.folder))


def train_rows(
    folder: Path, name: str, content: str | bytes, kind: str = "sequence", data: str = "", more: str = ""
) -> list[dict[str, Any]]:
    """The rows of one file, which is both train and test."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / f"test-{name}").write_bytes((folder / name).read_bytes())
    spec = own_task(write_task(folder, kind, f"train: {name}, test: test-{name}{data}", more))
    found = rows_of(spec)
    assert list(found["train"]) == list(found["test"])
    return list(found["train"])


def refusal(folder: Path, name: str, content: str | bytes, **settings: str) -> str:
    with pytest.raises((UserError, SourceError)) as caught:
        train_rows(folder, name, content, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    return message


GOOD = [{"text": "so, so", "label": "no"}, {"text": 'a "b"\nc', "label": "yes"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\n"so, so",no\n"a ""b""\nc",yes\n'),
        ("a.csv", '\ufefflabel,text\nno,"so, so"\nyes,"a ""b""\nc"'),
        ("a.csv", 'text;label;other\nso, so;no;1\n"a ""b""\nc";yes;2\n'),
        ("a.csv", 'text|label\nso, so|no\n\n"a ""b""\nc"|yes\n'),
        ("a.tsv", 'text\tlabel\nso, so\tno\n"a ""b""\nc"\tyes\n'),
        ("a.csv", 'text , label\r\n"so, so",no\r\n"a ""b""\nc",yes\r\n'),
        ("a.jsonl", '{"text": "so, so", "label": "no"}\n\n{"label": "yes", "text": "a \\"b\\"\\nc", "x": 1}'),
        ("a.jsonl", '\ufeff{"text": "so, so", "label": "no"}\r\n{"text": "a \\"b\\"\\nc", "label": "yes"}\r\n'),
        ("a.json", json.dumps(GOOD)),
        ("a.json", json.dumps({"version": "1", "data": GOOD})),
    ],
)
def test_the_same_rows_are_read_from_every_format_and_dialect(tmp_path: Path, name: str, content: str) -> None:
    assert train_rows(tmp_path, name, content) == GOOD


def test_parquet_gives_the_same_rows_and_what_its_writer_called_class_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(GOOD), tmp_path / "plain.parquet")
    assert train_rows(tmp_path, "a.parquet", (tmp_path / "plain.parquet").read_bytes()) == GOOD
    features = Features({"text": Value("string"), "label": ClassLabel(names=["yes", "no"])})
    numbers = [{"text": row["text"], "label": 1 - position} for position, row in enumerate(GOOD)]
    Dataset.from_list(numbers, features=features).to_parquet(str(tmp_path / "named.parquet"))
    assert train_rows(tmp_path, "b.parquet", (tmp_path / "named.parquet").read_bytes()) == GOOD


def test_columns_of_parquet_that_nobody_asked_for_may_be_of_any_type(tmp_path: Path) -> None:
    facts = pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64()))
    table = pa.table({name: [row[name] for row in GOOD] for name in GOOD[0]} | {"facts": facts})
    pq.write_table(table, tmp_path / "map.parquet")
    assert train_rows(tmp_path, "a.parquet", (tmp_path / "map.parquet").read_bytes()) == GOOD
    for odd in (
        b"no JSON",
        b"\xff",
        b'{"info": {"features": ["label"]}}',
        b'{"info": {"features": {"label": 3}}}',
        b"[]",
    ):
        pq.write_table(table.replace_schema_metadata({b"huggingface": odd}), tmp_path / "odd.parquet")
        assert train_rows(tmp_path, "b.parquet", (tmp_path / "odd.parquet").read_bytes()) == GOOD


def test_other_encodings_are_read_when_they_are_named(tmp_path: Path) -> None:
    text = "text,label\n好的,a\nça,b\n"
    for encoding in ("gb18030", "utf-16"):
        rows = train_rows(tmp_path, "a.csv", text.encode(encoding), data=f", encoding: {encoding}")
        assert [row["text"] for row in rows] == ["好的", "ça"]


def test_a_text_without_quoting_rules_keeps_its_quotes(tmp_path: Path) -> None:
    content = 'text\tlabel\n"open\ta\nsh"ut\tb\n'
    assert [row["text"] for row in train_rows(tmp_path, "a.tsv", content, data=", quotes: false")] == ['"open', 'sh"ut']


def test_a_field_may_be_longer_than_the_csv_module_allows_by_itself(tmp_path: Path) -> None:
    long = "word " * 100_000
    assert train_rows(tmp_path, "a.csv", f"text,label\n{long},a\nb,b\n")[0]["text"] == long


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("a.csv", ["1", "10", "2"], ["1", "2", "10"]),
        ("a.csv", ["no", "null", "True"], ["True", "no", "null"]),
        ("a.jsonl", [1, 1.0, 2], ["1", "2"]),
        ("a.jsonl", [0.5, 1.0, 10], ["0.5", "1", "10"]),
        ("a.jsonl", [True, False, "x"], ["false", "true", "x"]),
        ("a.jsonl", [" a", "a", "b"], ["a", "b"]),
    ],
)
def test_labels_are_texts_numbers_by_value_and_sorted(
    tmp_path: Path, name: str, values: list[Any], labels: list[str]
) -> None:
    if name.endswith(".csv"):
        content = "text,label\n" + "".join(f"t{number},{value}\n" for number, value in enumerate(values))
    else:
        rows = [{"text": f"t{number}", "label": value} for number, value in enumerate(values)]
        content = "\n".join(map(json.dumps, rows))
    train_rows(tmp_path, name, content)
    assert list(own_task(tmp_path / "mine.yaml").labels) == labels


def test_class_numbers_get_their_names(tmp_path: Path) -> None:
    rows = train_rows(tmp_path, "a.csv", "text,label\nx,1\ny,0\n", more="labels: {0: bad, 1: good}\n")
    assert [row["label"] for row in rows] == ["good", "bad"]
    assert own_task(tmp_path / "mine.yaml").labels == ("bad", "good")


def test_missing_values_are_refused_or_left_out(tmp_path: Path) -> None:
    content = '{"text": "x", "label": "a"}\n{"text": null, "label": "b"}\n{"text": "", "label": "b"}\n'
    assert "row 2: nothing in column 'text'" in refusal(tmp_path, "a.jsonl", content)
    rows = train_rows(tmp_path, "b.jsonl", content, data=", missing: skip")
    assert [row["text"] for row in rows] == ["x", ""]
    assert "row 1: nothing in column 'label'" in refusal(tmp_path, "c.csv", "text,label\nx,\ny,b\n")


TAGGED = [{"words": ["Ann", "left", "Rome"], "tags": ["B-PER", "O", "B-LOC"]}, {"words": ["No"], "tags": ["O"]}]


@pytest.mark.parametrize(
    ("name", "content", "data", "more"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, TAGGED)), "", ""),
        (
            "a.conll",
            "-DOCSTART- -X- O\n\nAnn NNP B-PER\nleft VBD O\nRome NNP B-LOC\n\n\nNo UH O",
            "",
            "columns: {words: 1, tags: 3}\n",
        ),
        (
            "a.txt",
            "# one\n1\tAnn\tB-PER\n2\tleft\tO\n3\tRome\tB-LOC\n\n# two\n1\tNo\tO\n",
            ', format: conll, comment: "#"',
            "columns: {words: 2, tags: 3}\n",
        ),
        (
            "a.csv",
            "id,words,tags\n7,Ann,B-PER\n7,left,O\n7,Rome,B-LOC\n8,No,O\n",
            "",
            "columns: {sentence: id}\n",
        ),
    ],
)
def test_tagged_sentences_are_read_from_every_format(
    tmp_path: Path, name: str, content: str, data: str, more: str
) -> None:
    assert train_rows(tmp_path, name, content, "token", data, more) == TAGGED
    assert own_task(tmp_path / "mine.yaml").labels == ("O", "B-LOC", "B-PER")


def test_questions_have_their_answers_in_nested_or_flat_columns(tmp_path: Path) -> None:
    context = "Ann, 😀 Ann left Rome"
    nested = {"question": "Who?", "context": context, "answers": {"text": ["Ann"], "answer_start": [7]}}
    columns = "columns: {answer: answers.text, start: answers.answer_start}\n"
    (row,) = train_rows(tmp_path, "a.jsonl", json.dumps(nested), "span", more=columns)
    assert row["answers"] == {"text": ["Ann"], "answer_start": [7]}
    (row,) = train_rows(tmp_path, "b.csv", f'question,context,answer\nWhere?,"{context}",Rome\n', "span")
    assert row["answers"] == {"text": ["Rome"], "answer_start": [16]}
    deep = {"q": {"text": "Where?"}, "p": context, "a": [{"t": "Rome", "s": 16}]}
    columns = "columns: {question: q.text, context: p, answer: a.t, start: a.s}\n"
    (row,) = train_rows(tmp_path, "c.jsonl", json.dumps(deep), "span", more=columns)
    assert row["answers"] == {"text": ["Rome"], "answer_start": [16]}


TWICE = '{"question": "Who?", "context": "Ann and Ann", "answer": "Ann"}'


@pytest.mark.parametrize(
    ("name", "content", "settings", "told"),
    [
        ("a.csv", "txt,label\nx,a\n", {}, "no column 'text': did you mean txt?"),
        ("a.csv", "text,text,label\nx,y,a\n", {}, "has 2 columns 'text'"),
        ("a.csv", "text,label\nx,a\ny\n", {}, "row 2: has 1 fields, the header 2"),
        ("a.csv", 'text,label\n"x"y,a\n', {}, "row 1: is not valid CSV at line 2"),
        ("a.csv", 'text,label\n"x,a\n', {}, "row 1: is not valid CSV"),
        ("a.csv", "", {}, "is empty"),
        ("a.csv", "text,label\n", {}, "holds no record"),
        ("a.csv", "text,label\nça,b\n".encode("latin-1"), {}, "line 2, byte 12 of the file (e7) is not utf-8"),
        ("a.csv", "text,label\nx,a\n".encode("utf-16"), {}, "set 'encoding: utf-16'"),
        ("a.csv", "text,label\nx,1\ny,1.0\n", {}, "labels '1' and '1.0' are the same number"),
        ("a.csv", "text,label\nx,a\ny,bad\n", {"more": "labels: [a, bat]\n"}, "row 2: column 'label': 'bad' is not"),
        ("a.csv", "text,label\nx,2\n", {"more": "labels: {0: a, 1: b}\n"}, "'2' has no name among 0, 1"),
        ("a.csv", "words,tags\nx,O\n", {"kind": "token"}, "name the column that numbers the sentences"),
        (
            "a.csv",
            "s,words,tags\n1,x,O\n2,y,O\n1,z,O\n",
            {"kind": "token", "more": "columns: {sentence: s}\n"},
            "row 3: sentence '1' began before",
        ),
        ("a.jsonl", "[1]\n", {}, "row 1: is no JSON object"),
        ("a.jsonl", '{"text": "x", "label": "a"}\n{"text": \n', {}, "row 2: is not valid JSON"),
        ("a.jsonl", '{"txet": "x", "label": "a"}\n', {}, "row 1: has no column 'text': did you mean txet?"),
        ("a.jsonl", '{"text": 5, "label": "a"}\n', {}, "column 'text': 5 is no text"),
        ("a.jsonl", '{"text": "x", "label": [1]}\n', {}, "column 'label': [1] is no label"),
        ("a.jsonl", '{"text": "x", "label": NaN}\n', {}, "is no label"),
        ("a.jsonl", '{"text": "\\ud83d", "label": "a"}\n', {}, "half of a surrogate pair"),
        ("a.json", '"x"', {}, "is not a list of JSON objects"),
        ("a.parquet", b"PAR1 nothing", {}, "is not valid Parquet"),
        ("a.jsonl", '{"words": ["a", "b"], "tags": ["O"]}', {"kind": "token"}, "2 words but 1 tags"),
        ("a.jsonl", '{"words": ["a", " "], "tags": ["O", "O"]}', {"kind": "token"}, "word 2 is ' ', not a word"),
        ("a.jsonl", '{"words": "a b", "tags": ["O"]}', {"kind": "token"}, "'a b' is no list"),
        ("a.conll", "x O\n", {"kind": "token", "more": "columns: {words: 1, tags: 3}\n"}, "has 2 columns, and '3'"),
        ("a.conll", "x O\n", {"kind": "token"}, "its columns have no names: count them from 1"),
        ("a.jsonl", TWICE, {"kind": "span"}, "stands 2 times in its context"),
        ("a.jsonl", TWICE.replace('"Ann"', '"Bob"'), {"kind": "span"}, "stands 0 times"),
        (
            "a.jsonl",
            TWICE.replace("}", ', "start": 1}'),
            {"kind": "span", "more": "columns: {start: start}\n"},
            "at character 1 of the context stands 'nn ', not the answer 'Ann'",
        ),
        ("a.docx", "x", {}, "no format has this suffix"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line_that_says_where(
    tmp_path: Path, name: str, content: str | bytes, settings: dict[str, str], told: str
) -> None:
    assert told in refusal(tmp_path, name, content, **settings)


def test_a_split_of_ones_own_ignores_order_whitespace_and_copies(tmp_path: Path) -> None:
    lines = [f"text {number},{'ab'[number % 2]}" for number in range(40)]
    splits = []
    for given in (lines, [*reversed(lines), "text 7 ,b", "torn,a", "torn,b"]):
        (tmp_path / "a.csv").write_text("\n".join(["text,label", *given]), encoding="utf-8")
        splits.append(rows_of(own_task(write_task(tmp_path, data="train: a.csv, test_share: 0.25"))))
    assert splits[0] == splits[1]
    assert [len(splits[0][name]) for name in ("train", "test")] == [30, 10]
    assert sum(row["label"] == "a" for row in splits[0]["test"]) == 5


def test_questions_about_one_passage_stay_in_one_split_and_pairs_that_share_a_text_stay(tmp_path: Path) -> None:
    asked = [
        {"question": f"q{number}?", "context": f"passage {number // 4}", "answer": str(number // 4)}
        for number in range(40)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    found = rows_of(own_task(write_task(tmp_path, "span", "train: a.jsonl, test_share: 0.2")))
    assert [len(found[name]) for name in ("train", "test")] == [32, 8]
    assert not {row["context"] for row in found["train"]} & {row["context"] for row in found["test"]}
    pairs = [{"text": "same", "text_pair": f"other {number}", "label": number % 2} for number in range(20)]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    found = rows_of(own_task(write_task(tmp_path, "pair", "train: b.jsonl, test_share: 0.2")))
    assert [len(found[name]) for name in ("train", "test")] == [16, 4]


def test_files_of_a_hub_repository_are_read_by_pattern_and_at_a_revision(tmp_path: Path) -> None:
    data = "hub: org/name@abc, train: data/train-*.parquet, test: data/test.parquet"
    spec = own_task(write_task(tmp_path, data=data, more="labels: [no, yes]\n"))
    assert spec.source.archive == HubFiles("org/name", "abc", ("data/train-*.parquet", "data/test.parquet"))
    assert spec.split == "files of org/name@abc: train data/train-*.parquet, test data/test.parquet"
    folder = tmp_path / "fetched"
    (folder / "data").mkdir(parents=True)
    for name, rows in (("train-1", GOOD[1:]), ("train-0", GOOD[:1]), ("test", GOOD)):
        pq.write_table(pa.Table.from_pylist(rows), folder / "data" / f"{name}.parquet")
    assert spec.source.read(folder) == {"train": GOOD, "test": GOOD}


def test_no_file_of_the_hub_is_in_two_splits_though_patterns_say_so(tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    (folder / "data").mkdir(parents=True)
    for name in ("a", "b"):
        (folder / "data" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, GOOD)), encoding="utf-8")
    for train, test in (("data/*.jsonl", "data/b.jsonl"), ("data/b.jsonl", "*/*.jsonl"), ("data/b*", "data/*.jsonl")):
        spec = own_task(
            write_task(tmp_path, data=f"hub: org/name, train: '{train}', test: '{test}'", more="labels: [no, yes]\n")
        )
        with pytest.raises(SourceError) as caught:
            spec.source.read(folder)
        assert str(caught.value) == f"data/b.jsonl: test has it (as {test}), which train has already"
    apart = own_task(
        write_task(tmp_path, data="hub: org/name, train: data/a*, test: data/b*", more="labels: [no, yes]\n")
    )
    assert apart.source.read(folder) == {"train": GOOD, "test": GOOD}
    with pytest.raises(UserError, match=r"data.test names ./a.csv, which data.train has already as a.csv"):
        own_task(write_task(tmp_path, data="hub: org/name, train: a.csv, test: ./a.csv", more="labels: [no, yes]\n"))


@pytest.mark.parametrize(
    ("hub", "train", "more", "told"),
    [
        ("org/name@abc", "a.csv", "", "labels is missing: those of data on the hub must be listed"),
        ("name", "a.csv", "labels: [a, b]\n", "a data set of the hub is org/name"),
        ("org/name", "../a.csv", "labels: [a, b]\n", "no path inside the repository org/name"),
        ("org/name", "/etc/a.csv", "labels: [a, b]\n", "no path inside the repository org/name"),
    ],
)
def test_a_hub_name_that_cant_be_is_refused(tmp_path: Path, hub: str, train: str, more: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        own_task(write_task(tmp_path, data=f"hub: {hub}, train: {train}, test: b.csv", more=more))

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.suite import Overrides, Suite, load_suite, load_suites
from benchmark.suite_files import parse_suite, parse_value, suite_names

BASE = """\
description: made up
backbone: all-MiniLM-L6-v2
stream: [bbc_news, boolq]
strategies:
  naive:
"""


def load(tmp_path: Path, text: str = BASE, **overrides: Any) -> Suite:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(str(path), Overrides(**overrides))


def refusal(tmp_path: Path, text: str = BASE, **overrides: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, **overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_default_is_resolved_into_the_settings_of_the_record(tmp_path: Path) -> None:
    (cell,) = load(tmp_path, BASE.replace("naive:", "ewc: {examples: 7}")).cells
    assert cell.settings == {
        "suite": "mine",
        "backbone": "all-MiniLM-L6-v2",
        "stream": {"name": "bbc_news-boolq", "scenario": "task-incremental", "tasks": ["bbc_news", "boolq"]},
        "tasks": {
            "bbc_news": {"train_examples": None, "test_examples": None, "max_length": 128},
            "boolq": {"train_examples": None, "test_examples": None, "max_length": 128},
        },
        "probes": [],
        "training": {
            "epochs": 1,
            "batch_size": 16,
            "learning_rate": 1e-4,
            "head_learning_rate": 1e-3,
            "weight_decay": 0.0,
            "warmup": 0.1,
            "max_grad_norm": 1.0,
        },
        "precision": "no",
        "strategy": {"name": "ewc", "settings": {"lam": 10000.0, "fisher": "sampled", "examples": 7}},
        "seed": 0,
    }


def test_cells_are_every_strategy_with_every_seed(tmp_path: Path) -> None:
    suite = load(tmp_path, BASE + "  joint: {}\nseeds: [3, 1]\n")
    assert [cell.name for cell in suite.cells] == ["naive-seed3", "naive-seed1", "joint-seed3", "joint-seed1"]


def test_other_settings_give_another_file_name_and_equal_ones_the_same(tmp_path: Path) -> None:
    first, again, other = (
        load(tmp_path, BASE, settings=settings).cells[0].filename
        for settings in ((), (), ("training.learning_rate=1e-3",))
    )
    assert first == again != other


def test_a_task_may_differ_from_the_suite_and_null_lifts_a_limit(tmp_path: Path) -> None:
    text = BASE + "train_examples: 50\ntasks:\n  boolq: {train_examples: null, max_length: 32}\n"
    plans = load(tmp_path, text).tasks
    assert [(plan.train_examples, plan.max_length) for plan in plans] == [(50, 128), (None, 32)]


def test_a_limit_lowers_every_split_and_raises_none(tmp_path: Path) -> None:
    text = BASE + "train_examples: 5\ntasks: {boolq: {train_examples: 50}}\n"
    plans = load(tmp_path, text, limit=20).tasks
    assert [(plan.train_examples, plan.test_examples) for plan in plans] == [(5, 20), (20, 20)]


def test_the_command_line_keeps_the_suites_settings_of_the_strategies_it_names(tmp_path: Path) -> None:
    text = BASE + "  ewc: {lam: 5}\n"
    suite = load(tmp_path, text, strategies=["freeze", "ewc"], seeds=[4])
    chosen = [(cell.settings["strategy"], cell.seed) for cell in suite.cells]
    assert [(strategy["name"], seed) for strategy, seed in chosen] == [("freeze", 4), ("ewc", 4)]
    assert chosen[1][0]["settings"]["lam"] == 5


@pytest.mark.parametrize(
    ("setting", "place", "value"),
    [
        ("training.epochs=3", ("training", "epochs"), 3),
        ("training.learning_rate=1e-3", ("training", "learning_rate"), 1e-3),
        ("training.batch_size = 1e1", ("training", "batch_size"), 10),
        ("precision=no", ("precision",), "no"),
        ("tasks.boolq.max_length=32", ("tasks", "boolq", "max_length"), 32),
        ("ewc.lam=1e3", ("strategy", "settings", "lam"), 1000.0),
        ("strategies.ewc.lam=2", ("strategy", "settings", "lam"), 2.0),
    ],
)
def test_set_changes_one_setting(tmp_path: Path, setting: str, place: tuple[str, ...], value: object) -> None:
    found: Any = load(tmp_path, BASE.replace("naive", "ewc"), settings=[setting]).cells[0].settings
    for part in place:
        found = found[part]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "--set epochs: should be WHERE=VALUE"),
        ("=3", "should be WHERE=VALUE"),
        ("training..epochs=3", "should be WHERE=VALUE"),
        ("naive=3", "name one hyperparameter of naive"),
        ("ewc.lam=3", "strategy ewc does not run; add it with --strategies"),
        ("ewcc.lam=3", "unknown setting or strategy 'ewcc': did you mean ewc?"),
        ("training.epoch=3", "unknown key in training 'epoch': did you mean epochs?"),
        ("description.short=3", 'description is "made up", with nothing inside to set'),
        ("max_length=[", "'[' is not a valid value"),
        ("strategies.naive.lam=3", "unknown hyperparameter of strategy naive 'lam'"),
    ],
)
def test_a_set_that_can_not_be_is_refused(tmp_path: Path, setting: str, message: str) -> None:
    assert message in refusal(tmp_path, settings=[setting])


def test_set_does_not_replace_strategies_that_are_badly_written(tmp_path: Path) -> None:
    text = BASE.replace("strategies:\n  naive:\n", "strategies: [naive, ewc]\n")
    assert "strategies is" in refusal(tmp_path, text, settings=["ewc.lam=1"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trainig: {epochs: 1}", "suite mine: unknown key 'trainig': did you mean training or tuning?"),
        ("training: {epoch: 1}", "unknown key in training 'epoch': did you mean epochs?"),
        ("tasks: {boolq: {max_len: 32}}", "unknown key in tasks.boolq 'max_len': did you mean max_length?"),
        ("tasks: {squad: {max_length: 32}}", "tasks.squad is set, but squad is not in the stream"),
        ("tasks: {bolq: {max_length: 32}}", "unknown task 'bolq': did you mean boolq"),
        ("probes: [news_retreval]", "unknown probe 'news_retreval': did you mean news_retrieval or "),
        ("probes: [news_retrieval, news_retrieval]", "probes is"),
        ("seeds: [0, 1, 0]", "0 is in it twice"),
        ("seeds: [-1]", "seeds.0 is -1: it should be greater than or equal to 0"),
        ("seeds: []", "seeds is []"),
        ("seeds: 3", "seeds is 3: it should be a valid"),
        ("seeds: [true]", "seeds.0 is true: it should be a valid integer"),
        ("max_length: true", "max_length is true: it should be a valid integer"),
        ("max_length: 8", "max_length is 8: it should be greater than or equal to 16"),
        ("max_length: 64.5", "max_length is 64.5"),
        ("max_length: '64'", 'max_length is "64": it should be a valid integer'),
        ("train_examples: 0", "train_examples is 0"),
        ("precision: fp8", "precision is \"fp8\": it should be 'no' or 'bf16'"),
        ("training: {epochs: true}", "training.epochs is true: it should be a valid integer"),
        ("training: {learning_rate: 0}", "training.learning_rate is 0: it should be greater than 0"),
        ("training: {learning_rate: .inf}", "training.learning_rate is Infinity: it should be a finite number"),
        ("training: {learning_rate: .nan}", "training.learning_rate is NaN: it should be a finite number"),
        ("training: {learning_rate: 1e999}", "training.learning_rate is Infinity: it should be a finite number"),
        ("training: {warmup: 1.5}", "training.warmup is 1.5: it should be less than or equal to 1"),
        ("training: 5", "training is 5"),
        ("backbone: x", "'backbone' is given twice"),
        ("training: {epochs: 1, epochs: 2}", "line 6: 'epochs' is given twice"),
        ("seeds: &some [0]\nprobes: *some", "aliases"),
        ("seeds: !!set {0}", "could not determine a constructor"),
        ("\tseeds: [0]", "not valid YAML: line 6: found character '\\t'"),
        ("seeds: [0", "not valid YAML"),
        ("description: \0", "not valid YAML"),
    ],
)
def test_a_bad_line_is_refused_by_name(tmp_path: Path, line: str, message: str) -> None:
    assert message in refusal(tmp_path, f"{BASE}{line}\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  naive:", "  ewcc:", "unknown strategy 'ewcc': did you mean ewc?"),
        ("  naive:", "  EWC:", "unknown strategy 'EWC': did you mean ewc?"),
        ("  naive:", "  ewc: {lamda: 1}", "unknown hyperparameter of strategy ewc 'lamda': did you mean lam?"),
        ("  naive:", "  ewc: {lam: -1}", "ewc.lam is -1: it should be greater than or equal to 0"),
        ("  naive:", "  ewc: {lam: true}", "ewc.lam is true: it should be a valid number"),
        ("  naive:", "  ewc: {lam: many}", 'ewc.lam is "many": it should be a valid number'),
        ("  naive:", "  ewc: {lam: .inf}", "ewc.lam is Infinity: it should be a finite number"),
        ("  naive:", "  ewc: {examples: 2.5}", "ewc.examples is 2.5"),
        ("  naive:", "  ewc: {fisher: exac}", "ewc.fisher is \"exac\": it should be 'exact', 'sampled' or 'empirical'"),
        ("  naive:", "  ewc: 5", "strategies.ewc is 5"),
        ("strategies:\n  naive:", "strategies: {}", "strategies is {}"),
        ("strategies:\n  naive:", "", "strategies is missing"),
        ("[bbc_news, boolq]", "applicatons", "unknown stream 'applicatons': did you mean applications?"),
        ("[bbc_news, boolq]", "[bbc_new]", "unknown task 'bbc_new': did you mean bbc_news"),
        ("[bbc_news, boolq]", "[boolq, boolq]", "each only once"),
        ("[bbc_news, boolq]", "[]", "at least one task"),
        ("[bbc_news, boolq]", "5", "stream is 5: it should be the name of a stream, a list of task names, or"),
        ("[bbc_news, boolq]", "[5]", "stream is [5]: it should be the name"),
        ("all-MiniLM-L6-v2", "all-minilm-l6", "unknown backbone 'all-minilm-l6': did you mean all-MiniLM-L6-v2 or "),
        ("all-MiniLM-L6-v2", "./nowhere", "no such folder"),
    ],
)
def test_a_bad_value_is_refused_with_what_would_do(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in BASE
    assert message in refusal(tmp_path, BASE.replace(old, new))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("# nothing\n", "is empty"), ("- a\n- b\n", "holds a list"), ("words", "holds a str")],
)
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_files_that_can_not_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes("description: caf\xe9".encode("latin-1"))
    reasons = {"missing.yaml": "No such file", "folder.yaml": "Is a directory", "latin.yaml": "is not UTF-8"}
    for name, reason in reasons.items():
        with pytest.raises(UserError, match=reason):
            load_suite(str(tmp_path / name))


def test_an_unknown_suite_names_the_nearest_and_says_how_to_bring_ones_own() -> None:
    with pytest.raises(UserError, match=r"did you mean quickstart\? A suite of your own is named by its \.yaml file"):
        load_suite("quickstrat")


def test_a_long_bad_value_is_cut(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, BASE + f"max_length: {'very ' * 1000}\n")) < 200


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_resolve(name: str) -> None:
    for suite in load_suites(name):
        assert suite.name == name
        assert suite.cells


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000),
        ("1.0e3", 1000.0),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("-3", -3),
        ("010", 10),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("no", "no"),
        ("false", False),
        ("true", True),
        ("'false'", "false"),
        ("null", None),
        ("", None),
        ("inf", "inf"),
        ("[0, 1]", [0, 1]),
        ("<<", "<<"),
        ("caf\xe9 \u4f60\u597d", "caf\xe9 \u4f60\u597d"),
    ],
)
def test_values_have_the_type_that_they_look_like(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_an_empty_value_in_a_suite_is_null() -> None:
    assert parse_suite("a:\nb: ~\n", "x") == {"a": None, "b": None}


def test_lists_of_values_are_swept_over(tmp_path: Path) -> None:
    suite = load(tmp_path, BASE.replace("naive:", "ewc: {lam: [1, 2.5], fisher: [exact, sampled], examples: 7}"))
    assert [cell.name for cell in suite.cells] == [
        "ewc-lam1-fisherexact-seed0",
        "ewc-lam1-fishersampled-seed0",
        "ewc-lam2.5-fisherexact-seed0",
        "ewc-lam2.5-fishersampled-seed0",
    ]
    assert [cell.settings["strategy"]["settings"]["lam"] for cell in suite.cells] == [1, 1, 2.5, 2.5]
    assert len({cell.filename for cell in suite.cells}) == 4


@pytest.mark.parametrize("values", ["[]", "[1, 1]"])
def test_a_sweep_needs_distinct_values(tmp_path: Path, values: str) -> None:
    with pytest.raises(UserError, match=r"strategies\.ewc\.lam needs at least one value, and each only once"):
        load(tmp_path, BASE.replace("naive:", f"ewc: {{lam: {values}}}"))

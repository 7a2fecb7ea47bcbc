"""What is cited of papers is what was published, and everything that it names here is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from benchmark.backbones import BACKBONES
from benchmark.papers import (
    checked,
    exact_plans,
    hub_needs,
    nearest_plans,
    published_settings,
)
from benchmark.registry import build_strategy, strategy_names
from benchmark.suite import Overrides, load_suites
from benchmark.suite_files import suite_names, suite_text
from results.papers import PAPERS
from results.papers.base import Paper, Table
from results.record import load_all
from results.reproduction import compare_paper
from results.reproduction_measures import show
from results.reproduction_order import OrderVerdict
from tasks.catalogue import PROBES, TASKS
from tasks.streams import STREAMS

ROOT = Path(__file__).parents[1]
TABLES = [pytest.param(paper, table, id=f"{paper.name}: {table.name}") for paper in PAPERS for table in paper.tables]


def paper_of(name: str) -> Paper:
    (found,) = [paper for paper in PAPERS if paper.name == name]
    return found


def table_of(paper: str, name: str) -> Table:
    (found,) = [table for table in paper_of(paper).tables if table.name == name]
    return found


def figures(paper: str, table: str) -> dict[str, list[float]]:
    return {row.label: [figure.value for figure in row.figures] for row in table_of(paper, table).rows}


def test_the_figures_are_the_published_ones() -> None:
    assert figures("pycontinual", "20News") == {
        "joint (MTL)": [96.77, 96.77],
        "one model per task (ONE)": [96.49, 96.48],
        "naive (NCL)": [52.50, 39.22],
        "frozen BERT, naive": [83.28, 81.81],
        "frozen BERT, EWC": [80.26, 78.60],
        "adapter L2": [69.56, 65.50],
        "adapter EWC": [61.86, 53.94],
        "adapter DER++": [58.95, 49.58],
        "adapter HAT": [95.22, 95.21],
        "CTR": [95.25, 95.23],
    }
    assert figures("pycontinual", "DSC")["frozen BERT, naive"] == [61.88, 45.79]
    assert figures("pycontinual", "DSC")["frozen BERT, EWC"] == [72.77, 65.76]
    assert figures("pycontinual", "ASC")["joint (MTL)"] == [91.91, 88.11]
    assert figures("pycontinual", "ASC")["frozen BERT, EWC"] == [86.37, 74.52]
    assert figures("ner-class-incremental", "Few-NERD") == {"SEQ": [2.97, 16.21], "SEQ*": [28.21, 43.06]}
    assert figures("ner-class-incremental", "OntoNotes5") == {
        "SEQ": [4.38, 21.20],
        "ExtendNER": [48.08, 57.02],
        "CFNER": [58.07, 63.76],
        "SEQ*": [67.39, 72.27],
    }
    (streams,) = paper_of("text-streams").tables
    assert [row.figures[0].value for row in streams.rows] == [66.9, 70.6, 76.3, 77.9]
    cifar = {"exact": 84.91, "exact, 500 examples": 84.57, "sampled": 83.77, "empirical": 83.28}
    cifar |= {"batched, 128": 83.38, "none": 69.53}
    assert figures("ewc-fisher", "Split CIFAR-10") == {label: [value] for label, value in cifar.items()}
    mnist = [99.12, 98.93, 99.12, 99.12, 99.11, 85.41]
    assert [value for (value,) in figures("ewc-fisher", "Split MNIST").values()] == mnist


def test_both_of_the_sets_that_contradict_each_other_are_there() -> None:
    assert figures("standard-cl-t5", "O-LoRA's table (means of three orders)") == {
        "SeqLoRA": [43.7],
        "EWC": [50.3],
        "LwF": [52.3],
        "Replay": [57.8],
        "O-LoRA": [75.8],
    }
    assert figures("standard-cl-t5", "O-LoRA's logs (order 1)") == {
        "sequential full fine-tuning": [67.77],
        "SeqLoRA": [62.88],
        "O-LoRA": [78.37],
    }
    orders = [len(table.protocol.orders) for table in paper_of("standard-cl-t5").tables]
    assert orders == [3, 1]
    assert any("contradict" in note for note in paper_of("standard-cl-t5").notes)


def test_spreads_and_runs_are_the_published_ones_and_nobody_says_what_they_are() -> None:
    spreads = {
        (paper.name, row.label, figure.value): (figure.spread.value, figure.spread.kind)
        for paper in PAPERS
        for table in paper.tables
        for row in table.rows
        for figure in row.figures
        if figure.spread is not None
    }
    assert spreads == {
        ("bert-forgetting", "full fine-tuning", 19.9): (4.8, "not said"),
        ("bert-forgetting", "LoRA, r = 8 on q and v", 0.6): (1.4, "not said"),
        ("bert-forgetting", "EWC, the strongest", 15.5): (1.4, "not said"),
        ("ewc-fisher", "exact", 99.12): (0.16, "not said"),
        ("ewc-fisher", "none", 85.41): (0.88, "not said"),
        ("ewc-fisher", "exact", 84.91): (0.65, "not said"),
        ("ewc-fisher", "none", 69.53): (1.34, "not said"),
    }
    runs = {paper.name: {table.runs for table in paper.tables} for paper in PAPERS}
    assert runs == {
        "bert-forgetting": {5},
        "pycontinual": {None},
        "ner-class-incremental": {3},
        "standard-cl-t5": {None},
        "text-streams": {None},
        "ewc-fisher": {30},
    }


def test_protocols_hold_what_is_known_and_nothing_else() -> None:
    news = table_of("pycontinual", "20News").protocol
    assert (news.learning_rate, news.batch_size, news.max_length, news.warmup) == (5e-5, 32, 128, 0.1)
    assert (news.epochs, news.scenario, len(news.tasks)) == (10, "task-incremental", 10)
    assert (news.train_examples, news.head_learning_rate, news.tuned, news.orders) == (None, None, None, ())
    assert table_of("pycontinual", "DSC").protocol.epochs is None  # ten are said of 20News alone
    ner = table_of("ner-class-incremental", "Few-NERD").protocol
    assert (ner.learning_rate, ner.head_learning_rate, ner.batch_size, ner.epochs) == (1e-5, 1e-3, 4, 5)
    t5 = paper_of("standard-cl-t5").tables[0].protocol
    assert (t5.learning_rate, t5.batch_size, t5.epochs, t5.shots) == (1e-3, 64, 1, 1000)
    labels = {task.name: len(task.labels) for task in TASKS}
    assert t5.train_examples == tuple(1000 * labels[task] for task in t5.tasks)
    bert = table_of("bert-forgetting", "BERT-base").protocol
    assert (bert.learning_rate, bert.epochs, bert.scenario) == (None, None, None)


def test_names_can_be_typed_and_are_no_others() -> None:
    names = [paper.name for paper in PAPERS]
    assert len(set(names)) == len(names)
    others = [entry.name for group in (TASKS, PROBES, STREAMS, BACKBONES) for entry in group]
    assert not set(names) & {*others, *suite_names(), *strategy_names()}
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)


@pytest.mark.parametrize(("paper", "table"), TABLES)
def test_what_a_table_names_here_is_here(paper: Paper, table: Table) -> None:
    known = {task.name for task in TASKS}
    assert set(table.protocol.tasks) <= known
    assert all(sorted(order) == sorted(table.protocol.tasks) for order in table.protocol.orders)
    for row in table.rows:
        assert len(row.figures) == len(table.metrics)
        assert (row.ours is None) == bool(row.why)
    for _, ours in table.answered():
        build_strategy(ours.strategy, ours.settings)
    assert bool(table.suite) != bool(table.missing)
    shipped = {stream.name: stream for stream in STREAMS}
    for suite in [table.suite, *(one.suite for one in table.nearest)]:
        if suite:
            assert suite in suite_names()
    if table.suite:
        stream = shipped[yaml.safe_load(suite_text(table.suite))["stream"]]
        assert set(stream.tasks) == set(table.protocol.tasks)
        assert set(table.protocol.orders) <= {stream.tasks, *stream.orders}
        assert table.protocol.scenario in (None, stream.scenario)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
@pytest.mark.parametrize("as_published", [False, True])
def test_every_plan_is_a_suite_that_can_be_resolved(paper: Paper, as_published: bool) -> None:
    plans = exact_plans(paper, as_published)
    plans += nearest_plans(paper, [table.name for table in paper.tables])
    for plan in plans:
        overrides = Overrides(plan.strategies, None, plan.settings, plan.backbone, None, plan.orders)
        (suite,) = load_suites(plan.suite, overrides)
        assert {cell.strategy.name for cell in suite.cells} == set(plan.strategies)


def test_as_published_is_what_the_paper_says() -> None:
    (plan,) = exact_plans(paper_of("pycontinual"), as_published=True)
    assert plan.backbone == "google-bert/bert-base-uncased"
    assert set(plan.settings) == {
        "training.epochs=10",
        "training.learning_rate=5e-05",
        "training.batch_size=32",
        "training.warmup=0.1",
        "max_length=128",
        "train_examples=null",
        "test_examples=null",
        "freeze.part=backbone",
    }
    settings = published_settings(paper_of("standard-cl-t5").tables[0].protocol)
    assert "tasks.dbpedia14.train_examples=14000" in settings
    assert [plan.backbone for plan in exact_plans(paper_of("bert-forgetting"), as_published=True)] == [
        "google-bert/bert-base-uncased",
        "FacebookAI/roberta-base",
    ]
    table, logs = exact_plans(paper_of("standard-cl-t5"), as_published=True), exact_plans(paper_of("standard-cl-t5"))
    assert [plan.orders for plan in (*table, *logs)] == ["all", "all"]


def test_what_needs_the_hub_is_known_without_it() -> None:
    assert hub_needs("newsgroups10") == []
    assert hub_needs("glue-forgetting") == ["datasets/nyu-mll/glue", "models/google-bert/bert-base-uncased"]


def test_the_stated_figures_are_those_of_the_page() -> None:
    for table in paper_of("ewc-fisher").tables:
        (stated,) = table.stated
        page = (ROOT / stated.page).read_text(encoding="utf-8")
        section = page[page.index(f"    {stated.command}\n") :].partition("\n* ")[0]
        assert f", {stated.runs} seeds" in section
        lines = re.findall(r"^\| ([^|]+) \| [^|]+ \| (0\.\d+) ± (0\.\d+) \|", section, re.MULTILINE)
        shown = {name: (100 * float(mean), 100 * float(deviation)) for name, mean, deviation in lines}
        there = {
            "exact, 500 examples": "exact, 50 examples",
            "batched, 128": "batched (wrong), 128",
            "none": "none (naive)",
        }
        for row in stated.rows:
            assert (row.value, row.deviation) == pytest.approx(shown[there.get(row.label, row.label)])


def test_figures_that_no_record_holds_are_never_comparable_and_have_an_order() -> None:
    found = compare_paper(paper_of("ewc-fisher"), [])
    assert [one.table.name for one in found.comparisons] == ["Split MNIST", "Split CIFAR-10"]
    for one in found.comparisons:
        assert {row.verdict.value for row in one.rows} == {"not comparable"}
        assert all((row.low, row.high) == (None, None) for row in one.rows)
        verdicts = {(order.above, order.below): order.verdict for order in one.orders}
        assert verdicts["exact", "none"] is OrderVerdict.SAME
    # 98.4 +- 0.4 and 92.4 +- 3.4 over 20 runs each: t is 2.0930 at 19 degrees of freedom.
    order = next(order for order in found.comparisons[0].orders if (order.above, order.below) == ("exact", "none"))
    half = 2.0930 * (0.4**2 + 3.4**2) ** 0.5 / 20**0.5
    assert (order.low, order.high) == pytest.approx((6 - half, 6 + half), abs=1e-3)


def test_the_paper_of_the_documentation_is_one() -> None:
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    paper = checked("ours-2026", names["OURS"])
    (plan,) = exact_plans(paper)
    assert plan.command == "retain run newsgroups10 --strategies naive,ewc --set ewc.fisher=empirical"


def test_the_documentation_lists_every_paper_and_its_figures_are_those_of_the_records() -> None:
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    assert all(f"| `{paper.name}` |" in page for paper in PAPERS)
    found = compare_paper(paper_of("pycontinual"), load_all([ROOT / "results" / "reference" / "newsgroups10"]))
    rows = re.findall(
        r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| not comparable: ", page, re.MULTILINE
    )
    stated = {
        (label, metric): pair
        for label, *four in rows
        for metric, pair in zip(("accuracy", "macro-F1"), (four[:2], four[2:]), strict=True)
    }
    computed = {
        (row.row.label, row.metric.name): [show(row.figure.value), show(row.ours.mean)]
        for one in found.comparisons
        for row in one.rows
        if row.ours is not None
    }
    assert stated == computed

"""``retain reproduce``, and papers in lists: what is printed, trained, written and refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmark.papers import PAPER_GROUP, all_papers, broken_papers
from results.papers import PAPERS
from results.papers.base import Paper
from tests.command import Retain, caller, is_one_line, write_suite
from tests.plugin_packages import forgetting
from tests.reproduction_fixtures import PROTOCOL, made_paper, made_table, of_value

ROOT = Path(__file__).parents[1]


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


def test_papers_are_listed_and_shown(retain: Retain) -> None:
    code, listed, _ = retain("list", "papers")
    assert code == 0
    assert [line.split()[0] for line in listed.splitlines() if not line.startswith(" ")] == [p.name for p in PAPERS]
    _, shown, _ = retain("show", "pycontinual")
    for text in ("96.49", "backbone bert-base-uncased", "not said: training examples a task", "docs/benchmarks.png"):
        assert text in shown
    assert "DSC: can't be run: its reviews are not among the tasks here" in shown
    assert "retain reproduce pycontinual --run" in shown
    assert retain("reproduce", "pycontinual") == (0, shown, "")
    _, both, _ = retain("reproduce", "ewc-fisher")
    assert both.startswith(retain("show", "ewc-fisher")[1])
    assert "Split MNIST, figures, beside NOT THE SAME, but the nearest: docs/strategies.md" in both
    assert both.endswith("figures: not comparable 12\norder of rows: same 10\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pycontinal"], "unknown paper 'pycontinal': did you mean pycontinual?"),
        (["pycontinual", "nothing"], "nothing: no such file or folder"),
        (["pycontinual", "--limit", "9"], "--limit of reproduce is for what it runs: add --run or --dry-run"),
        (["pycontinual", "--as-published"], "--as-published of reproduce is for what it runs"),
        (["pycontinual", "--run", "--seeds", "x"], "'x' should be whole numbers"),
        (["ewc-fisher", "--run"], "nothing of it can be run here: python -m tests.benchmarks.digits_fisher"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    retain: Retain, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, printed, said = retain("reproduce", *arguments, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    last = said.splitlines(keepends=True)[-1]
    assert is_one_line(last)
    assert message in last
    assert not (tmp_path / "out").exists()


def test_records_are_compared_and_files_written_beside_them(retain: Retain, tmp_path: Path) -> None:
    reference = ROOT / "results" / "reference" / "newsgroups10"
    code, printed, _ = retain("reproduce", "pycontinual", reference, "--out", tmp_path / "out")
    assert code == 0
    assert "naive (NCL), macro-F1" in printed
    assert "figures: not comparable 8, not run 12" in printed
    assert "backbone: bert-base-uncased there, all-MiniLM-L6-v2 here" in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "reproduction.md",
        "reproduction.csv",
        "reproduction-order.csv",
        "reproduction.json",
    }


@pytest.fixture
def tiny_paper(
    offline_catalogue: Path, backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Paper:
    """A paper whose suite is the tiny one, and another table whose suite is from the hub and whose nearest is that."""
    suite = str(write_suite(tmp_path, backbone_folder))
    tasks = dataclasses.replace(PROTOCOL, tasks=("tiny_sentiment", "tiny_tags", "tiny_spans"), max_length=32)
    paper = made_paper(made_table(of_value(50), protocol=tasks, suite=suite))
    monkeypatch.setattr("benchmark.papers.PAPERS", (paper,))
    return paper


def test_run_trains_the_suite_and_compares(tiny_paper: Paper, retain: Retain, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["reproduce", "made-paper", "--run", "--seeds", "0,1", "--limit", "9", "--threads", "1", "--out", out]
    code, printed, _ = retain(*arguments, "--device", "cpu")
    assert code == 0
    assert len(list((out / "tiny").glob("naive-seed?-*.json"))) == 2
    assert "not comparable: metric" not in printed
    assert "at most 9 here" in printed
    assert (out / "reproduction.json").is_file()
    # The records alone give the same.
    again = retain("reproduce", "made-paper", out / "tiny", "--out", out)
    assert again == (0, printed, "")


def test_dry_run_says_what_would_be_trained_and_trains_nothing(
    tiny_paper: Paper, retain: Retain, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, printed, _ = retain("reproduce", "made-paper", "--dry-run", "--limit", "9", "--out", out, "--device", "cpu")
    assert code == 0
    assert printed.startswith("tiny: 1 runs, 3 training stages in all; 3 to train")
    assert not list(tmp_path.rglob("*-seed0-*.json"))


def test_what_can_not_be_had_is_said_and_the_nearest_is_run_instead(
    tiny_paper: Paper, retain: Retain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIN_OFFLINE", "1")
    arguments = ["reproduce", "made-paper", "--dry-run", "--as-published", "--limit", "9", "--device", "cpu"]
    code, printed, said = retain(*arguments, "--out", tmp_path / "out")
    assert code == 0
    assert "made: suite " in said and "can't be run here: backbone google-bert/bert-base-uncased" in said
    assert "nearest to made, NOT THE SAME" in said
    assert "but with the suite's own backbone, sizes and training" in said
    assert "tiny: 1 runs" in printed


PLUGIN = """\
from tests.reproduction_fixtures import made_paper, made_table, of_value
PAPER = made_paper(made_table(of_value(50)))
OTHER = 5
"""


def test_a_package_can_bring_a_paper(retain: Retain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    information = tmp_path / "made_papers-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: made-papers\nVersion: 1.0\n", encoding="utf-8")
    entries = "made-paper = made_papers:PAPER\nother = made_papers:OTHER\nrenamed = made_papers:PAPER\n"
    (information / "entry_points.txt").write_text(f"[{PAPER_GROUP}]\n{entries}", encoding="utf-8")
    (tmp_path / "made_papers.py").write_text(PLUGIN, encoding="utf-8")
    with forgetting():
        monkeypatch.syspath_prepend(tmp_path)
        assert [paper.name for paper in all_papers()] == [*(paper.name for paper in PAPERS), "made-paper"]
        reasons = {one.plugin.name: one.reason for one in broken_papers()}
        assert reasons == {
            "other": "it is no results.papers.base.Paper",
            "renamed": "its paper is named 'made-paper': paper and entry point must have the same name",
        }
        assert "other of made-papers 1.0 can't be used" in retain("list", "papers")[1]
        code, _, said = retain("reproduce", "other")
        assert code == 2 and is_one_line(said)

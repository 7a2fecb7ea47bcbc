"""``report.html`` holds all tables and figures, as text, and its policy names its own style and script alone."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from results.leaderboard.pages import environment
from results.report import write_report
from tests.results_fixtures import make_run
from tests.site_runs import HOSTILE, on


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("report")
    runs = [make_run(HOSTILE, 0, hyperparameters={"lam": 1}), make_run("naive"), make_run("ewc", failed_stage=1)]
    assert made / "report.html" in write_report([*runs, *(on(run, "bert-tiny") for run in runs)], made)
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_it_has_every_figure_of_the_report_and_no_link_to_another_file(folder: Path, page: str) -> None:
    assert page.count('class="figure"') == len(list(folder.rglob("*.svg"))) > 6
    assert set(re.findall(r'(?:href|src)="([^"#]*)', page)) - {"", "data:,"} == {
        link for link in re.findall(r'href="(data:image/png;base64,[^"]+)', page)
    }
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', page)) <= set(ids)


def test_it_has_the_cells_of_the_other_tables(folder: Path, page: str) -> None:
    table = next(folder.rglob("forgetting.md")).read_text(encoding="utf-8")
    naive = next(line for line in table.splitlines() if line.startswith("| naive"))
    for cell in naive.strip("| ").split(" | "):
        assert f">{cell}<" in page
    assert "failed in stage 2 of 3" in page
    assert page.count("<caption") == page.count("<table") == 5  # rows and pairs of two protocols, backbones


def test_only_its_own_style_and_script_may_act(page: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    for element, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} &#39;sha256-{digest}&#39;;" in policy.replace("'", "&#39;")
    assert "unsafe" not in policy and policy.startswith("default-src")
    assert not re.search(r"<[^>]+\sstyle=", page)


def test_a_hostile_name_is_text(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("0.783 ± 0.012", "0.783"),
        ("−0.060", "-0.06"),
        ("2.0 MiB", repr(2.0 * 2**20)),
        ("22.6M", repr(22.6 * 1e6)),
        ("1,234", "1234.0"),
        ("0 B", "0.0"),
        ("–", ""),
        ("failed", ""),
        ("3, 1 failed", "3.0"),
    ],
)
def test_cells_sort_by_their_first_number_in_its_unit(cell: str, key: str) -> None:
    assert environment().from_string("{{ cell | sortable }}").render(cell=cell) == key

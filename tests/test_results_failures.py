"""Tables, figures and reports in which some or all runs failed."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from results import plots, render, tables
from results.all_columns import main_measures
from results.groups import protocol_groups, variants
from results.record import Failure, RecordError, Run
from results.render import TextTable
from results.report import console_summary, write_report
from tests.results_fixtures import make_run, table_of, text_of

HOSTILE = "a | b\n\n# c `d` <script>e()</script> $f$ _g_ *h* \\ 50% & ~~i~~ {j} [k](http://l) &lt; #m ^n \x1b[31m"
DAZZLING = [[0.3] * 3, [1.0] * 3, [1.0] * 3, [1.0] * 3]


def _some_failed() -> list[Run]:
    """Of ewc one seed of three failed, of l2_anchor both; naive finished."""
    return [
        make_run("ewc", 0),
        make_run("ewc", 1),
        make_run("ewc", 2, DAZZLING, failed_stage=2),
        make_run("l2_anchor", 0, failed_stage=-1, reason="CUDA out of memory."),
        make_run("l2_anchor", 1, failed_stage=0),
        make_run("naive", 0),
    ]


FAILURES = [
    "ewc, seed 2, failed in stage 3 of 3 (conll2003_ner): the training loss is NaN.",
    "l2_anchor, seed 0, failed before stage 1, measuring the untrained model: CUDA out of memory.",
    "l2_anchor, seed 1, failed in stage 1 of 3 (rotten_tomatoes): the training loss is NaN.",
]
NOT_SHOWN = "not shown, failed: 1 of 3 seeds of ewc, l2_anchor"


def _parse(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _finished(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.failure is None]


def test_means_are_over_finished_runs_alone() -> None:
    with_failed = table_of(_some_failed())
    without = table_of(_finished(_some_failed()))
    assert with_failed["strategy"].tolist() == ["ewc", "l2_anchor", "naive"]
    assert with_failed["runs"].tolist() == [2, 0, 1]
    assert with_failed["failed"].tolist() == [1, 2, 0]
    kept = with_failed[with_failed["runs"] > 0].drop(columns="failed").reset_index(drop=True)
    assert kept.equals(without.drop(columns="failed"))


def test_csv_counts_failed_runs_and_leaves_measures_without_a_finished_run_empty() -> None:
    rows = _parse(render.csv(table_of(_some_failed())))
    assert list(rows[0])[:4] == ["strategy", "runs", "failed", "rank"]
    assert [(row["runs"], row["failed"]) for row in rows] == [("2", "1"), ("0", "2"), ("1", "0")]
    assert set(list(rows[1].values())[3:]) == {""}
    assert "" not in (rows[0]["final_average"], rows[0]["train_seconds"], rows[0]["final_average_std"])


def test_the_text_says_who_failed_where_and_why() -> None:
    table = text_of(_some_failed(), "title")
    ewc, anchor, naive = table.rows
    assert (ewc[1], anchor[1], naive[1]) == ("2, 1 failed", "0, 2 failed", "1")
    assert set(anchor[2:]) == {"failed"}
    assert "failed" not in {*ewc[2:], *naive[2:]}
    assert table.failures == FAILURES
    for shown in (render.console(table), render.markdown(table), render.latex(table, "tab:x")):
        told = " ".join(shown.replace("\\", "").split())
        assert all(line in told for line in FAILURES)


def test_without_failures_nothing_speaks_of_them() -> None:
    table = text_of([make_run()], "title")
    assert table.failures == [] and "failed" not in render.console(table)


def test_a_stage_of_many_tasks_is_named_by_all_of_them() -> None:
    (line,) = text_of([make_run("joint", together=True, failed_stage=0)], "").failures
    assert "in stage 1 of 1 (rotten_tomatoes + bbc_news + conll2003_ner)" in line


def test_failures_as_data_hold_the_whole_reason() -> None:
    reason = "x" * 1000
    runs = [*_some_failed(), make_run("naive", 1, failed_stage=1, reason=reason)]
    rows = _parse(render.csv(tables.failures_table(runs)))
    assert [(row["strategy"], row["seed"], row["stage"], row["tasks"]) for row in rows] == [
        ("ewc", "2", "3", "conll2003_ner"),
        ("l2_anchor", "0", "0", ""),
        ("l2_anchor", "1", "1", "rotten_tomatoes"),
        ("naive", "1", "2", "bbc_news"),
    ]
    assert rows[-1]["reason"] == reason
    shown = text_of(runs, "").failures[-1]
    assert shown.endswith("x….") and len(shown) < 400
    assert render.csv(tables.failures_table([make_run()])) == "strategy,seed,order,stage,tasks,reason\n"


@pytest.mark.parametrize("stage", [-1, 0, 1])
def test_the_score_matrix_ends_where_the_run_failed_and_says_so(stage: int) -> None:
    run = make_run("ewc", 3, failed_stage=stage, reason=HOSTILE)
    states = ["pretrained", "after rotten_tomatoes"][: stage + 1]
    assert tables.score_matrix(run).index.tolist() == states
    table = tables.score_matrix_text(run, "ewc")
    assert [row[0] for row in table.rows] == states
    (line,) = table.failures
    assert line.startswith("ewc, seed 3, failed ") and "<script>" in line
    text = render.markdown(table)
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 1 + len(states)
    assert tables.score_matrix_text(make_run(), "naive").failures == []


def test_long_tables_hold_the_rows_that_exist() -> None:
    runs = [make_run("naive", 0), make_run("naive", 1, failed_stage=1), make_run("naive", 2, failed_stage=-1)]
    for table in (tables.scores_long(runs), tables.probes_long(runs), tables.drift_long(runs)):
        rows = {seed: sorted(set(group["row"])) for seed, group in table.groupby("seed")}
        assert rows == {0: [0, 1, 2, 3], 1: [0, 1]}


def test_a_probe_is_known_from_failed_runs_too() -> None:
    runs = [make_run("ewc", failed_stage=-1), make_run("naive", failed_stage=0)]
    assert main_measures(runs[:1]) == []
    assert main_measures(runs) == [("news_retrieval", "mrr")]


def test_a_failure_splits_no_group() -> None:
    run = make_run("naive")
    spread = run.provenance.model_copy(update={"processes": 4, "accumulation": 2})
    runs = [run, make_run("ewc", failed_stage=-1), make_run("ewc", 1, provenance=spread, losses=[[0.5]] * 3)]
    assert len(protocol_groups(runs)) == 1
    assert [(v.label, len(v.finished), len(v.failed)) for v in variants(runs)] == [("ewc", 1, 1), ("naive", 1, 0)]


def test_a_cell_that_failed_and_finished_is_there_twice() -> None:
    with pytest.raises(RecordError, match="ewc: several records of seed 1"):
        table_of([make_run("ewc", 1), make_run("ewc", 1, failed_stage=0)])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([None, -1, 0, 1, 2]), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_every_run_is_counted_and_no_text_holds_a_nan(stages: list[int | None], shuffle: random.Random) -> None:
    runs = [
        make_run(("ewc", "naive")[index % 2], index // 2, failed_stage=stage, reason="out of memory")
        for index, stage in enumerate(stages)
    ]
    table = table_of(runs)
    assert table["runs"].sum() == stages.count(None)
    assert table["failed"].sum() == len(runs) - stages.count(None)
    text = text_of(runs, "title")
    assert len(text.failures) == len(runs) - stages.count(None)
    assert all((row[-1] == "failed") == row[1].startswith("0, ") for row in text.rows)
    for shown in (render.console(text), render.markdown(text), render.latex(text, "tab:x"), render.csv(table)):
        assert not re.search(r"\bnan\b", shown, re.IGNORECASE)
    assert console_summary(runs) == console_summary(shuffle.sample(runs, len(runs)))


_SPECIAL = st.text(st.sampled_from('|`\\*_<>[](){}~$&#^%!;"…– ↑a1\n'), min_size=1, max_size=30)
_REASONS = (_SPECIAL | st.text()).map(lambda text: Failure(stage=0, reason=text).reason)


@settings(deadline=None)
@given(_REASONS)
@example(Failure(stage=0, reason=HOSTILE).reason)
@example("![a](b)[c][d]")
def test_a_reason_in_markdown_is_literal(reason: str) -> None:
    table = TextTable("title", ["x", "y"], [[reason, "1"]], [], [f"why: {reason}"])
    lines = render.markdown(table).rstrip("\n").split("\n")
    assert len(lines) == 7
    escaped = lines[-1].removeprefix("- why: ")
    assert re.sub(r"\\([!-/:-@[-`{-~])", r"\1", escaped) == reason
    bare = re.sub(r"\\[!-/:-@[-`{-~]", "·", escaped)
    assert not re.search(r"[|`*<~$\\]|&#?\w|\]\(|\]\[", bare)
    cells = re.sub(r"\\.", "", lines[4])
    assert cells.count("|") == 3


_LATEX_SAFE = (
    r"[^\\{}$&#_%~^<>|\[\]\"`\n…–−±≤↑↓]|\\[{}$&#_%]|\\(textbackslash|textasciitilde|textasciicircum|textasciigrave)\{\}"
    r"|\\(textless|textgreater|textbar|char34|ldots)\{\}|\{\[\}|\{\]\}|\$(-|\\pm|\\leq|\\uparrow|\\downarrow)\$"
)


@settings(deadline=None)
@given(_REASONS)
@example(Failure(stage=0, reason=HOSTILE).reason)
def test_a_reason_in_latex_holds_nothing_that_latex_reads_as_a_command(reason: str) -> None:
    table = TextTable("title", ["x"], [["1"]], [], [f"why: {reason}", "why not"])
    found = [line for line in render.latex(table, "tab:x").split("\n") if line.startswith("why")]
    assert len(found) == 2 and all(line.endswith(r"\par") for line in found)
    assert re.fullmatch(f"({_LATEX_SAFE})*", found[0].removesuffix(r"\par"))


def test_failures_on_a_terminal_fit_it_and_hold_no_control_characters() -> None:
    runs = [make_run("naive", failed_stage=0, reason=HOSTILE), make_run("naive", 1, failed_stage=0, reason="x" * 1000)]
    text = console_summary(runs)
    assert max(map(len, text.splitlines())) <= 120
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert "<script>e()</script>" in text and "\nnaive, seed 1, failed in stage 1 of 3 (rotten_tomatoes): " in text


def _figures(runs: list[Run]) -> list[Figure]:
    return [
        plots.scores_over_stages(runs),
        *plots.score_matrices(runs),
        plots.retention_against_learning(runs, "news_retrieval", "mrr"),
        plots.drift_per_layer(runs),
    ]


def _drawn(figure: Figure) -> list[list[float]]:
    """What a figure shows of the numbers: the heights of its lines and the values in its images."""
    return [
        *(
            np.asarray(line.get_ydata(), dtype=float).tolist()
            for axes in figure.axes
            for line in axes.lines
            if line.get_transform().contains_branch(axes.transData)  # no marker beside the axes
        ),
        *(np.nan_to_num(np.asarray(image.get_array())).tolist() for axes in figure.axes for image in axes.images),
    ]


def test_every_figure_leaves_failed_runs_out_and_says_so() -> None:
    runs = _some_failed()
    for figure, without in zip(_figures(runs), _figures(_finished(runs)), strict=True):
        assert figure.get_suptitle().replace("\n", " ") == NOT_SHOWN
        assert without.get_suptitle() == ""
        assert _drawn(figure) == _drawn(without) != []
        assert figure.get_figheight() > without.get_figheight()


def test_a_figure_without_the_sequences_that_failed_names_the_stage_that_is_left() -> None:
    runs = [make_run("joint", together=True), make_run("naive", failed_stage=2, layers=["only here"])]
    scores, matrix, _, drift = _figures(runs)
    assert [label.get_text() for label in scores.axes[-1].get_xticklabels()] == ["pretrained", "3 tasks together"]
    assert len(matrix.axes[0].get_yticks()) == 2
    assert len(drift.axes[0].get_xticks()) == 7


def test_a_report_on_failed_runs_alone_has_tables_and_no_figure(tmp_path: Path) -> None:
    runs = [make_run("naive", seed, failed_stage=seed - 1, reason=HOSTILE) for seed in range(3)]
    names = [path.name for path in write_report(runs, tmp_path)]
    assert names == [
        "forgetting.md",
        "forgetting.csv",
        "forgetting.tex",
        "failures.csv",
        "scores.md",
        "scores.csv",
        "probes.csv",
        "drift.csv",
        "report.json",
        "report.html",
    ]
    scores = (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert scores.count("\n## Scores, naive, seed ") == 2 and scores.count("\n- naive, seed ") == 3
    assert "| naive | 0, 3 failed | failed |" in (tmp_path / "forgetting.md").read_text(encoding="utf-8")
    assert "0, 3 failed" in console_summary(runs)


def test_a_protocol_whose_runs_all_failed_takes_no_figure_from_another(tmp_path: Path) -> None:
    runs = [make_run("naive"), make_run("naive", failed_stage=0, settings={"limit": 100})]
    drawn = {path.parent: path for path in write_report(runs, tmp_path) if path.suffix == ".png"}
    (folder,) = drawn
    assert "limit-unset" in folder.name
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_a_report_with_failures_does_not_depend_on_the_order_of_the_runs(tmp_path: Path) -> None:
    first = write_report(_some_failed(), tmp_path / "a")
    second = write_report(_some_failed()[::-1], tmp_path / "b")
    assert len(first) == 21
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]

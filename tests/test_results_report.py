from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from results import plots, style
from results.record import RecordError, Run, finished_runs
from results.report import console_summary, write_report
from tests.results_fixtures import make_run

HOSTILE = "a_b & 50% | $x$ <b> \\frac{"


def _five(seeds: int = 1) -> list[Run]:
    return [
        run
        for seed in range(seeds)
        for run in (
            make_run("naive", seed, retention=0.35, drift=0.2),
            make_run("l2_anchor", seed, retention=0.8, drift=0.02),
            make_run("ewc", seed, retention=0.79, drift=0.05),
            make_run("freeze", seed, retention=1.0, drift=0.0),
            make_run("joint", seed, together=True, drift=0.15),
        )
    ]


def _many(strategies: int, tasks: int) -> list[Run]:
    """Strategies and tasks with long names, the last strategy without a sequence."""
    names = [f"a_task_with_a_long_name_{number}" for number in range(tasks)]
    return [
        make_run(
            f"strategy_{number}_" + "long_" * number,
            seed,
            tasks=names,
            retention=0.5 + number / 100,
            together=number == strategies - 1,
        )
        for number in range(strategies)
        for seed in range(2)
    ]


CASES = {
    "five": _five(),
    "twelve strategies": _many(12, 2),
    "fifteen tasks": _many(2, 15),
    "one joint run": [make_run("joint", together=True)],
    "one task": [make_run(tasks=["only"])],
    "hostile": [
        make_run(HOSTILE, tasks=[HOSTILE, "_b"], probe="news_retrieval"),
        make_run("_hidden", tasks=[HOSTILE, "_b"]),
    ],
    "some failed": [
        *_five(),
        *(make_run(f"{HOSTILE} W{'W' * number}", failed_stage=number % 3) for number in range(9)),
    ],
    "all but joint failed": [make_run("joint", together=True), make_run("naive", failed_stage=2)],
}


@cache
def _figures(case: str) -> list[Figure]:
    runs = CASES[case]
    return [
        plots.scores_over_stages(runs),
        *plots.score_matrices(runs),
        plots.retention_against_learning(runs, "news_retrieval", "mrr"),
        plots.drift_per_layer(runs),
    ]


@pytest.mark.parametrize("case", CASES)
def test_figures_fit_a_column_with_nothing_clipped_or_small(case: str) -> None:
    for number, figure in enumerate(_figures(case)):
        assert figure.get_figwidth() == pytest.approx(3.3)
        assert figure.get_figheight() < 12
        assert all(float(text.get_fontsize()) >= 7 for text in figure.findobj(Text) if isinstance(text, Text))
        buffer = BytesIO()
        figure.savefig(buffer, format="rgba", dpi=100)
        pixels = np.frombuffer(buffer.getvalue(), np.uint8).reshape(-1, 330, 4)[:, :, :3]
        assert (pixels < 128).any()
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == 255).all(), f"figure {number} is cut off at its edge"


@pytest.mark.parametrize("case", CASES)
def test_labels_beside_the_axes_never_overlap(case: str) -> None:
    drift = _figures(case)[-1]
    drift.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in drift.axes[0].texts]
    assert len(boxes) == len({run.strategy for run in finished_runs(CASES[case])})
    ordered = sorted(boxes, key=lambda box: box.y0)
    for lower, upper in pairwise(ordered):
        assert upper.y0 >= lower.y1 - 1


@pytest.mark.parametrize("case", CASES)
def test_every_point_of_learning_and_retention_is_named_in_the_legend(case: str) -> None:
    (legend,) = _figures(case)[-2].legends
    assert len(legend.get_texts()) == len({run.strategy for run in finished_runs(CASES[case])})


def test_lines_hold_the_means_and_a_run_without_sequence_is_level() -> None:
    runs = _five(seeds=2)
    panel = plots.scores_over_stages(runs).axes[1]
    ewc, _, joint, *_ = panel.lines
    mean = np.mean([run.scores for run in runs if run.strategy == "ewc"], axis=0)[:, 1]
    assert np.asarray(ewc.get_ydata()) == pytest.approx(mean)
    level = np.mean([run.scores[-1][1] for run in runs if run.strategy == "joint"])
    assert np.asarray(joint.get_ydata()) == pytest.approx([level, level])
    assert np.asarray(joint.get_xdata()).tolist() == [0, 3]
    assert joint.get_marker() == "*"


def test_looks_differ_without_colour() -> None:
    seen = {(look.marker, str(look.line), look.filled) for look in style.looks([True] * 12)}
    assert len(seen) == 12
    assert len({look.marker for look in style.looks([True] * 12)}) == 12


def test_a_layer_that_did_not_move_is_drawn_at_a_tick_named_zero() -> None:
    axes = plots.drift_per_layer(_five()).axes[0]
    heights = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    (height,) = {float(values[0]) for values in heights if len(values) > 1 and np.ptp(values) == 0}
    assert axes.get_yscale() == "log" and height > 0
    labels = {tick: label.get_text() for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    assert labels[height] == "0"


def test_drift_shows_the_layers_that_all_runs_have() -> None:
    adapters = make_run("adapters", layers=["embeddings", "adapter", "layer 1"])
    assert plots.shared_layers(finished_runs([make_run(), adapters])) == ["embeddings", "layer 1"]
    assert len(plots.drift_per_layer([adapters, make_run()]).axes[0].get_xticks()) == 2


def test_undefined_retention_is_named_not_drawn() -> None:
    nothing = [{"news_retrieval": {"mrr": 0.0}}] * 4
    figure = plots.retention_against_learning([make_run(), make_run("lost", probes=nothing)], "news_retrieval", "mrr")
    assert "undefined: lost" in figure.axes[0].get_xlabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["naive"]


_FILES = [
    "forgetting.md",
    "forgetting.csv",
    "forgetting.tex",
    "pairs.md",
    "pairs.csv",
    "pairs.tex",
    "failures.csv",
    "scores.md",
    "scores.csv",
    "probes.csv",
    "drift.csv",
    "scores_over_stages.png",
    "scores_over_stages.svg",
    "score_matrices_1.png",
    "score_matrices_1.svg",
    "retention_news-retrieval.png",
    "retention_news-retrieval.svg",
    "drift_per_layer.png",
    "drift_per_layer.svg",
    "report.json",
    "report.html",
]


def test_a_report_repeats_byte_for_byte_and_leaves_no_other_file(tmp_path: Path) -> None:
    runs = CASES["hostile"]
    first = write_report(runs, tmp_path / "a")
    mpl.rcParams["font.size"], before = 30, mpl.rcParams["font.size"]
    second = write_report(runs[::-1], tmp_path / "b")
    mpl.rcParams["font.size"] = before
    assert [path.name for path in first] == [path.name for path in second] == _FILES
    assert sorted(first) == sorted((tmp_path / "a").iterdir())
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    for path in first:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        if path.suffix == ".png":
            content = path.read_bytes()
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert struct.unpack(">I", content[16:20])[0] == 660  # 3.3 inches at 200 dots


def test_runs_without_probes_or_drift_are_reported(tmp_path: Path) -> None:
    run = make_run(probes=[{}] * 4)
    names = {path.name for path in write_report([run.model_copy(update={"drift": [{}] * 4})], tmp_path)}
    assert not [name for name in names if name.startswith(("retention", "drift_per"))]
    scores = (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert scores.startswith("## Scores, naive, seed 0\n")
    assert "| after bbc_news |" in scores
    header = (tmp_path / "probes.csv").read_text(encoding="utf-8")
    assert header == "strategy,seed,order,row,probe,measure,value\n"


def test_each_protocol_gets_its_own_folder_and_table(tmp_path: Path) -> None:
    few: dict[str, Any] = {"tasks": ["only"], "probes": [{}] * 2}
    runs = [make_run("naive", **few), make_run("ewc", settings={"limit": 100}, **few)]
    folders = {path.parent for path in write_report(runs, tmp_path) if path.name not in ("report.json", "report.html")}
    tables = sorted((folder / "forgetting.csv").read_text(encoding="utf-8") for folder in folders)
    assert len(folders) == 2 and tmp_path not in folders
    assert [("naive" in table, "ewc" in table) for table in tables] == [(False, True), (True, False)]

    summary = console_summary(runs)
    assert "limit=100" in summary and "limit=unset" in summary
    assert len([line for line in summary.splitlines() if line.startswith("strategy")]) == 2


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    for report in (console_summary, lambda runs: write_report(runs, tmp_path)):
        with pytest.raises(RecordError, match="no run records"):
            report([])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("gradual_unfreezing", ["gradual_", "unfreezing"]),
        ("gradual_unfreezing share=0.95", ["gradual_", "unfreezing", "share=0.95"]),
        ("layerwise_lr factor=2.6, ewc lam=10000", ["layerwise_lr", "factor=2.6, ewc", "lam=10000"]),
        ("task_arithmetic", ["task_arithmetic"]),
        ("a-long-plugin-name", ["a-long-plugin-", "name"]),
        ("recadam lam=1e-05", ["recadam lam=1e-05"]),
        ("abcdefghijklmnopqrstu", ["abcdefghijklmnopq", "rstu"]),
        ("", [""]),
    ],
)
def test_names_are_broken_where_a_word_of_them_ends(text: str, lines: list[str]) -> None:
    assert style.wrap(text, 17).split("\n") == lines

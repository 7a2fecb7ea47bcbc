"""Tuned runs among others: groups, tables and the figure of the trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.lines import Line2D

from results.groups import protocol_groups, variants
from results.record import Run, load
from results.render import console, csv, markdown
from results.style import save
from results.trials import Trial, best, sensitivity, trials_table
from results.tuned import tuned_table, tuned_text
from tests.results_fixtures import make_run, table_of

SEEN = ["rotten_tomatoes", "bbc_news"]
FLAT = [[0.5, 0.2, 0.0], [0.8, 0.2, 0.0], [0.8, 0.9, 0.0]]


def run(strategy: str, lam: float, last: float, seed: int = 0, rate: float = 1e-4, **more: Any) -> Run:
    """A run whose final average is ``last``."""
    return make_run(
        strategy,
        seed,
        [*FLAT, [last] * 3],
        settings={
            "training": {"epochs": 1, "learning_rate": rate},
            "strategy": {"name": strategy, "settings": {"lam": lam}, **more.pop("search", {})},
        },
        **more,
    )


def tuned(strategy: str, lam: float, last: float, seed: int = 0, rate: float = 1e-4, trials: int = 8) -> Run:
    """The same as a search found it."""
    searched = {"lam": "1..100:log"} | ({"training.learning_rate": "1e-05..0.001:log"} if rate != 1e-4 else {})
    search = {"trials": trials, "tasks": SEEN, "sampler": "qmc", "seed": 0, "seeds": [0], "searched": searched}
    budget = {"trials": trials, "seconds": 10.0 * lam, "tasks": SEEN}
    return run(strategy, lam, last, seed, rate, search={"tuning": search}, tuning=budget)


def test_a_tuned_run_reads_as_it_was_written(tmp_path: Path) -> None:
    one = tuned("ewc", 3, 0.6)
    one.save(tmp_path / "a.json")
    assert load(tmp_path / "a.json") == one
    assert one.tuning is not None and one.tuning.model_dump() == {"trials": 8, "seconds": 30.0, "tasks": SEEN}
    assert make_run().tuning is None


def test_tuned_and_untuned_runs_and_other_budgets_never_share_a_table() -> None:
    runs = [run("ewc", 1, 0.5), tuned("ewc", 3, 0.6), tuned("ewc", 4, 0.6, trials=9), tuned("si", 7, 0.6)]
    groups = protocol_groups(runs)
    strategies = [[one.runs[0].strategy for one in variants(group.runs)] for group in groups]
    assert sorted(strategies) == [["ewc"], ["ewc"], ["ewc", "si"]]
    titles = [group.title for group in groups]
    assert sum("run.tuning=none" in title for title in titles) == 1
    assert sum("run.tuning=9 trials on rotten_tomatoes, bbc_news" in title for title in titles) == 1
    with pytest.raises(ValueError, match="different protocols"):
        variants(runs[:2])


def test_a_rate_that_was_searched_is_the_strategys_and_any_other_is_the_protocols() -> None:
    assert len(protocol_groups([tuned("ewc", 3, 0.6, rate=1e-3), tuned("si", 3, 0.6, rate=1e-5)])) == 1
    assert len(protocol_groups([run("ewc", 3, 0.6, rate=1e-3), run("si", 3, 0.6, rate=1e-5)])) == 2
    labels = [one.label for one in variants([tuned("ewc", 3, 0.6, rate=1e-3), tuned("ewc", 3, 0.6, rate=1e-5)])]
    assert labels == ["ewc (learning_rate=1e-05)", "ewc (learning_rate=0.001)"]


def test_what_the_search_cost_stands_on_the_board() -> None:
    assert table_of([tuned("ewc", 3, 0.6), tuned("si", 7, 0.6)])["search_seconds"].tolist() == [30.0, 70.0]
    assert "search_seconds" not in table_of([run("ewc", 3, 0.6)])


def test_both_settings_stand_side_by_side() -> None:
    given = [run("ewc", 1, last, seed) for seed, last in enumerate((0.4, 0.5, 0.6))] + [run("si", 1, 0.7)]
    better = [tuned("ewc", 3, last, seed) for seed, last in enumerate((0.5, 0.6, 0.8))]
    table = tuned_table(given, better).set_index("strategy")
    ewc = table.loc["ewc"]
    assert ewc["given_final_average"] == pytest.approx(0.5)
    assert ewc["tuned_final_average"] == pytest.approx(19 / 30)
    assert ewc["difference"] == pytest.approx(4 / 30)
    assert ewc["difference_low"] < 4 / 30 < ewc["difference_high"]
    assert (ewc["trials"], ewc["search_seconds"], ewc["found"]) == (8, 30, "lam=3")
    assert table.loc["si"].drop(["given_final_average", "given_forgetting", "found"]).isna().all()
    text = tuned_text(given, better, "made up")
    assert text.rows[0][3].startswith("0.133 [")
    assert text.rows[1] == ["si", "0.700", "–", "–", "0.150", "–", "–", "–", "–"]
    assert "lam=3" in console(text) and "| ewc |" in markdown(text)


def test_a_single_seed_gives_a_difference_and_no_interval() -> None:
    text = tuned_text([run("ewc", 1, 0.5)], [tuned("ewc", 3, 0.6)], "made up")
    assert text.rows[0][1:4] == ["0.500", "0.600", "0.100"]


def test_a_run_that_failed_has_no_average() -> None:
    broken = make_run("ewc", 0, failed_stage=1, settings={"strategy": {"name": "ewc", "settings": {"lam": 1.0}}})
    assert tuned_text([broken], [], "made up").rows == [["ewc", *["–"] * 8]]


TRIALS = [
    Trial("ewc", 1, {"lam": 10.0}, 0.5, 1.0),
    Trial("ewc", 2, {"lam": 100.0}, 0.7, 1.0),
    Trial("ewc", 3, {"lam": 1000.0}, 0.7, 1.0),
    Trial("ewc", 4, {"lam": 1e5}, 0.0, 1.0, "loss inf"),
    Trial("lwf", 1, {"lam": 1.0, "temperature": 2.0}, 0.6, 2.0),
    Trial("lwf", 2, {"lam": 2.0, "temperature": 4.0}, 0.5, 2.0),
]


def test_the_first_of_the_best_trials_is_taken_and_none_that_failed() -> None:
    assert best(TRIALS[:4]) is TRIALS[1]
    assert best(TRIALS[3:4]) is None
    zero = Trial("ewc", 2, {"lam": 1.0}, 0.0, 1.0)
    assert best([TRIALS[3], zero]) is zero  # a score of 0 is better than a failure


def test_the_table_of_trials_has_every_setting_once(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(csv(trials_table(TRIALS)), encoding="utf-8")
    table = pd.read_csv(tmp_path / "trials.csv")
    assert table["best"].tolist() == [False, True, False, False, True, False]
    assert table["given"].tolist() == [True, False, False, False, True, False]
    assert table.columns[-3:].tolist() == ["ewc.lam", "lwf.lam", "lwf.temperature"]
    assert table["lwf.temperature"].isna().tolist() == [True] * 4 + [False] * 2
    assert table["failure"].dropna().tolist() == ["loss inf"]


def points(line: Line2D) -> list[list[float]]:
    found: list[list[float]] = np.asarray(line.get_xydata()).tolist()
    return found


def test_the_figure_has_a_panel_for_each_setting(tmp_path: Path) -> None:
    figure = sensitivity(TRIALS, {"ewc.lam", "lwf.lam"}, "made up")
    panels = {(axes.get_title(loc="left"), axes.get_xlabel()): axes for axes in figure.axes}
    assert list(panels) == [("ewc", "lam"), ("lwf", "lam"), ("lwf", "temperature"), ("", "")]
    assert [axes.get_xscale() for axes in panels.values()] == ["log", "log", "linear", "linear"]
    curve = panels["ewc", "lam"].lines[0]
    assert points(curve) == [[10, 0.5], [100, 0.7], [1000, 0.7]]
    alone = [len(points(line)) for line in panels["lwf", "lam"].lines]
    assert alone == [2, 1, 1] and panels["lwf", "lam"].lines[0].get_linestyle() == "None"  # other settings differ too
    one, two = (
        save(figure, tmp_path / "one"),
        save(sensitivity(TRIALS, {"ewc.lam", "lwf.lam"}, "made up"), tmp_path / "two"),
    )
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_search_in_which_all_failed_is_drawn_too() -> None:
    figure = sensitivity([TRIALS[3]], {"ewc.lam"}, "made up")
    assert figure.axes[0].get_xlabel() == "lam"

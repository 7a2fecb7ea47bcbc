"""Histories over commits: their order, their steps, their files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from results.record import RecordError, Run
from results.track import Track, track
from results.track_text import as_console, as_markdown, steps_text, summary, write_track
from results.track_text import table as table_of
from tests.command import Retain, caller, is_one_line
from tests.compared_runs import CENTRE, one_run, version
from tests.results_fixtures import make_run


def commit(number: int) -> str:
    return f"{number:x}" * 40


def history(
    drops: list[float], *, strategies: tuple[str, ...] = ("naive", "ewc"), seconds: list[float] | None = None
) -> list[Run]:
    """Runs of one commit a day."""
    return [
        run
        for day, drop in enumerate(drops)
        for run in version(
            day,
            strategies=strategies,
            drop=drop,
            jitter=0.02,
            seconds=seconds[day] if seconds else 10.0,
            finished=f"2026-01-{day + 1:02d}T00:00:00Z",
            made_by={"commit": commit(day)},
        )
    ]


def steps(found: Track) -> set[tuple[str, str, str]]:
    return {
        (one.label, one.measure.name, found.versions[one.points[step.at].version].label)
        for one in found.histories
        for step in one.found.steps
    }


def test_steps_name_the_first_commit_of_every_measure_that_moved() -> None:
    found = track(history([0] * 5 + [0.1] * 4, seconds=[10.0] * 7 + [20.0] * 2))
    moved = ("final_average", "forgetting", "score_a", "score_b")
    assert steps(found) == {
        *((label, name, "5555555") for label in ("naive", "ewc") for name in moved),
        ("naive", "train_seconds", "7777777"),
        ("ewc", "train_seconds", "7777777"),
    }
    assert summary(found) == "9 versions, 20 histories: 10 steps (10 worse)"


def test_a_step_shows_levels_that_agree_with_its_change_whatever_seeds_ran() -> None:
    runs = []
    for day, seeds in enumerate([(0, 1, 2), (0, 1, 2), (2, 3), (2, 3)]):
        for seed in seeds:  # later seeds are harder, and the new level is higher by 0.03
            shift = 0.03 * (day > 1) - 0.08 * seed + 0.001 * (-1) ** (day + seed)
            scores = [[value + shift for value in line] for line in CENTRE]
            made_by = {"commit": commit(day)}
            runs.append(one_run("naive", seed, scores, made_by, finished=f"2026-01-{day + 1:02d}T00:00:00Z"))
    rows = [row for row in steps_text(track(runs)).rows if row[3].startswith("final average")]
    (row,) = rows
    before, after, change = float(row[4]), float(row[5]), float(row[6])
    assert row[0] == "2222222" and row[-1] == "better"
    assert change == pytest.approx(0.03, abs=0.003) and after - before == pytest.approx(change, abs=0.002)


def test_histories_go_by_the_first_run_of_a_commit_whatever_the_order_of_records() -> None:
    runs = history([0, 0, 0, 0.3, 0.3])
    again = version(99, seeds=(7,), finished="2026-02-01T00:00:00+00:00", made_by={"commit": commit(0)})
    one, other = track([*runs, *again]), track([*again, *runs[::-1]])
    assert [found.label for found in one.versions] == [commit(n)[:7] for n in range(5)]
    assert steps(one) == steps(other) and table_of(one).shape == table_of(other).shape


def test_time_zones_are_respected() -> None:
    early = version(0, finished="2026-01-01T23:30:00-05:00", made_by={"commit": commit(1)})
    late = version(1, finished="2026-01-02T04:00:00", made_by={"commit": commit(2)})  # no zone: UTC
    assert [one.commit for one in track([*early, *late]).versions] == [commit(2), commit(1)]
    with pytest.raises(RecordError, match="'yesterday' is no time"):
        track(version(0, finished="yesterday"))


def test_ancestry_goes_before_time() -> None:
    runs = history([0, 0, 0])
    ranks = {commit(0): 5, commit(1): 2, commit(2): 9}
    assert [one.commit for one in track(runs, ranks).versions] == [commit(1), commit(0), commit(2)]


def test_what_knows_no_commit_stands_last_by_ancestry_and_it_is_said() -> None:
    installed = version(7, finished="2025-12-31T00:00:00Z", made_by={"code_sha256": "d" * 64})
    runs = [*history([0, 0]), *installed]
    found = track(runs, {commit(0): 500, commit(1): 700})  # places in a long history
    assert [one.commit for one in found.versions] == [commit(0), commit(1), ""]
    assert "so these stand last, wherever they belong: 0.1.0:dddd" in as_console(found)
    assert "stand last" not in as_console(track(runs))


def test_what_is_no_commit_is_told_by_its_code() -> None:
    clean = version(0, made_by={"commit": commit(1), "code_sha256": "a" * 64, "dirty": False})
    dirty = version(1, made_by={"commit": commit(1), "code_sha256": "b" * 64, "dirty": True})
    other = version(2, made_by={"commit": commit(1), "code_sha256": "c" * 64, "dirty": True})
    installed = version(3, made_by={"code_sha256": "d" * 64})
    found = track([*clean, *dirty, *other, *installed])
    assert {one.label for one in found.versions} == {"1111111", "1111111+bbbb", "1111111+cccc", "0.1.0:dddd"}
    assert "runs of dirty trees" in as_console(found)


def test_records_of_the_same_cell_of_a_version_and_none_at_all_are_refused() -> None:
    with pytest.raises(RecordError, match="several records of seed 0"):
        track([*version(0), *version(1, seeds=(0,))])
    with pytest.raises(RecordError, match="no run records"):
        track([])


def test_seconds_of_other_machines_are_left_out() -> None:
    runs = history([0] * 4)
    moved = [
        run.model_copy(update={"provenance": run.provenance.model_copy(update={"threads": 8})}) for run in runs[:6]
    ]
    found = track([*moved, *runs[6:]])
    lengths = {one.measure.name: len(one.points) for one in found.histories}
    assert (lengths["train_seconds"], lengths["peak_memory_bytes"], lengths["strategy_bytes"]) == (3, 3, 4)
    assert "training seconds: 1 version left out" in as_console(found)


def test_bytes_that_a_strategy_keeps_step_at_once() -> None:
    runs = [
        run
        for day in range(3)
        for run in version(day, (0,), stored=100 + 100 * (day > 1), made_by={"commit": commit(day)})
    ]
    assert steps(track(runs)) == {("naive", "strategy_bytes", "2222222")}


def test_failed_runs_and_those_of_other_protocols_are_kept_apart() -> None:
    failed = make_run("naive", 5, tasks="abc", failed_stage=1)
    other = version(3, settings={"train": {"epochs": 9}}, made_by={"commit": commit(9)})
    found = track([*history([0, 0], strategies=("naive",)), failed, *other])
    titles = {one.title: len(one.points) for one in found.histories if one.measure.name == "final_average"}
    assert sorted(titles.values()) == [1, 2]


def test_files_hold_every_number(tmp_path: Path) -> None:
    found = track(history([0] * 4 + [0.1] * 4))
    files = write_track(found, tmp_path)
    assert [file.name for file in files] == ["history.md", "history.csv", "history_1.png", "history_1.svg"]
    lines = pd.read_csv(tmp_path / "history.csv")
    assert len(lines) == 8 * len(found.histories)
    marked = lines[(lines["strategy"] == "naive") & (lines["measure"] == "forgetting") & lines["step"].notna()]
    assert marked[["order", "version", "step"]].astype(str).values.tolist() == [["5", "4444444", "worse"]]
    assert marked["change"].item() == pytest.approx(0.1, abs=0.02)
    text = (tmp_path / "history.md").read_text(encoding="utf-8")
    assert text == as_markdown(found) and "## Steps" in text and commit(4) in text
    again = write_track(found, tmp_path / "again")
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]


def test_a_single_version_is_a_history_without_steps(tmp_path: Path) -> None:
    found = track(history([0]))
    assert summary(found) == "1 version, 20 histories: no step is shown"
    assert len(write_track(found, tmp_path)) == 4


def test_names_of_strategies_stay_text() -> None:
    runs = [run for day in range(2) for run in version(day, (0,), ["<script>|x"], made_by={"commit": commit(day)})]
    assert r"\<script>\|x" in as_markdown(track(runs))


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


def git(folder: Path, *command: str) -> str:
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    names = {f"GIT_{who}_{what}": "x@y.z" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *command], cwd=folder, env=os.environ | quiet | names, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_command_orders_by_a_repository(tmp_path: Path, retain: Retain) -> None:
    repository = tmp_path / "code"
    repository.mkdir()
    git(repository, "init", "-q")
    commits = []
    for number in range(4):
        git(repository, "commit", "-q", "--allow-empty", "-m", str(number))
        commits.append(git(repository, "rev-parse", "HEAD"))
    for number, name in enumerate(commits):  # run in the opposite order, as a bisection or a late rerun would
        made = version(
            number, drop=0.2 * (number > 1), finished=f"2026-01-{9 - number:02d}T00:00:00Z", made_by={"commit": name}
        )
        for run in made:
            run.save(tmp_path / "runs" / f"{number}-{run.seed}.json")
    code, out, _ = retain("track", tmp_path / "runs", "--repository", repository)
    assert code == 0 and f"{commits[2][:7]}" in out and "0.2" in out and "worse" in out
    table = pd.read_csv(tmp_path / "runs" / "track" / "history.csv")
    assert table.sort_values("order")["commit"].drop_duplicates().tolist() == commits
    assert "better" in retain("track", tmp_path / "runs", "--out", tmp_path / "by-time")[1]

    (tmp_path / "runs" / "x.json").write_text(
        version(9, (9,), made_by={"commit": commit(7)})[0].model_dump_json(), encoding="utf-8"
    )
    code, out, error = retain("track", tmp_path / "runs", "--repository", repository)
    assert (code, out) == (2, "") and is_one_line(error) and "no commit 777777777777" in error
    for short in ("HEAD", commits[1][:9]):
        (odd,) = version(9, (9,), made_by={"commit": short})
        (tmp_path / "runs" / "x.json").write_text(odd.model_dump_json(), encoding="utf-8")
        code, out, error = retain("track", tmp_path / "runs", "--repository", repository)
        assert (code, out) == (2, "") and is_one_line(error) and f"the commit '{short}'" in error


@pytest.mark.parametrize("repository", ["nowhere", "empty"])
def test_mistakes_of_the_command_are_one_line(
    repository: str, tmp_path: Path, retain: Retain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "empty").mkdir()
    version(0)[0].save(tmp_path / "runs" / "a.json")
    code, out, error = retain("track", tmp_path / "runs", "--repository", tmp_path / repository)
    assert (code, out) == (2, "") and is_one_line(error) and "no git repository" in error
    assert not (tmp_path / "runs" / "track").exists()
    code, out, error = retain("track", tmp_path / "empty")
    assert (code, out) == (2, "") and is_one_line(error) and "no run records" in error

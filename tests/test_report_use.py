"""What a user meets who reports several suites at once, single runs, or into a folder of records."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.cli import main
from results.groups import Group, protocol_groups
from results.leaderboard.board import leaderboard
from results.leaderboard.pages import RunNames, suite_html
from results.pairs import pairs_text
from results.record import Run
from results.render import latex
from results.summary import Choice, summarise
from tests.results_fixtures import make_run, text_of

OTHER = ("trec", "ag_news")


def _other_suite(**fields: object) -> Run:
    return make_run(tasks=OTHER, **({"suite": "long", "stream": "texts"} | fields))  # type: ignore[arg-type]


def test_the_title_of_a_protocol_does_not_tell_the_rows_of_another_suite() -> None:
    titles = [group.title for group in protocol_groups([make_run(), _other_suite()])]
    assert sorted(titles) == ["long: texts on minilm", "short: mixed on minilm"]


def test_the_title_of_a_protocol_still_tells_what_differs_within_its_suite() -> None:
    one, other = (make_run(settings={"train": {"epochs": epochs}}) for epochs in (1, 3))
    groups = protocol_groups([one, _other_suite(), other])
    assert sorted(group.title for group in groups) == [
        "long: texts on minilm",
        "short: mixed on minilm (train.epochs=1)",
        "short: mixed on minilm (train.epochs=3)",
    ]
    assert len({group.slug for group in groups}) == 3


def test_backbones_of_one_name_are_told_apart_by_their_weights_in_their_suite_alone() -> None:
    one = make_run()
    other = one.model_copy(update={"provenance": one.provenance.model_copy(update={"weights_sha256": "e" * 64})})
    titles = sorted(group.title for group in protocol_groups([one, other, _other_suite()]))
    assert titles[0] == "long: texts on minilm"
    assert ["weights_sha256=c" in titles[1], "weights_sha256=e" in titles[2]] == [True, True]


def test_an_omega_is_a_command_in_latex() -> None:
    written = latex(text_of([make_run()], "", Choice(("omega_base", "omega_new"))), "tab:x")
    assert r"$\Omega$ base" in written
    assert "Ω" not in written


def test_a_single_run_beside_several_is_not_said_to_need_over_a_thousand() -> None:
    runs = [make_run("naive", 0), make_run("naive", 1), make_run("ewc", 0, retention=0.9)]
    (suite,) = leaderboard(runs)
    assert suite.rankings[0].rows[0].standing is not None
    gap = suite.rankings[0].rows[0].standing.to_next
    assert gap is not None and gap.low is None
    html = suite_html(suite, RunNames({id(run): f"r{number}" for number, run in enumerate(runs)}))
    assert "Runs that would tell" in html
    assert "more than 1,000" not in html


def test_a_dash_among_pairs_is_explained_for_each_of_its_reasons() -> None:
    runs = [make_run(name, seed) for name in ("naive", "ewc") for seed in (0, 1)]
    table = pairs_text(summarise([Group("", "", runs)], ""))
    assert table.rows[0][table.headers.index("runs\nneeded")] == "–"
    (note,) = (note for note in table.notes if note.startswith("–"))
    assert "two pairs" in note and "difference of 0" in note


@pytest.mark.parametrize("named", [".", "one.json"])
def test_a_report_is_not_written_among_the_records(
    named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.json").write_text(make_run().model_dump_json(), encoding="utf-8")
    assert main(["report", str(tmp_path / named), "--out", str(tmp_path), "--figures", "none"]) == 2
    error = capsys.readouterr().err
    assert "holds the records themselves" in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


def test_no_figures_of_one_protocol_are_told_in_good_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.json").write_text(make_run().model_dump_json(), encoding="utf-8")
    assert main(["report", str(tmp_path), "--figures", "none"]) == 0
    assert "--figures all draws those of every protocol" in capsys.readouterr().out

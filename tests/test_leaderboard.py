"""The leaderboard as data: what shares a ranking, who leads, what is on the front, and what the rows hold."""

from __future__ import annotations

import pytest

from results import fingerprint as facts
from results.leaderboard.board import Ranking, Suite, leaderboard
from results.leaderboard.names import page_name, run_page
from results.record import RecordError, Run
from results.statistics import Bootstrap, estimate
from tests.results_fixtures import make_run
from tests.site_runs import HOSTILE, on, seeds, site_runs


@pytest.fixture(scope="module")
def suites() -> dict[str, Suite]:
    return {suite.name: suite for suite in leaderboard(site_runs())}


def labels(ranking: Ranking) -> list[str]:
    return [row.label for row in ranking.rows]


def told(ranking: Ranking) -> tuple[str, str, str]:
    return ranking.first.backbone, ranking.facts["tuning"], ranking.facts["replay"]


def test_replay_tuning_and_backbone_each_have_a_ranking_of_their_own(suites: dict[str, Suite]) -> None:
    found = {told(ranking): set(labels(ranking)) for ranking in suites["short"].rankings}
    assert found == {
        ("bert-tiny", "untuned", "no examples kept"): {"naive"},
        ("minilm", "untuned", "no examples kept"): {"naive", "ewc (lam=10)", "ewc (lam=1000)", HOSTILE},
        ("minilm", "untuned", "examples kept"): {"replay", "er_ace", "agem"},
        ("minilm", "8 trials on rotten_tomatoes", "no examples kept"): {"ewc"},
    }
    assert suites["short"].differing == ["replay", "backbone", "tuning"]
    assert len({ranking.anchor for ranking in suites["short"].rankings}) == 4
    assert len({ranking.title for ranking in suites["short"].rankings}) == 4


def test_all_rows_of_a_ranking_have_one_fingerprint(suites: dict[str, Suite]) -> None:
    for suite in suites.values():
        for ranking in suite.rankings:
            assert all(facts.fingerprint(run) == ranking.facts for row in ranking.rows for run in row.runs)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"training": {"epochs": 9}}},
        {"settings": {"training": {"batch_size": 9}}},
        {"scenario": "class-incremental"},
        {"keeps_examples": True},
        {"tuning": {"trials": 3, "seconds": 1.0, "tasks": ["bbc_news"]}},
        {"tasks": ("rotten_tomatoes", "bbc_news")},
        {"stream": "another"},
    ],
)
def test_whatever_differs_in_the_protocol_keeps_rows_apart(change: dict[str, object]) -> None:
    runs = [make_run("naive", keeps_examples=False), make_run("ewc", **({"keeps_examples": False} | change))]  # type: ignore[arg-type]
    (suite,) = leaderboard(runs)
    assert [labels(ranking) for ranking in suite.rankings] in ([["naive"], ["ewc"]], [["ewc"], ["naive"]])


def test_what_no_fact_of_the_fingerprint_tells_is_named_with_its_values() -> None:
    runs = [make_run("naive", settings={"training": {"batch_size": size}}) for size in (8, 16)]
    (suite,) = leaderboard(runs)
    assert suite.differing == []
    assert [ranking.settings for ranking in suite.rankings] == [
        {"training.batch_size": "16"},
        {"training.batch_size": "8"},
    ]


def test_other_rows_of_the_data_are_told_without_hashes() -> None:
    one = make_run()
    made = one.provenance.model_copy(update={"data_sha256": {"bbc_news": {"train": "9" * 64}}})
    (suite,) = leaderboard([one, one.model_copy(update={"provenance": made})])
    assert [ranking.settings for ranking in suite.rankings] == [{"data": "selection 1"}, {"data": "selection 2"}]


def test_rows_stand_by_rank_with_the_project_s_own_intervals(suites: dict[str, Suite]) -> None:
    ranking = next(one for one in suites["short"].rankings if one.facts["replay"] == "examples kept")
    assert labels(ranking) == ["replay", "er_ace", "agem"]
    first, second, failed = ranking.rows
    assert first.standing is not None and second.standing is not None and failed.standing is None
    assert (first.standing.rank, second.standing.rank) == (1, 2)
    finals = [sum(run.scores[-1]) / 3 for run in seeds("replay", 0.9)]
    assert first.estimates[0] == estimate(finals, None, Bootstrap())
    assert [row.label for row in ranking.leaders] == ["replay"]
    assert [(label, run.strategy) for label, run in ranking.failed] == [("agem", "agem")]


def test_rows_that_nothing_tells_apart_lead_together() -> None:
    scores = [[0.3, 0.3, 0.3], [0.8, 0.3, 0.3], [0.7, 0.8, 0.3]]
    one = [make_run("a", n, [*scores, [0.6 + 0.05 * n, 0.7, 0.8]]) for n in range(3)]
    other = [make_run("b", n, [*scores, [0.7 - 0.05 * n, 0.7, 0.8]]) for n in range(3)]
    (suite,) = leaderboard([*one, *other])
    (ranking,) = suite.rankings
    assert {row.label for row in ranking.leaders} == {"a", "b"}
    assert [row.standing and row.standing.rank for row in ranking.rows] == [1, 1]


def test_single_runs_have_no_rank_and_the_best_mean_is_named() -> None:
    (suite,) = leaderboard([make_run("naive", retention=0.4), make_run("ewc", retention=0.9)])
    (ranking,) = suite.rankings
    assert not ranking.is_ranked
    assert labels(ranking) == ["ewc", "naive"]
    assert [row.label for row in ranking.leaders] == ["ewc"]


def test_joint_stands_beside_rankings_of_its_protocol_and_is_counted_once(suites: dict[str, Suite]) -> None:
    beside = {told(one): [row.label for row in one.references] for one in suites["short"].rankings}
    assert beside["minilm", "untuned", "no examples kept"] == ["joint"]
    assert beside["minilm", "untuned", "examples kept"] == ["joint"]
    assert beside["bert-tiny", "untuned", "no examples kept"] == []
    assert suites["short"].runs == 28


def test_joint_alone_is_a_ranking() -> None:
    (suite,) = leaderboard(seeds("joint", 0.5, together=True))
    assert [labels(ranking) for ranking in suite.rankings] == [["joint"]]


def test_runs_that_all_failed_have_a_row_without_values() -> None:
    (suite,) = leaderboard([make_run("naive", failed_stage=1), make_run("ewc", failed_stage=-1)])
    (ranking,) = suite.rankings
    assert labels(ranking) == ["ewc", "naive"]
    assert ranking.leaders == []
    assert all(value is None for row in ranking.rows for value in row.estimates)


def test_the_front_weighs_learning_keeping_and_cost() -> None:
    def run(name: str, learned: float, kept: float, seconds: float) -> Run:
        scores = [[0.3] * 3, [learned, 0.3, 0.3], [learned, learned, 0.3], [learned] * 3]
        made = make_run(name, scores=scores, retention=kept)
        costs = [cost.model_copy(update={"train_seconds": seconds}) for cost in made.costs]
        return made.model_copy(update={"costs": costs})

    runs = [
        run("best learner", 0.9, 0.5, 10),
        run("best keeper", 0.5, 0.9, 10),
        run("cheapest", 0.4, 0.4, 1),
        run("beaten in all", 0.45, 0.45, 10),
        run("as good but dearer", 0.9, 0.5, 11),
    ]
    (suite,) = leaderboard(runs)
    on_front = {row.label: row.on_front for row in suite.rankings[0].rows}
    assert on_front == {
        "best learner": True,
        "best keeper": True,
        "cheapest": True,
        "beaten in all": False,
        "as good but dearer": False,
    }


def test_a_row_says_if_one_of_its_runs_came_from_a_dirty_tree(suites: dict[str, Suite]) -> None:
    dirty = {(told(ranking)[0], row.label) for ranking in suites["short"].rankings for row in ranking.rows if row.dirty}
    assert dirty == {("minilm", "naive")}


def test_two_records_of_one_cell_are_refused() -> None:
    with pytest.raises(RecordError, match="naive: several records of seed 0"):
        leaderboard([make_run(), make_run()])


def test_the_order_of_records_changes_nothing() -> None:
    runs = site_runs()
    forward, backward = leaderboard(runs), leaderboard(runs[::-1])
    assert [
        [(one.anchor, one.title, labels(one), [row.estimates for row in one.rows]) for one in suite.rankings]
        for suite in forward
    ] == [
        [(one.anchor, one.title, labels(one), [row.estimates for row in one.rows]) for one in suite.rankings]
        for suite in backward
    ]


@pytest.mark.parametrize(
    "text", ["", "..", "../../etc/passwd", HOSTILE, "日本", "CON", "a/b\\c:d", "x" * 500, "\udcff"]
)
def test_a_name_of_a_page_is_safe_everywhere_and_never_shared(text: str) -> None:
    name = page_name(text, text)
    assert name.isascii() and name.replace("-", "").isalnum() and name == name.lower()
    assert 10 <= len(name) <= 60
    assert name != page_name(text, f"{text} ")


def test_pages_of_runs_that_look_alike_differ_and_keep_their_names() -> None:
    runs = [make_run("a b"), make_run("a-b"), on(make_run("a b"), "other"), make_run("A B")]
    names = [run_page(run) for run in runs]
    assert len(set(names)) == 4
    assert names == [run_page(run.model_copy(deep=True)) for run in runs]

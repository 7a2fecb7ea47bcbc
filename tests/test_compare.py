"""Two sets of runs: what is called worse, better, equal or not comparable, with which numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from results.compare import Comparison, FailOn, Row, Verdict, compare
from results.compare_text import verdict_line
from results.evidence import weigh
from results.record import RecordError, Run
from results.statistics import holm, paired_difference, unpaired_difference
from results.watched import Tolerance, measures, parse_tolerance
from tests.compared_runs import CENTRE, FAST, TASKS, one_run, version
from tests.results_fixtures import make_run

SCORES = {"final_average", "learning_accuracy", "forgetting", *(f"score_{task}" for task in TASKS)}


def row(found: Comparison, measure: str, label: str = "naive") -> Row:
    (one,) = [row for row in found.rows if (row.measure.name, row.label) == (measure, label)]
    return one


def reasons(found: Comparison) -> dict[str, str]:
    return {one.label: one.reason for one in found.apart}


def moved(by: Sequence[float], **more: object) -> list[Run]:
    """Runs of seeds 0, 1, ... whose first task ends lower by these amounts."""
    runs = []
    for seed, amount in enumerate(by):
        scores = [list(line) for line in CENTRE]
        scores[-1][0] -= amount
        runs.append(one_run("naive", seed, scores, {}, **more))
    return runs


def test_every_measure_is_watched() -> None:
    names = [measure.name for measure in measures(version(0))]
    assert set(names) == SCORES | {"retention_news_retrieval", "train_seconds", "strategy_bytes", "peak_memory_bytes"}
    assert len(names) == len(set(names))


def test_numbers_are_those_of_the_paired_difference_and_p_is_corrected_for_all_tests() -> None:
    by = [0.10, 0.12, 0.11, 0.13, 0.12]
    found = compare(moved([0] * 5), moved(by), bootstrap=FAST)
    score, expected = (
        row(found, "score_a"),
        paired_difference({i: -x for i, x in enumerate(by)}, dict.fromkeys(range(5), 0.0), bootstrap=FAST),
    )
    assert score.difference is not None and score.difference.paired and score.difference.runs == 5
    assert score.difference.mean == pytest.approx(-0.116)
    assert (score.difference.low, score.difference.high) == pytest.approx((expected.low, expected.high))
    assert (score.base, score.new) == pytest.approx((0.6, 0.484))
    assert score.verdict is Verdict.WORSE
    # Three tests move: the score itself, the final average by a third of it, forgetting by half of it; all are the
    # same t. The others are of p = 1.
    t = 0.116 / (np.std(by, ddof=1) / math.sqrt(5))
    p = 2 * stats.t.sf(t, 4)
    corrected = holm([p] * 3 + [1.0] * (found.tests - 3))[0]
    assert {r.measure.name for r in found.of(Verdict.WORSE)} == {"score_a", "final_average", "forgetting"}
    assert [r.p_holm for r in found.of(Verdict.WORSE)] == pytest.approx([corrected] * 3)
    assert row(found, "score_b").verdict is Verdict.EQUAL


def test_what_would_have_been_shown_is_shown_in_four_of_five_cases() -> None:
    found = row(compare(moved([0] * 5), moved([0.10, 0.12, 0.11, 0.13, 0.12]), bootstrap=FAST), "score_a")
    error = np.std([0.10, 0.12, 0.11, 0.13, 0.12], ddof=1) / math.sqrt(5)
    tests = compare(moved([0] * 5), moved([0.10, 0.12, 0.11, 0.13, 0.12]), bootstrap=FAST).tests
    assert found.smallest == pytest.approx((stats.t.ppf(1 - 0.025 / tests, 4) + stats.t.ppf(0.8, 4)) * error)


def test_what_is_worse_one_way_is_better_the_other_way_and_the_order_of_records_is_nothing() -> None:
    one, other = version(0, range(5)), version(1, range(5), drop=0.2)
    there, back = compare(one, other, bootstrap=FAST), compare(other[::-1], one[::-1], bootstrap=FAST)
    assert {r.measure.name for r in there.of(Verdict.WORSE)} >= {"final_average", "forgetting", "score_a", "score_b"}
    assert {r.measure.name for r in there.of(Verdict.WORSE)} == {r.measure.name for r in back.of(Verdict.BETTER)}
    assert there.fails(FailOn.WORSE) and not back.fails(FailOn.MISSING)
    for before, after in zip(there.rows, back.rows, strict=True):
        assert before.difference is not None and after.difference is not None
        assert before.difference.mean == pytest.approx(-after.difference.mean)


def test_equal_runs_are_equal_to_the_bit() -> None:
    found = compare(version(0), version(0), bootstrap=FAST)
    assert {r.verdict for r in found.rows} == {Verdict.EQUAL}
    assert found.matches[0].bit_equal and not found.fails(FailOn.MISSING)
    nearly = version(0)
    nearly[1].scores[-1][0] += 2**-52
    found = compare(version(0), nearly, bootstrap=FAST)
    assert not found.matches[0].bit_equal and row(found, "score_a").verdict is Verdict.NO_EVIDENCE


def test_runs_without_common_seeds_are_not_paired() -> None:
    one, other = version(0, range(6)), version(1, range(6, 12), drop=0.2)
    found = row(compare(one, other, bootstrap=FAST), "score_a")
    expected = unpaired_difference([r.scores[-1][0] for r in other], [r.scores[-1][0] for r in one], FAST)
    assert found.difference == expected and not expected.paired and found.verdict is Verdict.WORSE


@pytest.mark.parametrize("seeds", [(0,), (1,)], ids=["the same seed", "another seed"])
def test_of_single_runs_a_change_is_only_told(seeds: Sequence[int]) -> None:
    found = compare(version(0, (0,)), version(0, seeds, drop=0.3, stored=200), bootstrap=FAST)
    changed = row(found, "score_a")
    assert changed.verdict is Verdict.CHANGED and changed.p_holm is None and changed.reason == "one run: no interval"
    assert row(found, "strategy_bytes").verdict is Verdict.CHANGED
    assert row(found, "train_seconds").verdict in (Verdict.EQUAL, Verdict.NO_EVIDENCE)
    assert found.tests == 0 and not found.fails(FailOn.WORSE) and found.fails(FailOn.CHANGED)


def test_a_single_run_that_got_better_fails_nothing() -> None:
    found = compare(version(0, (0,), drop=0.3), version(0, (0,)), bootstrap=FAST)
    assert found.of(Verdict.CHANGED) and not found.fails(FailOn.MISSING)


def test_a_regression_has_to_be_beyond_its_tolerance_with_its_whole_interval() -> None:
    base, new = moved([0] * 8), moved([0.09, 0.10, 0.11, 0.10, 0.09, 0.11, 0.10, 0.10])
    verdicts = {
        text: row(compare(base, new, {"score_a": parse_tolerance(text)}, FAST), "score_a").verdict
        for text in ("0", "0.05", "0.095", "0.2", "10%", "16%", "50%")
    }
    assert verdicts == {
        "0": Verdict.WORSE,
        "0.05": Verdict.WORSE,
        "0.095": Verdict.NO_EVIDENCE,  # the mean is beyond, the interval is not
        "0.2": Verdict.NO_EVIDENCE,
        "10%": Verdict.WORSE,  # of 0.6
        "16%": Verdict.NO_EVIDENCE,
        "50%": Verdict.NO_EVIDENCE,
    }


def test_a_tolerance_of_all_scores_yields_to_that_of_one() -> None:
    base, new = moved([0] * 8), moved([0.09, 0.10, 0.11, 0.10, 0.09, 0.11, 0.10, 0.10])
    found = compare(base, new, {"scores": Tolerance(0.5), "forgetting": Tolerance(0.0)}, FAST)
    assert [r.measure.name for r in found.of(Verdict.WORSE)] == ["forgetting"]


def test_seconds_are_tolerated_a_quarter_and_memory_a_tenth() -> None:
    base = version(0, range(6), jitter=0.01)
    little = compare(base, version(0, range(6), jitter=0.01, seconds=12, peak=int(1.08e9), stored=101), bootstrap=FAST)
    assert not little.of(Verdict.WORSE)
    much = compare(base, version(0, range(6), jitter=0.01, seconds=14, peak=int(1.3e9), stored=102), bootstrap=FAST)
    worse = {r.measure.name for r in much.of(Verdict.WORSE)}
    assert worse == {"train_seconds", "peak_memory_bytes", "strategy_bytes"}


@pytest.mark.parametrize(
    ("text", "amount", "relative"),
    [("0.01", 0.01, False), ("20%", 0.2, True), (" 1e-3 ", 0.001, False), ("0", 0, False)],
)
def test_tolerances_are_read(text: str, amount: float, relative: bool) -> None:
    found = parse_tolerance(text)
    assert found.amount == pytest.approx(amount)
    assert found.relative is relative


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e999", "x", "20 percent", "%"])
def test_other_tolerances_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no tolerance"):
        parse_tolerance(text)


def test_scores_that_all_move_by_the_same_answer_show_nothing_and_bytes_do() -> None:
    found = compare(moved([0, 0, 0]), moved([0.004] * 3), bootstrap=FAST)
    assert row(found, "score_a").difference is not None
    assert row(found, "score_a").verdict is Verdict.NO_EVIDENCE
    found = compare(version(0, (0, 1)), version(0, (0, 1), stored=200), bootstrap=FAST)
    assert row(found, "strategy_bytes").verdict is Verdict.WORSE and row(found, "strategy_bytes").p_holm == 0


def test_evidence_is_never_more_than_students() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 9):
        for _ in range(20):
            x = dict(enumerate(rng.normal(rng.uniform(-3, 3), 1, n)))
            evidence = weigh(paired_difference(x, dict.fromkeys(x, 0.0), bootstrap=FAST), FAST)
            assert evidence is not None
            assert evidence.p >= stats.ttest_1samp(list(x.values()), 0).pvalue - 1e-9


def test_what_tells_two_versions_apart_is_no_protocol() -> None:
    new = version(
        1, made_by={"version": "9.9", "commit": "f" * 40, "code_sha256": "e" * 64, "packages": {"torch": "3"}}
    )
    base = version(0, made_by={"packages": {"torch": "2"}})
    found = compare(base, new, bootstrap=FAST)
    assert not found.apart and found.matches[0].notes == ["packages differ: torch 2 → 3"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"settings": {"train": {"epochs": 4, "lr": 1e-3}}}, "protocols differ: train.epochs is 3 in BASE, 4 in NEW"),
        ({"backbone": "other"}, "the backbone differs: backbone is minilm in BASE, other in NEW"),
        ({"suite": "long"}, "the suite differs: suite is short in BASE, long in NEW"),
        (
            {"made_by": {"data_sha256": {}}},
            "protocols differ: data_sha256 is unset in BASE, {} in NEW; data_sha256.a.test",
        ),
        (
            {"made_by": {"weights_sha256": "9"}},
            "the backbone differs: weights_sha256 is cccccccccccc… in BASE, 9 in NEW",
        ),
    ],
)
def test_what_changes_the_meaning_can_not_be_compared(more: dict[str, object], said: str) -> None:
    with pytest.raises(RecordError, match="^nothing can be compared: ") as error:
        compare(version(0), version(0, **more), bootstrap=FAST)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_a_strategy_of_one_side_is_named_and_the_others_are_compared() -> None:
    found = compare(version(0, strategies=["naive", "ewc"]), version(0, strategies=["naive", "si"]), bootstrap=FAST)
    assert reasons(found) == {"ewc": "strategy only in BASE", "si": "strategy only in NEW"}
    assert not found.fails(FailOn.CHANGED) and found.fails(FailOn.MISSING)
    only_more = compare(version(0), version(0, strategies=["naive", "si"]), bootstrap=FAST)
    assert only_more.apart and not only_more.fails(FailOn.MISSING)


def test_hyperparameters_that_differ_are_other_strategies_and_new_ones_are_told() -> None:
    base = version(0) + version(0, strategies=["ewc"], hyperparameters={"lam": 1.0})
    found = compare(base, version(0) + version(0, strategies=["ewc"], hyperparameters={"lam": 2.0}), bootstrap=FAST)
    assert reasons(found) == {"ewc": "settings differ: lam is 1.0 in BASE, 2.0 in NEW"}
    more = {"lam": 1.0, "gamma": 0.9}
    found = compare(base, version(0) + version(0, strategies=["ewc"], hyperparameters=more), bootstrap=FAST)
    assert not found.apart
    assert [one.notes for one in found.matches if one.label == "ewc"] == [
        ["settings that one version lacks: gamma=0.9 only in NEW"]
    ]
    both = [run for lam in (1.0, 2.0) for run in version(0, strategies=["ewc"], hyperparameters={"lam": lam})]
    assert [one.label for one in compare(both, both[::-1], bootstrap=FAST).matches] == ["ewc (lam=1)", "ewc (lam=2)"]


def test_costs_are_compared_on_equal_machines_only() -> None:
    found = compare(version(0), version(0, made_by={"threads": 8}), bootstrap=FAST)
    for name in ("train_seconds", "peak_memory_bytes"):
        assert row(found, name).verdict is Verdict.NOT_COMPARABLE
        assert row(found, name).reason == "machines differ: threads 1 in BASE, 8 in NEW"
    assert row(found, "score_a").verdict is row(found, "strategy_bytes").verdict is Verdict.EQUAL
    assert not found.fails(FailOn.CHANGED) and found.fails(FailOn.MISSING)


def test_a_run_that_newly_fails_is_a_regression() -> None:
    failed = make_run("naive", 1, tasks=TASKS, failed_stage=1, reason="out of memory")
    base, (first, _, last) = version(0), version(0)
    found = compare(base, [first, failed, last], bootstrap=FAST)
    assert found.broken == ["naive, seed 1, fails: out of memory"] and found.fails(FailOn.WORSE)
    assert found.regressions == 1
    assert not compare([first, failed, last], [first, failed, last], bootstrap=FAST).broken
    alone = compare(base, [failed], bootstrap=FAST)
    assert alone.broken and reasons(alone) == {"naive": "all runs failed in NEW"} and alone.fails(FailOn.WORSE)
    with pytest.raises(RecordError, match="all runs failed in BASE and in NEW"):
        compare([failed], [failed])


def test_joint_has_no_forgetting_and_no_row_for_it() -> None:
    joint = [make_run("joint", seed, together=True, tasks=TASKS) for seed in range(3)]
    names = {r.measure.name for r in compare(joint, joint, bootstrap=FAST).rows}
    assert "forgetting" not in names and "learning_accuracy" not in names and "final_average" in names


def test_a_measure_that_one_side_lacks_is_not_compared() -> None:
    without = [run.model_copy(update={"probes": [{}, *run.probes[1:]]}) for run in version(0)]
    found = row(compare(version(0), without, bootstrap=FAST), "retention_news_retrieval")
    assert (found.verdict, found.reason) == (Verdict.NOT_COMPARABLE, "undefined in NEW")


def test_records_of_the_same_cell_and_none_at_all_are_refused() -> None:
    with pytest.raises(RecordError, match="several records of seed 0"):
        compare(version(0), [*version(0), *version(1, (0,))])
    with pytest.raises(RecordError, match="NEW holds no run records"):
        compare(version(0), [])


def test_the_one_run_of_a_side_is_compared_with_the_same_run_of_the_other() -> None:
    base = version(1, range(3))
    found = compare(base, base[1:2], bootstrap=FAST)
    assert {one.verdict for one in found.rows} == {Verdict.EQUAL} and not found.fails(FailOn.CHANGED)
    dropped = moved([0, 0.2, 0.4])
    changed = row(compare(dropped, moved([0, 0.3])[1:], bootstrap=FAST), "score_a")
    assert (changed.base, changed.new) == pytest.approx((0.4, 0.3)) and changed.difference is not None
    assert changed.difference.paired and changed.difference.mean == pytest.approx(-0.1)
    assert (changed.verdict, changed.reason) == (Verdict.CHANGED, "one shared run: no interval")


def test_runs_that_new_lacks_are_told_and_fail_where_nothing_may_be_missing() -> None:
    base = version(1, range(4))
    found = compare(base, base[:2], bootstrap=FAST)
    assert found.lacking == ["naive: 4 runs in BASE, 2 in NEW"]
    assert found.fails(FailOn.MISSING) and not found.fails(FailOn.CHANGED)
    assert compare(base[:2], base, bootstrap=FAST).lacking == []
    assert compare(base[:2], base[2:], bootstrap=FAST).lacking == []  # as many, of other seeds


def test_a_failure_of_what_is_not_comparable_is_no_regression() -> None:
    base = version(1, strategies=["naive"]) + version(1, strategies=["ewc"], hyperparameters={"lam": 1})
    ours = version(1, strategies=["naive"])
    ours += [make_run("ewc", 0, CENTRE, tasks=TASKS, hyperparameters={"lam": 9}, failed_stage=1)]
    found = compare(base, ours, bootstrap=FAST)
    assert reasons(found) == {"ewc": "settings differ: lam is 1 in BASE, 9 in NEW"}
    assert found.broken == [] and not found.fails(FailOn.WORSE) and found.fails(FailOn.MISSING)


def test_so_few_runs_that_no_score_can_be_shown_to_fall_are_called_that() -> None:
    two = compare(moved([0, 0.1]), moved([0.2, 0.1]), bootstrap=FAST)
    assert two.blind and not two.fails(FailOn.WORSE)
    assert "nor could any be by so few runs" in verdict_line(two, FailOn.WORSE)
    five = compare(moved([0.0] * 5), moved([0.01, 0.02, 0.0, 0.01, 0.0]), bootstrap=FAST)
    assert not five.blind and "nor could" not in verdict_line(five, FailOn.WORSE)

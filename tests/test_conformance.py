"""The conformance suite: shipped strategies pass it, and every rule has a strategy that breaks it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from benchmark.conformance import CHECKS, PROBLEMS, Verdict, examine
from benchmark.conformance.command import check_strategies, find, many_table, one_table
from benchmark.conformance.suite import fitted, problem
from benchmark.errors import UserError
from benchmark.registry import strategy_class, strategy_names
from strategies.base import Strategy, Task
from strategies.freeze import Freeze
from strategies.naive import Naive
from tests.command import Retain, caller
from tests.rule_breakers import BREAKERS, KindsRefused

ROOT = Path(__file__).parents[1]
pytest_plugins = ["pytester"]


def failed(verdicts: list[Verdict]) -> dict[str, str]:
    return {
        f"{verdict.check} ({verdict.problem})": verdict.message for verdict in verdicts if verdict.outcome == "failed"
    }


@pytest.mark.parametrize("name", strategy_names())
def test_a_shipped_strategy_conforms_on_points(name: str) -> None:
    verdicts = examine(strategy_class(name)(), PROBLEMS[:1])
    assert failed(verdicts) == {}
    assert [verdict.check for verdict in verdicts] == [check.name for check in CHECKS]


@pytest.mark.slow
@pytest.mark.parametrize("name", strategy_names())
def test_a_shipped_strategy_conforms_on_texts(name: str) -> None:
    assert failed(examine(strategy_class(name)(), PROBLEMS[1:])) == {}


def test_texts_have_every_kind_and_go_through_the_same_loop() -> None:
    chosen = ["neutral_changes_nothing", "resumes_within_a_stage", "penalty_is_its_gradient"]
    verdicts = examine(strategy_class("ewc")(), ["texts"], chosen)
    assert [(verdict.check, verdict.outcome) for verdict in verdicts] == [(name, "passed") for name in chosen]
    assert set(problem("texts").kinds.values()) == {"sequence", "token", "span", "pair"}


def test_every_rule_has_a_strategy_that_breaks_it() -> None:
    assert list(BREAKERS) == [check.name for check in CHECKS]


@pytest.mark.parametrize("name", BREAKERS)
def test_a_broken_rule_is_told_with_a_number(name: str) -> None:
    (verdict,) = examine(BREAKERS[name], ["points"], [name])
    assert verdict.outcome == "failed"
    assert re.search(r"\d|\bnan\b", verdict.message), verdict.message


@pytest.mark.parametrize("name", ["defaults_have_an_effect", "penalty_is_its_gradient", "memory_is_billed"])
def test_a_strategy_that_breaks_one_rule_breaks_no_other(name: str) -> None:
    assert [verdict.check for verdict in examine(BREAKERS[name], ["points"]) if verdict.outcome == "failed"] == [name]


def test_every_rule_says_what_it_means_and_what_it_guards_against() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    text = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    for check in CHECKS:
        assert check.meaning.endswith(".") and check.trap
        assert f"`{check.name}`" in text, f"docs/conformance.md does not list {check.name}"


def test_refused_kinds_are_left_out_and_named() -> None:
    kept = fitted(KindsRefused(), problem("texts"))
    assert [kept.kinds[task.name] for task in kept.tasks] == ["sequence", "token", "pair"]
    assert kept.refused == "refuses span: it needs classes"


def test_a_strategy_that_refuses_everything_has_not_passed() -> None:
    verdicts = examine(Freeze(part="layers", layers=9), ["points"])
    outcomes = {verdict.check: verdict.outcome for verdict in verdicts}
    assert outcomes["runs_repeat"] == "failed"
    assert outcomes["settings_are_documented"] == "passed"  # what needs no training is checked all the same
    assert "freeze.layers is 9, but the backbone has 2 layers" in failed(verdicts)["runs_repeat (points)"]


def test_the_tables_say_what_failed_and_why() -> None:
    told = [
        Verdict("runs_repeat", "points", "passed"),
        Verdict("importance_is_valid", "points", "not applicable", "its state has no importance"),
        Verdict("state_is_cut_off", "points", "failed", "6 of 6 tensors share"),
    ]
    single = one_table("mine", told, CHECKS, ["points"])
    assert "its state has no importance: importance_is_valid" in single
    assert "mine: state_is_cut_off (points): 6 of 6 tensors share" in single
    assert single.endswith("mine: 1 passed, 1 failed, 1 not applicable")
    several = many_table({"mine": told, "yours": told[:1]}, ["points"])
    assert re.search(r"^mine +1 failed +state_is_cut_off$", several, re.MULTILINE)
    assert "yours" in several


STRATEGY = '''
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge
from strategies.base import Learner, Stage, Strategy

@dataclass(frozen=True)
class Own(Strategy):
    """Scales gradients.

    Keeps: nothing. Costs: nothing.
    """

    name: ClassVar[str] = "own"
    factor: Annotated[float, Ge(0)] = {default}
    """By how much, >= 0."""

    def before_step(self, learner: Learner) -> None:
        for value in learner.body().values():
            if value.grad is not None:
                value.grad.mul_(self.factor)
'''


def test_a_class_of_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_found.py").write_text(STRATEGY.format(default=0.5), encoding="utf-8")
    (tmp_path / "own_broken.py").write_text("import nothing_of_this_name", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    retain: Retain = caller(capsys)
    code, printed, said = retain("check", "own_found:Own", "--fast")
    assert (code, said) == (0, "")
    assert "own_found:Own: " in printed and " 0 failed" in printed
    for name, message in (
        ("own_found:Onw", "unknown name in own_found 'Onw': did you mean Own?"),
        ("own_broken:Own", "own_broken can't be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("own_found:Ge", "own_found:Ge: "),
        ("nothing:Own", "nothing can't be imported"),
    ):
        code, printed, said = retain("check", name)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert message in said


def test_what_is_no_strategy_is_refused() -> None:
    with pytest.raises(UserError, match="is no strategy"):
        find("pathlib:Path")
    assert isinstance(find("naive"), Naive)
    assert isinstance(find("strategies.naive:Naive"), Strategy)


@dataclass(frozen=True)
class Choosy(Naive):
    """Looks for what only some backbones have, and does not say no where it is missing. Keeps: -. Costs: -."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        assert body.config.hidden_size  # type: ignore[union-attr]


@dataclass(frozen=True)
class Unmade(Naive):
    """Can't be made. Keeps: -. Costs: -."""

    def __post_init__(self) -> None:
        raise ValueError("never")


def test_a_check_that_raises_is_told_and_stops_no_other() -> None:
    (told,) = {verdict.message for verdict in examine(Choosy(), ["points"], ["runs_repeat"])}
    assert "its check() raises AttributeError: " in told


def test_what_can_not_be_made_is_refused() -> None:
    with pytest.raises(UserError, match="Unmade: can't be made without settings: ValueError: never"):
        find("tests.test_conformance:Unmade")


def test_failures_end_with_exit_code_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.conformance.suite.CHECKS", CHECKS[:3])
    text, passed = check_strategies(["naive", "tests.rule_breakers_kept:NoBounds"], True, lambda _: None)
    assert not passed
    assert "lam has no bounds" in text
    code, printed, _ = caller(capsys)("check", "tests.rule_breakers_kept:NoBounds", "--fast")
    assert code == 1 and "1 failed" in printed


def test_the_example_of_the_documentation_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    text = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    strategy, test, ini = re.findall(r"```(?:python|toml)\n(.*?)```", text, re.DOTALL)[:3]
    pytester.makepyfile(my_strategy=strategy, test_mine=test)
    pytester.makepyprojecttoml(ini)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = ["--retain-fast", "-q", "-rf", "-W", "ignore"]
        result = pytester.runpytest_subprocess(*arguments, "-k", "documented or repeat or bounds")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 6 and "failed" not in outcomes

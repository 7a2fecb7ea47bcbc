"""What is searched, where, and which values are tried."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from benchmark.commands import tune
from benchmark.errors import UserError
from benchmark.registry import build_strategy, hyperparameters, shipped_names, strategy_class
from benchmark.show import describe
from benchmark.suite import Overrides, draft_suite
from benchmark.tuning.drafts import default_tasks
from benchmark.tuning.proposals import Proposals, SamplerName, Values
from benchmark.tuning.spaces import Dimension, Space, spaces
from strategies.base import Training
from strategies.search import Search, numbers_of, ranges_of

SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
LAM = Dimension("lam", Search(0.01, 100, log=True), False, 1.0)
RANK = Dimension("rank", Search(1, 64, log=True), True, 8)
SHARE = Dimension("share", Search(0, 1), False, 0.5)


def searched(*asked: str, strategies: tuple[str, ...] = ("naive", "ewc", "lora"), **settings: Any) -> dict[str, Space]:
    changes = [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]
    return spaces(draft_suite("quickstart", Overrides(strategies, settings=changes)).file, asked)


@pytest.mark.parametrize("name", [*shipped_names(), "training"])
def test_every_declared_range_holds_the_default_and_values_that_are_allowed(name: str) -> None:
    made = Training if name == "training" else strategy_class(name)
    settings = vars(Training() if name == "training" else build_strategy(name, {}))
    kinds = numbers_of(made)
    for field, search in ranges_of(made).items():
        assert search.low <= settings[field] <= search.high
        assert search.low > 0 or not search.log
        for end in (search.low, search.high):
            value = int(end) if kinds[field] is int else end
            if name != "training":
                assert vars(build_strategy(name, {field: value}))[field] == value


def test_strengths_are_searched_and_what_costs_memory_is_not() -> None:
    ranges = {name: ranges_of(strategy_class(name)) for name in shipped_names()}
    strong = [name for name in shipped_names() if "lam" in numbers_of(strategy_class(name))]
    assert len(strong) > 6 and all("lam" in ranges[name] for name in strong)
    assert not any("memory" in found for found in ranges.values())
    assert [name for name, found in ranges.items() if not found] == [
        "naive", "joint", "independent", "er_ace", "agem", "freeze"
    ]  # fmt: skip


def test_show_tells_where_a_setting_is_searched() -> None:
    assert "number >= 0; tuned in 10..1e+07:log" in describe("ewc")
    assert "integer >= 1; tuned in 1..64:log" in describe("lora")
    (rank,) = [one for one in hyperparameters("lora") if one.name == "rank"]
    assert rank.search == Search(1, 64, log=True)


def test_a_range_reads_as_it_is_written() -> None:
    for search in (Search(10, 1e7, log=True), Search(0, 1), Search(0.05, 1, log=True)):
        assert searched(f"ewc.lam={search}")["ewc"][0].search == search


def test_the_suite_gives_the_first_values() -> None:
    found = searched(ewc__lam=3)
    assert found["naive"] == ()
    assert found["ewc"] == (Dimension("lam", Search(10, 1e7, log=True), False, 3.0),)
    assert [(one.name, one.whole, one.given) for one in found["lora"]] == [("rank", True, 8), ("alpha", False, 8.0)]


def test_the_user_may_widen_add_and_leave_out() -> None:
    found = searched("ewc.lam=1..1e3", "ewc.examples=8..64", "lora.rank=off", "training.learning_rate=on")
    rate = Dimension("training.learning_rate", Search(1e-5, 1e-3, log=True), False, 2e-4)
    assert found["naive"] == (rate,)
    assert found["ewc"] == (
        rate,
        Dimension("lam", Search(1, 1000), False, 10000.0),
        Dimension("examples", Search(8, 64), True, 128),
    )
    assert [one.name for one in found["lora"]] == ["training.learning_rate", "alpha"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("ewc.lam", "should be WHERE=LOW..HIGH, such as ewc.lam=1..1e6:log"),
        ("lam=1..2", "should be WHERE=LOW..HIGH"),
        ("ewc.lam=1", "'1' is no range: write LOW..HIGH or LOW..HIGH:log, on or off"),
        ("ewc.lam=1..2:lin", "'1..2:lin' is no range"),
        ("ewc.lam=a..b", "'a..b' is no range"),
        ("ewc.lam=1...inf", "is no range"),
        ("ewc.lam=true..2", "is no range"),
        ("ewc.lam=5..1", "5 is not below 1: write the smaller one first"),
        ("ewc.lam=1..1", "1 is not below 1"),
        ("ewc.lam=0..1:log", "a range with :log begins above 0"),
        ("ewc.lam=-1..1", "ewc.lam is -1: it should be greater than or equal to 0"),
        ("lora.rank=1.5..3", "the setting takes whole numbers only"),
        ("lora.dropout=0..1", "lora.dropout is 1: it should be less than 1"),
        ("training.learning_rate=0..1", "training.learning_rate is 0: it should be greater than 0"),
        ("training.learning_rat=1..2", "did you mean learning_rate or head_learning_rate?"),
        ("training.max_grad_norm=on", "training.max_grad_norm declares no range: give one"),
        ("ewc.lamb=1..2", "did you mean lam?"),
        ("ewc.fisher=1..2", "unknown number among the settings of ewc 'fisher'"),
        ("ewcc.lam=1..2", "unknown strategy 'ewcc': did you mean ewc?"),
        ("si.lam=1..2", "strategy si does not run; add it with --strategies"),
        ("naive.lam=1..2", "known are none"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(asked: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        searched(asked)
    assert str(error.value).startswith(f"--search {asked}: ") and message in str(error.value)


def test_a_sweep_is_no_start_of_a_search() -> None:
    with pytest.raises(UserError, match=r"strategies.ewc.lam is \[1, 10\]: a search starts from one value"):
        searched(ewc__lam="[1, 10]")


@pytest.mark.parametrize(("stream", "tasks"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 3), (10, 3), (20, 3)])
def test_half_of_a_stream_is_searched_on_at_most_three_tasks_and_two_at_least(stream: int, tasks: int) -> None:
    assert default_tasks(stream) == tasks


def trials(space: Space, sampler: SamplerName, seed: int, count: int, peak: float = 30.0) -> list[Values]:
    """What is tried when scores fall with the distance of lam from the peak."""
    proposals = Proposals(space, sampler, seed)
    asked: list[Values] = []
    for first, many in ((place, 1) for place in range(count)) if proposals.adapts else ((0, count),):
        asked += proposals.next(many)
        for number in range(first, first + many):
            proposals.tell(number, asked[number], 1 / (1 + abs(asked[number]["lam"] - peak)))
    return asked


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_seeds_give_equal_trials_and_others_give_others(sampler: SamplerName) -> None:
    one, same, other = (trials((LAM, RANK, SHARE), sampler, seed, 12) for seed in (3, 3, 4))
    assert one == same != other
    assert one[0] == other[0] == {"lam": 1.0, "rank": 8, "share": 0.5}
    assert one[:7] == trials((LAM, RANK, SHARE), sampler, 3, 7)  # a longer search begins as a shorter one
    for values in one:
        assert 0.01 <= values["lam"] <= 100 and 0 <= values["share"] <= 1
        assert isinstance(values["rank"], int) and 1 <= values["rank"] <= 64
        assert values["lam"] == float(f"{values['lam']:.3g}")


def test_what_tpe_tries_depends_on_what_came_before() -> None:
    assert trials((LAM,), "tpe", 0, 20, peak=30) != trials((LAM,), "tpe", 0, 20, peak=0.02)
    near = trials((LAM,), "tpe", 0, 40, peak=30)[-10:]
    assert sum(3 < values["lam"] < 100 for values in near) > 6


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_given_value_outside_of_the_range_is_tried_too(sampler: SamplerName) -> None:
    outside = Dimension("lam", Search(0.01, 1, log=True), False, 50.0)
    tried = trials((outside,), sampler, 0, 6)
    assert tried[0] == {"lam": 50.0}
    assert all(0.01 <= values["lam"] <= 1 for values in tried[1:])


def test_quasi_random_values_fill_the_range_evenly() -> None:
    lams = sorted(values["lam"] for values in trials((LAM,), "qmc", 0, 17)[1:])
    per_decade = [sum(10**low <= lam < 10 ** (low + 1) for lam in lams) for low in range(-2, 2)]
    assert max(per_decade) - min(per_decade) <= 2 and sum(per_decade) == 16


def test_training_is_tried_alike_for_all_strategies() -> None:
    found = searched("training.learning_rate=on", strategies=("naive", "ewc", "derpp"))
    rates = {
        name: [values["training.learning_rate"] for values in Proposals(space, "qmc", 0).next(6)]
        for name, space in found.items()
    }
    assert rates["naive"] == rates["ewc"] == rates["derpp"]


def test_optuna_says_nothing_and_its_own_verbosity_stays(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    level = optuna.logging.get_verbosity()
    for sampler in SAMPLERS:
        trials((LAM,), sampler, 0, 8)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == level


def test_the_command_offers_all_samplers() -> None:
    assert tune.SAMPLERS == SAMPLERS

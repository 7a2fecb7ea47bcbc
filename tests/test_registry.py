from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Lt

from benchmark.errors import UserError, unknown
from benchmark.registry import (
    build_strategy,
    hyperparameters,
    shown,
    strategy_class,
    strategy_names,
    strategy_summary,
)
from strategies.base import Strategy


@dataclass(frozen=True)
class Everything(Strategy):
    """Has every kind of setting."""

    name: ClassVar[str] = "everything"

    decay: Annotated[float, Gt(0), Lt(1)] = 0.5
    """How fast."""
    rounds: Annotated[int, Ge(1)] = 3
    """How often."""
    online: bool = False
    """Whether
    at once."""
    cap: float | None = None
    """At most."""
    mode: Literal["a", "b"] = "a"
    """Which."""
    only: Literal["one"] = "one"
    """No choice."""


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.registry._target", lambda name: f"{__name__}:Everything")


def test_hyperparameters_tell_type_bounds_choices_default_and_help(everything: None) -> None:
    found = {parameter.name: (parameter.kind, parameter.default, parameter.help) for parameter in hyperparameters("x")}
    assert found == {
        "decay": ("number > 0, < 1", 0.5, "How fast."),
        "rounds": ("integer >= 1", 3, "How often."),
        "online": ("boolean", False, "Whether at once."),
        "cap": ("number | null", None, "At most."),
        "mode": ("a | b", "a", "Which."),
        "only": ("one", "one", "No choice."),
    }


def test_a_strategy_has_the_settings_given_and_the_defaults_of_the_others(everything: None) -> None:
    strategy = build_strategy("x", {"decay": 0.25, "online": True, "cap": 4})
    assert asdict(strategy) == {  # type: ignore[call-overload]  # every strategy is a dataclass
        "decay": 0.25,
        "rounds": 3,
        "online": True,
        "cap": 4.0,
        "mode": "a",
        "only": "one",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"online": "false"}, 'everything.online is "false": it should be a valid boolean'),
        ({"online": 1}, "everything.online is 1: it should be a valid boolean"),
        ({"decay": True}, "everything.decay is true: it should be a valid number"),
        ({"rounds": False}, "everything.rounds is false: it should be a valid integer"),
        ({"rounds": 1.5}, "everything.rounds is 1.5"),
        ({"cap": float("nan")}, "everything.cap is NaN: it should be a finite number"),
        ({"decay": 1}, "everything.decay is 1: it should be less than 1"),
        ({"mode": "c"}, "everything.mode is \"c\": it should be 'a' or 'b'"),
        ({"decai": 1}, "unknown hyperparameter of strategy everything 'decai': did you mean decay"),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_refused(
    everything: None, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        build_strategy("everything", settings)
    assert message in str(caught.value)


class Shade(Enum):
    """No text, no number."""

    LIGHT = "light"


@dataclass(frozen=True)
class Shaded(Strategy):
    """Has a setting that no record can hold."""

    name: ClassVar[str] = "shaded"

    shade: Shade = Shade.LIGHT
    """How."""


def test_a_setting_that_can_not_be_recorded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.registry.strategy_class", lambda name: Shaded)
    with pytest.raises(UserError, match="strategy shaded: a setting can't be recorded: .* use numbers and text"):
        build_strategy("shaded", {})


def test_the_summary_is_the_first_line_of_the_class() -> None:
    for name in strategy_names():
        docstring = strategy_class(name).__doc__ or ""
        assert strategy_summary(name) == docstring.partition("\n")[0]
        assert strategy_summary(name).endswith(".")


@pytest.mark.parametrize(
    "use", [strategy_class, strategy_summary, hyperparameters, lambda name: build_strategy(name, {})]
)
def test_an_unknown_strategy_is_refused_with_the_nearest(use: Any) -> None:
    with pytest.raises(UserError, match="unknown strategy 'frezze': did you mean freeze"):
        use("frezze")


def test_the_nearest_names_are_found_whatever_the_capitals() -> None:
    assert str(unknown("thing", "FOUR", ["four", "Five"])) == "unknown thing 'FOUR': did you mean four?"
    assert str(unknown("thing", "five", ["four", "Five"])).endswith("did you mean Five?")


def test_far_names_are_answered_with_all_that_are_known() -> None:
    assert str(unknown("thing", "xyz", ["b", "a"])) == "unknown thing 'xyz': known are a, b."
    assert str(unknown("thing", "xyz", [])) == "unknown thing 'xyz': known are none."


def test_values_in_messages_are_one_short_line() -> None:
    assert shown("two\nlines") == '"two\\nlines"'
    assert len(shown("many words " * 50)) <= 80
    assert len(shown("word" * 50)) <= 80

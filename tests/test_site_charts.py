"""Charts of a run's page: where points stand, what axes say, and which lines can be told apart."""

from __future__ import annotations

import pytest

from results.leaderboard.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Series, chart


def drawn(*points: tuple[float, float], **more: object) -> Chart:
    found = chart("title", [Series("one", points)], "x", "y", **more)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_points_stand_where_the_axes_say() -> None:
    made = drawn((0, 0.0), (1, 1.0), (2, 0.5), y_range=(0, 1))
    middle, top, bottom = LEFT + (WIDTH - LEFT - RIGHT) / 2, TOP, HEIGHT - BOTTOM
    (line,) = made.lines
    assert [tuple(map(float, place.split(","))) for place in line.path.split()] == [
        (LEFT, bottom),
        (middle, top),
        (WIDTH - RIGHT, pytest.approx((top + bottom) / 2)),
    ]
    assert [(tick.text, float(tick.at)) for tick in made.y_ticks][:: len(made.y_ticks) - 1] == [
        ("0", bottom),
        ("1", top),
    ]


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (-0.5, 0.5, ["−0.6", "−0.4", "−0.2", "0", "0.2", "0.4", "0.6"]),
        (0.0, 50_000.0, ["0", "10k", "20k", "30k", "40k", "50k"]),
    ],
)
def test_ticks_are_round_and_reach_around_the_points(low: float, high: float, texts: list[str]) -> None:
    assert [tick.text for tick in drawn((0, low), (1, high)).y_ticks] == texts


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e-300, 1e9])
def test_a_single_value_has_an_axis(value: float) -> None:
    assert len(drawn((0, value)).y_ticks) >= 2


def test_names_of_places_are_spaced_where_there_is_no_room() -> None:
    names = [f"a long name {number}" for number in range(30)]
    made = drawn(*((n, 0.5) for n in range(30)), x_names=names)
    assert 1 < len(made.x_ticks) < 6
    assert made.x_ticks[0].text == "a long name 0"


def test_long_lines_are_thinned_and_keep_their_ends() -> None:
    (line,) = drawn(*((n, float(n)) for n in range(5000))).lines
    places = line.path.split()
    assert 100 < len(places) <= 241
    assert float(places[-1].split(",")[0]) == WIDTH - RIGHT
    assert line.dots == []


def test_many_lines_differ_in_colour_or_dashes() -> None:
    found = chart("title", [Series(str(n), [(0, n), (1, n)]) for n in range(20)], "x", "y")
    assert found is not None
    assert len({(line.look, line.dash) for line in found.lines}) == 20


def test_nothing_to_draw_is_no_chart() -> None:
    assert chart("title", [], "x", "y") is None
    assert chart("title", [Series("empty", [])], "x", "y", ["a"], (0, 1)) is None

"""Both palettes of the pages: text reaches 4.5 to 1 on what it stands on, lines and marks 3 to 1 (WCAG 2.2, AA)."""

from __future__ import annotations

import re

import pytest

from results.leaderboard.charts import LOOKS
from results.leaderboard.pages import TEMPLATES

STYLE = (TEMPLATES / "style.css").read_text(encoding="utf-8")
Color = tuple[float, float, float]


def palette(place: int) -> dict[str, Color]:
    """Name -> colour, of the light theme (0) or the dark one (1)."""
    found = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", STYLE)
    return {name: rgb((light, dark)[place]) for name, light, dark in found}


def rgb(text: str) -> Color:
    red, green, blue = (int(text[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue


def luminance(color: Color) -> float:
    parts = [part / 255 for part in color]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Color, other: Color) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(one: Color, share: float, other: Color) -> Color:
    red, green, blue = (a * share + b * (1 - share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def test_the_formula_gives_what_the_standard_does() -> None:
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21)
    assert contrast(rgb("#767676"), rgb("#ffffff")) == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_all_that_it_stands_on(theme: int) -> None:
    colors = palette(theme)
    for ground in ("paper", "sunk", "best"):
        for text in ("ink", "soft", "accent"):
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    assert contrast(colors["warn"], colors["warn-paper"]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_scores_can_be_read_on_every_shade(theme: int) -> None:
    colors = palette(theme)
    shares = [int(share) for share in re.findall(r"var\(--heat\) (\d+)%", STYLE)]
    assert shares == list(range(5, 51, 5))
    for share in shares:
        ground = mixed(colors["heat"], share / 100, colors["paper"])
        assert contrast(colors["ink"], ground) >= 4.5, share


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_lines_and_borders_of_controls_stand_out(theme: int) -> None:
    colors = palette(theme)
    for name in [*(f"s{look}" for look in range(LOOKS)), "accent", "soft"]:
        assert contrast(colors[name], colors["paper"]) >= 3, name
    assert contrast(colors["soft"], colors["sunk"]) >= 3


def test_every_colour_is_declared_in_the_palette() -> None:
    ruled = STYLE.split("--sans", 1)[1]
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", ruled)) <= {"#ffffff", "#16191f", "#565d6b"}  # printed figures
    assert contrast(rgb("#565d6b"), rgb("#ffffff")) >= 4.5
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE)) - {"sans"}
    assert used == set(palette(0))

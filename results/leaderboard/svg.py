"""Figures of matplotlib as SVG inside a page: its fonts, its colours in light and dark, and no style of their own.

A strict content security policy forbids style attributes, and a page in two themes needs colours by name. So what
matplotlib writes into ``style`` becomes attributes, and the colours of `CLASSES` become classes of the style sheet.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from results.style import house_style

INK, SOFT, RULE, PAPER, ACCENT = "#101010", "#606060", "#c0c0c0", "#fefefe", "#0b5fa5"
"""Colours to draw with; the page decides what they look like."""
CLASSES = {INK: "ink", SOFT: "soft", RULE: "rule", PAPER: "paper", ACCENT: "accent"}

_FONT = re.compile(r"(?:(?P<weight>bold|\d00) )?(?P<size>[\d.]+)px")


@dataclass(frozen=True)
class Words:
    """What a page writes into a figure, by the group ids of its artists.

    Attributes:
        tips: What to say of an artist under the pointer.
        texts: What stands in the place of a text. Names are written so: a font of matplotlib may lack their letters,
            those of the reader are many.
    """

    tips: Mapping[str, str]
    texts: Mapping[str, str]


def inline(figure: Figure, name: str, title: str, words: Words) -> Markup:
    """A figure as an ``<svg>`` element.

    Args:
        figure: Drawn with the colours of this module.
        name: Unique in the page: what ids in it begin with.
        title: What it shows, for who can't see it.
        words: Of those who are in it.
    """
    buffer = BytesIO()
    with house_style(), mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return adapted(buffer.getvalue(), name, title, words)


def adapted(source: bytes, name: str, title: str, words: Words | None = None) -> Markup:
    """An SVG file of matplotlib as an element for a page; without ``words`` it keeps its words and its colours."""
    root = ElementTree.fromstring(source)
    for parent in list(root.iter()):
        for child in [one for one in parent if _local(one.tag) in ("metadata", "style")]:
            parent.remove(child)
    _tell_apart(root)
    for element in root.iter():
        element.tag = _local(element.tag)
        _flatten_style(element, classes=words is not None)
        if words is not None:
            _write(element, words)
        _rename(element, name)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": title, "class": "figure"})
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # an XML writer has escaped it


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _write(element: ElementTree.Element, words: Words) -> None:
    artist = element.get("id", "")
    if artist in words.tips:
        said = ElementTree.Element("title")
        said.text = words.tips[artist]
        element.insert(0, said)
    if artist in words.texts:
        for child in element.iter():
            if _local(child.tag) == "text":
                child.text = words.texts[artist]


def _flatten_style(element: ElementTree.Element, classes: bool) -> None:
    """Style declarations as attributes, which they may all be but ``font``."""
    style = element.attrib.pop("style", "")
    declared = dict(part.split(":", 1) for part in style.split(";") if ":" in part)
    found = {key.strip(): value.strip() for key, value in declared.items()}
    font = _FONT.search(found.pop("font", ""))
    if font:
        found["font-size"] = font["size"]
        if font["weight"]:
            found["font-weight"] = font["weight"]
    for key in ("font-family", "font-stretch"):
        found.pop(key, None)
    element.attrib.update(found)
    if not classes:
        return
    names = []
    for paint in ("fill", "stroke"):
        known = CLASSES.get(element.get(paint, "").lower())
        if known:
            names.append(f"{paint}-{known}")
            del element.attrib[paint]
    if names:
        element.set("class", " ".join(names))


def _tell_apart(root: ElementTree.Element) -> None:
    """Numbers ids that return: matplotlib derives them from content, so that equal pictures have equal ones."""
    seen: Counter[str] = Counter()
    for element in root.iter():
        name = element.get("id")
        if name is not None:
            seen[name] += 1
            if seen[name] > 1:
                element.set("id", f"{name}-{seen[name]}")


def _rename(element: ElementTree.Element, name: str) -> None:
    """Ids and references to them begin with the figure's name, for a page may hold several."""
    for key in list(element.attrib):
        value = element.attrib[key]
        local = _local(key)
        if local == "id":
            element.set("id", f"{name}-{value}")
        elif local == "href":
            del element.attrib[key]
            element.set("href", f"#{name}-{value[1:]}" if value.startswith("#") else value)
        elif value.startswith("url(#"):
            element.set(key, f"url(#{name}-{value[5:]}")

"""What ``retain show STRATEGY`` prints: its docstring in sections, where it comes from, what it can be set to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from inspect import cleandoc
from itertools import zip_longest

from benchmark.layout import STEP, WIDTH, fill, section, unquoted
from benchmark.registry import Hyperparameter, hyperparameters, strategy_class, strategy_file, strategy_plugin

LABELS = {"Deviation": "Deviations", "Difference": "Deviations", "Keep": "Keeps", "Cost": "Costs"}
"""How what has a label begins -> the section that it goes to, in their order on the page."""
LABEL = re.compile(rf"(?:^|(?<=[.;)] ))(?P<label>{'|'.join(LABELS)})s?(?P<more>(?: [^\s:.;]+){{0,6}}):\s")
PARTICLE = r"(?:(?:[Vv]an|[Dd]e[rn]?|[Vv]on|[Dd]i|[Ll][ae]|[Ee]l) )*"
NAME = rf"{PARTICLE}[A-Z][\w'’-]+"
PAPER = re.compile(
    rf"(?P<who>{NAME}(?:(?:,? & |,? and |, ){NAME})*(?: et al\.)?,? \(?\d{{4}})\)?"
    r"[^.;:\d]{0,60}?arXiv:(?P<id>\d{4}\.\d{4,5})"
)
LINK = re.compile(r"arXiv:(\d{4}\.\d{4,5})|(https?://[^\s,;)`]+)")
SENTENCES = re.compile(r"(?<=[\w)'`\]]\.) (?=[A-Z`])")


@dataclass
class Page:
    """A strategy's docstring, taken apart.

    Attributes:
        summary: What it does, in a sentence.
        formula: What the first sentence ends in; empty if it has no formula.
        papers: Where it was published, each as a line.
        method: Paragraphs without a label.
        labelled: Title of a section -> its paragraphs.
    """

    summary: str
    formula: str
    papers: list[str]
    method: list[str] = field(default_factory=list)
    labelled: dict[str, list[str]] = field(default_factory=dict)


def strategy_page(name: str) -> str:
    """Everything about a strategy.

    Raises:
        UserError: there is none of that name, or its plugin is broken.
    """
    made = strategy_class(name)
    docstring = made.__doc__ or ""
    # Without a docstring of its own a dataclass has its signature for one.
    page = take_apart("" if docstring.startswith(f"{made.__name__}(") else docstring)
    parts = [f"strategy {name}\n{_source(name)}", *([fill(unquoted(page.summary))] if page.summary else [])]
    if page.formula:
        parts.append(section("Formula", [page.formula]))
    if page.papers:
        parts.append(section("Paper" if len(page.papers) == 1 else "Papers", ["\n".join(page.papers)]))
    if page.method:
        parts.append(section("Method", map(unquoted, page.method)))
    for title in dict.fromkeys(LABELS.values()):
        if title in page.labelled:
            parts.append(section(title, map(unquoted, page.labelled[title])))
    settings = hyperparameters(name)
    about = "\n\n".join(_setting(name, setting) for setting in settings) or f"{STEP}none"
    parts.append(f"Hyperparameters, each with its default\n{about}")
    if made.neutral is not None:
        its = made.neutral.its_settings
        other = made.neutral.equals + (f" with {_settings(its)}" if its else "")
        off = f"With {_settings(made.neutral.settings)} it does the same as {other}, bit for bit."
        parts.append(section("Switched off", [off]))
    return "\n\n".join(parts)


def take_apart(docstring: str) -> Page:
    """The sections of a strategy's docstring, whatever it looks like: every word of it lands in one of them.

    The first sentence may end in a colon and a formula. A paragraph, or a sentence, that begins with ``Deviations:``,
    ``Keeps:`` or ``Costs:`` begins that section, up to the end of the paragraph; all else is about the method.
    """
    paragraphs = [text for text in re.split(r"\n\s*\n", cleandoc(docstring)) if text.strip()]
    first = " ".join(paragraphs[0].split()) if paragraphs else ""
    summary, formula, rest = _opening(first)
    page = Page(summary, formula, papers(docstring))
    for paragraph in [*([rest] if rest else []), *paragraphs[1:]]:
        for title, text in _labelled(paragraph):
            (page.labelled.setdefault(title, []) if title else page.method).append(text)
    return page


def papers(docstring: str) -> list[str]:
    """Every paper or page that a docstring names, once, with authors and year where they stand before it."""
    text = " ".join(docstring.split())
    authors = {found["id"]: found["who"].replace("(", "") for found in PAPER.finditer(text)}
    found: dict[str, str] = {}
    for link in LINK.finditer(text):
        address = f"https://arxiv.org/abs/{link[1]}" if link[1] else link[2].rstrip(".")
        found.setdefault(address, f"{authors[link[1]]}, {address}" if link[1] in authors else address)
    return list(found.values())


def _opening(first: str) -> tuple[str, str, str]:
    """Summary, formula, and whatever follows them in the first paragraph."""
    summary, colon, formula = first.partition(": ``")
    if not colon:
        summary, _, rest = re.sub(SENTENCES, "\0", first, count=1).partition("\0")
        return summary, "", rest
    formula, _, rest = re.sub(r"``\. (?=[A-Z])", "``\0", f"``{formula}", count=1).partition("\0")
    return f"{summary}.", formula.replace("``", "").removesuffix("."), rest


def _labelled(paragraph: str) -> Iterator[tuple[str, str]]:
    """The parts of a paragraph, each with the title of its section; without a title what has no label."""
    text = paragraph if re.search(r"^\s", paragraph, re.MULTILINE) else " ".join(paragraph.split())
    labels = list(LABEL.finditer(text))
    before = text[: labels[0].start()] if labels else text
    if before.strip():
        yield "", before.rstrip()
    for label, following in zip_longest(labels, labels[1:]):
        said = text[label.end() : len(text) if following is None else following.start()].strip()
        about = label["more"].strip()  # such as "from the paper"
        said = f"{about}: {said}" if about else said
        yield LABELS[label["label"]], said[:1].upper() + said[1:]


def _source(name: str) -> str:
    """Who brings a strategy, and the file to read."""
    plugin, file = strategy_plugin(name), strategy_file(name)
    who = "shipped with retain" if plugin is None else f"from the plugin {plugin}"
    return who if file is None else f"{who}: {file}"


def _setting(name: str, setting: Hyperparameter) -> str:
    """A hyperparameter with its default, what it may be, and its help; where the default comes from stands last."""
    value = f"{STEP}{name}.{setting.name} = {_value(setting.default)}"
    sentences = re.split(SENTENCES, unquoted(setting.help))
    source = [sentence for sentence in sentences if re.search(r"\b(default|ours)\b", sentence, re.IGNORECASE)]
    about = " ".join(sentence for sentence in sentences if sentence not in source)
    texts = [text for text in (about, " ".join(source)) if text]
    filled = [fill(text, WIDTH - 2 * len(STEP)).replace("\n", f"\n{STEP}{STEP}") for text in texts]
    kind = setting.kind if setting.search is None else f"{setting.kind}; tuned in {setting.search}"
    return "\n".join([f"{value.ljust(44)}  {kind}", *(f"{STEP}{STEP}{text}" for text in filled)])


def _settings(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in settings.items())


def _value(value: object) -> str:
    """A value as one writes it in a suite."""
    return value if isinstance(value, str) else json.dumps(value, default=str)

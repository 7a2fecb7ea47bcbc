"""What ``retain list`` and ``retain show`` print: catalogues, one line an entry or everything about one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from textwrap import TextWrapper

from tabulate import tabulate

from benchmark.backbones import BACKBONES, BackboneSpec
from benchmark.errors import unknown
from benchmark.registry import strategy_names, strategy_summary
from benchmark.suite_files import parse_suite, suite_names, suite_text
from tasks.catalogue import PROBES, TASKS
from tasks.sources.archive import Archive
from tasks.spec import ProbeSpec, TaskSpec
from tasks.streams import STREAMS, Stream

WIDTH = 110


def listing(kind: str) -> str:
    """One line for each suite, stream, task, probe, strategy or backbone."""
    rows: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
        "suites": _suite_lines,
        "streams": lambda: ((stream.name, " -> ".join(stream.tasks)) for stream in STREAMS),
        "tasks": lambda: ((task.name, f"{task.description} ({task.kind})") for task in TASKS),
        "probes": lambda: ((probe.name, probe.description) for probe in PROBES),
        "strategies": lambda: ((name, _unquoted(strategy_summary(name))) for name in strategy_names()),
        "backbones": lambda: ((backbone.name, backbone.description) for backbone in BACKBONES),
    }
    lines = list(rows[kind]())
    width = max(len(name) for name, _ in lines) + 2
    indent = " " * width
    return "\n".join(_fill(name.ljust(width) + text, indent=indent) for name, text in lines)


def describe(name: str) -> str:
    """Everything about whatever has this name; if several things share it, about each.

    Raises:
        UserError: nothing has this name.
    """
    found: list[str] = []
    if name in suite_names():
        found.append(_suite(name))
    found += [_stream(stream) for stream in STREAMS if stream.name == name]
    found += [_task(task) for task in TASKS if task.name == name]
    found += [_probe(probe) for probe in PROBES if probe.name == name]
    found += [_backbone(backbone) for backbone in BACKBONES if backbone.name == name]
    if name in strategy_names():
        found.append(_strategy(name))
    if not found:
        named = [item.name for group in (STREAMS, TASKS, PROBES, BACKBONES) for item in group]
        raise unknown("name", name, [*named, *suite_names(), *strategy_names()])
    return "\n\n\n".join(found)


def _suite_lines() -> Iterable[tuple[str, str]]:
    return ((name, parse_suite(suite_text(name), name)["description"]) for name in suite_names())


def _fill(text: str, width: int = WIDTH, indent: str = "") -> str:
    """Text in lines; names are never cut, since they are there to be copied."""
    return TextWrapper(width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False).fill(text)


def _table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    width = WIDTH - 16
    body = tabulate([(key, _lines(str(value), width)) for key, value in rows if value], tablefmt="plain")
    return f"{title}\n\n{body}"


def _lines(text: str, width: int) -> str:
    return "\n".join(_fill(line, width) for line in text.split("\n"))


def _suite(name: str) -> str:
    """Its YAML as it is, to be copied into one's own, but for the length of lines, which means nothing in YAML."""
    lines = [_fill(line, indent="  ") if len(line) > WIDTH else line for line in suite_text(name).splitlines()]
    return "\n".join([f"suite {name}", "", *lines])


def _stream(stream: Stream) -> str:
    return _table(
        f"stream {stream.name}",
        [("about", stream.description), ("order", " -> ".join(stream.tasks)), ("scenario", stream.scenario)],
    )


def _task(task: TaskSpec) -> str:
    return _table(
        f"task {task.name}",
        [
            ("decides", task.description),
            ("kind", task.kind),
            ("examples", ", ".join(f"{split} {count:,}" for split, count in task.counts.items())),
            ("labels", ", ".join(task.labels)),
            ("metrics", ", ".join(task.metrics)),
            ("main score", f"{task.main}, 0 to 1, larger is better"),
            ("head", task.head_name),
            ("split", task.split),
            ("licence", task.licence),
            ("citation", task.citation),
            *_archive(task.source.archive),
        ],
    )


def _probe(probe: ProbeSpec) -> str:
    return _table(
        f"probe {probe.name}",
        [
            ("measures", probe.description),
            ("documents", f"{probe.documents}, two spans of {probe.span_words} words each"),
            ("values", "mrr and accuracy_at_1 (0 to 1, larger is better), both directions averaged"),
            ("licence", probe.licence),
            *_archive(probe.source.archive),
        ],
    )


def _backbone(backbone: BackboneSpec) -> str:
    return _table(
        f"backbone {backbone.name}",
        [
            ("about", backbone.description),
            ("licence", backbone.licence),
            ("pooling", backbone.pooling),
            ("hub", backbone.hub),
            *(_archive(backbone.archive) if backbone.archive else []),
        ],
    )


def _archive(archive: Archive) -> list[tuple[str, str]]:
    shared = posixpath.commonpath([posixpath.dirname(member.path) for member in archive.members])
    files = [posixpath.relpath(member.path, shared or ".") for member in archive.members]
    return [
        ("from", f"{archive.filename} on the package index ({archive.size / 1e6:.0f} MB, read as data)"),
        ("sha256", archive.sha256),
        ("folder", shared),
        ("files", "\n".join(files)),
    ]


def _strategy(name: str) -> str:
    from inspect import getdoc

    from benchmark.registry import hyperparameters, strategy_class

    about = _unquoted(getdoc(strategy_class(name)) or "").split("\n\n")
    paragraphs = [text if "\n " in text else _fill(" ".join(text.split())) for text in about]
    settings = [
        (f"{name}.{setting.name}", setting.kind, setting.default, _fill(_unquoted(setting.help), 50))
        for setting in hyperparameters(name)
    ]
    table = tabulate(
        settings,
        headers=["hyperparameter", "values", "default", "help"],
        maxcolwidths=[None, 28, None, None],
        disable_numparse=True,
    )
    return "\n\n".join([f"strategy {name}", *paragraphs, table if settings else "It has no hyperparameters."])


def _unquoted(text: str) -> str:
    """Docstrings mark code with backquotes; on a terminal plain quotes do."""
    return re.sub("`+", "'", text)

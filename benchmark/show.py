"""What ``retain list`` and ``retain show`` print: catalogues, one line an entry or everything about one."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from pathlib import Path

from tabulate import tabulate

from benchmark.backbones import BACKBONES, BackboneSpec, resolve_backbone
from benchmark.catalogue import Entry, all_tasks, broken_tasks
from benchmark.errors import unknown
from benchmark.layout import WIDTH, fill, unquoted
from benchmark.plugins import Broken, Unusable
from benchmark.registry import broken_strategies, strategy_names, strategy_plugin, strategy_summary
from benchmark.show_backbone import backbone_rows
from benchmark.suite_files import parse_suite, suite_names, suite_text
from tasks.catalogue import PROBES, TASKS
from tasks.sources.archive import Archive
from tasks.spec import ProbeSpec
from tasks.streams import STREAMS, Stream


def listing(kind: str) -> str:
    """One line for each suite, stream, task, probe, strategy or backbone; below, plugins that can't be used."""
    rows: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
        "suites": _suite_lines,
        "streams": lambda: ((stream.name, " -> ".join(stream.tasks)) for stream in STREAMS),
        "tasks": lambda: (_task_line(entry) for entry in all_tasks()),
        "probes": lambda: ((probe.name, probe.description) for probe in PROBES),
        "strategies": lambda: (_strategy_line(name, broken) for name in strategy_names()),
        "backbones": lambda: ((backbone.name, backbone.description) for backbone in BACKBONES),
    }
    broken = list({"tasks": broken_tasks, "strategies": broken_strategies}.get(kind, tuple)())
    lines = [(name, text) for name, text in rows[kind]() if name]
    width = max(len(name) for name, _ in lines) + 2
    indent = " " * width
    told = [fill(name.ljust(width) + text, indent=indent) for name, text in lines]
    return "\n".join(
        told + (["", "can't be used:"] if broken else []) + [fill(f"  {one}", indent="    ") for one in broken]
    )


def describe(name: str) -> str:
    """Everything about whatever has this name; if several things share it, about each.

    A folder or a hub id is a backbone's.

    Raises:
        UserError: nothing has this name, or only a plugin that is broken.
    """
    found: list[str] = []
    if name in suite_names():
        found.append(_suite(name))
    found += [_stream(stream) for stream in STREAMS if stream.name == name]
    found += [_task(Entry(task)) for task in TASKS if task.name == name]
    found += [_probe(probe) for probe in PROBES if probe.name == name]
    found += [_backbone(backbone) for backbone in BACKBONES if backbone.name == name]
    if name in strategy_names():
        from benchmark.show_strategy import strategy_page

        found.append(strategy_page(name))
    if not found:  # plugins' tasks last, since they must be imported
        found = [_task(entry) for entry in all_tasks() if entry.spec.name == name]
    if not found and ("/" in name or Path(name).is_dir()):
        found = [_backbone(resolve_backbone(name))]
    if not found:
        for one in (*broken_strategies(), *broken_tasks()):
            if one.plugin.name == name:
                raise Unusable(one)
        named = [item.name for group in (STREAMS, PROBES, BACKBONES) for item in group]
        named += [entry.spec.name for entry in all_tasks()]
        raise unknown("name", name, [*named, *suite_names(), *strategy_names()])
    return "\n\n\n".join(found)


def _task_line(entry: Entry) -> tuple[str, str]:
    mark = "" if entry.plugin is None else f" [{entry.plugin}]"
    return entry.spec.name, f"{entry.spec.description} ({entry.spec.kind}){mark}"


def _strategy_line(name: str, broken: list[Broken]) -> tuple[str, str]:
    """Name and summary; nothing of a strategy that turns out to be broken, which is noted."""
    plugin = strategy_plugin(name)
    try:
        mark = "" if plugin is None else f" [{plugin}]"
        return name, unquoted(strategy_summary(name)) + mark
    except Unusable as error:
        broken.append(error.broken)
        return "", ""


def _suite_lines() -> Iterable[tuple[str, str]]:
    return ((name, parse_suite(suite_text(name), name)["description"]) for name in suite_names())


def _table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    width = WIDTH - 16
    body = tabulate([(key, _lines(str(value), width)) for key, value in rows if value], tablefmt="plain")
    return f"{title}\n\n{body}"


def _lines(text: str, width: int) -> str:
    return "\n".join(fill(line, width) for line in text.split("\n"))


def _suite(name: str) -> str:
    """Its YAML as it is, to be copied into one's own, but for the length of lines, which means nothing in YAML."""
    lines = [fill(line, indent="  ") if len(line) > WIDTH else line for line in suite_text(name).splitlines()]
    return "\n".join([f"suite {name}", "", *lines])


def _stream(stream: Stream) -> str:
    return _table(
        f"stream {stream.name}",
        [("about", stream.description), ("order", " -> ".join(stream.tasks)), ("scenario", stream.scenario)],
    )


def _task(entry: Entry) -> str:
    task = entry.spec
    return _table(
        f"task {task.name}",
        [
            ("plugin", entry.plugin),
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
            *probe.facts,
            ("licence", probe.licence),
            *_archive(probe.source.archive),
        ],
    )


def _backbone(backbone: BackboneSpec) -> str:
    archives = [row for archive in backbone.archives for row in _archive(archive)]
    return _table(f"backbone {backbone.name}", [*backbone_rows(backbone), *archives])


def _archive(archive: Archive) -> list[tuple[str, str]]:
    if not archive.members:
        return [("from", "its code: nothing is fetched")]
    shared = posixpath.commonpath([posixpath.dirname(member.path) for member in archive.members])
    files = [posixpath.relpath(member.path, shared or ".") for member in archive.members]
    return [
        ("from", f"{archive.filename} on the package index ({archive.size / 1e6:.0f} MB, read as data)"),
        ("sha256", archive.sha256),
        ("folder", shared),
        ("files", "\n".join(files)),
    ]

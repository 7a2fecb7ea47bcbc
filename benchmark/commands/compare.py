"""``retain compare``: what a change of the code made better or worse."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark import gate
from benchmark.commands import Commands
from benchmark.console import print_result
from benchmark.errors import UserError
from benchmark.output import check_writable, writing

FORMATS = ("text", "md", "json")


def add(commands: Commands) -> None:
    """Declares it."""
    parser = commands.add_parser(
        "compare",
        help="what a change of the code made better or worse: exit code 1 on a regression",
        description="Compares runs of the same suite by two versions of the code. Exit code 0: no regression is shown; "
        "1: there is one, or what --fail-on names; 2: nothing was compared because of a mistake.",
    )
    parser.add_argument("base", type=Path, metavar="BASE", help="records of the version before: a folder or a file")
    parser.add_argument("new", type=Path, metavar="NEW", help="records of the version after")
    gate.add_options(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="of standard output; default: text")
    parser.add_argument(
        "--out",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="also write this file: .md for a pull request, or .json; may be repeated",
    )
    parser.set_defaults(handler=_compare)


def _compare(options: argparse.Namespace) -> int:
    for file in options.out:
        if file.suffix not in (".md", ".json"):
            raise UserError(f"--out {file}: name a file that ends in .md or .json")
        if file.is_dir():
            raise UserError(f"--out {file}: is a folder; name a file")
        check_writable(file.parent)
    found = gate.compare_folders([options.base], [options.new], options.tolerance)

    from results.compare import FailOn
    from results.compare_text import as_console, as_json, as_markdown
    from results.record import write_atomically

    formats = {"text": as_console, "md": as_markdown, "json": as_json}
    on = FailOn(options.fail_on)
    texts = {name: write(found, str(options.base), str(options.new), on) for name, write in formats.items()}
    for file in options.out:
        with writing(file):
            write_atomically(file, texts[file.suffix[1:]])
    print_result(texts[options.format].rstrip("\n"))
    return int(found.fails(on))

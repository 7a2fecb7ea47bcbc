"""``retain list`` and ``retain show``: what there is, and everything about one of it."""

from __future__ import annotations

import argparse

from benchmark.commands import Commands
from benchmark.commands.arguments import positive
from benchmark.console import print_result, say
from benchmark.errors import UserError


def add(commands: Commands) -> None:
    """Declares it."""
    listing = commands.add_parser("list", help="list suites, streams, tasks, probes, strategies, backbones or papers")
    listing.add_argument(
        "kind", choices=["suites", "streams", "tasks", "probes", "strategies", "backbones", "papers"], metavar="KIND"
    )
    listing.set_defaults(handler=_list)

    show = commands.add_parser(
        "show", help="everything about one suite, stream, task, probe, strategy, backbone or paper"
    )
    show.add_argument("name", help="its name, or the .yaml file of a task of your own")
    show.add_argument("--data", action="store_true", help="of a task: read its rows, count and check them")
    show.add_argument("--backbone", metavar="NAME", help="with --data, or a task of your own: count its tokens")
    show.add_argument("--max-length", type=positive, metavar="N", help="likewise: tokens in a window; default: 128")
    show.set_defaults(handler=_show)


def _list(options: argparse.Namespace) -> None:
    from benchmark.show import listing

    print_result(listing(options.kind))


def _show(options: argparse.Namespace) -> None:
    from benchmark.own_tasks import is_own
    from benchmark.show import describe

    if options.data or is_own(options.name):
        from benchmark.show_data import describe_data

        print_result(describe_data(options.name, say, options.backbone, options.max_length))
        return
    if options.backbone or options.max_length:
        raise UserError("--backbone and --max-length of show are for a task's rows: add --data")
    print_result(describe(options.name))

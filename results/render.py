"""Text tables: the same cells for the console, Markdown and LaTeX; data frames as CSV."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from tabulate import tabulate

CONSOLE_WIDTH = 120
UNDEFINED = "–"
FAILED = "failed"
_WIDEST_LABEL = 34
_COLUMN_GAP = 2

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # \textquotedbl needs another font encoding
    "[": "{[}",  # a bare one after a row's \\ would be read as its optional argument
    "]": "{]}",
    "\n": " ",
    "`": r"\textasciigrave{}",
    "…": r"\ldots{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "Ω": r"$\Omega$",
}


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are already words; the first column names the rows."""

    title: str
    headers: list[str]
    """A newline in a header is a good place to break it."""
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    """Lines below the table that say what its columns mean; a terminal is spared them."""
    failures: list[str] = field(default_factory=list)
    """One line per failed run below the table, on a terminal too."""


def console(table: TextTable) -> str:
    """Plain text, at most 120 columns wide: further columns follow in a block below."""
    columns = [list(cells) for cells in zip(table.headers, *table.rows, strict=True)]
    names, *values = columns
    names = ["\n".join(textwrap.wrap(name, _WIDEST_LABEL)) for name in names]
    blocks = [_console_block([names, *block]) for block in _blocks(_width(names), values)]
    wrapped = [textwrap.fill(line, CONSOLE_WIDTH, subsequent_indent="  ") for line in table.failures]
    return "\n\n".join([table.title, *blocks, *(["\n".join(wrapped)] if wrapped else [])])


def markdown(table: TextTable) -> str:
    """A GitHub-flavoured table with its title as a heading, its failures and notes as a list."""
    lines = [f"## {_escape_markdown(table.title)}", "", _markdown_row(table.headers)]
    lines.append("|" + "|".join([":--", *["--:"] * (len(table.headers) - 1)]) + "|")
    lines += [_markdown_row(row) for row in table.rows]
    lines += ["", bullets([*table.failures, *table.notes])]
    return "\n".join(lines).rstrip() + "\n"


def bullets(lines: Sequence[str]) -> str:
    """Lines as a Markdown list, each as it would be read and nothing in it a format."""
    return "\n".join(f"- {_escape_markdown(line)}" for line in lines)


def latex(table: TextTable, label: str) -> str:
    """A floating booktabs table, shrunk to the line where it is wider, with caption, label, failures and notes."""
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape_latex(table.title)}}}",
        rf"\label{{{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(table.headers) - 1)}}}",
        r"\toprule",
        " & ".join(_latex_header(header) for header in table.headers) + r" \\",
        r"\midrule",
        *(" & ".join(map(escape_latex, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    if table.failures or table.notes:
        lines.append(r"\par\smallskip\footnotesize\raggedright")
    lines += [escape_latex(line) + r"\par" for line in table.failures]
    lines += [" ".join(map(escape_latex, table.notes))] if table.notes else []
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def csv(frame: pd.DataFrame) -> str:
    """Comma-separated values at full precision; undefined values are empty."""
    return frame.to_csv(index=False, lineterminator="\n")


def escape_latex(text: str) -> str:
    """Text as LaTeX prints it literally; arrows, dashes and signs become commands."""
    return "".join(_LATEX.get(character, character) for character in text)


def _width(cells: Sequence[str]) -> int:
    return max(len(line) for cell in cells for line in cell.split("\n"))


def _blocks(label_width: int, columns: list[list[str]]) -> list[list[list[str]]]:
    """Columns in order, cut into blocks that fit the console beside the labels."""
    blocks: list[list[list[str]]] = []
    left = 0
    for column in columns:
        needed = _width(column) + _COLUMN_GAP
        if needed > left or not blocks:
            blocks.append([])
            left = CONSOLE_WIDTH - label_width
        blocks[-1].append(column)
        left -= needed
    return blocks


def _console_block(columns: list[list[str]]) -> str:
    headers, *rows = zip(*columns, strict=True)
    rule = ["-" * _width(column) for column in columns]
    align = ["left", *["right"] * (len(headers) - 1)]
    # Headers go in as a row: tabulate would widen their columns by two.
    return tabulate([headers, rule, *rows], colalign=align, disable_numparse=True, tablefmt="plain")


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escape_markdown, cells)) + " |"


def _escape_markdown(text: str) -> str:
    """Escapes what would end a cell or start formatting, a link, an entity or a formula.

    An underscore within a word starts nothing, nor does a bracket that no link could end with.
    """
    one_line = " ".join(text.split())
    return re.sub(r"[\\|*`<~$]|&(?=[#\w])|\](?=[(\[])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", one_line)


def _latex_header(header: str) -> str:
    lines = header.split("\n")
    if len(lines) == 1:
        return escape_latex(header)
    return r"\shortstack[r]{" + r"\\".join(map(escape_latex, lines)) + "}"

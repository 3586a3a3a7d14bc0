"""Lists on the standard output: a table on a terminal, through a pager when it is long; plain columns, CSV or JSON
into a pipe."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from services.console.event_text import visible
from services.console.projections.view import Row


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    value: Callable[[Row], str]
    right: bool = False
    flexible: bool = False
    """May be broken into several lines where room is short; the others keep together."""
    wide: bool = False
    """Left out on a terminal of less than `WIDE` characters."""


WIDE = 120


def show_table(columns: Sequence[Column], rows: Iterable[Row], nothing: str) -> None:
    """Show rows to whoever reads; `nothing` is said on standard error when there are none."""
    terminal = sys.stdout.isatty()
    if terminal and Console().width < WIDE:
        columns = [column for column in columns if not column.wide]
    cells = [[visible(column.value(row)) for column in columns] for row in rows]
    if not cells:
        print(nothing, file=sys.stderr)
    elif terminal:
        _show_on_terminal(columns, cells)
    else:
        _print_columns(columns, cells, standard_output())


def show_json(rows: Iterable[Row]) -> None:
    """A JSON array, a line for each row."""
    out, before = standard_output(), "["
    for row in rows:
        out.write(f"{before}\n{json.dumps(row)}")
        before = ","
    out.write("[]\n" if before == "[" else "\n]\n")


def show_csv(names: Sequence[str], rows: Iterable[Row]) -> None:
    """CSV with a header; what is not known is empty. Bytes of the network that are no text are kept."""
    writer = csv.DictWriter(standard_output(), names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def standard_output() -> TextIO:
    """Standard output, for text that may hold bytes of the network."""
    out = sys.stdout
    reconfigure = getattr(out, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")
    return out


def _show_on_terminal(columns: Sequence[Column], cells: list[list[str]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, overflow="fold", no_wrap=not column.flexible)
    for line in cells:
        table.add_row(*map(Text, line))
    console = Console()
    if len(cells) + 1 < console.height:
        console.print(table)
        return
    os.environ.setdefault("LESS", "-FRX")
    with console.pager(styles="less" in os.environ.get("PAGER", "less")):
        console.print(table)


def _print_columns(columns: Sequence[Column], cells: list[list[str]], out: TextIO) -> None:
    lines = [[column.title for column in columns], *cells]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        padded = (
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        )
        out.write("  ".join(padded).rstrip() + "\n")

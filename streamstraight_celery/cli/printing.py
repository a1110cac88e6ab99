"""Tables on a terminal, tab-separated lines elsewhere, JSON when it is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

STYLES = {
    "queued": "yellow", "streaming": "green", "open": "green", "stalled": "bold red",
    "retrying": "yellow", "completed": "dim", "stopped": "dim", "ok": "green",
    "warning": "yellow", "error": "bold red",
}  # fmt: skip


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, styled: int = 1) -> None:
    """Print rows under a header. The cell in column `styled` says how a row is coloured."""
    lines = [columns, *rows]
    if not sys.stdout.isatty():
        for line in lines:
            click.echo("\t".join(line))
    elif (table := rich_table(columns, rows, styled=styled)) is not None:
        rich_console().print(table)
    else:
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            click.echo("   ".join(cells).rstrip())


def rich_console() -> Any:
    """The terminal, without colours under `celery --no-color` and with `NO_COLOR` set."""
    from rich.console import Console

    # None leaves it to the environment.
    return Console(no_color=click.get_current_context().obj.no_color or None)


def rich_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, styled: int = 1
) -> Any | None:
    """The table as rich draws it; None when rich is not installed."""
    try:
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return None
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name in NUMBERS else "left")
    for row in rows:
        style = STYLES.get(row[styled], "red" if row[styled] in FAILURES else "")
        table.add_row(
            *[Text(cell, style=style if i == styled else "") for i, cell in enumerate(row)]
        )
    return table


NUMBERS = {"chunks", "size", "age", "first chunk", "chunks/s", "attempt"}
FAILURES = {
    "producer-error", "producer-disconnected", "inactivity-timeout", "too-large", "expired",
}  # fmt: skip


def shown_duration(seconds: float | None) -> str:
    """A duration as people write it: 43 ms, 1.4 s, 12 s, 3 min, 2 h."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def shown_size(size: float) -> str:
    """A size in bytes: 812 B, 3.1 KiB, 12 MiB."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"
    return f"{size / 1024:.1f} GiB"

"""Tables on a terminal, tab-separated lines elsewhere, JSON when it is asked for."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from ..relays.end_reasons import FAILURES

STYLES = {
    "queued": "yellow", "streaming": "green", "open": "green", "stalled": "bold red",
    "retrying": "yellow", "waiting": "cyan", "completed": "dim", "stopped": "dim", "ok": "green",
    "warning": "yellow", "error": "bold red", "not checked": "dim",
}  # fmt: skip


# A terminal obeys the first two, and no output takes the third, halves of surrogate pairs.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# JSON text escapes the others by itself.
LEFT_BY_JSON = re.compile("[\x7f-\x9f\ud800-\udfff]")

# What a narrow terminal does without, the first first.
DISPENSABLE = (
    "labels", "worker", "size", "queue", "lasted", "age", "first chunk", "chunks/s", "chunks",
    "requested", "task",
)  # fmt: skip
GAP = 3  # between two columns


def visible(text: str) -> str:
    """The text on one line, with escapes for what would steer the terminal: models write it."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def json_text(value: object, *, indent: int | None = None) -> str:
    """As JSON that any output takes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return LEFT_BY_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_json(value: object) -> None:
    click.echo(json_text(value, indent=2))


def visible_lines(text: str) -> str:
    """As `visible`, on as many lines as it has."""
    return "\n".join(visible(line) for line in text.replace("\r\n", "\n").split("\n"))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, styled: str = "status"
) -> None:
    """Print rows under a header. The cells in the column `styled` have colours."""
    lines = [columns, *([visible(cell) for cell in row] for row in rows)]
    if not sys.stdout.isatty():
        for line in lines:
            click.echo("\t".join(line))
        return
    lines = fitted(lines)
    if (table := rich_table(lines[0], lines[1:], styled=styled)) is not None:
        rich_console().print(table)
    else:
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            click.echo((" " * GAP).join(cells).rstrip())


def fitted(lines: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """A header and rows, without the columns that can be spared where they are too wide."""
    room = shutil.get_terminal_size().columns
    found: list[Sequence[str]] = list(lines)
    for name in DISPENSABLE:
        widths = [max(map(len, cells)) for cells in zip(*found, strict=True)]
        if sum(widths) + GAP * (len(widths) - 1) <= room:
            break
        if name in found[0]:
            left_out = found[0].index(name)
            found = [[*line[:left_out], *line[left_out + 1 :]] for line in found]
    return found


def rich_console() -> Any:
    """The terminal, without colours under `celery --no-color` and with `NO_COLOR` set."""
    from rich.console import Console

    # None leaves it to the environment.
    return Console(no_color=click.get_current_context().obj.no_color or None)


def rich_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, styled: str = "status"
) -> Any | None:
    """The table as rich draws it; None when rich is not installed."""
    try:
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return None
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name in NUMBERS else "left")
    for row in rows:
        table.add_row(
            *[
                Text(cell, style=_style(cell) if name == styled else "")
                for name, cell in zip(columns, row, strict=True)
            ]
        )
    return table


def _style(word: str) -> str:
    return STYLES.get(word, "red" if word in FAILURES else "")


NUMBERS = {"chunks", "size", "age", "first chunk", "lasted", "chunks/s", "attempt", "requested"}


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


def shown_moment(seconds: float) -> str:
    """When something was: the time today, else the day too; the local time."""
    moment = time.localtime(seconds)
    today = moment[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", moment)


def shown_percentiles(values: Sequence[float]) -> str:
    """As in "p50 18 ms, p95 898 ms"."""
    ranked = sorted(values)
    p50, p95 = (ranked[min(len(ranked) - 1, int(part * len(ranked)))] for part in (0.5, 0.95))
    return f"p50 {shown_duration(p50)}, p95 {shown_duration(p95)}"


def shown_size(size: float) -> str:
    """A size in bytes: 812 B, 3.1 KiB, 12 MiB."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"
    return f"{size / 1024:.1f} GiB"

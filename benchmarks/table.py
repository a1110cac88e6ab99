"""The one table at the end of a run: rich on a terminal, plain text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.results import Group

PLAIN_WIDTH = 140


def number(value: float) -> str:
    """Three digits that matter, and thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3f}"


def target_text(group: Group, subject: str) -> str:
    target = group.targets.get(subject)
    if target is None:
        return ""
    sign = "≤" if target.at_most else "≥"
    if target.of is None:
        return f"{sign} {number(target.bound)}"
    return f"{sign} {number(target.bound)} x {target.of}"


def verdict_text(group: Group, subject: str) -> str:
    if subject not in group.targets:
        return ""
    reached = group.reached(subject)
    if reached is None:
        return "not measured"
    return "reached" if reached else "not reached"


def _spread(group: Group, subject: str) -> str:
    spread = group.spread(subject)
    if spread is None or len(group.rounds[subject]) == 1:
        return ""
    return f"{number(spread[0])} .. {number(spread[1])}"


def _cells(group: Group, subject: str) -> tuple[str, ...]:
    value = group.value(subject)
    share = group.to_reference(subject)
    return (
        f"  {subject}" + (" *" if subject in group.notes else ""),
        "-" if value is None else number(value),
        group.unit,
        _spread(group, subject),
        "" if share is None else f"{number(share)} x",
        target_text(group, subject),
        verdict_text(group, subject),
    )


def build(groups: Sequence[Group], *, plain: bool) -> Table:
    table = Table(
        box=None if plain else box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        header_style="" if plain else "bold",
    )
    table.add_column("")
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("")
    for title in ("of rounds", "to ours"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("target", ""):
        table.add_column(title, no_wrap=True)
    case = ""
    for group in groups:
        if case and group.case != case:
            table.add_section()
        case = group.case
        table.add_row(Text(f"{group.case}: {group.title}", style="bold"))
        for subject in group.subjects:
            style = "" if plain else _style(group, subject)
            table.add_row(*(Text(cell) for cell in _cells(group, subject)), style=style)
    return table


def _style(group: Group, subject: str) -> str:
    reached = group.reached(subject)
    if reached is None:
        return "" if subject.startswith("ours") else "dim"
    return "green" if reached else "red"


def show(groups: Sequence[Group], heading: Sequence[str], out: TextIO) -> None:
    plain = not out.isatty()
    console = Console(
        file=out,
        width=PLAIN_WIDTH if plain else None,
        no_color=plain,
        force_terminal=False if plain else None,
        highlight=False,
    )
    for line in heading:
        console.print(Text(line))
    console.print()
    console.print(build(groups, plain=plain))
    console.print()
    for line in [*_notes(groups), *_missed(groups)]:
        console.print(Text(line))


def _notes(groups: Sequence[Group]) -> list[str]:
    """Each note once, with the case it is of."""
    return list(
        dict.fromkeys(
            f"* {group.case}, {subject}: {note}"
            for group in groups
            for subject, notes in group.notes.items()
            for note in notes
        )
    )


def _missed(groups: Sequence[Group]) -> list[str]:
    rows = [(group, subject) for group in groups for subject in group.targets]
    verdicts = [group.reached(subject) for group, subject in rows]
    if False not in verdicts:
        return ["Every target measured in this run was reached."] if True in verdicts else []
    lines = ["Not reached:"]
    for group, subject in rows:
        value = group.value(subject)
        if value is not None and group.reached(subject) is False:
            lines.append(
                f"  {group.case}: {group.title}, {subject}: {number(value)} {group.unit}"
                f" (target {target_text(group, subject)})"
            )
    return lines

"""`streams doctor`."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

import click

from .doctor_findings import Finding
from .group import StreamsCommand, json_option
from .output import print_json, print_table


@click.command(cls=StreamsCommand)
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check the settings, Redis, clocks, time-outs, the relay server and workers.

    The exit status is 1 when there is an error.
    """
    from .doctor_checks import findings

    # Advice is to be copied, so it names the application as it was given.
    given = ctx.find_root().params.get("app")
    option = f"-A {shlex.quote(given)}" if isinstance(given, str) else "-A proj"
    found = [
        each._replace(advice=each.advice.replace("-A proj", option))
        for each in findings(ctx.obj.app)
    ]
    if as_json:
        print_json([each._asdict() for each in found])
    else:
        print_table(("check", "", "found"), list(_rows(found)), styled="")
        click.echo(_count(found))
    ctx.exit(1 if any(each.grade == "error" for each in found) else 0)


def _rows(found: Sequence[Finding]) -> Iterator[tuple[str, str, str]]:
    for each in found:
        yield each.check, each.grade, each.found
        if each.advice:
            yield "", "", f"-> {each.advice}"


def _count(found: Sequence[Finding]) -> str:
    """As in "9 checks: 7 ok, 1 warning, 1 error"."""
    grades = Counter(each.grade for each in found)
    shown = [f"{grades['ok']} ok"]
    for grade in ("warning", "error"):
        if number := grades[grade]:
            shown.append(f"{number} {grade}{'s' if number > 1 else ''}")
    if grades["not checked"]:
        shown.append(f"{grades['not checked']} not checked")
    return f"{len(found)} checks: {', '.join(shown)}"

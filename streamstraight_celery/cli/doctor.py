"""`streams doctor`."""

from __future__ import annotations

import click

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

    found = list(findings(ctx.obj.app))
    if as_json:
        print_json([each._asdict() for each in found])
    else:
        rows = [(each.check, each.grade, each.found) for each in found]
        print_table(("check", "", "found"), rows)
        for each in found:
            if each.advice:
                click.echo(f"{each.check}: {each.advice}")
    ctx.exit(1 if any(each.grade == "error" for each in found) else 0)

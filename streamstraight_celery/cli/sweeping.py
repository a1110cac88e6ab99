"""`streams sweep`."""

from __future__ import annotations

import click
from celery import Celery

from ..runtime import Runtime
from .group import StreamsCommand, json_option
from .output import print_json


@click.command(cls=StreamsCommand)
@json_option
@click.pass_context
def sweep(ctx: click.Context, as_json: bool) -> None:
    """End streams whose producer is lost, tell `on_end` tasks, continue suspended ones.

    Run it about once a minute, or have Celery beat run the task `streams.sweep`. The exit status is
    1 when an end could not be told.
    """
    app: Celery = ctx.obj.app
    swept = Runtime.of(app).sweep()
    if as_json:
        print_json(swept)
    else:
        said = f"{swept['looked']} streams looked at, {swept['ended']} ended, {swept['told']} told"
        if swept["lost"]:
            said += f"; {swept['lost']} with a lost producer, to be ended by a later sweep"
        if swept["woken"]:
            said += f"; {swept['woken']} suspended tasks continued"
        if swept["failed"]:
            said += f"; {swept['failed']} could not be told, see the log"
        click.echo(said)
    ctx.exit(1 if swept["failed"] else 0)

"""`streams relay`."""

from __future__ import annotations

import click
from celery import Celery

from .group import StreamsCommand

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command(cls=StreamsCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535))
@click.option("--log-level", default="info", show_default=True, type=click.Choice(LOG_LEVELS))
@click.option("--access-log/--no-access-log", default=False, show_default=True)
@click.pass_context
def relay(ctx: click.Context, host: str, port: int, log_level: str, access_log: bool) -> None:
    """Serve streams to browsers. Run as many as you like behind a balancer."""
    from ..server.run import run_relay

    app: Celery = ctx.obj.app
    run_relay(app, host, port, log_level=log_level, access_log=access_log)

"""`celery -A proj streams ...`: commands around streams. Loaded by each `celery` call, so light."""

from __future__ import annotations

from typing import Any

import click
from celery import Celery
from celery.bin.base import CeleryCommand

from .errors import StreamError

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@click.group(name="streams")
def streams() -> None:
    """Streams of LLM output: the relay server, and what there is to see."""


class StreamsCommand(CeleryCommand):  # type: ignore[misc]
    """A command whose errors of ours are shown as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StreamError as error:
            raise click.ClickException(str(error)) from error


@streams.command(cls=StreamsCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535))
@click.option("--log-level", default="info", show_default=True, type=click.Choice(LOG_LEVELS))
@click.option("--access-log/--no-access-log", default=False, show_default=True)
@click.pass_context
def relay(ctx: click.Context, host: str, port: int, log_level: str, access_log: bool) -> None:
    """Serve streams to browsers. Run as many as you like behind a balancer."""
    from .server.run import run_relay

    app: Celery = ctx.obj.app
    run_relay(app, host, port, log_level=log_level, access_log=access_log)

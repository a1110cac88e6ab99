"""The `streams` command group and the base class of its commands."""

from __future__ import annotations

from typing import Any

import click
from celery.bin.base import CeleryCommand

from ..errors import ConfigurationError, StreamError
from ..runtime import Runtime


@click.group(name="streams")
def streams() -> None:
    """Inspect and stop streams, and run the relay server."""


class StreamsCommand(CeleryCommand):  # type: ignore[misc]
    """A command whose errors of ours are shown as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            _check_app(ctx)
            return super().invoke(ctx)
        except StreamError as error:
            raise click.ClickException(str(error)) from error


def _check_app(ctx: click.Context) -> None:
    """Without -A Celery uses its default app, which may not be configured.

    Raises:
        ClickException: then it has no relay.
    """
    if ctx.find_root().params.get("app") is not None:
        return
    try:
        Runtime.of(ctx.obj.app).relay  # noqa: B018 - is there one?
    except ConfigurationError as error:
        advice = f"No application was given: celery -A proj streams {ctx.info_name}"
        raise click.ClickException(f"{error}\n{advice}") from error


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

"""Commands of `celery -A proj streams ...`, in this process, over one Redis."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery.bin.base import CLIContext
from celery.bin.celery import celery
from click import Context
from click.testing import CliRunner, Result

from streamstraight_celery.cli import streams as streams_command
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.runtime import Runtime
from tests.cli.app import make_app
from tests.cli.terminal import on_a_terminal_here
from tests.server.producer import Producer


class Streams:
    """Calls the command line against one Redis, in this process."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Nobody renews the leases of these producers, and commands take long on a busy machine.
        self.relay = RedisRelay(url, RelayOptions(lease=600_000))

    def environment(self, **conf: Any) -> dict[str, str]:
        return {**os.environ, "BROKER": self.url, "CONF": json.dumps(conf), "COLUMNS": "160"}

    def __call__(self, *arguments: str, **conf: Any) -> Result:
        with celery_context(self.url, conf) as parent:
            runner = CliRunner(env={"COLUMNS": "160"})
            done = runner.invoke(streams_command, arguments, parent=parent)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def on_a_terminal(self, *arguments: str, columns: int = 160, colours: bool = True) -> str:
        """What a command writes to a terminal of that width."""
        with celery_context(self.url, {}, colours=colours) as parent:
            return on_a_terminal_here(
                lambda: streams_command.main(arguments, standalone_mode=False, parent=parent),
                columns=columns,
            )

    def json(self, *arguments: str, **conf: Any) -> Any:
        return json.loads(self(*arguments, "--json", **conf).stdout)

    def producer(self, stream_id: str) -> Producer:
        return Producer(self.relay, stream_id).create()


@contextmanager
def celery_context(url: str, conf: dict[str, Any], *, colours: bool = True) -> Iterator[Context]:
    """What `celery -A tests.cli.app` hands to its commands."""
    with make_app(url, conf) as app:
        context = Context(celery, info_name="celery")
        context.params["app"] = app
        context.obj = CLIContext(app=app, no_color=not colours, workdir=None, quiet=False)
        yield context
        with suppress(ConfigurationError):
            Runtime.of(app).close()

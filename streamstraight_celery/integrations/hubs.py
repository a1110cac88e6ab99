"""What an application's own routes share with its mounted relay server, in one process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from celery import Celery

from ..enqueue.handle import StreamLink
from ..runtime import Runtime
from ..server.own_routes.options import Wanted
from ..server.reads.hubs import Hubs
from ..settings import this_app

_lock = threading.Lock()
_ATTRIBUTE = "_streamstraight_hubs"


def hubs_of(app: Celery) -> Hubs:
    """The hubs of a Celery app in this process.

    Raises:
        ConfigurationError: a `stream_*` setting is wrong.
    """
    runtime = Runtime.of(app)
    with _lock:
        found: Hubs | None = app.__dict__.get(_ATTRIBUTE)
        from ..server.app import app_hubs

        if found is None or found.settings is not runtime.settings:
            found = app.__dict__[_ATTRIBUTE] = app_hubs(app, runtime.settings)
        return found


def asked(
    stream: StreamLink | str, options: Mapping[str, Any], app: Celery | None = None
) -> tuple[Hubs, str, Wanted]:
    """What a route is to answer with.

    Args:
        stream: a handle, or a stream's id.
        options: those of `respond`.
        app: the Celery app of an id, when the options don't name it.

    Raises:
        ConfigurationError: an option is wrong, or the relay is `streamstraight://`.
        MalformedOffsetError: `offset` is not an offset.
        TypeError: `stream` is neither a handle nor an id.
    """
    given = dict(options)
    app = given.pop("app", None) or app
    wanted = Wanted(**given)
    if isinstance(stream, StreamLink):
        app, stream = stream.app, stream.id
    elif not isinstance(stream, str):
        raise TypeError(
            f"respond() answers with a stream: give a handle or a stream's id, not {stream!r}"
        )
    found = this_app(app)
    Runtime.of(found).check_own_relay(
        "respond() needs a stream store on Redis", "which browsers read themselves: use ref()"
    )
    return hubs_of(found), stream, wanted

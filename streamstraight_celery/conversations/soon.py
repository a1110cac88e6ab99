"""Telling ends off the thread that learns of them: an event loop, or a worker's parent process."""

from __future__ import annotations

import atexit
import contextlib
import weakref

from celery import Celery

from ..ends.telling import tell_application
from ..errors import StreamError
from ..in_turn import InTurn
from ..relays import open_relay
from ..settings import StreamSettings


class EndTeller(InTurn):
    """Tells the ends of streams, one after the other, on a thread.

    The thread has connections of its own: pool processes are forked at any time, and must not get
    one that is in use.

    Args:
        app: whose broker is used.
        settings: of the app.
    """

    def __init__(self, app: Celery, settings: StreamSettings) -> None:
        self._app = app
        self._settings = settings
        super().__init__(self._tell, "%d ends of streams are not told yet; the sweep will do that")
        _tellers.add(self)

    def _tell(self, stream_id: str) -> None:
        with contextlib.closing(open_relay(self._settings)) as relay:
            if tell_application(self._app, relay, stream_id, own_connection=True) == "failed":
                raise StreamError(f"the end of stream {stream_id!r} could not be told")


_tellers: weakref.WeakSet[EndTeller] = weakref.WeakSet()


@atexit.register
def flush_tellers() -> None:
    """Let the threads, which end with the process, tell what they have begun."""
    for teller in list(_tellers):
        teller.flush()

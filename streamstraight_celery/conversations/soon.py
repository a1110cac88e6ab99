"""Telling ends off the thread that learns of them: an event loop, or a worker's parent process."""

from __future__ import annotations

import atexit
import contextlib
import logging
import weakref

from celery import Celery
from kombu.exceptions import OperationalError

from ..ends.telling import tell_application
from ..errors import RelayUnavailableError, StreamError
from ..in_turn import InTurn
from ..relays import open_relay
from ..settings import StreamSettings
from .ending import tell_end

log = logging.getLogger(__name__)


class EndTeller(InTurn):
    """Tells applications and conversations of the ends of streams, in turn, on a thread.

    The thread has connections of its own: pool processes are forked at any time, and must not get
    one that is in use.

    Args:
        app: whose broker is used.
        settings: of the app.
    """

    def __init__(self, app: Celery, settings: StreamSettings) -> None:
        self._app = app
        self._settings = settings
        super().__init__(
            self._tell,
            "%d ends of streams are not told yet: the sweep, or the next look at them, does that",
        )
        _tellers.add(self)

    def _tell(self, stream_id: str) -> None:
        app, settings = self._app, self._settings
        with (
            contextlib.closing(open_relay(settings)) as relay,
            app.connection_for_write() as connection,
        ):
            # First the conversation: its readers wait.
            try:
                tell_end(app, settings, relay, stream_id, connection)
            except (RelayUnavailableError, OperationalError, OSError):
                raise  # the others would fail, too
            except Exception:
                log.exception(
                    "stream %s: its conversation is not told of its end", stream_id,
                    extra={"stream_id": stream_id},
                )  # fmt: skip
            told = tell_application(app, relay, stream_id, connection=connection)
        if told == "failed":
            raise StreamError(f"the end of stream {stream_id!r} could not be told")


_tellers: weakref.WeakSet[EndTeller] = weakref.WeakSet()


@atexit.register
def flush_tellers() -> None:
    """Let the threads, which end with the process, tell what they have begun."""
    for teller in list(_tellers):
        teller.flush()

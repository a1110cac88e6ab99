"""Tell a conversation what became of a stream, and send the messages that are due then."""

from __future__ import annotations

from typing import Any

from celery import Celery

from ..errors import RelayRefusedError
from ..relays.base import AsyncRelay, Page, Relay
from ..relays.conversations import Post
from ..relays.requests import Read
from ..settings import StreamSettings
from .events import stream_ended
from .turns import advance
from .waking import wake


def tell_end(
    app: Celery | None,
    settings: StreamSettings,
    relay: Relay,
    stream_id: str,
    connection: Any = None,
) -> None:
    """Tell the stream's conversation of its end, if it has both: at least once, added once.

    If it is suspended, and an input or its deadline has come, its task is continued.

    Args:
        app: sends the task whose turn it is then; None: that is not done.
        settings: of the app.
        relay: where the stream is.
        stream_id: the stream.
        connection: to the broker; default: one of the app's pool.

    Raises:
        RelayUnavailableError: the store does not answer.
        kombu.exceptions.OperationalError: the broker does not take the next task.
    """
    try:
        page = relay.read(Read(stream_id))
    except RelayRefusedError:  # the hosted service, which has no conversations
        return
    post = _end_of(stream_id, page)
    if post is not None:
        answer = relay.call(post)
        if app is not None:
            advance(app, settings, relay, post.key, connection)
            if answer.stop:
                wake(app, relay, post.key, connection)
    elif app is not None and page is not None and page.state.suspended:
        wake(app, relay, page.state.conversation, connection)


async def atell_end(relay: AsyncRelay, stream_id: str) -> None:
    """As `tell_end`, but for the messages that may be due then."""
    post = _end_of(stream_id, (await relay.read([Read(stream_id)]))[0])
    if post is not None:
        await relay.execute([post])


def _end_of(stream_id: str, page: Page | None) -> Post | None:
    if page is None or not page.state.conversation or not page.state.end:
        return None
    state = page.state
    return stream_ended(state.conversation, stream_id, state.end, state.error)

"""Streams that the web process produces itself, during or after its response, without a worker.

The same claim, lease, codecs, ends and stop as in a task, and the same sender thread. But a
stream that dies with its process is not restarted: use a task if it must survive a deploy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar

from celery import Celery, Task
from celery.utils import uuid

from ..codecs import Codec, Encoder, get_codec
from ..ends.on_end import check_on_end
from ..enqueue.conversations import Conversation, conversation_name
from ..ids import check_own_stream_id
from ..relays.about import About
from ..runtime import Runtime
from ..settings import this_app
from .publication import Chunks, Publication, end_publications
from .turn import Turn

if TYPE_CHECKING:
    from typing_extensions import Unpack

log = logging.getLogger(__name__)

__all__ = [
    "Publication",
    "PublishOptions",
    "aprepare",
    "apublish",
    "end_publications",
    "prepare",
    "publish",
]

Made = TypeVar("Made", bound=Publication)


class PublishOptions(TypedDict, total=False):
    """The options of `prepare`, `publish` and `tee`.

    Attributes:
        stream_id: name of the stream; default: a new one.
        codec: name of a codec, or a `Codec`; default `stream_codec`.
        encoder: a function from chunk to `str`, instead of a codec.
        conversation: name of the one that the stream belongs to; its turn is taken at once.
        if_active: what to do when that has an active stream: `reject` (an error) or `replace`
            (stop that one).
        title: what readers of the conversation are shown.
        on_end: a Celery task, or its name, that is enqueued with a `StreamEnd` once the stream has
            ended, at least once; default `stream_on_end`, and "" for none.
        app: the Celery app; default: the current one.
        labels, ttl: as `apply_stream`.
    """

    conversation: str | None
    if_active: Literal["reject", "replace"]
    title: str | None
    stream_id: str | None
    codec: str | Codec | None
    encoder: Encoder | None
    on_end: Task | str | None
    app: Celery | None
    labels: Mapping[str, str] | None
    ttl: float | None


def prepare(chunks: Chunks, **options: Unpack[PublishOptions]) -> Publication:
    """Announce a stream that will be produced later: by `run`, `arun` or `start`.

    Args:
        chunks: a sync or async generator.
        **options: see `PublishOptions`.

    Raises:
        StreamExistsError: there is a stream of that name.
        StreamActiveError: the conversation has an active stream.
        RelayUnavailableError: the relay does not answer.
        ConfigurationError: a wrong name, codec or setting.
        TypeError: not an iterator.
    """
    return make(Publication, chunks, options)


def make(kind: type[Made], chunks: Chunks, options: PublishOptions) -> Made:
    """Make a publication of that kind; errors as `prepare`."""
    unknown = sorted(set(options) - set(PublishOptions.__annotations__))
    if unknown:
        known = ", ".join(PublishOptions.__annotations__)
        raise TypeError(f"unexpected option {unknown[0]!r}: there are {known}")
    app = this_app(options.get("app"))
    runtime = Runtime.of(app)
    codec, encoder = options.get("codec"), options.get("encoder")
    if codec is None and encoder is None:
        codec = runtime.settings.codec
    name = options.get("stream_id")
    name = uuid() if name is None else check_own_stream_id(name)
    about = About.of("", options.get("labels"), options.get("ttl"))
    turn = None
    if (conversation := conversation_name(options.get("conversation"), None)) is not None:
        in_it = Conversation(app, conversation)
        turn = Turn(in_it, options.get("if_active", "reject"), options.get("title"))
    check_on_end(options.get("on_end"))
    on_end = runtime.on_end_name(options.get("on_end"))
    found = get_codec(codec, encoder=encoder)
    return kind(chunks, app, runtime, name, found, turn, on_end, about)


def publish(chunks: Chunks, **options: Unpack[PublishOptions]) -> Publication:
    """Produce a stream in a thread of this process; returns at once.

    An async generator runs on an event loop of ours, one for the process. Options and errors as
    `prepare`; errors of the generator are logged, and raised by `wait()`.
    """
    publication = prepare(chunks, **options)
    publication.start()
    return publication


async def aprepare(chunks: Chunks, **options: Unpack[PublishOptions]) -> Publication:
    """As `prepare`, without blocking the event loop."""
    return await amake(Publication, chunks, options)


async def amake(kind: type[Made], chunks: Chunks, options: PublishOptions) -> Made:
    """As `make`, without blocking the event loop."""
    given: PublishOptions = {"app": this_app(), **options}
    return await asyncio.to_thread(make, kind, chunks, given)


async def apublish(chunks: Chunks, **options: Unpack[PublishOptions]) -> Publication:
    """Produce a stream in a task of the running event loop, which has to stay open (ASGI).

    Options and errors as `prepare`; errors of the generator are logged, and raised by `wait()`.
    """
    publication = await aprepare(chunks, **options)
    begin(publication)
    return publication


def begin(publication: Publication) -> None:
    """Run it in a task of the running event loop, which keeps no reference to its tasks."""
    task = asyncio.get_running_loop().create_task(publication.arun())
    _tasks.add(task)
    task.add_done_callback(_finished)


def _finished(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a published stream failed", exc_info=error)


_tasks: set[asyncio.Task[None]] = set()

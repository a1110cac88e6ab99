"""The events of a conversation's log, as JSON objects.

Each has `type` and `at` (ms since 1970; the store adds it). The package's own types are in
`OWN_TYPES`; all others are the application's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..codecs import get_codec, utf8, wire_encoder
from ..errors import ConfigurationError, StreamTooLargeError
from ..relays.base import Relay
from ..relays.conversations import Post
from ..relays.requests import Answer, Read

# A stream began, one ended, a message to tasks, a question of a task, one that it has given up, and
# a message that did not fit; and what `read_conversation(streams=True)` puts between them.
OWN_TYPES = frozenset(
    {"stream", "ended", "input", "question", "closed", "refused", "chunk", "reset"}
)
MAX_TYPE = 100
MAX_EVENT_ID = 200
MAX_QUESTION_ID = 2 * MAX_EVENT_ID
PAGE = 256  # entries

_encode = wire_encoder(get_codec("json"))


def value_text(value: Any) -> str:
    """A value as JSON text, encoded as chunks of the codec `json` are.

    Raises:
        EncodeError: it cannot be JSON.
    """
    return "null" if value is None else _encode(value)


def event_bytes(fields: dict[str, Any], value: str | None = None) -> bytes:
    """An event as JSON; `value` is JSON text. Fields that are None are left out."""
    shown = {name: field for name, field in fields.items() if field is not None}
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return utf8(text if value is None else f'{text[:-1]},"value":{value}}}')


def stream_id_of_event(stream_id: str) -> str:
    """The id of the event that a stream began."""
    return f"stream:{stream_id}"


def stream_began(
    stream_id: str,
    *,
    task: str | None = None,
    task_id: str | None = None,
    title: str | None = None,
    parent: str | None = None,
) -> bytes:
    """A stream began: it was announced."""
    return event_bytes(
        {
            "type": "stream", "stream_id": stream_id, "task": task, "task_id": task_id,
            "title": title, "parent": parent,
        }
    )  # fmt: skip


def stream_ended(conversation: str, stream_id: str, reason: str, error: str = "") -> Post:
    """A stream ended; `error` is what readers are told, as JSON."""
    fields = {
        "type": "ended", "stream_id": stream_id, "reason": reason,
        "error": json.loads(error) if error else None,
    }  # fmt: skip
    return Post(conversation, f"ended:{stream_id}", event_bytes(fields), vital=True, ends=stream_id)


def check_type(kind: str) -> str:
    """Return the type of an application's own event.

    Raises:
        ConfigurationError: it is not a string of 1 to `MAX_TYPE` characters, or one of the package.
    """
    if not isinstance(kind, str) or not 0 < len(kind) <= MAX_TYPE or kind in OWN_TYPES - {"input"}:
        taken = ", ".join(sorted(OWN_TYPES - {"input"}))
        raise ConfigurationError(
            f"type={kind!r}: name your event by a string of 1 to {MAX_TYPE} characters, other than "
            f"{taken}"
        )
    return kind


def check_event_id(event_id: str) -> str:
    """Return the id of an event that somebody sends.

    Raises:
        ConfigurationError: it is not a string of 1 to `MAX_EVENT_ID` printable ASCII characters.
    """
    fits = isinstance(event_id, str) and 0 < len(event_id) <= MAX_EVENT_ID
    if not fits or not event_id.isascii() or not event_id.isprintable():
        raise ConfigurationError(
            f"id={event_id!r:.100}: use 1 to {MAX_EVENT_ID} printable ASCII characters"
        )
    if event_id.startswith(("stream:", "ended:", "refused:", "question:", "closed:")):
        raise ConfigurationError(f"id={event_id!r}: ids that begin so are the package's own")
    return event_id


def question_id(stream_id: str, name: str) -> str:
    """The id of a task's question, which an answer names.

    Raises:
        ConfigurationError: the name is not an event's id, or too long with that of the stream.
    """
    question = f"question:{stream_id}:{check_event_id(name)}"
    if len(question) > MAX_QUESTION_ID:
        raise ConfigurationError(
            f"id={name!r:.100}: with the stream's, an id of {len(question)} characters; "
            f"{MAX_QUESTION_ID} are possible"
        )
    return question


def check_posted(key: str, answer: Answer) -> None:
    """Check what the store made of an event.

    Raises:
        StreamTooLargeError: the conversation is full.
        ConfigurationError: a stream of another kind has the conversation's id.
    """
    if answer.kind == "too-large":
        raise StreamTooLargeError(
            f"conversation {key!r} is full (stream_conversation_bytes): begin another one, or "
            "delete it"
        )
    if answer.kind == "exists":
        raise ConfigurationError(f"a stream that is not a conversation has the id of {key!r}")


def read_events(relay: Relay, log: str) -> Iterator[dict[str, Any]]:
    """All events of a log that there are.

    Raises:
        RelayUnavailableError: the store does not answer.
    """
    attempt = seq = 0
    while (page := relay.read(Read(log, attempt, seq, PAGE))) is not None and page.entries:
        for entry in page.entries:
            yield json.loads(entry.data)
            attempt, seq = page.state.attempt, entry.last

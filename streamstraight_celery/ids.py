"""Names that the layers agree on."""

from __future__ import annotations

import hashlib
import re

from .errors import ConfigurationError

# The message header that carries a stream id other than the task's own id.
STREAM_ID_HEADER = "stream_id"
# One that says that the stream may take the place of another task's that has ended.
OVERWRITE_HEADER = "stream_overwrite"
# The ones that name a stream's conversation, and the stream whose task started this one.
CONVERSATION_HEADER = "stream_conversation"
PARENT_HEADER = "stream_parent"
# Says that the message was sent before it is the stream's turn in its conversation.
QUEUED_HEADER = "stream_queued"
# Of a message that continues a suspended task: the attempt that was suspended.
WAKES_HEADER = "stream_wakes"
# One that names the task that is told of the stream's end, instead of the task's own option.
ON_END_HEADER = "stream_on_end"
# Labels of a stream (a dict), and how long it is kept after its end (seconds).
LABELS_HEADER = "stream_labels"
TTL_HEADER = "stream_ttl"
# Under this name a delivery's `properties` hold the nonce by which its stream is claimed.
STREAM_NONCE = "stream_nonce"
# The remote control command that makes a worker look for stops at once.
STOP_COMMAND = "stop_stream"
# The one that lists the streams a worker writes.
INSPECT_COMMAND = "active_streams"

# Conversations are streams whose ids begin with this; the rest says the conversation's name.
CONVERSATION_PREFIX = "conversation:"
MAX_CONVERSATION_NAME = 500

_STREAM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,199}\Z", re.ASCII)


def check_stream_id(stream_id: str) -> str:
    """Return `stream_id` if it can stand in a URL and a Redis key.

    Raises:
        ConfigurationError: it cannot.
    """
    if not isinstance(stream_id, str) or _STREAM_ID.match(stream_id) is None:
        raise ConfigurationError(
            f"stream id {stream_id!r}: use 1 to 200 letters, digits and . _ ~ : @ -, "
            "beginning with a letter or digit, in a str"
        )
    return stream_id


def check_own_stream_id(stream_id: str) -> str:
    """As `check_stream_id`, of a name that an application gives to a stream.

    Raises:
        ConfigurationError: it cannot, or it is the name of a conversation.
    """
    if is_conversation(check_stream_id(stream_id)):
        raise ConfigurationError(
            f"stream id {stream_id!r}: names that begin with {CONVERSATION_PREFIX!r} are for "
            "conversations; use get_conversation()"
        )
    return stream_id


def is_conversation(stream_id: str) -> bool:
    """Whether this is the id of a conversation's log, and not of a stream."""
    return stream_id.startswith(CONVERSATION_PREFIX)


def conversation_id(name: str) -> str:
    """The stream id of a conversation's log: its name where that can stand in one, else a hash."""
    plain = CONVERSATION_PREFIX + name
    if "~" not in name and _STREAM_ID.match(plain) is not None:
        return plain
    return f"{CONVERSATION_PREFIX}~{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def check_conversation_name(name: str, what: str = "conversation") -> str:
    """Return `name` if a conversation can have it.

    Raises:
        ConfigurationError: it cannot.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_CONVERSATION_NAME:
        raise ConfigurationError(
            f"{what}={name!r}: name the conversation by a string of 1 to {MAX_CONVERSATION_NAME} "
            "characters, such as f'chat-{chat.pk}'"
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{what}={name!r}: half of a surrogate pair is not a character"
        ) from None
    return name

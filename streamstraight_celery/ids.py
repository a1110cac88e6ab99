"""Names that the layers agree on."""

from __future__ import annotations

import re

from .errors import ConfigurationError

# The message header that carries a stream id other than the task's own id.
STREAM_ID_HEADER = "stream_id"
# One that says that the stream may take the place of another task's that has ended.
OVERWRITE_HEADER = "stream_overwrite"
# Under this name a delivery's `properties` hold the nonce by which its stream is claimed.
STREAM_NONCE = "stream_nonce"
# The remote control command that makes a worker look for stops at once.
STOP_COMMAND = "stop_stream"
# The one that lists the streams a worker writes.
INSPECT_COMMAND = "active_streams"

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

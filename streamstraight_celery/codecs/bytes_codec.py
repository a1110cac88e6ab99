"""`codec="bytes"`: a task that yields audio, an image, a file. Read as one stream of bytes."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from ..errors import EncodeError
from .codec import Codec, register


def encode_bytes(chunk: Any) -> str:
    """Encode a piece of the stream as base64; an empty one makes no chunk.

    Raises:
        EncodeError: it is not bytes.
    """
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise EncodeError(
            f'codec "bytes" takes bytes, not {type(chunk).__name__}: for chunks of JSON with bytes '
            "inside, use the default codec"
        )
    return b64encode(chunk).decode()


BYTES: Codec = register(Codec("bytes", encode_bytes, b64decode, "bytes"))

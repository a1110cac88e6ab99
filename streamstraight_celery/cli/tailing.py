"""A stream's chunks with where and when, for tools that show streams as they are written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..reader.reader import StreamReader


class Tailed(NamedTuple):
    """A chunk, the position after it, and when it was read (seconds since the epoch).

    The log does not keep times, so a chunk that was there before is as old as the look at it.
    """

    offset: str
    chunk: Any
    time: float


def tail(reader: StreamReader[Any]) -> Iterator[Tailed]:
    """Iterate over a reader's chunks, live, and close it in the end; raises what the reader does.

    `tail(read_stream(stream_id, app=app, offset="now"))` shows only what comes from now on.
    """
    with reader:
        for chunk in reader:
            yield Tailed(reader.offset, chunk, time.time())

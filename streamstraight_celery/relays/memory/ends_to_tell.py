"""Streams whose end is to be told: `enlist.lua`, `delist.lua`, `listed.lua`, `note_told.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base import RelayOptions
from ..requests import Answer, Delist, Enlist, Listed, NoteTold

if TYPE_CHECKING:
    from .store import MemoryStore


class EndsToTell:
    """The lists: their streams, and from when (ms) each is looked at.

    Args:
        options: of the store.
    """

    def __init__(self, options: RelayOptions) -> None:
        self._options = options
        self._lists: dict[str, dict[str, int]] = {}

    def execute(self, request: Enlist | Delist | Listed, now: int) -> Answer:
        """Carry out one request."""
        marks = self._lists.setdefault(request.stream_id, {})
        if isinstance(request, Listed):
            found = sorted((mark, name) for name, mark in marks.items() if mark <= now)
            part = found[request.skip : request.skip + request.limit]
            return Answer("ok", now, reason="\n".join([f"{n} {mark}" for mark, n in part]))
        mark = marks.get(request.listed)
        if isinstance(request, Delist):
            if mark != request.mark:
                return Answer("fenced")
            del marks[request.listed]
            return Answer("ok")
        if request.seen and mark != request.seen:
            return Answer("fenced")
        forgotten = now - self._options.listed_ttl
        for name in [name for name, mark in marks.items() if mark <= forgotten]:
            del marks[name]
        marks[request.listed] = now + (self._options.lease if request.hold else 0)
        return Answer("ok", marks[request.listed])


def note_told(store: MemoryStore, request: NoteTold) -> Answer:
    """Note that the application was told of a stream's end."""
    stream = store.get(request.stream_id)
    if stream is None:
        return Answer("unknown")
    if not stream.end or (stream.attempt, stream.ended) != (request.attempt, request.ended):
        return Answer("fenced")
    stream.told = stream.attempt, stream.ended
    return Answer("ok")

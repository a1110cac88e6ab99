"""Forks: a stream that begins with a copy of another's chunks, at the same offsets. No I/O.

(Section 4.2 of the protocol.) A fork continues the attempts of its source as a new one, the way a
resumed attempt does. It holds a copy, so that neither stream depends on the other's keys.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...errors import ConfigurationError, MalformedOffsetError
from ...ids import check_stream_id
from ...offsets import START, Offset, Segment, Verdict, judge
from ...relays.base import StreamState
from ...relays.requests import Entry, Open
from ..content import content_of, pieces_of
from ..http import Refused, Request, bad_request, not_found, number_of
from ..live.window import FRAME_BYTES, merge
from ..reads.durable import STREAM_PATH


@dataclass(frozen=True, slots=True)
class ForkCall:
    """What a PUT says of the stream to fork; `offset` "" is the end it has now."""

    source: str
    offset: str = ""
    beyond: int = 0  # messages, or bytes, behind the offset


def parse_fork(request: Request) -> ForkCall | None:
    """Read the fork headers of a PUT; None without them.

    Raises:
        Refused: 400, they are malformed or incomplete; 404, the path is no stream's.
    """
    headers = request.headers
    path, offset = headers.get("stream-forked-from"), headers.get("stream-fork-offset")
    beyond = headers.get("stream-fork-sub-offset")
    if path is None:
        if offset is not None or beyond is not None:
            raise bad_request("Stream-Fork-Offset and -Sub-Offset need Stream-Forked-From")
        return None
    count = number_of("Stream-Fork-Sub-Offset", beyond) if beyond is not None else 0
    if count and offset is None:
        raise bad_request("Stream-Fork-Sub-Offset needs Stream-Fork-Offset")
    return ForkCall(_stream_of(path), offset or "", count)


def seq_of(call: ForkCall, state: StreamState) -> int:
    """The seq of the last chunk before the fork's offset.

    Raises:
        Refused: 400, there is no such offset in the source.
    """
    if not call.offset:
        return state.last
    # Clients of the protocol's reference server know its first offset, which is all zeros.
    if call.offset == START or not call.offset.strip("0_"):
        return 0
    try:
        offset = Offset.parse(call.offset)
    except MalformedOffsetError as error:
        raise bad_request(str(error)) from None
    # As of an ended stream: an offset ahead of the log is nothing that can be copied.
    if offset.seq and judge(offset, state.segments, True) is not Verdict.VALID:
        raise bad_request("Stream-Fork-Offset is no offset of the source")
    return offset.seq


def fork_of(opening: Open, call: ForkCall, state: StreamState, entries: Sequence[Entry]) -> Open:
    """The request that creates the fork.

    Args:
        opening: what the PUT would create without its fork headers.
        call: its fork headers.
        state: the source.
        entries: all of the source's log.

    Raises:
        Refused: 400, there is no such position in the source; 409, the content types differ.
    """
    content = content_of(state.kind, state.content_type)
    if opening.content_type != content.media_type:
        raise Refused(409, "conflict", f"the source's Content-Type is {content.media_type}")
    seq, prefix = _reach(call, state, entries)
    ttl, expires_at = opening.ttl, opening.expires_at
    if ttl is None and expires_at is None:
        ttl, expires_at = state.ttl, state.expires_at
    chunks = [*prefix, *([opening.data] if opening.count else [])]
    return replace(
        opening,
        config=f"{opening.config} {call}",
        kind=state.kind,
        ttl=ttl,
        expires_at=expires_at,
        count=opening.count + len(prefix),
        data=b"\n".join(chunks),
        source=call.source,
        lineage=_lineage(state.segments, seq),
        inherited=tuple(merge(_until(entries, seq), FRAME_BYTES)),
    )


def _stream_of(path: str) -> str:
    """The stream that a URL's path names."""
    try:
        return check_stream_id(path.rpartition(STREAM_PATH)[2])
    except ConfigurationError:
        raise not_found() from None


def _reach(call: ForkCall, state: StreamState, entries: Sequence[Entry]) -> tuple[int, list[bytes]]:
    """The last chunk to inherit, and what the fork begins with of the one behind it."""
    seq = seq_of(call, state)
    if not call.beyond:
        return seq, []
    beyond = Refused(400, "bad-request", "Stream-Fork-Sub-Offset is behind the source's end")
    if state.kind != "bytes":
        if seq + call.beyond > state.last:
            raise beyond
        return seq + call.beyond, []
    wanted = call.beyond
    for line in _lines(entries, seq):
        piece = b64decode(line[1:-1])
        if len(piece) > wanted:
            return seq, pieces_of(piece[:wanted])
        seq, wanted = seq + 1, wanted - len(piece)
        if not wanted:
            return seq, []
    raise beyond


def _lines(entries: Sequence[Entry], seq: int) -> list[bytes]:
    return [line for e in entries if e.last > seq for line in e.after(seq).data.split(b"\n")]


def _until(entries: Sequence[Entry], seq: int) -> list[Entry]:
    """The entries up to chunk `seq`."""
    found = []
    for entry in entries:
        if entry.last <= seq:
            found.append(entry)
        elif entry.first <= seq:
            lines = entry.data.split(b"\n")[: seq - entry.first + 1]
            found.append(Entry(entry.first, seq, b"\n".join(lines)))
    return found


def _lineage(segments: Sequence[Segment], seq: int) -> tuple[Segment, ...]:
    """The attempts that wrote chunks 1 to `seq`."""
    found: list[Segment] = []
    for segment in segments:
        if found and found[-1].last >= seq:
            break
        if seq:
            found.append(replace(segment, last=min(segment.last, seq)))
    return tuple(found)

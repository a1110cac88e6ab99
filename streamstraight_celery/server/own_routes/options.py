"""What an application says about a route of its own. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from ...errors import ConfigurationError
from ...offsets import START
from ..live.position import parse_asked
from ..reads.envelopes import Envelope

if TYPE_CHECKING:
    from celery import Celery


class Options(TypedDict, total=False):
    """The keyword arguments of every `respond`.

    Attributes:
        event: the field of a chunk that names its event, such as `"type"`.
        envelope: a function of a chunk that returns what to send for it: a string as it is,
            None for nothing, anything else as JSON.
        headers: added to the response's, or in place of one of them.
        offset: where to begin when the request does not say it; default: at the start.
        ping: seconds of quiet after which a comment is sent; default `stream_ping_interval`.
        app: the Celery app of a stream that is given by its id; default: the current one.
    """

    event: str
    envelope: Envelope | None
    headers: Mapping[str, str]
    offset: str
    ping: float | None
    app: Celery | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`Options`, checked.

    Raises:
        ConfigurationError: one of them is wrong.
        MalformedOffsetError: `offset` is not an offset.
    """

    event: str = ""
    envelope: Envelope | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    offset: str = START
    ping: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.event, str):
            raise ConfigurationError(f"event={self.event!r}: name a field of the chunks")
        if self.envelope is not None and not callable(self.envelope):
            raise ConfigurationError(f"envelope={self.envelope!r}: give a function of a chunk")
        if self.ping is not None and not self.ping > 0:
            raise ConfigurationError("ping is in seconds, greater than 0")
        parse_asked(self.offset)
        for name in self.headers:
            if name.lower() in _FRAMING:
                raise ConfigurationError(f"headers={{{name!r}: ...}}: the server sets that one")


_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})

"""What a consumer may ask for, in one place for both kinds of readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from ..errors import ConfigurationError, StreamError
from ..offsets import START
from .decoding import Decode, make_decode
from .place import Place
from .timing import Timing

# What a reader with `idle=` yields on a quiet stream. Typed Any: it may be compared with any chunk.
IDLE: Any = object()

Status = Literal["connecting", "open", "reconnecting", "closed"]


class HandleOptions(TypedDict, total=False):
    """Options of every way to read; `read_stream` describes them."""

    offset: str | int
    wait: float | None
    on_reset: Callable[[int], object] | None
    on_status: Callable[[Status], object] | None
    on_retry: Callable[[StreamError], object] | None
    raise_on_failure: bool
    give_up_after: float | None
    idle: float | None


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """The keyword arguments of `read_stream`, which describes them."""

    type: Any = None
    decoder: Callable[[str], Any] | None = None
    offset: str | int = START
    wait: float | None = None
    on_reset: Callable[[int], object] | None = None
    on_status: Callable[[Status], object] | None = None
    on_retry: Callable[[StreamError], object] | None = None
    raise_on_failure: bool = True
    give_up_after: float | None = None
    idle: float | None = None
    timing: Timing = field(default_factory=Timing)

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", _offset(self.offset))
        if self.wait is not None and not self.wait >= 0:
            raise ConfigurationError("wait is in seconds, 0 or more")
        if self.give_up_after is not None and self.give_up_after <= 0:
            raise ConfigurationError("give_up_after is in seconds, greater than 0")
        if self.idle is not None and self.idle <= 0:
            raise ConfigurationError("idle is in seconds, greater than 0")

    @property
    def position(self) -> str:
        """Where to begin."""
        return str(self.offset)

    def decode(self) -> Decode:
        """The function that makes a chunk what was asked for."""
        return make_decode(self.type, self.decoder)


def _offset(given: object) -> str:
    """The offset as text. A negative number counts from the end.

    Raises:
        ConfigurationError: it is another number.
        MalformedOffsetError: it is no position of a reader.
    """
    if isinstance(given, int):
        if isinstance(given, bool) or given >= 0:
            raise ConfigurationError(
                f"offset={given!r}: use what a reader's .offset said, or a negative number of "
                "chunks, counted from the end"
            )
        return "-01" if given == -1 else str(given)
    text = str(given)
    Place.parse(text)
    return text

"""Which keys of Redis are those of streams, and which of the index by which streams are found."""

from __future__ import annotations

import re
from collections.abc import Iterable

_INDEX = re.compile(rb"ss:i:\{(?:[0-9]|1[0-5])\}:(?:recent|active|progress|task:.*|label:.+)", re.S)


def is_of_index(key: bytes | str) -> bool:
    """Whether it is one of the index's keys, which are advisory and may stay for good."""
    return bool(_INDEX.fullmatch(key.encode() if isinstance(key, str) else key))


def without_index(keys: Iterable[bytes]) -> list[bytes]:
    """All the other keys, in order."""
    return sorted(key for key in keys if not is_of_index(key))

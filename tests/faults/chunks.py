"""Chunks that say what they are, so that whoever reads one can tell whether it belongs there."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple


class Mark(NamedTuple):
    """What a chunk says of itself."""

    stream: str
    attempt: int
    nonce: str
    seq: int


def make_chunk(mark: Mark, size: int) -> str:
    """A chunk of about `size` characters, as JSON text."""
    seed = _digest(f"{mark.stream}/{mark.attempt}/{mark.nonce}/{mark.seq}")
    body = (seed * (size // len(seed) + 1))[:size]
    text = {**mark._asdict(), "body": body, "digest": _digest(_signed(mark, body))}
    return json.dumps(text, separators=(",", ":"))


def read_chunk(value: Any) -> Mark:
    """What a chunk says of itself.

    Raises:
        ValueError: it is damaged, or no chunk of ours.
    """
    try:
        mark = Mark(value["stream"], value["attempt"], value["nonce"], value["seq"])
        intact = value["digest"] == _digest(_signed(mark, value["body"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a chunk of these tests: {value!r:.200}") from error
    if not intact:
        raise ValueError(f"damaged: {mark}")
    return mark


def _signed(mark: Mark, body: str) -> str:
    return "/".join([*map(str, mark), body])


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

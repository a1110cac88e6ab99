"""Stream tasks whose chunks need encoding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from streamstraight_celery import Codec, register_codec, stream_task

register_codec("upper", lambda chunk: str(chunk).upper(), str.lower)
register_codec("spaced-json", lambda chunk: json.dumps(chunk, indent=2), json.loads, kind="json")


def unsuitable(kind: str) -> Any:
    """A chunk that no default codec takes."""
    values = {
        "bytes": b"raw",
        "bytearray": bytearray(b"raw"),
        "None": None,
        "nan": float("nan"),
        "nested nan": {"score": [float("nan")]},
        "object": object(),
        "nested object": {"agent": {"tools": [object()]}},
        "large": "x" * 100_000,
        "large in bytes": "\N{PILE OF POO}" * 20_000,
    }
    return values[kind]


@stream_task
def spoiling(kind: str) -> Iterator[Any]:
    yield "kept one"
    yield "kept two"
    yield unsuitable(kind)
    yield "never"


def wrong(chunk: Any) -> Any:
    """An encoder that goes wrong when told to."""
    if chunk == "bytes":
        return b"raw"
    if chunk == "None":
        return None
    if chunk == "error":
        raise ZeroDivisionError("in the encoder")
    return str(chunk)


@stream_task(encoder=wrong)
def spoilt_by_encoder(kind: str) -> Iterator[str]:
    yield "kept one"
    yield "kept two"
    yield kind
    yield "never"


@stream_task(encoder=str.strip)
def stripped(*words: str) -> Iterator[str]:
    yield from words


@stream_task(codec="upper")
def loud(*words: str) -> Iterator[str]:
    yield from words


@stream_task(codec="spaced-json")
def spaced(value: Any) -> Iterator[Any]:
    yield value


@stream_task(codec=Codec("colon", lambda chunk: f":{chunk}", lambda text: text[1:]))
def with_colon(*words: str) -> Iterator[str]:
    yield from words


@stream_task
def echo(*chunks: Any) -> Iterator[Any]:
    yield from chunks


@stream_task
def surrogates() -> Iterator[Any]:
    """Halves of an emoji, as some tokenisers split it."""
    yield "\ud83d"
    yield {"delta": "\ude00"}


@stream_task
def events() -> Iterator[Any]:
    """Event objects of two SDKs."""
    from anthropic.types import RawContentBlockDeltaEvent, TextDelta
    from openai.types.responses import ResponseTextDeltaEvent

    for word in ("Hel", "lo"):
        yield ResponseTextDeltaEvent(
            type="response.output_text.delta", delta=word, content_index=0, item_id="i",
            logprobs=[], output_index=0, sequence_number=1,
        )  # fmt: skip
        yield RawContentBlockDeltaEvent(
            type="content_block_delta", index=0, delta=TextDelta(type="text_delta", text=word)
        )

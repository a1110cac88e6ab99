"""What encoding a chunk costs, beside `json.dumps` and `model_dump_json()`: no stack needed.

`python -m benchmarks.encoding` prints microseconds a chunk.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import timeit
from collections.abc import Callable
from typing import Any

import pydantic
from openai.types.responses import ResponseTextDeltaEvent

from streamstraight_celery.codecs import JSON, wire_encoder

ROUNDS = 20_000


class Answer(pydantic.BaseModel):
    """A model whose declaration leaves nothing open."""

    text: str
    tokens: int = 3


class Scored(pydantic.BaseModel):
    """A model whose values have to be looked at."""

    text: str
    score: float | None = 0.5
    extra: Any = None


@dataclasses.dataclass
class Delta:
    """A dataclass."""

    text: str
    tokens: int = 3


EVENT = ResponseTextDeltaEvent(
    type="response.output_text.delta", delta="hi", content_index=0, item_id="msg_68af1d1a0d8c",
    logprobs=[], output_index=0, sequence_number=1,
)  # fmt: skip
dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
CASES: dict[str, tuple[Any, Callable[[Any], str]]] = {
    "a string": ("hello", dumps),
    "a dictionary": ({"type": "delta", "text": "hi", "tokens": 3}, dumps),
    "a date in a dictionary": (
        {"at": datetime.datetime(2026, 1, 2)},
        lambda chunk: dumps({"at": chunk["at"].isoformat()}),
    ),
    "an event of the OpenAI SDK": (EVENT, lambda event: event.to_json(indent=None)),
    "a pydantic model": (Answer(text="hi"), lambda model: model.model_dump_json()),
    "one with a float and Any": (Scored(text="hi"), lambda model: model.model_dump_json()),
    "a dataclass": (Delta("hi"), lambda chunk: dumps(dataclasses.asdict(chunk))),
}


def microseconds(encode: Callable[[Any], str], chunk: Any) -> float:
    """The best of five."""
    best = min(timeit.repeat(lambda: encode(chunk), number=ROUNDS, repeat=5))
    return best / ROUNDS * 1e6


def main() -> None:
    """Print a table."""
    ours = wire_encoder(JSON)
    print(f"{'us a chunk':30} {'ours':>6} {'bare':>6}")
    for name, (chunk, bare) in CASES.items():
        print(f"{name:30} {microseconds(ours, chunk):6.2f} {microseconds(bare, chunk):6.2f}")


if __name__ == "__main__":
    main()

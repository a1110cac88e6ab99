"""Bytes a token of each codec, on the real frameworks: `python -m tests.frameworks.sizes`.

The models say 400 words; counted are the chunks of one of them, without the stream's ends.
"""

from __future__ import annotations

import json

from streamstraight_celery.codecs import get_codec, wire_encoder
from tests.frameworks.models import Models, chat, responses
from tests.frameworks.sources import SOURCES

WORDS = [f"word{number:03} " for number in range(400)]
NAMES = ("openai responses", "openai responses.stream", "openai chat", "openai chat.stream",
         "anthropic", "anthropic stream", "langchain", "langchain events", "langgraph messages",
         "openai-agents", "pydantic-ai", "google-genai", "ollama", "litellm",
         "llama-index")  # fmt: skip


def per_token(texts: list[str]) -> float:
    """Bytes of the chunks that hold one word each."""
    of_one = [text for text in texts if text.count("word") == 1]
    return sum(map(len, of_one)) / len({text.split("word")[1][:3] for text in of_one})


def main() -> None:
    """Print a table."""
    for name, source in (("OpenAI's own chat", chat), ("OpenAI's own responses", responses)):
        texts = [json.dumps(each, separators=(",", ":")) for each in source({}, WORDS)]
        print(f"{name:28} {per_token(texts):6.0f}")
    with Models(WORDS) as models:
        for name in NAMES:
            codec, make = SOURCES[name]
            events = make(models.url)
            texts = [wire_encoder(get_codec(codec))(event) for event in events]
            print(f"{name:28} {per_token(texts):6.0f}")


if __name__ == "__main__":
    main()

"""The words of an answer in its chunks, for readers that want nothing else."""

from __future__ import annotations

from typing import Any

# Chunks whose type says that they carry a piece of the answer's text, and in which field.
_PIECES = {
    "text-delta": "delta",  # the AI SDK's UI messages
    "response.output_text.delta": "delta",  # OpenAI's Responses
    "TEXT_MESSAGE_CONTENT": "delta",  # AG-UI
}


def words_of(chunk: object) -> str:
    """The piece of the answer's text in a chunk; `""` for none."""
    if isinstance(chunk, str):
        return chunk
    if not isinstance(chunk, dict):
        return ""
    kind = chunk.get("type")
    if kind == "content_block_delta":  # Anthropic's
        return _text(chunk.get("delta"), "text")
    if chunk.get("object") == "chat.completion.chunk":
        choices = chunk.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        return _text(first.get("delta"), "content") if isinstance(first, dict) else ""
    return _text(chunk, _PIECES.get(str(kind), ""))


def _text(fields: Any, name: str) -> str:
    found = fields.get(name) if isinstance(fields, dict) else None
    return found if isinstance(found, str) else ""

"""Chunks of google-genai: `generate_content_stream()`.

Each comes with the response's headers, and with the history of automatic function calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .picking import binary, each_of, get, pick

_USAGE = (
    "prompt_token_count",
    "candidates_token_count",
    "thoughts_token_count",
    "total_token_count",
)


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What is sent of such objects."""
    if not kind.__module__.startswith("google.genai."):
        return None
    if kind.__name__ == "GenerateContentResponse":
        return project
    return _refuse


def _refuse(value: Any) -> Any:
    raise ValueError(f"{type(value).__name__} may hold instructions and headers")


def project(chunk: Any) -> Any:
    """What `codec="google-genai"` sends."""
    if not type(chunk).__module__.startswith("google.genai."):
        return chunk
    if type(chunk).__name__ != "GenerateContentResponse":
        return _refuse(chunk)
    candidates = [_candidate(each) for each in each_of(chunk, "candidates")]
    is_last = any("finish_reason" in each for each in candidates)
    usage = pick(get(chunk, "usage_metadata"), *_USAGE) if is_last else None
    found = pick(chunk, "response_id", candidates=candidates, usage_metadata=usage or None)
    if feedback := get(chunk, "prompt_feedback"):
        found["prompt_feedback"] = pick(feedback, "block_reason")
    return found


def _candidate(candidate: Any) -> dict[str, Any]:
    parts = [_part(part) for part in each_of(get(candidate, "content"), "parts")]
    content = {"role": "model", "parts": [part for part in parts if part]}
    return pick(candidate, "index", "finish_reason", content=content)


def _part(part: Any) -> dict[str, Any]:
    found = pick(part, "text", "thought")
    if call := get(part, "function_call"):
        found["function_call"] = pick(call, "id", "name", "args")
    if code := get(part, "executable_code"):
        found["executable_code"] = pick(code, "code", "language")
    if result := get(part, "code_execution_result"):
        found["code_execution_result"] = pick(result, "outcome", "output")
    if blob := get(part, "inline_data"):
        found["inline_data"] = binary(blob.data, blob.mime_type)
    return found

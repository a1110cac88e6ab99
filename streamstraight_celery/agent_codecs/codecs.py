"""Codecs for the wire of chat front ends: `codec="ui-messages"` (AI SDK), `codec="ag-ui"` (AG-UI).

A task yields what an adapter gives, for example pydantic-ai's `VercelAIAdapter` and `AGUIAdapter`:
the strings of `adapter.encode_stream(adapter.run_stream())`, its events themselves, or mappings.
Chunks are the parts as JSON, without what only belongs to a response of its own (`data:`,
`[DONE]`): how a stream is framed, and how it ends, is the relay's to say.

An adapter turns an exception of the agent into a last part that says it failed, with the
exception's text. Here that part fails the task: Celery may retry it, then readers are told to
start over, and the text, which may hold prompts or keys, stays with Celery.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..codecs import Codec, encode_json, register_codec
from ..errors import AgentFailedError, EncodeError

DONE = "[DONE]"
_LINE_BREAKS = re.compile(r"\r\n|\r|\n")
_FIELD = re.compile(r"(data|event|id|retry)?:")
FAILED = "The answer could not be completed."


def encode_ui_message(chunk: Any) -> str:
    """One part of a UI message stream as JSON text; `""` for what is no part.

    Raises:
        AgentFailedError: it is an `error` part.
        EncodeError: it is no part.
    """
    part, text = _part_of(chunk)
    if part is not None and part["type"] == "error":
        raise _failure(part.get("errorText"))
    # An adapter's own name for the end mark.
    return "" if part == {"type": "done"} else text


def encode_ag_ui(chunk: Any) -> str:
    """One AG-UI event as JSON text; `""` for what is no event.

    Raises:
        AgentFailedError: it is a `RUN_ERROR`.
        EncodeError: it is no event.
    """
    event, text = _part_of(chunk)
    if event is not None and event["type"] == "RUN_ERROR":
        raise _failure(event.get("message"))
    return text


def _part_of(chunk: Any) -> tuple[dict[str, Any] | None, str]:
    """A part, and its JSON text; nothing for the end mark, comments and empty lines."""
    text = _text_of(chunk).strip()
    if not text or text == DONE:
        return None, ""
    try:
        part = json.loads(text)
    except ValueError as error:
        raise EncodeError(f"a part of a chat's stream is no JSON: {error}") from error
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise EncodeError("a part of a chat's stream is a JSON object with a type")
    return part, text


def _text_of(chunk: Any) -> str:
    if isinstance(chunk, str):
        return _data_of(chunk)
    if not isinstance(chunk, Mapping) and callable(dump := getattr(chunk, "model_dump_json", None)):
        # As the wire wants them: camelCase, and nothing that is not there.
        return str(dump(by_alias=True, exclude_none=True))
    return encode_json(chunk)


def _data_of(text: str) -> str:
    """The data of a server-sent event; what is none is taken as it is."""
    lines = [line for line in _LINE_BREAKS.split(text) if line]
    if not all(_FIELD.match(line) for line in lines):
        return text
    return "\n".join(line[5:].strip() for line in lines if line.startswith("data:"))


def _failure(said: object) -> AgentFailedError:
    error = AgentFailedError(FAILED)
    error.__cause__ = RuntimeError(said)
    return error


UI_MESSAGES: Codec = register_codec("ui-messages", encode_ui_message, json.loads, kind="json")
AG_UI: Codec = register_codec("ag-ui", encode_ag_ui, json.loads, kind="json")

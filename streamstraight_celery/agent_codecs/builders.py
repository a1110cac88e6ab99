"""From bare tokens, or a framework's events, to UI messages (AI SDK) and AG-UI's events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Protocol, overload
from uuid import uuid4

from .steps import Step, Steps

Part = dict[str, Any]


@overload
def to_ui_messages(events: Iterable[Any], *, message_id: str = "") -> Iterator[Part]: ...
@overload
def to_ui_messages(events: AsyncIterable[Any], *, message_id: str = "") -> AsyncIterator[Part]: ...
def to_ui_messages(events: Any, *, message_id: str = "") -> Any:
    """Turn an answer into the parts of a UI message stream, for `codec="ui-messages"`.

    Args:
        events: tokens (`str`), or the events of OpenAI, Anthropic, LangChain or another framework
            that has a codec, sync or async; a mapping, such as `{"type": "data-weather", ...}`, is
            sent unchanged. Closed when the result is.
        message_id: id of the message; by default the stream's.
    """
    builder = _UIMessages(message_id)
    if isinstance(events, AsyncIterable):
        return _build_async(events, builder)
    return _build(events, builder)


@overload
def to_ag_ui(events: Iterable[Any], *, thread_id: str = "", run_id: str = "") -> Iterator[Part]: ...
@overload
def to_ag_ui(
    events: AsyncIterable[Any], *, thread_id: str = "", run_id: str = ""
) -> AsyncIterator[Part]: ...
def to_ag_ui(events: Any, *, thread_id: str = "", run_id: str = "") -> Any:
    """Turn an answer into AG-UI's events, for `codec="ag-ui"`.

    Args:
        events: as of `to_ui_messages`; a mapping is an event of your own.
        thread_id: of the run's input.
        run_id: of the run's input.
    """
    builder = _AgUI(thread_id or uuid4().hex, run_id or uuid4().hex)
    if isinstance(events, AsyncIterable):
        return _build_async(events, builder)
    return _build(events, builder)


class _Builder(Protocol):
    def start(self) -> Iterator[Part]: ...
    def take(self, step: Step) -> Iterator[Part]: ...
    def end(self) -> Iterator[Part]: ...


def _build(events: Iterable[Any], builder: _Builder) -> Iterator[Part]:
    steps = Steps()
    try:
        yield from builder.start()
        for event in events:
            for step in steps.take(event):
                yield from builder.take(step)
        for step in steps.end():
            yield from builder.take(step)
        yield from builder.end()
    finally:
        if callable(close := getattr(events, "close", None)):
            close()


async def _build_async(events: AsyncIterable[Any], builder: _Builder) -> AsyncIterator[Part]:
    steps = Steps()
    try:
        for part in builder.start():
            yield part
        async for event in events:
            for step in steps.take(event):
                for part in builder.take(step):
                    yield part
        for step in steps.end():
            for part in builder.take(step):
                yield part
        for part in builder.end():
            yield part
    finally:
        close = getattr(events, "aclose", None) or getattr(events, "close", None)
        if close is not None and hasattr(closing := close(), "__await__"):
            await closing


class _UIMessages:
    """Parts, in the order that the AI SDK asks for."""

    def __init__(self, message_id: str) -> None:
        self._head = {"messageId": message_id} if message_id else {}
        self._open = ""  # `text` or `reasoning`
        self._number = 0
        self._answered = False
        self._usage: dict[str, int] = {}

    def start(self) -> Iterator[Part]:
        yield {"type": "start", **self._head}
        yield {"type": "start-step"}

    def take(self, step: Step) -> Iterator[Part]:
        kind = step.kind
        if kind == "usage":
            for name, count in step.value.items():
                self._usage[name] = self._usage.get(name, 0) + count
            return
        if kind in ("text", "reasoning"):
            yield from self._say(kind, step.value)
            return
        yield from self._close()
        if kind == "tool-start":
            yield from self._next_step()
            yield {"type": "tool-input-start", "toolCallId": step.id, "toolName": step.name}
        elif kind == "tool-args":
            yield {"type": "tool-input-delta", "toolCallId": step.id, "inputTextDelta": step.value}
        elif kind == "tool-call":
            call = {"toolCallId": step.id, "toolName": step.name}
            yield {"type": "tool-input-available", **call, "input": step.value}
        elif kind == "tool-result":
            self._answered = True
            yield {"type": "tool-output-available", "toolCallId": step.id, "output": step.value}
        elif kind == "error":
            yield {"type": "error", "errorText": step.value}
        elif kind == "part":
            yield step.value

    def end(self) -> Iterator[Part]:
        yield from self._close()
        yield {"type": "finish-step"}
        usage = {"messageMetadata": {"usage": self._usage}} if self._usage else {}
        yield {"type": "finish", **usage}

    def _say(self, kind: str, delta: str) -> Iterator[Part]:
        if self._open != kind:
            yield from self._close()
            yield from self._next_step()
            self._open = kind
            self._number += 1
            yield {"type": f"{kind}-start", "id": str(self._number)}
        yield {"type": f"{kind}-delta", "id": str(self._number), "delta": delta}

    def _close(self) -> Iterator[Part]:
        if self._open:
            yield {"type": f"{self._open}-end", "id": str(self._number)}
            self._open = ""

    def _next_step(self) -> Iterator[Part]:
        """After results of tools the model is asked again."""
        if self._answered:
            self._answered = False
            yield {"type": "finish-step"}
            yield {"type": "start-step"}


class _AgUI:
    """Events, in the order that AG-UI asks for."""

    def __init__(self, thread_id: str, run_id: str) -> None:
        self._run = {"threadId": thread_id, "runId": run_id}
        self._open = ""
        self._number = 0
        self._said: set[str] = set()

    def start(self) -> Iterator[Part]:
        yield {"type": "RUN_STARTED", **self._run}

    def take(self, step: Step) -> Iterator[Part]:
        kind = step.kind
        if kind == "usage":
            return
        if kind in ("text", "reasoning"):
            yield from self._say(kind, step.value)
            return
        yield from self._close()
        if kind == "tool-start":
            yield {"type": "TOOL_CALL_START", "toolCallId": step.id, "toolCallName": step.name}
        elif kind == "tool-args":
            self._said.add(step.id)
            yield {"type": "TOOL_CALL_ARGS", "toolCallId": step.id, "delta": step.value}
        elif kind == "tool-call":
            if step.id not in self._said:
                arguments = json.dumps(step.value, ensure_ascii=False, default=str)
                yield {"type": "TOOL_CALL_ARGS", "toolCallId": step.id, "delta": arguments}
            yield {"type": "TOOL_CALL_END", "toolCallId": step.id}
        elif kind == "tool-result":
            content = step.value if isinstance(step.value, str) else json.dumps(step.value)
            names = {"messageId": self._name(), "toolCallId": step.id, "role": "tool"}
            yield {"type": "TOOL_CALL_RESULT", **names, "content": content}
        elif kind == "error":
            yield {"type": "RUN_ERROR", "message": step.value}
        elif kind == "part":
            yield step.value

    def end(self) -> Iterator[Part]:
        yield from self._close()
        yield {"type": "RUN_FINISHED", **self._run}

    def _name(self) -> str:
        self._number += 1
        return f"{self._run['runId']}-{self._number}"

    def _say(self, kind: str, delta: str) -> Iterator[Part]:
        if self._open != kind:
            yield from self._close()
            self._open = kind
            self._message = {"messageId": self._name()}
            if kind == "text":
                yield {"type": "TEXT_MESSAGE_START", **self._message, "role": "assistant"}
            else:
                yield {"type": "REASONING_START", **self._message}
                yield {"type": "REASONING_MESSAGE_START", **self._message, "role": "reasoning"}
        word = "TEXT" if kind == "text" else "REASONING"
        yield {"type": f"{word}_MESSAGE_CONTENT", **self._message, "delta": delta}

    def _close(self) -> Iterator[Part]:
        if self._open == "text":
            yield {"type": "TEXT_MESSAGE_END", **self._message}
        elif self._open:
            yield {"type": "REASONING_MESSAGE_END", **self._message}
            yield {"type": "REASONING_END", **self._message}
        self._open = ""

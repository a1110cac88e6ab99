"""OpenTelemetry: one trace from the request that asked for a stream to the task that produced it.

Nothing happens unless opentelemetry-api is installed, and nothing is recorded unless the
application has set up a tracer provider.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, MutableMapping
from typing import Any

from ..relays.end_reasons import GOOD_ENDS

NAME = "streamstraight_celery"
GOOD = GOOD_ENDS | {"released", "suspended"}

Attributes = Mapping[str, Any]


@functools.cache
def load_opentelemetry() -> tuple[Any, Any, Any] | None:
    """The API's modules `trace`, `context` and `propagate`; None when it is not installed."""
    try:
        from opentelemetry import context, propagate, trace
    except ImportError:
        return None
    return trace, context, propagate


def carry(headers: MutableMapping[str, Any]) -> None:
    """Put the current trace into a message's headers, unless they name one."""
    loaded = load_opentelemetry()
    if loaded is None:
        return
    _, _, propagate = loaded
    found: dict[str, str] = {}
    propagate.inject(found)
    for name, value in found.items():
        headers.setdefault(name, value)


class StreamSpan:
    """The span of one attempt: current while its generator runs, in the thread that began it.

    Args:
        task_name: it is called `stream <task name>`.
        request: the task's request, whose headers may name a trace. A span that is current, of the
            instrumentation of Celery for example, is its parent in any case.
        attributes: without their prefix.
    """

    def __init__(self, task_name: str, request: Any, attributes: Attributes) -> None:
        self._span: Any = None
        loaded = load_opentelemetry()
        if loaded is None:
            return
        trace, self._context, propagate = loaded
        self._trace = trace
        parent = None
        if not trace.get_current_span().get_span_context().is_valid:
            parent = propagate.extract(_carrier(request, propagate))
        tracer = trace.get_tracer(NAME)
        self._span = tracer.start_span(
            f"stream {task_name}", parent, attributes=_prefixed(attributes)
        )
        self._token = self._context.attach(trace.set_span_in_context(self._span, parent))

    def first_chunk(self) -> None:
        """Note the time of the first chunk. In any thread."""
        if self._span is not None:
            self._span.add_event("first chunk")

    def end(self, attributes: Attributes) -> None:
        """The attempt is over; `attributes` has its `reason`."""
        if self._span is None:
            return
        self._context.detach(self._token)
        known = {name: value for name, value in attributes.items() if value is not None}
        self._span.set_attributes(_prefixed(known))
        if attributes["reason"] not in GOOD:
            self._span.set_status(self._trace.StatusCode.ERROR, attributes["reason"])
        self._span.end()


def _carrier(request: Any, propagate: Any) -> dict[str, str]:
    """What a request says about its trace: in a worker as attributes, in eager mode as headers."""
    headers = request.headers or {}
    found = {
        name: getattr(request, name, None) or headers.get(name)
        for name in propagate.get_global_textmap().fields
    }
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _prefixed(attributes: Attributes) -> dict[str, Any]:
    return {f"streamstraight.{name}": value for name, value in attributes.items()}

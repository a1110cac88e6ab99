"""Random writers, readers, stops and forks of a few streams, beside a plain model of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streamstraight_celery.relays import open_relay
from streamstraight_celery.server import create_app
from streamstraight_celery.server.live.hub import HubOptions
from streamstraight_celery.settings import StreamSettings

KEY = "the key of the model's tests"
JSON = "application/json"
NAMES = ("a", "b", "c")
names = st.sampled_from(NAMES)
messages = st.lists(st.integers(0, 9) | st.just([1]) | st.just({"k": "\n"}), min_size=1, max_size=3)
producers = st.none() | st.tuples(st.sampled_from(("p", "q")), st.integers(0, 2), st.integers(0, 3))
seldom = st.integers(0, 5).map(lambda number: number == 5)
steps = st.sampled_from(["next", "next", "next", "again", "first", "gap", "newer", "older", "late"])
modes = st.sampled_from(("", "long-poll", "sse"))
_stores = itertools.count()


@dataclass
class Model:
    """A stream as anybody would write it down."""

    chunks: list[Any]
    offsets: dict[int, str]  # after so many chunks
    end: str = ""
    config: tuple[Any, ...] = ()
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    ended_by: tuple[str, int, int] | None = None
    sequence: str = ""
    source: str = ""
    forks: int = 0
    hidden: bool = False


class Machine(RuleBasedStateMachine):
    """All requests go through the application, one after the other."""

    relay_url = ""

    @initialize()
    def begin(self) -> None:
        url = self.relay_url or f"memory://model-{next(_stores)}"
        given = StreamSettings(
            relay_url=url, writing=True, api_keys=(KEY,), long_poll_timeout=0.001,
            key_prefix=f"model-{next(_stores)}:",
        )  # fmt: skip
        self.loop = asyncio.new_event_loop()
        self.kept = open_relay(given)  # keeps a store in memory alive
        self.app = create_app(given, hub_options=HubOptions(interval=30, check_every=30, settle=0))
        self.streams: dict[str, Model] = {}
        self.old: list[tuple[str, str]] = []  # offsets of deleted streams
        self.begun = True

    def teardown(self) -> None:
        if getattr(self, "begun", False):
            self.loop.run_until_complete(self.app.close())
            self.loop.close()
            self.kept.close()

    # -- requests

    def ask(
        self, method: str, name: str, body: bytes = b"", query: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        return self.loop.run_until_complete(self._ask(method, name, body, query, headers))

    async def _ask(
        self, method: str, name: str, body: bytes, query: str, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        given = {"host": "127.0.0.1", "authorization": f"Bearer {KEY}", **headers}
        path = name if name.startswith("/") else f"/v1/stream/{name}"
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()],
            "scheme": "http", "client": ("127.0.0.1", 50000),
        }  # fmt: skip
        received = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []
        gone = asyncio.Event()

        async def receive() -> Any:
            if received:
                return received.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            # A live reader drops as soon as it is up to date.
            if b'"upToDate":true' in message.get("body", b""):
                gone.set()

        await asyncio.wait_for(self.app(scope, receive, send), 20)
        assert sent[0]["status"] < 500, sent
        found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return sent[0]["status"], found, b"".join([m.get("body", b"") for m in sent[1:]])

    def settle(self, name: str, headers: dict[str, str]) -> None:
        """The place that a writer is told is the model's."""
        model = self.streams[name]
        length, offset = len(model.chunks), headers["stream-next-offset"]
        assert model.offsets.setdefault(length, offset) == offset
        ordered = [model.offsets[at] for at in sorted(model.offsets)]
        assert ordered == sorted(set(ordered))
        assert headers.get("stream-closed") == ("true" if model.end else None)
        assert headers.get("stream-end-reason") == (model.end or None)

    # -- rules

    @rule(
        name=names, body=st.just([]) | messages,
        closed=seldom, text=seldom,
    )  # fmt: skip
    def put(self, name: str, body: list[Any], closed: bool, text: bool) -> None:
        kind = "text/plain" if text else JSON
        content = b"" if text else json.dumps(body).encode()
        headers = {"content_type": kind, **({"stream_closed": "true"} if closed else {})}
        status, answered, _ = self.ask("PUT", name, content, **headers)
        model = self.streams.get(name)
        if model is None:
            assert status == 201
            end = "completed" if closed else ""
            chunks = [] if text else body
            self.streams[name] = Model(list(chunks), {}, end, (kind,))
            self.settle(name, answered)
        elif model.hidden or model.config != (kind,) or bool(model.end) != closed:
            assert status == 409
        else:
            assert status == 200
            self.settle(name, answered)

    def numbers(self, data: Any, name: str) -> tuple[str, int, int] | None:
        """A producer's headers: most often those that come next, or came before."""
        producer = data.draw(st.sampled_from((None, "p", "p", "q")))
        if producer is None:
            return None
        model = self.streams.get(name)
        epoch, number = model.producers.get(producer, (0, -1)) if model else (0, -1)
        step = data.draw(
            st.sampled_from(
                ["next", "next", "next", "again", "first", "gap", "newer", "older", "late"]
            )
        )
        wanted = {
            "next": (epoch, number + 1),
            "again": (epoch, max(0, number)),
            "first": (epoch, 0),
            "gap": (epoch, number + 2),
            "newer": (epoch + 1, 0),
            "older": (max(0, epoch - 1), number + 1),
            "late": (epoch + 1, 1),
        }
        return (producer, *wanted[step])

    @rule(
        name=names, body=messages, sequence=st.sampled_from(("", "", "1", "2", "a")),
        end=st.sampled_from(("",) * 9 + ("completed", "producer-error")), bare=st.booleans(),
        data=st.data(),
    )  # fmt: skip
    def post(
        self, name: str, body: list[Any], sequence: str, end: str, bare: bool, data: Any
    ) -> None:
        who = self.numbers(data, name)
        body = [] if end and bare else body
        headers = {"content_type": JSON} if body else {}
        if end:
            headers |= {"stream_closed": "true", "stream_end_reason": end}
        if sequence:
            headers["stream_seq"] = sequence
        if who:
            headers |= dict(
                zip(("producer_id", "producer_epoch", "producer_seq"), map(str, who), strict=True)
            )
        content = json.dumps(body).encode() if body else b""
        # Once or twice: what is sent again is a duplicate, or another write.
        for _ in range(data.draw(st.integers(1, 2))):
            status, answered, _ = self.ask("POST", name, content, **headers)
            expected = self.expected(name, body, who, sequence, end)
            assert status == expected, (status, expected, answered)
            if status in (200, 204):
                self.settle(name, answered)

    def expected(
        self, name: str, body: list[Any], who: tuple[str, int, int] | None, sequence: str, end: str
    ) -> int:
        """What a POST is answered; the model takes it in."""
        model = self.streams.get(name)
        if model is None or model.hidden:
            return 410 if model else 404
        if model.end:
            again = model.ended_by == who if who else not body
            return 204 if again else 409
        if body and model.config[0] != JSON:
            return 409
        if who:
            epoch, number = model.producers.get(who[0], (-1, -1))
            if who[1] < epoch:
                return 403
            if who[1] > epoch and who[2]:
                return 409 if epoch < 0 else 400
            if who[1] == epoch and who[2] <= number:
                return 204
            if who[1] == epoch and who[2] > number + 1:
                return 409
        if sequence and sequence <= model.sequence:
            return 409
        model.chunks += body
        model.end = end
        model.sequence = sequence or model.sequence
        if who:
            model.producers[who[0]] = who[1:]
            model.ended_by = who if end else None
        return 200 if who and body else 204

    @rule(name=names)
    def delete(self, name: str) -> None:
        status, _, _ = self.ask("DELETE", name)
        model = self.streams.get(name)
        if model is None or model.hidden:
            assert status == (410 if model else 404)
            return
        assert status == 204
        self.old += [(name, offset) for length, offset in model.offsets.items() if length]
        if model.forks:
            model.hidden = True
        else:
            self.drop(name)

    def drop(self, name: str) -> None:
        source = self.streams.pop(name).source
        if source:
            parent = self.streams[source]
            parent.forks -= 1
            if parent.hidden and not parent.forks:
                self.drop(source)

    @rule(name=names)
    def stop(self, name: str) -> None:
        status, _, _ = self.ask("POST", f"/v1/stop/{name}")
        model = self.streams.get(name)
        assert status == (404 if model is None or model.hidden else 200)
        if model is not None and not model.hidden:
            model.end = model.end or "stopped"

    @rule(source=names, name=names, data=st.data(), body=st.just([]) | messages)
    def fork(self, source: str, name: str, data: Any, body: list[Any]) -> None:
        origin = self.streams.get(source)
        known = [0, *(origin.offsets if origin else ())]
        length = data.draw(st.sampled_from(sorted(set(known))))
        offset = origin.offsets.get(length, "-1") if origin and length else "-1"
        headers = {"stream_forked_from": f"/v1/stream/{source}", "stream_fork_offset": offset}
        status, answered, _ = self.ask(
            "PUT", name, json.dumps(body).encode(), content_type=JSON, **headers
        )
        if origin is None or origin.hidden:
            assert status == (409 if origin else 404)
            return
        config = (JSON, source, offset)
        if origin.config[0] != JSON:
            assert status == 409
        elif name in self.streams:
            there = self.streams[name]
            same = there.config == config and not there.hidden and not there.end
            assert status == (200 if same else 409)
        else:
            assert status == 201
            offsets = {at: o for at, o in origin.offsets.items() if 0 < at <= length}
            self.streams[name] = Model(
                origin.chunks[:length] + body, offsets, "", config, source=source
            )
            origin.forks += 1
            self.settle(name, answered)

    @rule(name=names, mode=modes, data=st.data())
    def read(self, name: str, mode: str, data: Any) -> None:
        model = self.streams.get(name)
        lengths = sorted(model.offsets) if model else []
        after = data.draw(st.sampled_from([None, *lengths]))
        offset = "-1" if after is None or not model else model.offsets[after]
        self.patiently(mode, lambda: self.check_read(name, mode, model, after or 0, offset))

    def patiently(self, mode: str, check: Callable[[], None]) -> None:
        """Check once; live readers learn a moment later, so of them it has to come to hold."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return check()
            except AssertionError:
                if not mode or time.monotonic() > deadline:
                    raise
            self.loop.run_until_complete(asyncio.sleep(0.005))

    def check_read(
        self, name: str, mode: str, model: Model | None, after: int, offset: str
    ) -> None:
        query = f"offset={offset}" + (f"&live={mode}" if mode else "")
        status, headers, body = self.ask("GET", name, query=query)
        if model is None or model.hidden:
            assert status in (404, 410)
            return
        rest = model.chunks[after:]
        text = model.config[0] != JSON
        if mode == "sse":
            assert status == 200
            self.check_events(body, rest, model, text)
            return
        expected = b"" if text else json.loads(json.dumps(rest))
        if mode == "long-poll" and not rest:
            assert (status, body) == (204, b"")
        else:
            assert status == 200
            assert (body if text else json.loads(body)) == expected
        assert headers["stream-up-to-date"] == "true"
        if rest:
            self.settle(name, headers)

    def check_events(self, body: bytes, rest: list[Any], model: Model, text: bool) -> None:
        got: list[Any] = []
        control: dict[str, Any] = {}
        for block in body.decode().split("\n\n"):
            lines = dict(
                line.split(":", 1) for line in block.split("\n") if line and line[0] != ":"
            )
            if lines.get("event", "").strip() == "data":
                got += json.loads(lines["data"])
            elif lines.get("event", "").strip() == "control":
                control = json.loads(lines["data"])
        assert got == ([] if text else rest)
        assert control.get("streamClosed", False) is bool(model.end)
        if model.end:
            assert control["endReason"] == model.end

    @precondition(lambda self: getattr(self, "old", None))
    @rule(mode=modes, data=st.data())
    def read_at_a_deleted_streams_offset(self, mode: str, data: Any) -> None:
        name, offset = data.draw(st.sampled_from(self.old))
        model = self.streams.get(name)
        if model is not None and (offset in model.offsets.values() or model.hidden):
            return  # a fork of it has the same offsets
        query = f"offset={offset}" + (f"&live={mode}" if mode else "")
        inherited = model is not None and model.source

        def check() -> None:
            status, _, _ = self.ask("GET", name, query=query)
            assert status in (404, 410) or inherited

        self.patiently(mode, check)


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_the_relay_is_what_the_model_is(kind: str, request: pytest.FixtureRequest) -> None:
    url = str(request.getfixturevalue("redis_url")) if kind == "redis" else ""
    machine = type("Relay", (Machine,), {"relay_url": url})
    in_ci = os.environ.get("CI") == "true"
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, derandomize=in_ci,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip

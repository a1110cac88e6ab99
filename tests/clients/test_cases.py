"""The cases in `cases/`, against both Python readers over a real socket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from streamstraight_celery import StreamError
from streamstraight_celery.reader.opening import over_http, over_http_async
from streamstraight_celery.reader.options import ReadOptions
from streamstraight_celery.reader.timing import Timing
from tests.clients.relay import ScriptedRelay, answers, cuts, expand, load_cases

ALL = load_cases()
# Made once: it takes longer than most cases.
TLS = ssl.create_default_context()


@dataclass
class Consumer:
    """What a reader's consumer sees."""

    case: dict[str, Any]
    chunks: list[Any] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    error: StreamError | None = None

    def __post_init__(self) -> None:
        self._tokens = iter(self.case.get("tokens", []))

    @property
    def options(self) -> ReadOptions:
        given: dict[str, Any] = {}
        if self.case.get("decoder") == "upper":
            given["decoder"] = str.upper
        if self.case.get("on_reset"):
            given["on_reset"] = self._reset
        return ReadOptions(
            offset=self.case.get("offset", "-1"),
            on_retry=lambda error: self.retried.append(error.code),
            on_status=self.statuses.append,
            timing=Timing(random=lambda: 0.0, pause=self._pause),
            **given,
        )

    @property
    def get_token(self) -> Callable[[], str] | None:
        return self._get_token if "tokens" in self.case else None

    def add(self, chunk: Any) -> bool:
        """Take a chunk in; True when that is enough."""
        self.chunks.append(chunk)
        return len(self.chunks) == self.case.get("take")

    def _get_token(self) -> str:
        token = next(self._tokens)
        if token == "!":
            raise OSError("nobody answers")
        return str(token)

    def _reset(self, attempt: int) -> None:
        self.resets.append(attempt)
        self.chunks.clear()

    def _pause(self, seconds: float) -> float:
        self.waits.append(seconds)
        return 0.0


def read(relay: ScriptedRelay, consumer: Consumer) -> Any:
    token = consumer.case.get("token", "t1")
    with (
        httpx.Client(verify=TLS) as client,
        over_http(relay.url, token, consumer.get_token, client, consumer.options) as reader,
    ):
        try:
            for chunk in reader:
                if consumer.add(chunk):
                    break
        except StreamError as error:
            consumer.error = error
    return reader


def read_async(relay: ScriptedRelay, consumer: Consumer) -> Any:
    async def run() -> Any:
        token = consumer.case.get("token", "t1")
        async with (
            httpx.AsyncClient(verify=TLS) as client,
            over_http_async(
                relay.url, token, consumer.get_token, client, consumer.options
            ) as reader,
        ):
            try:
                async for chunk in reader:
                    if consumer.add(chunk):
                        break
            except StreamError as error:
                consumer.error = error
        return reader

    return asyncio.run(run())


@pytest.fixture(scope="module")
def relay() -> Iterator[ScriptedRelay]:
    with ScriptedRelay() as relay:
        yield relay


@pytest.mark.parametrize("case", ALL, ids=lambda case: case["name"])
@pytest.mark.parametrize("how", [read, read_async], ids=["sync", "async"])
def test_case(relay: ScriptedRelay, how: Any, case: dict[str, Any]) -> None:
    for cut_at in cuts(case):
        relay.play(answers(case, cut_at), case.get("described"))
        consumer = Consumer(case)
        reader = how(relay, consumer)
        check(case["expect"], relay, consumer, reader, f"cut at {cut_at}")


def check(
    wanted: dict[str, Any], relay: ScriptedRelay, consumer: Consumer, reader: Any, where: str
) -> None:
    error = consumer.error
    assert (error and error.code) == wanted.get("error"), (error, where)
    shown = (
        [chunk if isinstance(chunk, str) else chunk.hex() for chunk in consumer.chunks]
        if "hex" in wanted
        else consumer.chunks
    )
    assert shown == expand(wanted.get("hex", wanted.get("chunks", []))), where
    assert consumer.resets == wanted.get("resets", [])
    assert reader.offset == wanted["offset"], where
    assert reader.end_reason == wanted.get("end")
    assert reader.status == "closed"
    assert consumer.waits == wanted.get("waits", [])
    assert consumer.retried == wanted.get("retried", [])
    assert wanted.get("message", "") in str(error)
    if "statuses" in wanted:
        assert consumer.statuses == wanted["statuses"]
    assert relay.left == 0
    for seen, request in zip(relay.seen, wanted.get("requests", relay.seen), strict=True):
        if isinstance(request, str):
            assert seen.offset == request
        elif isinstance(request, dict):
            assert {key: getattr(seen, key) for key in request} == request


def test_there_are_cases() -> None:
    assert len(ALL) > 50
    assert len({case["name"] for case in ALL}) == len(ALL)

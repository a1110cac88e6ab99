"""The four ways to read a stream in Python, behind one face, so that each test runs on all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from celery import Celery

from streamstraight_celery import aread_stream, read_stream
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.tokens import Tokens
from tests.server.producer import Producer

SECRET = "a secret of the clients' tests"


@dataclass
class Reading:
    """What a consumer got.

    Attributes:
        chunks: since the last reset.
        reader: the reader, closed.
    """

    chunks: list[Any] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    error: BaseException | None = None
    reader: Any = None


@dataclass
class Site:
    """A relay server, the relay behind it, and a Celery app that is set up for it."""

    port: int
    relay: Relay
    app: Celery

    def producer(self) -> Producer:
        """A new stream, claimed."""
        return Producer(self.relay).create().claim()

    def ref(self, producer: Producer, **options: Any) -> dict[str, Any]:
        name = producer.stream_id
        token, expires_at = Tokens([SECRET]).issue(name, **options)
        url = f"http://127.0.0.1:{self.port}/v1/stream/{name}"
        return {"stream_id": name, "url": url, "token": token, "expires_at": expires_at}


class Way:
    """One way to read; `asynchronous` or not, `direct` from Redis or over HTTP."""

    def __init__(self, site: Site, *, asynchronous: bool, direct: bool) -> None:
        self.site = site
        self.asynchronous = asynchronous
        self.direct = direct
        self._threads = ThreadPoolExecutor()

    def close(self) -> None:
        self._threads.shutdown()

    def open(self, producer: Producer, **options: Any) -> Any:
        """A reader, to be used on the thread or event loop that calls."""
        read = aread_stream if self.asynchronous else read_stream
        if self.direct:
            return read(producer.stream_id, app=self.site.app, **options)
        return read(self.site.ref(producer), **options)

    def read(self, producer: Producer, *, take: int = 0, **options: Any) -> Reading:
        """Read to the end, or so many chunks."""
        return self.start(producer, take=take, **options).result(60)

    def start(
        self,
        producer: Producer,
        *,
        take: int = 0,
        resets: bool = False,
        on_chunk: Callable[[Reading], object] = lambda _: None,
        **options: Any,
    ) -> Future[Reading]:
        """The same, on another thread. `resets`: the consumer takes them."""
        reading = Reading()
        if resets:

            def on_reset(attempt: int) -> None:
                reading.resets.append(attempt)
                reading.chunks.clear()

            options["on_reset"] = on_reset

        def enough() -> bool:
            on_chunk(reading)
            return len(reading.chunks) == take

        work = self._read_async if self.asynchronous else self._read
        return self._threads.submit(work, producer, reading, enough, options)

    def _read(
        self, producer: Producer, reading: Reading, enough: Callable[[], bool], options: Any
    ) -> Reading:
        with self.open(producer, **options) as reader:
            reading.reader = reader
            try:
                for chunk in reader:
                    reading.chunks.append(chunk)
                    if enough():
                        break
            except Exception as error:
                reading.error = error
        return reading

    def _read_async(
        self, producer: Producer, reading: Reading, enough: Callable[[], bool], options: Any
    ) -> Reading:
        async def run() -> Reading:
            async with self.open(producer, **options) as reader:
                reading.reader = reader
                try:
                    async for chunk in reader:
                        reading.chunks.append(chunk)
                        if enough():
                            break
                except Exception as error:
                    reading.error = error
            return reading

        return asyncio.run(run())

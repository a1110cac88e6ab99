"""A relay server in a thread, for tests that are not asynchronous themselves."""

from __future__ import annotations

import asyncio
import threading
from itertools import count

from streamstraight_celery.relays import open_relay
from streamstraight_celery.server import create_app
from streamstraight_celery.settings import StreamSettings
from tests.server.producer import Producer
from tests.server.serving import serving

SECRET = "a secret of these tests"
KEY = "an API key of these tests"
_stores = count()


class BackgroundRelay:
    """Serves streams kept in memory; `keyed`: as in production, by an API key."""

    def __init__(self, *, keyed: bool = False) -> None:
        settings = StreamSettings(
            relay_url=f"memory://background-{next(_stores)}",
            secret=(SECRET,) if keyed else (),
            api_keys=(KEY,) if keyed else (),
            lease=600,
        )
        self.relay = open_relay(settings)
        self._app = create_app(settings)
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(30), "the relay did not start"

    @property
    def url(self) -> str:
        """The link to the page on which developers look at streams."""
        return f"http://127.0.0.1:{self.port}{self._app.page_path or '/streams'}"

    @property
    def bare_url(self) -> str:
        """Its address, without a key."""
        return self.url.partition("#")[0]

    def producer(self, stream_id: str = "") -> Producer:
        return Producer(self.relay, stream_id).create().claim()

    def readers(self) -> int:
        """How many read now."""
        return asyncio.run_coroutine_threadsafe(self._readers(), self._loop).result(30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self.relay.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with serving(self._app) as self.port:
            self._ready.set()
            await self._over.wait()

    async def _readers(self) -> int:
        return sum(len(feed.readers) for feed in self._app.start().hub.feeds.values())

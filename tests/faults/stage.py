"""Everything that may fail, set up together: Redis, networks, relay servers, producers, readers."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import count
from pathlib import Path
from typing import Any

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.requests import Create
from streamstraight_celery.settings import StreamSettings
from streamstraight_celery.tokens import Tokens
from tests.faults.ledger import Ledgers, StreamRecord
from tests.faults.oracle import Loss
from tests.faults.processes import PersistentRedis, ProducerProcess, RelayProcess
from tests.faults.reader import Door, ReaderRecord, ResumingReader
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE
from tests.support.waiting import eventually_async as until

LEASE, REAP_AFTER = 1.5, 1.5
# A producer and a relay that are told of nothing look this often; both are the package's own.
POLL = 1.0
SECRET = "a secret of the tests with faults"


class Cast:
    """Producers, relay servers and readers, on any kind of Redis.

    Args:
        directory: for ledgers and logs.
        for_producers, for_relays: the URLs of the Redis.
        producers: how many processes that write.
        settings: changes of the `stream_*` settings.

    Attributes:
        losses: when Redis lost data, as the faults note it.
        conf: the settings, and `url_for_producers`.
    """

    def __init__(
        self, directory: Path, for_producers: str, for_relays: str, producers: int = 2,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.losses: list[Loss] = []
        self._ledgers = Ledgers()
        conf = {
            "secret": [SECRET], "lease": LEASE, "reap_after": REAP_AFTER, "ttl": 600,
            "relay_timeout": 60, "ping_interval": 1, "long_poll_timeout": 2, **settings,
        }  # fmt: skip
        self.conf, self.url_for_producers = conf, for_producers
        self.producers = [
            ProducerProcess({**conf, "relay_url": for_producers}, directory, name, self._ledgers)
            for name in [f"producer-{number}" for number in range(producers)]
        ]
        self.relays = [
            RelayProcess({**conf, "relay_url": for_relays}, directory / f"relay-{number}.log")
            for number in range(2)
        ]
        self._relay = open_relay(
            StreamSettings(**{**conf, "secret": (SECRET,), "relay_url": for_producers})
        )
        self._tokens = Tokens([SECRET])
        self._names = count(1)
        self._rng = random.Random(1)
        self.readers: dict[str, list[ResumingReader]] = {}

    def announce(self, name: str = "") -> str:
        """A new stream, as a web route announces it."""
        name = name or f"stream-{next(self._names)}"
        for _ in range(50):
            try:
                self._relay.call(Create(name, name))
                break
            except RelayUnavailableError:
                time.sleep(0.1)
        self.readers[name] = []
        return name

    def read(self, name: str, door: Door = "sse") -> ReaderRecord:
        """Let one more reader begin, at any of the relay servers."""
        return self.read_with(name, self.token(name), door)

    def read_with(self, name: str, token: str, door: Door = "sse") -> ReaderRecord:
        """As `read`, with another token."""
        ports = [relay.port for relay in self.relays]
        rng = random.Random(self._rng.random())
        reader = ResumingReader(ports, name, token, rng, door)
        self.readers[name].append(reader)
        return reader.record

    def token(self, name: str) -> str:
        """One that allows to read a stream."""
        return self._tokens.issue(name)[0]

    def records(self, name: str) -> list[ReaderRecord]:
        return [reader.record for reader in self.readers[name]]

    def ledger(self) -> dict[str, StreamRecord]:
        return self._ledgers.update()

    def stream(self, name: str) -> StreamRecord:
        return self.ledger()[name]

    async def readers_have(self, name: str, number: int) -> None:
        """Wait until every reader has so many chunks."""
        await until(
            lambda: all(len(each.life.chunks) >= number for each in self.records(name)),
            f"readers of {name} have {number} chunks",
        )

    async def readers_are_done(self, name: str, timeout: float = PATIENCE) -> None:
        """Wait until every reader was told the end, or it is too late."""
        tasks = [reader.task for reader in self.readers[name]]
        _, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for reader in self.readers[name]:
            if not reader.task.cancelled() and (error := reader.task.exception()):
                reader.record.problems.append(f"the reader failed: {error!r}")

    def close(self) -> None:
        self._relay.close()
        for child in (*self.producers, *self.relays):
            child.kill()


class Stage(Cast):
    """A cast on one Redis, with a proxy before it for producers and one for relay servers."""

    def __init__(self, directory: Path, producers: int = 2, **settings: Any) -> None:
        self.redis = PersistentRedis()
        self.to_producers = Proxy(self.redis.port)
        self.to_relays = Proxy(self.redis.port)
        super().__init__(
            directory, _through(self.to_producers), _through(self.to_relays), producers,
            **settings,
        )  # fmt: skip

    def keys(self) -> dict[str, int]:
        """Every key of Redis, and the milliseconds that it has to live; -1: it never expires."""
        with self.redis.client() as client:
            found = {key.decode(): client.pttl(key) for key in client.scan_iter(count=1000)}
        return {key: ttl for key, ttl in found.items() if ttl != -2}

    def heal(self) -> None:
        """Let everything that was struck work again."""
        self.to_producers.heal()
        self.to_relays.heal()

    def close(self) -> None:
        super().close()
        for proxy in (self.to_producers, self.to_relays):
            proxy.close()
        self.redis.close()


def _through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=2"

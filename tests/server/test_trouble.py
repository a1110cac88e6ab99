"""What the hub leaves open while Redis may just have lost something."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.relays.memory.relay import AsyncMemoryRelay, MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.requests import Answer, Request
from streamstraight_celery.server.live.hub import Hub, HubOptions

from .conftest import Clock, MakeSite
from .producer import Producer

OPTIONS = HubOptions(lease=10, reap_after=30, check_every=0, settle=3)
OFFSET = "000001_0000000001_aaaaaaaa"


class Refusing(AsyncMemoryRelay):
    """A relay that refuses to write, or is not there at all."""

    trouble: str = ""

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        if self.trouble == "away":
            raise RelayUnavailableError("away")
        if self.trouble:
            return [Answer("error", reason=self.trouble) for _ in requests]
        return await super().execute(requests)


@pytest.mark.parametrize("trouble", ["away", "MISCONF"])
async def test_nobody_is_reaped_within_a_lease_after_trouble(
    store: MemoryStore, memory_relay: MemoryRelay, clock: Clock, trouble: str
) -> None:
    """Redis took no renewal for long: whoever lives gets the time to send one."""
    relay = Refusing(store)
    hub = Hub(relay, OPTIONS, now=clock)
    hub.start(background=False)
    producer = Producer(memory_relay, "s").create().claim()
    await hub.open("s")
    clock.advance(11)
    await hub.check()  # the lease is over, and that was noted
    relay.trouble = trouble
    clock.advance(30)
    await hub.check()
    relay.trouble = ""
    clock.advance(9)
    await hub.check()
    assert memory_relay.state("s").end == ""
    clock.advance(2)
    await hub.check()
    assert memory_relay.state("s").end == "producer-disconnected"
    assert producer.append(1).kind == "closed"
    await hub.close()


@pytest.mark.parametrize("query", [f"offset={OFFSET}", f"live=sse&offset={OFFSET}",
                                   f"live=long-poll&offset={OFFSET}"])  # fmt: skip
async def test_a_reader_of_a_stream_that_was_lost_waits_for_its_return(
    make_site: MakeSite, redis_url: str, query: str
) -> None:
    """This relay never saw the stream; Redis lost it; its producer creates it again."""
    options = {"hub_options": HubOptions(settle=10.0, interval=0.02, check_every=0.1)}
    site = await make_site(redis_url, app_options=options, long_poll_timeout=0.3)
    asking = asyncio.ensure_future(site.client("lost").open(f"/v1/stream/lost?{query}"))
    await asyncio.sleep(0.3)
    assert not asking.done()
    producer = Producer(site.relay, "lost")
    producer.claim(nonce="aaaaaaaa", attempt=1)
    assert (await asking).status in (200, 204)


async def test_a_stream_that_never_was_is_not_found(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url)
    for query in ("", f"offset={OFFSET}", "live=sse&offset=-1"):
        answer = await site.client("never").read("never", query)
        assert (answer.status, answer.code) == (404, "not-found")

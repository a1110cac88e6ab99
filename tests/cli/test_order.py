"""The order of streams in lists."""

from __future__ import annotations

from itertools import count

from streamstraight_celery.cli.listing import RUNNING
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.requests import Create


def test_the_newest_is_first_however_long_it_takes_to_read_them_all() -> None:
    seconds = count()  # whenever somebody looks at the clock, a second has passed
    relay = MemoryRelay(MemoryStore(RelayOptions(), lambda: float(next(seconds))))
    names = [f"stream-{number}" for number in range(10)]
    for name in names:
        relay.call(Create(name, name))
    assert [name for name, _ in relay.find(RUNNING).streams] == names[::-1]

"""The sweep, on memory and on Redis: it ends what is lost and tells what was not told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery.ends.sweeping import SETTLE, sweep
from streamstraight_celery.ends.telling import tell_application
from streamstraight_celery.enqueue.announcing import announce
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import (
    LISTS,
    Append,
    Claim,
    Create,
    Delist,
    Enlist,
    Listed,
    Release,
    Stop,
    list_of,
)
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.settings import read_settings
from streamstraight_celery.tasks.sweep_task import sweep_streams
from tests.conftest import eventually, free_port

TOLD = "proj.save"
NONCE = "aaaaaaaa"


class Site:
    """An app with a task that is told, run where it is enqueued, and a store."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.app = Celery("proj", broker="memory://", set_as_current=False)
        self.app.conf.update(
            task_always_eager=True,
            stream_relay_url=url,
            **{f"stream_{name}": value for name, value in settings.items()},
        )
        self.ends: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.runtime = Runtime.of(self.app)

        @self.app.task(name="proj.save", shared=False)
        def save(end: dict[str, Any]) -> None:
            self.ends.append(end)

    @property
    def relay(self) -> Relay:
        return self.runtime.relay

    def announce(self, stream_id: str = "s", wait: int = 0) -> None:
        announce(self.app, self.runtime, Create(stream_id, "task-1", wait=wait, on_end=TOLD))

    def begin(self, stream_id: str = "s") -> None:
        self.announce(stream_id)
        self.relay.call(Claim(stream_id, NONCE, "task-1", on_end=TOLD))
        self.relay.call(Append(stream_id, 1, NONCE, 1, 1, b'"x"'))

    def end(self, stream_id: str = "s") -> None:
        self.begin(stream_id)
        self.relay.call(Append(stream_id, 1, NONCE, 2, 0, b"", "completed"))

    def listed(self) -> int:
        return sum([len(self.relay.call(Listed(name, 0, 1000)).listed) for name in LISTS])

    def sweep(self) -> dict[str, int]:
        """What a sweep did, without what it did not."""
        swept = sweep(self.app, self.relay, self.ended.append)
        return {what: count for what, count in swept.items() if count}


@pytest.fixture(params=["memory", "redis"])
def make_site(request: pytest.FixtureRequest) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(**settings: Any) -> Site:
        url = request.getfixturevalue("redis_url") if request.param == "redis" else (
            f"memory://sweep-{id(made)}"
        )  # fmt: skip
        made.append(Site(url, **settings))
        return made[-1]

    yield make
    for site in made:
        site.runtime.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


def test_it_tells_an_end_that_nobody_told(site: Site) -> None:
    site.end()
    assert site.sweep() == {"looked": 1, "told": 1}
    (end,) = site.ends
    assert end == {
        "stream_id": "s", "reason": "completed", "error": None, "attempt": 1, "chunks": 1,
        "bytes": 3, "task_id": "task-1", "conversation": None,
    }  # fmt: skip
    assert site.relay.state("s").end_told
    assert (site.sweep(), site.listed()) == ({}, 0)


def test_it_forgets_what_was_told(site: Site) -> None:
    site.end()
    assert tell_application(site.app, site.relay, "s") == "told"
    assert tell_application(site.app, site.relay, "s") == ""
    site.relay.call(Enlist("s"))  # as a second delivery of its task does
    assert site.sweep() == {"looked": 1}
    assert (len(site.ends), site.listed()) == (1, 0)


def test_it_leaves_what_runs_alone(site: Site) -> None:
    site.begin("running")
    site.announce("queued")
    site.begin("retrying")
    site.relay.call(Release("retrying", 1, NONCE, 60_000))
    assert site.sweep() == {"looked": 3}
    assert (site.ends, site.listed()) == ([], 3)


def test_it_ends_a_lost_producer_that_nobody_reads(make_site: Callable[..., Site]) -> None:
    site = make_site(lease=0.05, reap_after=0.05)
    site.begin()
    eventually(lambda: site.sweep().get("ended"))
    (end,) = site.ends
    assert site.ended == ["s"]  # so that its conversation is told too
    assert (end["reason"], end["error"]["code"]) == ("producer-disconnected",) * 2
    assert end["chunks"] == 1


def test_it_ends_a_lost_producer_of_which_nobody_is_told(make_site: Callable[..., Site]) -> None:
    site = make_site(lease=0.05, reap_after=0.05)
    site.relay.call(Create("plain", "task-1"))
    site.relay.call(Claim("plain", NONCE, "task-1"))
    eventually(lambda: site.sweep().get("ended"))
    assert site.relay.state("plain").end == "producer-disconnected"
    assert (site.ends, site.ended, site.sweep()) == ([], ["plain"], {})


def test_it_finds_a_stream_whose_list_was_lost(make_site: Callable[..., Site]) -> None:
    site = make_site(lease=0.05, reap_after=0.05)
    site.begin()
    ((stream_id, mark),) = site.relay.call(Listed(list_of("s"), 0, 10)).listed
    site.relay.call(Delist(stream_id, mark))
    eventually(lambda: site.sweep().get("ended"))
    assert [end["reason"] for end in site.ends] == ["producer-disconnected"]


def test_it_ends_what_nobody_began(make_site: Callable[..., Site]) -> None:
    site = make_site(lease=0.05, reap_after=0.05)
    site.announce(wait=1)
    eventually(lambda: site.sweep().get("ended"))
    assert [(end["reason"], end["attempt"]) for end in site.ends] == [("expired", 0)]


def test_a_stream_that_was_stopped_in_the_queue(site: Site) -> None:
    site.announce()
    site.relay.call(Stop("s"))
    assert site.sweep() == {"looked": 1, "told": 1}
    assert [(end["reason"], end["error"]) for end in site.ends] == [("stopped", None)]


def test_a_stream_that_is_about_to_be_announced_stays_listed(site: Site) -> None:
    site.relay.call(Enlist("s"))
    assert site.sweep() == {"looked": 1}
    assert site.listed() == 1


def test_one_that_is_gone_does_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SETTLE >= 60_000
    monkeypatch.setattr("streamstraight_celery.ends.sweeping.SETTLE", -1)
    site.relay.call(Enlist("s"))
    site.sweep()
    assert site.listed() == 0


def test_a_broker_that_is_away_is_asked_again(make_site: Callable[..., Site]) -> None:
    site = make_site(lease=0.05)
    site.end()

    away = Celery("away", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False)
    away.conf.task_publish_retry = False
    assert sweep(away, site.relay)["failed"] == 1
    assert not site.relay.state("s").end_told
    eventually(lambda: site.sweep().get("told"))
    assert len(site.ends) == 1


def test_two_sweeps_tell_an_end_once(site: Site) -> None:
    """The second looks while the first is telling."""
    site.end()
    inner: list[dict[str, int]] = []
    site.app.tasks["proj.save"].run = lambda end: inner.append(site.sweep())
    assert site.sweep() == {"looked": 1, "told": 1}
    assert inner == [{}]


def test_an_end_after_a_loss_is_told_too(site: Site) -> None:
    site.begin()
    site.relay.call(Append("s", 1, NONCE, 2, 0, b"", "producer-disconnected"))
    assert site.sweep() == {"looked": 1, "told": 1}
    runtime = site.runtime
    writer = runtime.sender.open("s", owner="task-1", after_loss=True, on_end=TOLD)
    writer.finish("completed")
    assert site.sweep() == {"looked": 1, "told": 1}
    assert [(end["attempt"], end["reason"]) for end in site.ends] == [
        (1, "producer-disconnected"), (2, "completed"),
    ]  # fmt: skip


def test_as_a_task(site: Site) -> None:
    site.end()
    site.app.tasks["streams.sweep"].delay()
    assert len(site.ends) == 1
    assert sweep_streams.name == "streams.sweep"


def test_more_streams_than_are_read_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamstraight_celery.ends.sweeping.AT_ONCE", 2)
    for number in range(100):
        site.announce(f"s-{number}")
        site.relay.call(Stop(f"s-{number}"))
    assert site.sweep() == {"looked": 100, "told": 100}
    assert len({end["stream_id"] for end in site.ends}) == 100


def test_by_the_cluster(cluster: Any) -> None:
    """Streams and lists are on different nodes."""
    cluster.flush()
    site = Site(cluster.url)
    for number in range(30):
        site.end(f"s-{number}")
    assert site.sweep() == {"looked": 30, "told": 30}
    assert (site.sweep(), site.listed()) == ({}, 0)
    site.runtime.close()


def test_the_state_of_a_stream_from_the_version_before(site: Site) -> None:
    """It has neither of the new fields; it is read, and nobody is told."""
    settings = replace(read_settings(site.app))
    relay = open_relay(settings)
    relay.call(Create("old", "task-1"))
    relay.call(Stop("old"))
    state = relay.state("old")
    assert (state.end, state.on_end, state.end_told) == ("stopped", "", False)
    relay.call(Enlist("old"))
    assert site.sweep() == {"looked": 1}
    assert (site.ends, site.listed()) == ([], 0)
    relay.close()

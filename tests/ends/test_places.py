"""Wherever a stream is ended, the application and the conversation are told."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamstraight_celery import get_conversation, get_stream, prepare, send_stream_task
from streamstraight_celery.conversations.events import read_events
from streamstraight_celery.enqueue.announcing import announce, withdraw
from streamstraight_celery.errors import ConfigurationError, StreamExistsError
from streamstraight_celery.relays.index import Query
from streamstraight_celery.relays.requests import Append, Claim, Create, Hold, Reap, Stop
from tests.conftest import eventually, free_port
from tests.ends.test_sweep import NONCE, TOLD, Site

CHAT = "chat-42"


@pytest.fixture(params=["memory", "redis"])
def make_site(request: pytest.FixtureRequest) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(**settings: Any) -> Site:
        url = f"memory://places-{id(made)}"
        if request.param == "redis":
            url = request.getfixturevalue("redis_url")
        made.append(Site(url, **settings))
        return made[-1]

    yield make
    for site in made:
        site.runtime.close()


@pytest.fixture
def lost(make_site: Callable[..., Site]) -> Site:
    """A stream of a conversation, whose producer is lost and whose end is due."""
    site = make_site(lease=0.02, reap_after=0.001)
    create = Create("s", "task-1", wait=60_000, conversation=CHAT, on_end=TOLD)
    announce(site.app, site.runtime, create)
    site.relay.call(Hold(CHAT, "s", "", "stream:s", b'{"type":"stream","stream_id":"s"}'))
    site.relay.call(Claim("s", NONCE, "task-1", on_end=TOLD))
    eventually(lambda: site.relay.state("s").lease_left < 0)
    return site


def lose_broker(site: Site) -> None:
    site.app.conf.update(
        task_always_eager=False, task_publish_retry=False,
        broker_url=f"redis://127.0.0.1:{free_port()}",
        broker_transport_options={"max_retries": 0},
    )  # fmt: skip


def events(site: Site) -> list[str]:
    return [
        each["type"] for each in read_events(site.relay, get_conversation(CHAT, app=site.app).id)
    ]


def check_told(site: Site) -> None:
    eventually(lambda: [end["reason"] for end in site.ends] == ["producer-disconnected"])
    assert events(site) == ["stream", "ended"]


def look_at_its_state(site: Site) -> None:
    eventually(lambda: get_stream("s", app=site.app).state().end)


def look_at_its_conversation(site: Site) -> None:
    eventually(lambda: get_conversation(CHAT, app=site.app).active_stream() is None)


def look_without_the_turn(site: Site) -> None:
    chat = get_conversation(CHAT, app=site.app)
    eventually(lambda: chat._owner("s") is None)


def ask_for_the_same_name(site: Site) -> None:
    def is_over() -> bool:
        with pytest.raises(StreamExistsError) as error:
            announce(site.app, site.runtime, Create("s", "task-2"))
        return "has ended" in str(error.value)

    eventually(is_over)


def sweep(site: Site) -> None:
    eventually(lambda: site.runtime.sweep()["ended"])


@pytest.mark.parametrize(
    "look",
    [look_at_its_state, look_at_its_conversation, look_without_the_turn, ask_for_the_same_name,
     sweep],
)  # fmt: skip
def test_a_lost_producer_s(lost: Site, look: Callable[[Site], None]) -> None:
    look(lost)
    check_told(lost)


def test_on_a_thread(lost: Site) -> None:
    eventually(lambda: lost.relay.call(Reap("s")).kind == "ended")
    lost.runtime.tell_end_soon(lost.app, "s")
    lost.runtime.flush_ends()
    check_told(lost)


def test_one_that_is_withdrawn(make_site: Callable[..., Site]) -> None:
    site = make_site()
    announce(site.app, site.runtime, Create("s", "task-1", conversation=CHAT, on_end=TOLD))
    withdraw(site.runtime, "s")
    assert [end["reason"] for end in site.ends] == ["stopped"]
    assert events(site) == ["ended"]


@pytest.mark.parametrize("way", ["stop", "forget"])
def test_a_publication_that_never_began(make_site: Callable[..., Site], way: str) -> None:
    site = make_site()
    publication = prepare(iter("a"), app=site.app, conversation=CHAT)
    if way == "stop":
        publication.stop()
    del publication
    gc.collect()
    eventually(lambda: events(site) == ["stream", "ended"])


def test_a_broker_that_is_away_is_only_logged(lost: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A stream's state is told, whatever became of its end."""
    lose_broker(lost)
    del lost.app.tasks[TOLD]
    with caplog.at_level(logging.WARNING):
        look_at_its_state(lost)
    assert "the end is not told yet" in caplog.text


# -- replace=True


def test_no_end_is_lost_with_a_name_that_is_used_again(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.end()
    again = Create("s", "task-2", on_end=TOLD)
    announce(site.app, site.runtime, again, overwrite=True)
    assert [end["task_id"] for end in site.ends] == ["task-1"]
    # Its process may die before it tells: the sweep finds the new one, too.
    site.relay.call(Claim("s", "bbbbbbbb", "task-2", on_end=TOLD))
    site.relay.call(Append("s", 1, "bbbbbbbb", 1, 0, b"", "completed"))
    assert site.listed() == 1
    assert site.sweep() == {"looked": 1, "told": 1}
    assert [end["task_id"] for end in site.ends] == ["task-1", "task-2"]


def test_an_end_that_cannot_be_told_keeps_its_name(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.end()
    lose_broker(site)
    with pytest.raises(StreamExistsError, match="makes no way yet"):
        announce(site.app, site.runtime, Create("s", "task-2", on_end=TOLD), overwrite=True)
    assert site.relay.state("s").owner == "task-1"


@pytest.mark.parametrize("name", ["proj.save answers", " proj.save"])
def test_a_name_with_a_space(make_site: Callable[..., Site], name: str) -> None:
    site = make_site()
    with pytest.raises(ConfigurationError, match="no spaces"):
        site.runtime.on_end_name(name)


def test_no_task_gets_a_conversation_s_id(make_site: Callable[..., Site]) -> None:
    site = make_site()
    log = get_conversation(CHAT, app=site.app).id
    with pytest.raises(ConfigurationError):
        send_stream_task("proj.answer", app=site.app, stream_id=log)


# -- the sweep's view


def test_the_oldest_of_many_active_streams_is_found(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamstraight_celery.relays.index.MOST", 2)
    site = make_site(reap_after=0.001)
    site.relay.call(Create("lost", "task-1", wait=1))
    for number in range(9):
        site.relay.call(Create(f"s-{number}", "task-1", wait=60_000))
    eventually(lambda: site.relay.state("lost").lease_left < 0)
    found = site.relay.find(Query(states=("active",), lost=True, limit=5))
    assert [name for name, _ in found.streams] == ["lost"]
    eventually(lambda: site.sweep().get("ended"))
    assert site.ended == ["lost"]
    assert site.relay.state("s-0").end == ""
    assert site.relay.call(Stop("s-0")).kind == "ended"

"""A worker is killed with all its processes: nobody is left to tell, so the lease does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import get_stream
from tests.conftest import eventually
from tests.support.providers import RECORDINGS, ReplayProvider, recorded_events
from tests.tasks.apps import ending, resuming
from tests.tasks.ends.conftest import SHORT, Site
from tests.tasks.ends.reading import Reader
from tests.tasks.log import ended_log, state_of, wait_for_chunks
from tests.tasks.processes import PATIENCE, wait_until
from tests.tasks.speaker import Speaker

# Redis gives a message out again only after a time; RabbitMQ when the connection is gone.
HASTY = {
    "broker_transport_options": {
        "visibility_timeout": 1,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
}
BACKGROUND = RECORDINGS / "openai-responses-background.sse"


@pytest.fixture(autouse=True)
def current(app: Any) -> None:
    """Marks are left in the current app's backend."""


def test_readers_of_a_lost_worker_see_it_stall_and_end(
    site: Site, speaker: Speaker, relay: str
) -> None:
    worker = site.worker("lost", SHORT)
    stream = site.stream(ending.killable, speaker.port, queue=worker.queue)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(site.app, stream.id, 2)
    reader = Reader(relay, stream)
    eventually(lambda: len(reader.got.chunks) == 2, timeout=PATIENCE)

    worker.kill()

    eventually(lambda: "stalled" in reader.got.statuses, timeout=PATIENCE)
    reading = reader.finish()
    assert reading.end is not None
    assert reading.end["endReason"] == "producer-disconnected"
    assert reading.end["error"]["code"] == "producer-disconnected"
    assert reading.chunks[1:] == ["one"]


def test_the_state_of_a_lost_stream_says_so_without_a_relay_server(
    another_app: Callable[..., Celery], site: Site, speaker: Speaker
) -> None:
    worker = site.worker("alone", SHORT)
    stream = site.stream(ending.killable, speaker.port, queue=worker.queue)
    speaker.answer()
    wait_for_chunks(site.app, stream.id, 1)
    theirs = get_stream(stream.id, app=another_app(**{**site.conf, **SHORT}))
    assert theirs.state().end == ""

    worker.kill()

    wait_until(lambda: theirs.state().end, "it is ended")
    assert ended_log(site.app, stream.id).end == "producer-disconnected"


def test_a_stream_that_nobody_begins_is_ended_for_its_readers(
    another_app: Callable[..., Celery], site: Site, relay: str
) -> None:
    stream = site.stream(ending.unprepared, queue=f"{site.conf['task_default_queue']}-nobody",
                         expires=0.5)  # fmt: skip

    reading = Reader(relay, stream).finish()

    assert reading.end is not None
    assert (reading.end["endReason"], reading.end["error"]["code"]) == ("expired", "expired")


@pytest.mark.skipif(not BACKGROUND.exists(), reason="the recordings are not here")
def test_a_background_response_whose_worker_is_killed_is_one_unbroken_stream(
    site: Site, relay: str
) -> None:
    redis = site.app.conf.broker_url.startswith("redis")
    changes = {**SHORT, **(HASTY if redis else {})}
    first = site.worker("background", changes)
    with ReplayProvider() as provider:
        stream = site.stream(resuming.background, provider.base_url, 9, queue=first.queue)
        assert provider.wait_held(PATIENCE)
        wait_until(lambda: state_of(site.app, stream.id).last == 9, "nine events are there")
        reader = Reader(relay, stream)
        eventually(lambda: len(reader.got.chunks) == 9, timeout=PATIENCE)
        # The next one is ready to take over.
        site.worker("background-next", changes, queue=first.queue)
        first.kill()
        reading = reader.finish()
        requests = [exchange.request for exchange in provider.exchanges]

    assert reading.end is not None, reading.broken
    assert reading.end["endReason"] == "completed"
    # No reset, no gap, no event twice: the recording, over one connection.
    assert reading.chunks == [json.loads(event) for event in recorded_events(BACKGROUND)]
    assert state_of(site.app, stream.id).attempt == 2
    assert requests[1]["starting_after"] == "8"

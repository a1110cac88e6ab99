"""`on_end=` wherever it can be given: tasks, names, settings, and streams without a worker."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import (
    StreamTask,
    apublish,
    atee,
    prepare,
    publish,
    send_stream_task,
    stream_task,
    tee,
)
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.runtime import Runtime
from tests.conftest import eventually
from tests.ends.test_sweep import Site


@pytest.fixture
def site(redis_url: str) -> Iterator[Site]:
    site = Site(redis_url)
    yield site
    site.runtime.close()


def words() -> Iterator[str]:
    yield "one"
    yield "two"


def failing() -> Iterator[str]:
    yield "one"
    raise OSError("the model is away")


async def spoken() -> AsyncIterator[str]:
    yield "one"


def told(site: Site) -> tuple[str, int]:
    eventually(lambda: site.ends)
    (end,) = site.ends
    eventually(lambda: site.relay.state(end["stream_id"]).end_told)
    assert site.listed() == 0
    return end["reason"], end["chunks"]


def test_publish(site: Site) -> None:
    publish(words(), app=site.app, on_end="proj.save").wait(30)
    assert told(site) == ("completed", 2)


def test_publish_that_fails(site: Site) -> None:
    with pytest.raises(OSError, match="away"):
        publish(failing(), app=site.app, on_end="proj.save").wait(30)
    assert told(site) == ("producer-error", 1)


def test_what_is_announced_and_forgotten(site: Site) -> None:
    prepare(words(), app=site.app, on_end="proj.save")
    gc.collect()
    assert told(site) == ("producer-error", 0)


def test_what_is_stopped_before_it_begins(site: Site) -> None:
    prepare(words(), app=site.app, on_end=site.app.tasks["proj.save"]).stop()
    assert told(site) == ("stopped", 0)


def test_tee(site: Site) -> None:
    assert list(tee(words(), app=site.app, on_end="proj.save")) == ["one", "two"]
    assert told(site) == ("completed", 2)


async def test_apublish_and_atee(site: Site) -> None:
    await apublish(spoken(), app=site.app, on_end="proj.save")
    teed = await atee(spoken(), app=site.app, on_end="proj.save")
    assert [chunk async for chunk in teed] == ["one"]
    await asyncio.to_thread(eventually, lambda: len(site.ends) == 2)
    assert {end["reason"] for end in site.ends} == {"completed"}


def test_the_settings_default(redis_url: str) -> None:
    site = Site(redis_url, on_end="proj.save")
    publish(words(), app=site.app, on_end="").wait(30)
    assert site.ends == []
    publish(words(), app=site.app).wait(30)
    assert told(site) == ("completed", 2)
    site.runtime.close()


def test_a_task_by_its_name(site: Site) -> None:
    site.app.conf.task_always_eager = False
    stream = send_stream_task("other.answer", ["?"], app=site.app, on_end="proj.save")
    site.app.conf.task_always_eager = True
    stream.stop()
    assert told(site) == ("stopped", 0)


def test_a_class(site: Site) -> None:
    class Saved(StreamTask):
        abstract = True
        on_end = "proj.save"

    @site.app.task(base=Saved, shared=False)
    def answer() -> Iterator[str]:
        yield "one"

    answer.delay()
    assert told(site) == ("completed", 1)


def test_a_stream_store_that_keeps_nothing() -> None:
    app = Celery("hosted", set_as_current=False)
    app.conf.stream_relay_url = "streamstraight://"
    with pytest.raises(ConfigurationError, match="needs a stream store on Redis"):
        Runtime.of(app).on_end_name("proj.save")


@pytest.mark.parametrize("wrong", [words, 3, ["proj.save"]])
def test_what_is_no_task(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="use a Celery task"):
        stream_task(on_end=wrong)(words)

"""Each fault at each moment of a wait: the task is continued once, and its readers get all."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
from celery import Celery
from celery._state import get_current_app

from streamstraight_celery import get_conversation
from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.runtime import Runtime
from tests.conftest import RedisServer
from tests.faults import agents
from tests.faults.agents import BROKER_VARIABLE, LEDGER_VARIABLE, make_app
from tests.faults.conversation_soak import FAULTS, LEASE, REAP_AFTER
from tests.faults.faults import Fault
from tests.faults.producer import CONF_VARIABLE
from tests.faults.stage import Stage, until
from tests.support.processes import start_celery, stop


class Moment(Enum):
    """Where the fault strikes."""

    SUSPENDING = "while the task is begun and suspended"
    WAITING = "while it waits"
    SENT = "while the input is sent, and the task begins again"


CASES = [
    pytest.param(fault, moment, id=f"{fault.name.lower()}-{moment.name.lower()}")
    for fault in FAULTS for moment in Moment
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Celery]]:
    """Everything that may fail, a worker, and the web process' app."""
    directory: Path = tmp_path_factory.mktemp("conversations")
    before, brokers = get_current_app(), RedisServer()
    stage = Stage(directory, 0, lease=LEASE, reap_after=REAP_AFTER)
    conf = {**stage.conf, "relay_url": stage.url_for_producers}
    app = make_app(conf, brokers.new_database())
    app.set_current()
    environment = {
        CONF_VARIABLE: json.dumps(conf), BROKER_VARIABLE: app.conf.broker_url,
        LEDGER_VARIABLE: os.devnull,
    }  # fmt: skip
    worker = start_celery(
        "tests.faults.agents", directory / "worker.log", "worker", "-P", "threads", "-c", "4",
        "--without-mingle", "--without-gossip", "--without-heartbeat", env=environment,
    )  # fmt: skip
    yield stage, app
    stop(worker)
    Runtime.of(app).close()
    stage.close()
    brokers.close()
    before.set_default()
    before.set_current()


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "moment"), CASES)
async def test_a_fault_while_a_task_waits(
    site: tuple[Stage, Celery], fault: Fault, moment: Moment
) -> None:
    stage, app = site
    app.set_default()  # for the threads
    chat = get_conversation(f"{fault.name}-{moment.name}", app=app)
    stream = await asyncio.to_thread(chat.stream, agents.agent, 2, 0)
    stage.readers[stream.id] = []
    record = stage.read_with(stream.id, stream.token())
    striking = asyncio.ensure_future(strike(stage, fault)) if moment is Moment.SUSPENDING else None
    try:
        for number in range(2):
            await until(lambda: status(app, stream.id) == "waiting", "it waits")
            if moment is Moment.WAITING and not number:
                await strike(stage, fault)
            if moment is Moment.SENT and not number:
                striking = asyncio.ensure_future(strike(stage, fault))
            await asyncio.to_thread(send, app, chat.name, number)
            await until(lambda n=number: len(record.life.chunks) > n, "it has received it")
        await until(lambda: record.end == "completed", "its end is told")
    finally:
        if striking is not None:
            await striking
    assert record.life.chunks == [0, 1]
    assert (record.resets, record.problems) == (0, [])
    # One for each wait: what else it begins with is a fault's, which cuts it off.
    assert Runtime.of(app).relay.state(stream.id).attempt == 3


async def strike(stage: Stage, fault: Fault) -> None:
    await fault.strike(stage)


def status(app: Celery, stream_id: str) -> str:
    try:
        return Runtime.of(app).relay.state(stream_id).status
    except RelayUnavailableError:
        return "away"


def send(app: Celery, name: str, number: int) -> None:
    """As a route that is asked again, and the sweep behind it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            get_conversation(name, app=app).send(number, id=f"input-{number}")
            Runtime.of(app).sweep()
            return
        except RelayUnavailableError:
            time.sleep(0.1)

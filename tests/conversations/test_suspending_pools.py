"""A suspended task in each of Celery's pools, as real processes; a browser continues it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from celery import Celery
from celery._state import get_current_app

from streamstraight_celery import get_conversation
from streamstraight_celery.relays.requests import Read
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.server import relay_app
from tests.conftest import RedisServer, eventually
from tests.faults import agents
from tests.faults.agents import BROKER_VARIABLE, LEDGER_VARIABLE, make_app
from tests.faults.producer import CONF_VARIABLE
from tests.support.processes import start_celery, stop

SECRET = "a secret of the pools' tests"


@pytest.fixture
def app(redis_server: RedisServer) -> Iterator[Celery]:
    before = get_current_app()
    app = make_app({"secret": [SECRET]}, redis_server.new_database())
    app.set_current()
    yield app
    Runtime.of(app).close()
    before.set_default()
    before.set_current()


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "gevent"])
async def test_a_browser_begins_a_suspended_task_again(
    app: Celery, tmp_path: Path, pool: str
) -> None:
    environment = {
        CONF_VARIABLE: json.dumps({"secret": [SECRET]}),
        BROKER_VARIABLE: app.conf.broker_url, LEDGER_VARIABLE: str(tmp_path / "ledger"),
    }  # fmt: skip
    worker = start_celery(
        "tests.faults.agents", tmp_path / "worker.log", "worker", "-P", pool, "-c", "2",
        "--without-mingle", "--without-gossip", "--without-heartbeat", env=environment,
    )  # fmt: skip
    server = relay_app(app)
    try:
        chat = get_conversation("chat-42", app=app)
        stream = chat.stream(agents.agent, 2, 0)
        ref = chat.ref()
        headers = {"authorization": f"Bearer {ref['token']}"}
        transport = httpx.ASGITransport(server)
        async with httpx.AsyncClient(transport=transport, base_url="http://relay") as client:
            for number in range(2):
                eventually(lambda: stream.state().status == "waiting")
                body = {"id": f"input-{number}", "value": number}
                answer = await client.post(f"/v1/send/{chat.id}", json=body, headers=headers)
                assert answer.status_code == 200, answer.text
                eventually(lambda sent=number + 1: stream.state().last == sent)
        eventually(lambda: stream.state().end == "completed")
        page = Runtime.of(app).relay.read(Read(stream.id, limit=10))
        assert page is not None
        assert b"\n".join([entry.data for entry in page.entries]) == b"0\n1"
        assert page.state.attempt == 3
    finally:
        stop(worker)
        await server.close()

"""A real BullMQ worker writes streams through the relay: the example, as it is documented."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import streamstraight_celery
from streamstraight_celery.relays.requests import Read
from tests.conftest import ROOT, missing
from tests.support.proxy import Proxy, once
from tests.support.waiting import eventually_async as eventually

from .conftest import MakeSite, Site

EXAMPLE = ROOT / "example_project" / "bullmq"
CLIENT = Path(streamstraight_celery.__file__).parent / "static/streamstraight_celery/client.js"
KEY = "the API key of the BullMQ example"
PROMPT = "Does it double?"
TEXT = f'You asked: "{PROMPT}". This answer comes from a BullMQ job, one word at a time. '
READER = """
const { openStream } = await import(process.argv[2]);
let text = "";
for await (const event of openStream(JSON.parse(process.argv[3]))) text += event.delta;
process.stdout.write(text);
"""


@pytest.fixture(scope="module")
def node() -> str:
    """Node.js, with the example's packages installed as its lock file says."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        missing("Node.js with npm")
    subprocess.run(
        [str(npm), "ci", "--no-audit", "--no-fund", "--silent"],
        cwd=EXAMPLE, check=True, timeout=300,
    )  # fmt: skip
    return str(found)


class Example:
    """The example's processes, against a relay server that may lose answers."""

    def __init__(self, node: str, site: Site, port: int, redis_url: str, log: Path) -> None:
        self.site = site
        self.log = log
        self._node = node
        self._environment = {
            **os.environ,
            "REDIS_URL": redis_url,
            "RELAY_URL": f"http://127.0.0.1:{port}",
            "RELAY_API_KEY": KEY,
            "PACE_MS": "10",
        }

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        with self.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                self._node, "worker.mjs", cwd=EXAMPLE, env=self._environment,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            await eventually(lambda: "ready" in self.log.read_text(), timeout=60)
            yield
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), 30)

    async def ask(self, prompt: str, stream_id: str) -> asyncio.subprocess.Process:
        """Ask as the documentation says."""
        return await asyncio.create_subprocess_exec(
            self._node, "ask.mjs", prompt, stream_id, cwd=EXAMPLE, env=self._environment,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    async def read(self, stream_id: str, folder: Path) -> str:
        """Read with the browser's module."""
        (folder / "client.mjs").write_text(CLIENT.read_text())
        (folder / "read.mjs").write_text(READER)
        ref = {
            "url": f"http://127.0.0.1:{self.site.port}/v1/stream/{stream_id}",
            "token": self.site.tokens.issue(stream_id, scopes=["read"])[0],
        }
        process = await asyncio.create_subprocess_exec(
            self._node, "read.mjs", "./client.mjs", json.dumps(ref), cwd=folder,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        return output.decode()


def has_chunks(site: Site, stream_id: str) -> bool:
    page = site.relay.read(Read(stream_id))
    return page is not None and page.state.last > 0


@pytest.fixture
async def site(make_site: MakeSite, redis_url: str) -> Site:
    return await make_site(redis_url, writing=True, api_keys=(KEY,))


@pytest.mark.parametrize("nth", [1, 4, 0], ids=["first append", "later append", "close"])
async def test_an_answer_is_streamed_once_though_one_reply_is_lost(
    node: str, site: Site, redis_url: str, tmp_path: Path, nth: int
) -> None:
    words = b"Producer-Seq" if nth else b"Stream-Closed: true"
    loses = once(words.lower(), nth or 1)
    with Proxy(site.port) as proxy:
        proxy.lose_replies(lambda piece: loses(piece.lower()))
        example = Example(node, site, proxy.port, redis_url, tmp_path / "worker.log")
        async with example.worker():
            asking = await example.ask(PROMPT, "chat-1")
            shown, _ = await asyncio.wait_for(asking.communicate(), 60)
            await eventually(lambda: "completed" in example.log.read_text(), timeout=60)
    assert proxy.lost == 1
    assert shown.decode().strip() == TEXT.strip()
    assert await example.read("chat-1", tmp_path) == TEXT
    state = site.relay.state("chat-1")
    assert (state.end, state.last) == ("completed", len(TEXT.split()))


async def test_a_job_that_fails_is_retried_and_its_stream_ends_as_failed(
    node: str, site: Site, redis_url: str, tmp_path: Path
) -> None:
    example = Example(node, site, site.port, redis_url, tmp_path / "worker.log")
    async with example.worker():
        asking = await example.ask("fail, please", "chat-2")
        await eventually(
            lambda: example.log.read_text().count("failed: the model") == 3, timeout=60
        )
        # Its reader was told that a newer attempt replaced what it had.
        await asyncio.wait_for(asking.communicate(), 60)
        assert asking.returncode != 0
    answer = await site.client("chat-2").read("chat-2")
    assert answer.headers["stream-end-reason"] == "producer-error"
    assert len(answer.json) == 5


async def test_a_stop_ends_the_job_for_good(
    node: str, site: Site, redis_url: str, tmp_path: Path
) -> None:
    example = Example(node, site, site.port, redis_url, tmp_path / "worker.log")
    client = site.client("chat-3")
    async with example.worker():
        asking = await example.ask("x " * 2000, "chat-3")
        await eventually(lambda: has_chunks(site, "chat-3"), timeout=60)
        answer = await client.request("POST", "/v1/stop/chat-3")
        assert answer.json == {"status": "ended", "endReason": "stopped"}
        await asyncio.wait_for(asking.communicate(), 60)
        await eventually(lambda: "has ended (stopped)" in example.log.read_text(), timeout=60)
    assert example.log.read_text().count("failed") == 1

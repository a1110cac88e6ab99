"""A platform as React Native is: `fetch` over XMLHttpRequest, without streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.site import READER, STATIC, Pages, Site, bundle, running
from tests.tasks.apps import paced

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# What React Native's own setup does.
PLATFORM = """
import { fetch, Headers, Request, Response } from "whatwg-fetch";
Object.assign(globalThis, { fetch, Headers, Request, Response });
globalThis.live = [];
const open = XMLHttpRequest.prototype.open;
XMLHttpRequest.prototype.open = function (method, url, ...more) {
  const { searchParams, pathname } = new URL(url);
  live.push(`${method} ${searchParams.get("live") ?? pathname.split("/")[2]}`);
  return open.call(this, method, url, ...more);
};
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: object) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.mark.parametrize("given", ["", "options.fetch = (url, init) => fetch(url, init);"])
def test_a_stream_is_read_by_long_poll_and_stopped(
    site: Site, context: BrowserContext, tmp_path: Path, given: str
) -> None:
    reader = READER.replace("/client.js", str(STATIC / "client.js"))
    reader = reader.replace("/shared.js", str(STATIC / "shared.js"))
    script = bundle(
        PLATFORM + reader.replace("  if (options.shared)", f"{given}  if (0)"), tmp_path
    )
    site.needs_worker()
    handle = site.task(paced.paced).stream(1000, pause=0.05)
    with closing(Pages(script)) as pages:
        page = pages.open(context)
        page.evaluate("ref => read('one', ref)", dict(handle.ref()))
        page.wait_for_function("streams.one.chunks.length > 20")
        page.evaluate("streams.one.stream.stop()")
        page.wait_for_function("streams.one.end === 'stopped'")
        numbers = page.evaluate("streams.one.chunks.map(({ n }) => n)")
        assert numbers == list(range(len(numbers)))
        live = page.evaluate("live")
        # A fetch that is given may have streams, so it is tried.
        assert live.count("GET sse") == (1 if given else 0)
        assert live.count("GET long-poll") > 2
        assert live.count("POST stop") == 1

"""A relay for the conformance suite, which sends no tokens: this end adds an API key for it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import uvicorn

from streamstraight_celery.server import create_app
from streamstraight_celery.server.live.hub import HubOptions
from streamstraight_celery.server.run import KEEP_ALIVE_SECONDS
from streamstraight_celery.settings import StreamSettings

KEY = b"the key of the conformance suite"
LONG_POLL_SECONDS = 0.5


class WithKey:
    """Every request is one of a back end that may do everything."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [*scope["headers"], (b"authorization", b"Bearer " + KEY)]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)


def main(relay_url: str, port: int) -> None:
    settings = StreamSettings(
        relay_url=relay_url,
        public_url=f"http://127.0.0.1:{port}",
        writing=True,
        api_keys=(KEY.decode(),),
        allowed_origins=("https://example.com",),  # the one that the suite's preflight names
        long_poll_timeout=LONG_POLL_SECONDS,
    )
    # The suite asks at once for streams that never were: nobody is to wait for their return.
    app = create_app(settings, hub_options=replace(HubOptions.of(settings), settle=0.0))
    uvicorn.run(WithKey(app), port=port, log_level="warning", timeout_keep_alive=KEEP_ALIVE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

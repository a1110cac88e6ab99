"""The project whose relay server these tests run."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("streamstraight-tests")
app.conf.update(
    stream_relay_url=os.environ["TEST_RELAY_URL"],
    stream_secret="a secret of the Streamstraight tests",
    stream_api_keys=[os.environ["TEST_API_KEY"]],
    stream_public_url="https://relay.example",
    stream_lease=3,
    stream_reap_after=2,
)

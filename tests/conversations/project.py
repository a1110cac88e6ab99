"""A stream task in conversations, and 10 racing requests as a process of their own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

from celery import Celery

from streamstraight_celery import StreamActiveError, stream_task


@stream_task
def answer(prompt: str) -> Iterator[str]:
    yield from prompt.split()


def make_app(broker: str, relay: str) -> Celery:
    app = Celery("conversations", broker=broker)
    app.conf.update(stream_relay_url=relay, stream_secret="a-secret-of-these-tests")
    app.conf.update(stream_lease=1, stream_reap_after=0.1)
    app.set_default()
    return app


def race(key: str, if_active: str, count: int, barrier: threading.Barrier) -> list[str]:
    """What `count` requests at once came to: ids of streams, "rejected", or an error."""
    outcomes: list[str] = []

    def ask() -> None:
        barrier.wait(60)
        try:
            outcomes.append(answer.conversation(key, if_active=if_active).stream("hi").id)  # type: ignore[arg-type]
        except StreamActiveError:
            outcomes.append("rejected")
        except Exception as error:
            outcomes.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


if __name__ == "__main__":
    url, key, if_active = sys.argv[1:]
    make_app(url, url)
    print("ready", flush=True)
    sys.stdin.readline()
    print("\n".join(race(key, if_active, 10, threading.Barrier(10))))

"""How long a stop takes while the model is silent: `python -m tests.tasks.ends.stop_times`.

For each pool, from `handle.stop()` until the model's side sees the connection closed, and until the
stream has ended for its readers. Milliseconds, over `ROUNDS` streams.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.conftest import RedisServer
from tests.tasks.apps import listening
from tests.tasks.apps.project import app
from tests.tasks.log import state_of, wait_for_chunks
from tests.tasks.processes import Worker, wait_until
from tests.tasks.speaker import Speaker

ROUNDS = 20
POOLS = {"prefork": 2, "solo": 1, "threads": 4, "gevent": 4, "eventlet": 4}
TASKS = {"sync": listening.listening, "async": listening.listening_asynchronously}


def once(queue: str, task: Any, closes: bool) -> tuple[float, float]:
    speaker = Speaker()
    try:
        stream = task.apply_stream((speaker.port,), queue=queue)
        speaker.answer()
        speaker.say("one")
        wait_for_chunks(app, stream.id, 1)
        began = time.perf_counter()
        stream.stop()
        heard = speaker.hears_hang_up() if closes else False
        closed = (time.perf_counter() - began) * 1000 if heard else float("nan")
        wait_until(lambda: state_of(app, stream.id).end, "it ends")
        state = state_of(app, stream.id)
        return closed, (time.perf_counter() - began) * 1000 if state.end else float("nan")
    finally:
        speaker.close()


def row(pool: str, kind: str, times: list[tuple[float, float]]) -> str:
    cells = []
    for values in zip(*times, strict=True):
        cells += [f"{statistics.median(values):8.0f}", f"{max(values):8.0f}"]
    return f"{pool:9} {kind:6} " + " ".join(cells)


def main() -> None:
    """Measure all pools and print the table."""
    server = RedisServer()
    conf = {
        "broker_url": server.url(1), "result_backend": server.url(2),
        "stream_relay_url": server.url(3), "broker_connection_retry_on_startup": True,
    }  # fmt: skip
    app.conf.update(conf)
    app.set_current()
    print("                    closed            ended")
    print("pool      generator median      max   median      max   (ms)")
    with tempfile.TemporaryDirectory() as directory:
        for pool, concurrency in POOLS.items():
            worker = Worker(pool, conf, Path(directory), pool=pool, concurrency=concurrency)
            worker.start()
            try:
                for kind, task in TASKS.items():
                    closes = (pool, kind) != ("threads", "sync")
                    times = [once(worker.queue, task, closes) for _ in range(ROUNDS)]
                    print(row(pool, kind, times), flush=True)
            finally:
                worker.ask_to_stop()
                worker.stop()
    server.close()


if __name__ == "__main__":
    main()
